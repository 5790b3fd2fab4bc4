"""The moments of the shared wait."""

from __future__ import annotations

from session_affinity.scenarios.expiry import plan
from session_affinity.scenarios.expiry.plan import Group
from session_affinity.traffic.answers import Target


def targets(group: Group) -> tuple[Target, ...]:
    network = list(Group).index(group)
    return tuple(Target(f"10.200.{network}.{number}", 9000) for number in range(plan.SIZES[group]))


SHORT = {group: targets(group) for group in plan.SIZES if group is not Group.PATCHED}


def moments(group: Group) -> list[float]:
    steps = plan.short_schedule(SHORT).steps
    return [step.at for step in steps if set(step.targets) >= set(SHORT[group])]


def test_each_group_has_its_moments() -> None:
    assert moments(Group.KEPT) == [0, 28]
    assert moments(Group.EXPIRED) == [0, 31.5]
    assert moments(Group.SLIDING) == [0, 10, 31.5]
    assert moments(Group.CONTROL) == [0, 31.5]
    assert moments(Group.VANISHING) == [0]


def test_every_target_belongs_to_a_group() -> None:
    schedule = plan.short_schedule(SHORT)

    requested = [target for step in schedule.steps for target in step.targets]
    assert len(requested) == 2 * 15 + 3 * 6 + 2 * 6 + 2 * 6 + 3
    assert set(requested) == set(schedule.groups)


def test_a_missing_group_has_no_requests() -> None:
    schedule = plan.short_schedule({group: members for group, members in SHORT.items() if group is not Group.VANISHING})

    assert len(schedule.steps[0].targets) == 15 + 3 * 6


def test_steps_have_the_same_order_so_that_all_clients_are_silent_equally_long() -> None:
    first, *_, last = plan.short_schedule(SHORT).steps

    assert first.targets[: len(last.targets)] == last.targets


def test_a_process_has_as_many_connections_as_curl_keeps_open() -> None:
    schedules = plan.open_schedules(SHORT[Group.EXPIRED])

    assert [len(schedule.steps[0].targets) for schedule in schedules] == [5, 5, 5]
    assert {target for schedule in schedules for target in schedule.groups} == set(SHORT[Group.EXPIRED])


def test_data_flows_while_the_node_is_read() -> None:
    opened, probe = plan.open_schedules(SHORT[Group.EXPIRED])[0].steps

    last = (opened.requests - 1) / opened.per_second
    assert plan.READ_AT < last < plan.JUST_BEFORE
    assert (probe.at, probe.per_second, probe.keep_open) == (31.5, opened.per_second, False)
