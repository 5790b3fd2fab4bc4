"""The moments of the shared wait."""

from __future__ import annotations

from session_affinity.scenarios.expiry import plan
from session_affinity.scenarios.expiry.plan import Group
from session_affinity.traffic.answers import Target


def targets(group: Group) -> list[Target]:
    network = list(Group).index(group)
    return [Target(f"10.200.{network}.{number}", 9000) for number in range(plan.SIZES[group])]


SHORT = {group: targets(group) for group in Group if group not in (Group.OPEN, Group.PATCHED)}


def moments(group: Group) -> list[float]:
    steps = plan.short_schedule(SHORT).steps
    return [step.at for step in steps if set(step.targets) >= set(SHORT[group])]


def test_clients_are_asked_at_their_moments() -> None:
    assert moments(Group.KEPT) == [0, 29]
    assert moments(Group.EXPIRED) == [0, 31]
    assert moments(Group.SLIDING) == [0, 10, 31]
    assert moments(Group.CONTROL) == [0, 31]
    assert moments(Group.GONE) == [0]


def test_no_client_is_asked_by_another_group() -> None:
    schedule = plan.short_schedule(SHORT)

    asked = [target for step in schedule.steps for target in step.targets]
    assert len(asked) == 2 * 15 + 3 * 6 + 2 * 6 + 2 * 6 + 3
    assert set(asked) == set(schedule.groups)


def test_a_group_that_is_not_there_is_not_asked() -> None:
    schedule = plan.short_schedule({group: own for group, own in SHORT.items() if group is not Group.GONE})

    assert len(schedule.steps[0].targets) == 15 + 3 * 6


def test_clients_come_in_the_same_order_so_that_all_are_silent_equally_long() -> None:
    first, *_, last = plan.short_schedule(SHORT).steps

    assert first.targets[: len(last.targets)] == last.targets


def test_open_connections_are_as_many_as_one_process_keeps() -> None:
    schedules = plan.open_schedules(targets(Group.OPEN))

    assert [len(schedule.steps[0].targets) for schedule in schedules] == [5, 5, 5]
    assert {target for schedule in schedules for target in schedule.groups} == set(targets(Group.OPEN))


def test_data_flows_until_shortly_before_the_timeout() -> None:
    opened, probe = plan.open_schedules(targets(Group.OPEN))[0].steps

    last = (opened.requests - 1) / opened.per_second
    assert plan.LOOK_AT < last < plan.JUST_BEFORE
    assert (probe.at, probe.per_second, probe.keep_open) == (31, opened.per_second, False)
