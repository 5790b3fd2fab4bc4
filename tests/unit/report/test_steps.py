"""The recorded events of a test, as steps of the report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import KUBE_PROXY, Claim
from session_affinity.dataplane.model import CLIENT_IP, ServiceState
from session_affinity.recorder import (
    CHANGED,
    CREATED,
    READ,
    Action,
    Conclusion,
    Event,
    NodeRead,
    Note,
    RequestRound,
    ServiceStored,
)
from session_affinity.report.attachment import MediaType
from session_affinity.report.steps import MOST_STEPS, Context, Phase, ReportStep, steps
from session_affinity.scenarios.endpoint_changes.result import ScenarioResult, StepResult
from session_affinity.scenarios.endpoint_changes.scenario import ScenarioStep
from session_affinity.scenarios.expiry.shared_wait import ExpiredElements, SilentClients
from session_affinity.scenarios.expiry.trials import Trial, TrialsSeen
from session_affinity.testbed.testbed import SyncResult
from session_affinity.verdicts.verdict import Finding, Verdict
from tests.unit.verdicts.conftest import CLIENT, HZ, PROXIES

if TYPE_CHECKING:
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.recorder import Recorded
    from tests.unit.verdicts.conftest import World

CONTEXT = Context(PROXIES, {"myk8s-worker": HZ})
CLAIM = Claim("C16", "Each rcheck rule has the right arguments", KUBE_PROXY, "syncProxyRules")
ENTRIES = "affinity entries, with ages csv"
RULES = "rules of default/affinity-sticky-x7k2p, expected and seen txt"


def steps_of(*observations: Recorded, setup: int = 0) -> tuple[ReportStep, ...]:
    events = [Event(entry, 1000.0 + place, 1000.5 + place) for place, entry in enumerate(observations)]
    return steps(events, CONTEXT, setup)


def stored(service: ServiceState, how: str = CREATED) -> ServiceStored:
    metadata = {"name": service.name, "namespace": service.namespace, "managedFields": [{"manager": "x"}]}
    piece = {"metadata": {"name": "slice", "labels": {"kubernetes.io/service-name": service.name}}, "endpoints": []}
    return ServiceStored((service,), ({"kind": "Service", "metadata": metadata},), (piece,), how)


def concluded(world: World, *, ok: bool = True) -> Conclusion:
    findings = () if ok else (Finding("myk8s-worker", "30", "3600"),)
    return Conclusion(Verdict("as computed" if ok else "rule 2", findings, world.service), CLAIM)


def node_read(world: World, *states: NodeSnapshot) -> NodeRead:
    ruleset = world.programmed("x").ruleset
    return NodeRead(
        {state.node: replace(state, ruleset=ruleset, program="iptables-save") for state in states},
        world.service.family,
    )


def sent(world: World, *endpoints: str | None, name: str = "answers") -> RequestRound:
    return RequestRound("net-pod", CLIENT, "myk8s-worker", world.answers(*endpoints), name)


def names(step: ReportStep) -> list[str]:
    return [f"{attachment.name} {attachment.kind.extension}" for attachment in step.attachments]


def test_a_test_reads_as_arrange_observe_judge(world: World) -> None:
    made = steps_of(stored(world.service), sent(world, "webpod1", "webpod1"), concluded(world), setup=1)

    assert [step.title for step in made] == [
        "Arrange: created Service default/affinity-sticky-x7k2p with sessionAffinity ClientIP, 30 s, 3 endpoints",
        "Observe: net-pod (10.10.0.6) on myk8s-worker sent 2 requests: webpod1 2",
        "Judge: holds: as computed",
    ]
    assert (made[0].began, made[0].ended) == (1000.0, 1000.5)


def test_changes_are_arranging_and_reads_are_observing(world: World) -> None:
    made = steps_of(stored(world.service, CHANGED), Action("removed pod webpod4"), stored(world.service, READ))

    assert [step.phase for step in made] == [Phase.ARRANGE, Phase.ARRANGE, Phase.OBSERVE]


def test_objects_are_shown_as_served(world: World) -> None:
    (attachment,) = steps_of(stored(world.service))[0].attachments

    assert attachment.kind is MediaType.YAML
    assert "kind: Service" in attachment.body
    assert "name: slice" in attachment.body
    assert "managedFields" not in attachment.body


def test_answers_are_a_picture_and_a_table_under_their_name(world: World) -> None:
    assert names(steps_of(sent(world, "webpod1", "webpod2"))[0]) == ["answers svg", "answers csv"]
    named = sent(world, "webpod1", "webpod2", name="answers under ClientIP")
    assert names(steps_of(named)[0])[0] == "answers under ClientIP svg"


def test_a_single_answer_has_no_picture(world: World) -> None:
    assert names(steps_of(sent(world, "webpod1"))[0]) == ["answers csv"]


def test_every_read_has_the_entries_and_the_last_one_the_rules(world: World) -> None:
    read = node_read(world, world.node("myk8s-worker", {0: {CLIENT: (1,)}}))

    first, last, _ = steps_of(read, read, concluded(world))

    assert names(first) == [ENTRIES]
    assert names(last) == [ENTRIES, RULES]


def test_after_a_failure_the_rules_are_shown_before_and_after_the_verdict(world: World) -> None:
    read = node_read(world, world.node("myk8s-worker"))

    before, verdict, after = steps_of(read, concluded(world, ok=False), read)

    assert [len(names(step)) for step in (before, after)] == [2, 2]
    assert before.title == "Observe: read the state of myk8s-worker"
    assert after.title == "Observe: read the state of myk8s-worker again, after the verdict"
    assert not verdict.ok
    assert names(verdict) == ["verdict txt"]
    assert verdict.title == "Judge: C16 does not hold on myk8s-worker: rule 2"


def test_only_the_judged_service_is_shown(world: World) -> None:
    """A node read has all Services; the test is about the one it judges."""
    other = replace(world.service, name="affinity-other")
    sync = SyncResult((other, world.service), {}, {"a": 0.4}, {"a": ()}, {}, 0.4)
    read = node_read(world, world.node("myk8s-worker"))

    assert names(steps_of(sync, read, concluded(world))[1])[-1] == RULES


def test_a_read_in_another_family_has_no_rules_of_this_one(world: World) -> None:
    read = replace(node_read(world, world.node("myk8s-worker")), family="IPv6")

    assert names(steps_of(read, concluded(world))[0]) == []


def test_a_sync_has_its_seconds_in_the_title(world: World) -> None:
    by_rules = SyncResult((world.service,), {"a": world.programmed("a")}, {"a": 0.4}, {"a": (), "b": ()}, {}, 2.0)
    by_sentinel = SyncResult((world.service,), {}, {}, {}, {}, 1.25)

    assert steps_of(by_rules)[0].title == "Observe: rules in place on 1 of 2 nodes: a 0.40 s; not on b"
    assert steps_of(by_sentinel)[0].title == (
        "Observe: a sentinel Service created after the change answered 1.25 s after it"
    )


def test_short_notes_are_titles_and_long_ones_attachments() -> None:
    short, long = steps_of(Note("latency", "a 0.4 s"), Note("log", "one\ntwo"))

    assert (short.title, short.attachments) == ("Observe: latency: a 0.4 s", ())
    assert (long.title, names(long)) == ("Observe: log", ["log txt"])


def test_trials_are_a_picture_and_a_table(world: World) -> None:
    contacts = (world.contact("webpod1", 0.0), world.contact("webpod2", 31.0))

    (step,) = steps_of(TrialsSeen((Trial(world.service, contacts),)))

    assert names(step) == ["how long each client stayed on its endpoint svg", "trials csv"]


def test_silent_clients_are_a_picture(world: World) -> None:
    silent = SilentClients((world.service,), world.answers("webpod1"), world.node("a"), world.answers("webpod2"))

    (step,) = steps_of(silent)

    assert step.title == "Observe: 1 clients that sent nothing until their timeout was over"
    assert names(step) == ["how long each client stayed on its endpoint svg"]


def test_expired_elements_have_the_requests_that_made_them(world: World) -> None:
    node = world.node_with_sets("a", {})

    (step,) = steps_of(ExpiredElements((world.service,), (world.contact("webpod1", 0.0),), node, node))

    assert names(step) == ["requests before the timeout csv"]
    assert "webpod1" in step.attachments[0].body


def test_a_scenario_has_a_step_for_each_step(world: World) -> None:
    sync = SyncResult((world.service,), {"a": world.node("a", {1: {CLIENT: (2,)}})}, {"a": 0.5}, {"a": ()}, {}, 0.5)
    steps = (
        StepResult(ScenarioStep.MADE, world.service, sync, answers=world.answers("webpod1", "webpod1")),
        StepResult(ScenarioStep.POD_DELETED, world.service, sync, world.answers(None), world.answers("webpod2")),
    )

    (step,) = steps_of(ScenarioResult(steps))

    assert names(step) == ["answers by step svg", "answers by step csv"]
    assert "2: the client&#x27;s pod deleted" in step.attachments[0].body
    assert [part.title.partition(":")[0] for part in step.steps] == ["made", "the client's pod deleted"]
    assert names(step.steps[0]) == [ENTRIES]


@pytest.mark.parametrize("changes", [3, 20])
def test_there_are_ten_steps_at_most_and_no_event_is_lost(world: World, changes: int) -> None:
    events = (Action("one"), Action("two"), sent(world, "webpod1"), NodeRead({}))

    made = steps_of(*(event for _ in range(changes) for event in events), concluded(world))

    assert len(made) <= MOST_STEPS
    assert made[-1].phase is Phase.JUDGE
    assert len([step for step in all_steps(made) if not step.steps]) == 4 * changes + 1


def test_an_observation_of_an_unknown_kind_raises() -> None:
    with pytest.raises(AssertionError, match="to be unreachable"):
        steps_of("a string")


def test_a_service_without_affinity_has_no_timeout(world: World) -> None:
    plain = replace(world.service, session_affinity="None", timeout_seconds=None)

    assert "sessionAffinity None, 3 endpoints" in steps_of(stored(plain))[0].title
    assert f"to sessionAffinity {CLIENT_IP}" in steps_of(stored(world.service, CHANGED))[0].title


def all_steps(made: tuple[ReportStep, ...]) -> list[ReportStep]:
    return [part for step in made for part in (step, *all_steps(step.steps))]
