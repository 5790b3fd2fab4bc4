"""What was seen in a test, as steps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.dataplane.model import CLIENT_IP, ServiceState
from session_affinity.recorder import CHANGED, READ, Action, Event, NodeRead, RequestRound, ServiceStored
from session_affinity.report.attachment import MediaType
from session_affinity.report.steps import MOST_STEPS, Conclusion, Context, Note, Phase, ReportStep, TrialsSeen, steps
from session_affinity.scenarios.endpoint_changes.result import ScenarioResult, Stage
from session_affinity.scenarios.expiry.trials import Trial
from session_affinity.testbed.testbed import SyncResult
from session_affinity.verdicts.verdict import Finding, Verdict
from tests.unit.verdicts.conftest import CLIENT, HZ, PROXY

if TYPE_CHECKING:
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from tests.unit.verdicts.conftest import World

CONTEXT = Context(PROXY, {"myk8s-worker": HZ})


def seen(*what: object, setup: int = 0, context: Context = CONTEXT) -> tuple[ReportStep, ...]:
    sightings = [Event(one, 1000.0 + place, 1000.5 + place) for place, one in enumerate(what)]
    return steps(sightings, context, setup)


def stored(service: ServiceState, how: str = "made") -> ServiceStored:
    metadata = {"name": service.name, "namespace": service.namespace, "managedFields": [{"manager": "x"}]}
    piece = {"metadata": {"name": "slice", "labels": {"kubernetes.io/service-name": service.name}}, "endpoints": []}
    return ServiceStored((service,), ({"kind": "Service", "metadata": metadata},), (piece,), how)


def judged(world: World, *, ok: bool = True) -> Conclusion:
    findings = () if ok else (Finding("myk8s-worker", "30", "3600"),)
    return Conclusion(Verdict("as computed" if ok else "rule 2", findings, world.service))


def looked(world: World, *states: NodeSnapshot) -> NodeRead:
    programmed = world.programmed("x").ruleset
    return NodeRead(
        {one.node: replace(one, ruleset=programmed, program="iptables-save") for one in states}, world.service.family
    )


def names(step: ReportStep) -> list[str]:
    return [f"{one.name} {one.kind.extension}" for one in step.attachments]


def test_a_test_reads_as_arrange_observe_judge(world: World) -> None:
    asked = RequestRound("net-pod", CLIENT, "myk8s-worker", world.answers("webpod1", "webpod1"))

    found = seen(stored(world.service), asked, judged(world), setup=1)

    assert [one.title for one in found] == [
        "Arrange: made Service default/affinity-sticky-x7k2p with sessionAffinity ClientIP, 30 s, 3 endpoints",
        "Observe: net-pod (10.10.0.6) on myk8s-worker asks, 2 requests: webpod1 2",
        "Judge: holds: as computed",
    ]
    assert (found[0].began, found[0].ended) == (1000.0, 1000.5)


def test_what_is_done_is_arranging_and_what_is_read_is_observing(world: World) -> None:
    changed, read = stored(world.service, CHANGED), stored(world.service, READ)

    found = seen(changed, Action("removed pod webpod4"), read)

    assert [one.phase for one in found] == [Phase.ARRANGE, Phase.ARRANGE, Phase.OBSERVE]


def test_objects_are_shown_as_served(world: World) -> None:
    (attached,) = seen(stored(world.service))[0].attachments

    assert attached.kind is MediaType.YAML
    assert "kind: Service" in attached.body
    assert "name: slice" in attached.body
    assert "managedFields" not in attached.body


def test_answers_are_a_picture_and_a_table_with_the_name_they_were_given(world: World) -> None:
    answers = world.answers("webpod1", "webpod2")
    asked = RequestRound("net-pod", CLIENT, "myk8s-worker", answers)

    assert names(seen(asked)[0]) == ["answers svg", "answers csv"]
    named = Context(PROXY, names={id(answers): "answers under ClientIP"})
    assert names(seen(asked, context=named)[0])[0] == "answers under ClientIP svg"


def test_one_answer_needs_no_picture(world: World) -> None:
    assert names(seen(RequestRound("net-pod", CLIENT, "x", world.answers("webpod1")))[0]) == ["answers csv"]


def test_the_last_reading_has_the_rules_and_every_one_the_lists(world: World) -> None:
    reading = looked(world, world.node("myk8s-worker", {0: {CLIENT: (1,)}}))

    first, last, _ = seen(reading, reading, judged(world))

    assert names(first) == ["clients remembered, ages computed csv"]
    assert names(last) == [
        "clients remembered, ages computed csv",
        "rules of default/affinity-sticky-x7k2p, expected and seen txt",
    ]


def test_after_a_failure_the_rules_are_shown_as_judged_and_as_found_then(world: World) -> None:
    reading = looked(world, world.node("myk8s-worker"))

    before, verdict, after = seen(reading, judged(world, ok=False), reading)

    assert [len(names(one)) for one in (before, after)] == [2, 2]
    assert after.title.startswith("Observe: read again after the verdict")
    assert not verdict.ok
    assert names(verdict) == ["verdict txt"]
    assert verdict.title == "Judge: C16 does not hold on myk8s-worker: rule 2"


def test_services_of_others_are_not_shown(world: World) -> None:
    """A reading knows all Services; the test is about the one it judges."""
    other = replace(world.service, name="affinity-other")
    sync = SyncResult((other, world.service), {}, {"a": 0.4}, {"a": ()}, {}, 0.4)
    reading = looked(world, world.node("myk8s-worker"))

    found = seen(sync, reading, judged(world))

    assert names(found[1])[-1] == "rules of default/affinity-sticky-x7k2p, expected and seen txt"


def test_a_reading_of_another_family_says_nothing_of_this_one(world: World) -> None:
    reading = replace(looked(world, world.node("myk8s-worker")), family="IPv6")

    assert names(seen(reading, judged(world))[0]) == []


def test_how_rules_came_is_said_in_a_line(world: World) -> None:
    done = SyncResult((world.service,), {"a": world.programmed("a")}, {"a": 0.4}, {"a": (), "b": ()}, {}, 2.0)
    witnessed = SyncResult((world.service,), {}, {}, {}, {}, 1.25)

    assert seen(done)[0].title == "Observe: rules in place on 1 of 2 nodes: a 0.40 s; not on b"
    assert seen(witnessed)[0].title == "Observe: a Service made after the change answers, 1.25 s after it"


def test_short_texts_are_lines_and_long_ones_attachments() -> None:
    short, long = seen(Note("latency", "a 0.4 s"), Note("log", "one\ntwo"))

    assert (short.title, short.attachments) == ("Observe: latency: a 0.4 s", ())
    assert (long.title, names(long)) == ("Observe: log", ["log txt"])


def test_trials_are_a_picture_and_a_table(world: World) -> None:
    contacts = tuple(
        replace(one, not_before=moment, not_after=moment)
        for one, moment in zip(world.answers("webpod1", "webpod2"), (0.0, 31.0), strict=True)
    )

    (found,) = seen(TrialsSeen((Trial(world.service, contacts),)))

    assert names(found) == ["who was kept how long svg", "trials csv"]


def test_a_course_is_told_stage_by_stage(world: World) -> None:
    sync = SyncResult((world.service,), {"a": world.node("a", {1: {CLIENT: (2,)}})}, {"a": 0.5}, {"a": ()}, {}, 0.5)
    stages = (
        Stage("as it was", world.service, sync, answers=world.answers("webpod1", "webpod1")),
        Stage("webpod1 deleted", world.service, sync, world.answers(None), world.answers("webpod2")),
    )

    (found,) = seen(ScenarioResult(stages))

    assert names(found) == ["answers by stage svg", "answers by stage csv"]
    assert "2: webpod1 deleted" in found.attachments[0].body
    assert [one.title.partition(":")[0] for one in found.steps] == ["as it was", "webpod1 deleted"]
    assert names(found.steps[0]) == ["clients remembered, ages computed csv"]


@pytest.mark.parametrize("switches", [3, 20])
def test_there_are_ten_steps_at_most_and_nothing_is_lost(world: World, switches: int) -> None:
    asked = RequestRound("net-pod", CLIENT, "myk8s-worker", world.answers("webpod1"))
    what = [one for _ in range(switches) for one in (Action("one"), Action("two"), asked, NodeRead({}))]

    found = seen(*what, judged(world))

    assert len(found) <= MOST_STEPS
    assert found[-1].phase is Phase.JUDGE
    assert len([one for one in _all(found) if not one.steps]) == 4 * switches + 1


def test_what_nobody_knows_to_show_is_passed_over() -> None:
    assert seen(object()) == ()


def test_a_service_without_affinity_has_no_timeout(world: World) -> None:
    plain = replace(world.service, session_affinity="None", timeout_seconds=None)

    assert "sessionAffinity None, 3 endpoints" in seen(stored(plain))[0].title
    assert CLIENT_IP in seen(stored(world.service, CHANGED))[0].title


def _all(found: tuple[ReportStep, ...]) -> list[ReportStep]:
    return [one for step in found for one in (step, *_all(step.steps))]
