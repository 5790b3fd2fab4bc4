"""No judge holds without evidence: given nothing, one node or lost requests, it raises or does not hold.

``ROWS`` has, for each judge, observations that are no evidence for its claim. A judge without a row fails
``test_every_judge_has_a_row``; add one with all that the judge compares missing, once per part.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from session_affinity import verdicts
from session_affinity.dataplane.backend import AffinityEntry
from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.dataplane.differences import Aspect, Difference
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.errors import NothingObservedError
from session_affinity.kube.reply import ApiAnswer, Reply
from session_affinity.nodes.kube_proxy import FailureCounter
from session_affinity.scenarios.answered_shapes import AnsweredShape, AnsweredShapes
from session_affinity.scenarios.comparison import Comparison
from session_affinity.scenarios.disruption.flush import Repair
from session_affinity.scenarios.disruption.many_services import ManyServices
from session_affinity.scenarios.disruption.outages import BlockingRule, KubeProxyRestart, MissedChanges, NodeRules
from session_affinity.scenarios.endpoint_changes.result import ScenarioResult, StepResult
from session_affinity.scenarios.endpoint_changes.scenario import Scenario, ScenarioStep
from session_affinity.scenarios.expiry.shared_wait import ExpiredElements, SilentClients, TimeoutPatch
from session_affinity.scenarios.expiry.trials import Trial
from session_affinity.scenarios.limits.full_list import FullList, ListRead, ReturningClient
from session_affinity.scenarios.shapes import ShapesSeen
from session_affinity.scenarios.walks.bindings import WrongEntry
from session_affinity.scenarios.walks.result import WalkResult
from session_affinity.shapes.covering import Coverage
from session_affinity.shapes.dimensions import DEFAULTS
from session_affinity.testbed.testbed import SyncResult
from session_affinity.traffic.answers import Answers, Target
from session_affinity.traffic.client import ClientId
from session_affinity.verdicts import (
    answered_shapes,
    api_fields,
    disruption,
    distribution,
    dual_stack,
    endpoint_changes,
    equivalence,
    expiry,
    flows,
    limits,
    lists,
    many_clients,
    paths,
    rules,
    server_side_apply,
    shapes,
    spread,
    timeout_patch,
    walks,
)
from session_affinity.verdicts.verdict import combine
from tests.unit.verdicts.conftest import CLIENT, CLIENT_ID, HOME, HZ

if TYPE_CHECKING:
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.verdicts.spread import SpreadVerdict
    from session_affinity.verdicts.verdict import Verdict
    from tests.unit.verdicts.conftest import World

pytestmark = pytest.mark.unit

Row = Callable[["World"], "Verdict | SpreadVerdict"]

A, B = "webpod1", "webpod2"
OTHER: Final = "myk8s-worker"
NONE: Final = Answers(())
"""No request was sent."""
RULES: Final[equivalence.RulesByNode] = {HOME: ("rule a",), OTHER: ("rule a",)}
SPEC: Final = {"sessionAffinity": "ClientIP"}
EMPTY: Final = ApiAnswer("a request", Reply(200, {}))
LOST: Final = ApiAnswer("a request", Reply(0, {}))
MADE, CHANGED = ScenarioStep.MADE, ScenarioStep.SCALED_TO_5
WINDOW: Final = expiry.Window(0, 100)
FAILED: Final = {FailureCounter("a transaction of nft failed"): 0}
WRONG: Final = Difference(HOME, "KUBE-SVC-X", 3, Aspect.UNEXPECTED_RULE, "no such rule", "-j RETURN", "no Service")


def lost(world: World, count: int = 3) -> Answers:
    """Return requests that were all lost."""
    return world.answers(*[None] * count)


def without_endpoints(world: World) -> ServiceState:
    """Return the Service without endpoints."""
    return replace(world.service, ports=tuple(replace(port, endpoints=()) for port in world.service.ports))


def one_endpoint(world: World) -> ServiceState:
    """Return the Service with its first endpoint alone."""
    return replace(
        world.service, ports=tuple(replace(port, endpoints=port.endpoints[:1]) for port in world.service.ports)
    )


def sync(world: World, *nodes: NodeSnapshot) -> SyncResult:
    """Return the end of a wait in which these nodes were read and are right."""
    names = [node.node for node in nodes]
    states = dict(zip(names, nodes, strict=True))
    return SyncResult((world.service,), states, dict.fromkeys(names, 0.5), dict.fromkeys(names, ()), {}, 0.5)


# Clients in two IP families.


def family(world: World, address: str = CLIENT, connections: int = 20) -> dual_stack.ClientInFamily:
    """Return a client with its entry."""
    state = world.node(HOME, {0: {address: tuple(range(connections))}})
    return dual_stack.ClientInFamily(world.service, CLIENT_ID._replace(address=address), state)


def move(world: World, place: int, answers: Answers, other: Answers) -> dual_stack.EntryMove:
    """Return an entry moved to an endpoint."""
    return dual_stack.EntryMove(world.service.endpoints[place], answers, other)


def families_independent(world: World, *moves: dual_stack.EntryMove) -> Verdict:
    services = (world.service, replace(world.service, family="IPv6"))
    return dual_stack.judge_families_independent(services, CLIENT_ID, moves)


# Endpoints that change.


def step(world: World, answers: Answers, *nodes: NodeSnapshot, service: ServiceState | None = None) -> StepResult:
    """Return a step of a Service over all endpoints."""
    usable = tuple(endpoint.pod for endpoint in world.service.endpoints)
    differences = {node.node: () for node in nodes}
    service = service or world.service
    return StepResult(CHANGED, service, sync(world, *nodes), answers=answers, differences=differences, usable=usable)


def flowing(world: World, before: tuple[Answers, ...], after: tuple[Answers, ...]) -> ScenarioResult:
    """Return a scenario with flows of datagrams in which the first endpoint is removed."""
    first, second = step(world, NONE), step(world, NONE)
    return result(replace(first, flows=before), replace(second, flows=after, usable=first.usable[1:]))


def result(before: StepResult, *after: StepResult) -> ScenarioResult:
    """Return a scenario of these steps."""
    return ScenarioResult((replace(before, step=MADE), *after))


# The shared wait.


def trial(world: World, *answers: str | None) -> Trial:
    """Return a trial whose connections came 31 s apart."""
    contacts = tuple(world.contact(pod, 100.0 + 31 * number) for number, pod in enumerate(answers))
    return Trial(world.service, contacts, reused=1)


def silent(world: World, first: Answers, probes: Answers, **changes: object) -> SilentClients:
    """Return silent clients without entries, of as many Services as requests."""
    usual = {
        "services": (world.service,) * len(first),
        "first": first,
        "at_end": world.node(HOME),
        "probes": probes,
        "probed": world.node(HOME),
    }
    return SilentClients(**{**usual, **changes})  # type: ignore[arg-type]


def patch(world: World, **changes: object) -> TimeoutPatch:
    """Return a patch that reached the client's node, where the client kept its entry."""
    node = world.node(HOME, {0: {CLIENT: (5,)}})
    usual = TimeoutPatch((world.service,), {HOME: node}, sync(world, node), {HOME: ()})
    return replace(usual, **changes)  # type: ignore[arg-type]


# Many clients.


def run(answers: Answers, client: ClientId = CLIENT_ID) -> many_clients.ClientRun:
    """Return a client's requests to the Service."""
    return many_clients.ClientRun(client, answers)


SECOND: Final = ClientId("second", "10.10.1.6", OTHER)


# Paths.

TARGET: Final = Target("10.200.1.17", 9000)
"""The Service's own."""


def path(world: World, answers: Answers, client: ClientId = CLIENT_ID) -> paths.PathRequests:
    """Return requests on one path."""
    return paths.PathRequests(world.service, client, {TARGET: "to the cluster IP"}, answers)


def no_path(world: World) -> paths.PathRequests:
    """Return requests on no path."""
    return paths.PathRequests(world.service, CLIENT_ID, {}, NONE)


# Nodes that are disturbed.


def node_rules(world: World) -> NodeRules:
    """Return the right rules of the client's node."""
    return NodeRules(HOME, ((world.service, ()),), 1.0)


NO_RULES: Final = NodeRules(HOME, (), 1.0)


def entries(world: World) -> tuple[AffinityEntry, ...]:
    """Return the client's entry."""
    return (AffinityEntry("list-1", world.service.endpoints[0], CLIENT, 100.0),)


def restart(world: World, **changes: object) -> KubeProxyRestart:
    """Return a restart without effect."""
    answers = world.answers(A, A)
    usual = KubeProxyRestart(
        *(world.service, answers, entries(world), entries(world), node_rules(world), 0.5, world.service, (answers,)),
        missed_changes(world),
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def missed_changes(world: World, **changes: object) -> MissedChanges:
    """Return changes that all arrived."""
    service, answers = world.service, world.answers(A, A)
    gone = replace(service, cluster_ips=("10.200.1.99",))
    usual = MissedChanges(
        *(service, service, service, service, gone, service),
        *(answers, answers, world.answers(None), (world.answers(A, None),)),
        *(1.5, node_rules(world), entries(world), entries(world)),
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def many_services(world: World, first: Answers, again: Answers, answers: Answers) -> ManyServices:
    return ManyServices(world.service, world.service, first, again, answers, sync(world, world.programmed(HOME)))


def shapes_seen(
    world: World,
    *,
    rows: dict[str, dict[str, str]] | None = None,
    services: tuple[ServiceState, ...] | None = None,
    nodes: tuple[str, ...] = (HOME,),
    nodes_at_end: tuple[str, ...] = (HOME,),
) -> ShapesSeen:
    given = (world.service,) if services is None else services
    compared = Comparison(given, {node: {} for node in nodes}, {}, {})
    removed = Comparison((), {node: {} for node in nodes_at_end}, {}, {})
    rows = {world.service.name: {}} if rows is None else rows
    return ShapesSeen("compact", rows, {}, Coverage(1, 1, 0, 0), {"IPv4": compared}, {"IPv4": removed})


def first_lost(world: World) -> Verdict:
    """Judge a Service whose first request is lost, and which two endpoints answer later."""
    seen = many_services(world, lost(world, 1), world.answers(A, B), world.answers(A, A))
    return disruption.judge_many_services(seen, CLIENT_ID)


ROWS: Final[dict[Callable[..., object], dict[str, Row]]] = {
    # What the API stores.
    api_fields.judge_stored_affinity: {
        "empty": lambda _: api_fields.judge_stored_affinity(),
        "empty reply": lambda _: api_fields.judge_stored_affinity((EMPTY, "None", None)),
        "all lost": lambda _: api_fields.judge_stored_affinity((LOST, "None", None)),
    },
    api_fields.judge_refusals: {
        "empty": lambda _: api_fields.judge_refusals([]),
        "empty reply": lambda _: api_fields.judge_refusals([(EMPTY, api_fields.TIMEOUT_REFUSED)]),
        "all lost": lambda _: api_fields.judge_refusals([(LOST, api_fields.TIMEOUT_REFUSED)]),
    },
    api_fields.judge_warnings: {
        "empty": lambda _: api_fields.judge_warnings([], "v1.37.2"),
        "all lost": lambda _: api_fields.judge_warnings([(LOST, False)], "v1.37.2"),
    },
    server_side_apply.judge_apply_conflict: {
        "empty reply": lambda _: server_side_apply.judge_apply_conflict(
            server_side_apply.ApplyConflict(EMPTY, EMPTY, EMPTY, EMPTY, ("first", "second"), (600, 30))
        ),
        "all lost": lambda _: server_side_apply.judge_apply_conflict(
            server_side_apply.ApplyConflict(LOST, LOST, LOST, LOST, ("first", "second"), (600, 30))
        ),
    },
    equivalence.judge_equivalence: {
        "empty": lambda world: equivalence.judge_equivalence(world.service, (SPEC, SPEC), ({}, {})),
        "no specification": lambda world: equivalence.judge_equivalence(world.service, ({}, {}), (RULES, RULES)),
        "no rules": lambda world: equivalence.judge_equivalence(world.service, (SPEC, SPEC), ({HOME: ()}, {HOME: ()})),
        "read after the switch only": lambda world: equivalence.judge_equivalence(
            world.service, (SPEC, SPEC), ({HOME: ("rule a",)}, RULES)
        ),
    },
    equivalence.judge_not_programmed: {
        "empty": lambda _: equivalence.judge_not_programmed({}, RULES),
        "no node": lambda _: equivalence.judge_not_programmed({"default/bare": {}}, {}),
        "node not read": lambda _: equivalence.judge_not_programmed({"default/bare": {HOME: ()}}, RULES),
        "no control": lambda _: equivalence.judge_not_programmed({"default/bare": {HOME: ()}}, {HOME: ()}),
    },
    # Which endpoints answer.
    distribution.judge_one_endpoint: {
        "empty": lambda world: distribution.judge_one_endpoint(world.service, CLIENT_ID, NONE),
        "all lost": lambda world: distribution.judge_one_endpoint(world.service, CLIENT_ID, lost(world)),
    },
    distribution.judge_even_spread: {
        "empty": lambda world: distribution.judge_even_spread(world.service, CLIENT_ID, NONE, 1e-7),
        "all lost": lambda world: distribution.judge_even_spread(world.service, CLIENT_ID, lost(world, 300), 1e-7),
        "no endpoint": lambda world: distribution.judge_even_spread(
            without_endpoints(world), CLIENT_ID, world.answers(*[A] * 300), 1e-7
        ),
        "one endpoint": lambda world: distribution.judge_even_spread(
            one_endpoint(world), CLIENT_ID, world.answers(*[A] * 300), 1e-7
        ),
    },
    distribution.judge_entry_of_answer: {
        "empty": lambda world: distribution.judge_entry_of_answer(
            IPTABLES, world.service, CLIENT_ID, NONE, state=world.node(HOME, {0: {CLIENT: (0,)}})
        ),
        "no entry": lambda world: distribution.judge_entry_of_answer(
            IPTABLES, world.service, CLIENT_ID, world.answers(A), state=NodeSnapshot(HOME)
        ),
        "all lost": lambda world: distribution.judge_entry_of_answer(
            IPTABLES, world.service, CLIENT_ID, lost(world), state=world.node(HOME)
        ),
    },
    distribution.judge_translation: {
        "empty": lambda world: distribution.judge_translation(
            world.service, CLIENT_ID, NONE, world.node(HOME, flows=())
        ),
        "not read": lambda world: distribution.judge_translation(
            world.service, CLIENT_ID, world.answers(A), world.node(HOME)
        ),
        "all lost": lambda world: distribution.judge_translation(
            world.service, CLIENT_ID, lost(world), world.node(HOME, flows=())
        ),
    },
    spread.judge_spread: {
        "empty": lambda _: spread.judge_spread({}, (A, B), 1e-7),
        "no endpoint": lambda _: spread.judge_spread({A: 300}, (), 1e-7),
    },
    dual_stack.judge_entry_per_family: {
        "empty": lambda _: dual_stack.judge_entry_per_family(IPTABLES, [], 20, HZ, sent_again=0),
        "one family": lambda world: dual_stack.judge_entry_per_family(IPTABLES, [family(world)], 20, HZ, sent_again=0),
        "all lost": lambda world: dual_stack.judge_entry_per_family(
            IPTABLES, [replace(family(world), state=NodeSnapshot(HOME, jiffies=1))] * 2, 20, HZ, sent_again=0
        ),
    },
    dual_stack.judge_families_independent: {
        "empty": families_independent,
        "one move": lambda world: families_independent(world, move(world, 0, world.answers(A), world.answers(A))),
        "nothing requested": lambda world: families_independent(
            world, move(world, 0, NONE, NONE), move(world, 1, NONE, NONE)
        ),
        "all lost": lambda world: families_independent(
            world, move(world, 0, lost(world), lost(world)), move(world, 1, lost(world), lost(world))
        ),
    },
    # Endpoints that change.
    endpoint_changes.judge_step: {
        "empty": lambda world: endpoint_changes.judge_step(
            result(step(world, NONE), step(world, NONE)), CHANGED, CLIENT_ID
        ),
        "no such step": lambda world: endpoint_changes.judge_step(
            result(step(world, world.answers(A))), CHANGED, CLIENT_ID
        ),
        "nothing requested before": lambda world: endpoint_changes.judge_step(
            result(step(world, NONE), step(world, world.answers(A))), CHANGED, CLIENT_ID
        ),
        "first lost": lambda world: endpoint_changes.judge_step(
            result(step(world, lost(world)), step(world, world.answers(A))), CHANGED, CLIENT_ID
        ),
        "all lost": lambda world: endpoint_changes.judge_step(
            result(step(world, lost(world)), step(world, lost(world))), CHANGED, CLIENT_ID
        ),
        "without endpoints, nothing requested": lambda world: endpoint_changes.judge_step(
            result(step(world, world.answers(A)), replace(step(world, NONE), usable=())), CHANGED, CLIENT_ID
        ),
    },
    endpoint_changes.judge_steps: {
        "empty": lambda world: endpoint_changes.judge_steps(result(step(world, world.answers(A))), CLIENT_ID),
        "all lost": lambda world: endpoint_changes.judge_steps(
            result(step(world, lost(world)), step(world, lost(world))), CLIENT_ID
        ),
    },
    endpoint_changes.judge_step_rules: {
        "empty": lambda _: endpoint_changes.judge_step_rules(),
        "no node": lambda world: endpoint_changes.judge_step_rules(step(world, world.answers(A))),
    },
    endpoint_changes.judge_no_entries: {
        "empty": lambda world: endpoint_changes.judge_no_entries(step(world, NONE), IPTABLES),
        "no lists": lambda world: endpoint_changes.judge_no_entries(step(world, NONE, NodeSnapshot(HOME)), IPTABLES),
        "no endpoint": lambda world: endpoint_changes.judge_no_entries(
            step(world, NONE, world.node(HOME), service=without_endpoints(world)), IPTABLES
        ),
    },
    endpoint_changes.judge_entry_kept: {
        "empty": lambda world: endpoint_changes.judge_entry_kept(
            result(step(world, NONE), step(world, NONE)), CHANGED, CLIENT_ID, IPTABLES
        ),
        "no node": lambda world: endpoint_changes.judge_entry_kept(
            result(step(world, world.answers(A)), step(world, NONE)), CHANGED, CLIENT_ID, IPTABLES
        ),
        "all lost": lambda world: endpoint_changes.judge_entry_kept(
            result(step(world, lost(world)), step(world, NONE, world.node(HOME))), CHANGED, CLIENT_ID, IPTABLES
        ),
    },
    endpoint_changes.judge_leftovers: {
        "empty": lambda _: endpoint_changes.judge_leftovers({}),
        "no node": lambda world: endpoint_changes.judge_leftovers({Scenario.SCALED: result(step(world, NONE))}),
    },
    # Timeouts.
    expiry.judge_kept: {
        "empty": lambda _: expiry.judge_kept([], WINDOW),
        "nothing requested": lambda world: expiry.judge_kept([trial(world)], WINDOW),
        "no probe": lambda world: expiry.judge_kept([trial(world, A)], WINDOW),
        "all lost": lambda world: expiry.judge_kept([trial(world, None, None)], WINDOW),
    },
    expiry.judge_renewed: {
        "empty": lambda _: expiry.judge_renewed([], 30),
        "no probe": lambda world: expiry.judge_renewed([trial(world, A, A)], 30),
        "all lost": lambda world: expiry.judge_renewed([trial(world, None, None, None)], 30),
    },
    expiry.judge_free: {
        "empty": lambda _: expiry.judge_free([], WINDOW),
        "no probe": lambda world: expiry.judge_free([trial(world, A)], WINDOW),
        "all lost": lambda world: expiry.judge_free([trial(world, None, None)], WINDOW),
    },
    expiry.judge_no_renewal_by_traffic: {
        "empty": lambda _: expiry.judge_no_renewal_by_traffic([], WINDOW),
        "no probe": lambda world: expiry.judge_no_renewal_by_traffic([trial(world, A)], WINDOW),
        "all lost": lambda world: expiry.judge_no_renewal_by_traffic([trial(world, None, None)], WINDOW),
    },
    timeout_patch.judge_timeout_patch: {
        "empty": lambda world: timeout_patch.judge_timeout_patch(IPTABLES, patch(world, services=()), CLIENT_ID),
        "no node": lambda world: timeout_patch.judge_timeout_patch(
            IPTABLES, patch(world, after=sync(world)), CLIENT_ID
        ),
        "client's node not read": lambda world: timeout_patch.judge_timeout_patch(
            IPTABLES, patch(world, before={}), CLIENT_ID
        ),
        "not read again": lambda world: timeout_patch.judge_timeout_patch(IPTABLES, patch(world, later={}), CLIENT_ID),
        "no entry": lambda world: timeout_patch.judge_timeout_patch(
            IPTABLES, patch(world, before={HOME: world.node(HOME)}, after=sync(world, world.node(HOME))), CLIENT_ID
        ),
    },
    timeout_patch.judge_expired_entries: {
        "empty": lambda world: timeout_patch.judge_expired_entries(silent(world, NONE, NONE), CLIENT_ID, HZ),
        "all lost": lambda world: timeout_patch.judge_expired_entries(
            silent(world, lost(world), lost(world)), CLIENT_ID, HZ
        ),
    },
    timeout_patch.judge_old_expiry: {
        "empty": lambda world: timeout_patch.judge_old_expiry(silent(world, NONE, NONE), CLIENT_ID),
        "not read after": lambda world: timeout_patch.judge_old_expiry(
            silent(world, world.answers(A), world.answers(A), probed=None), CLIENT_ID
        ),
        "all lost": lambda world: timeout_patch.judge_old_expiry(silent(world, lost(world), lost(world)), CLIENT_ID),
    },
    timeout_patch.judge_expired_elements: {
        "empty": lambda world: timeout_patch.judge_expired_elements(
            ExpiredElements((), (), world.node(HOME), world.node(HOME)), CLIENT_ID
        ),
        "all lost": lambda world: timeout_patch.judge_expired_elements(
            ExpiredElements((world.service,), (world.contact(None, 100.0),), world.node(HOME), world.node(HOME)),
            CLIENT_ID,
        ),
    },
    limits.judge_full_list: {
        "empty": lambda world: limits.judge_full_list(FullList(world.service, HOME, CLIENT, 100, ())),
        "no client": lambda world: limits.judge_full_list(
            FullList(world.service, HOME, CLIENT, 100, (ListRead("filled", frozenset(), frozenset()),))
        ),
    },
    limits.judge_return: {
        "empty": lambda world: limits.judge_return(
            ReturningClient(world.service, *world.service.endpoints[:2], NONE, NONE)
        ),
        "one endpoint": lambda world: limits.judge_return(
            ReturningClient(world.service, *world.service.endpoints[:1] * 2, world.answers(A), world.answers(A))
        ),
        "all lost": lambda world: limits.judge_return(
            ReturningClient(world.service, *world.service.endpoints[:2], lost(world), lost(world))
        ),
    },
    # Entries of one client.
    lists.judge_one_entry: {
        "empty": lambda world: lists.judge_one_entry(world.service, CLIENT_ID, [], HZ),
        "before any request only": lambda world: lists.judge_one_entry(
            world.service, CLIENT_ID, [lists.EntryRound(world.answers(), world.node(HOME), 0)], HZ
        ),
        "no entry": lambda world: lists.judge_one_entry(
            world.service, CLIENT_ID, [lists.EntryRound(world.answers(*["webpod1"] * 20), world.node(HOME), 0)], HZ
        ),
    },
    lists.judge_one_element: {
        "empty": lambda world: lists.judge_one_element(
            world.service, CLIENT_ID, NodeSnapshot(HOME), NodeSnapshot(HOME), seconds=0.5
        ),
    },
    lists.judge_other_nodes: {
        "empty": lambda world: lists.judge_other_nodes(IPTABLES, world.service, CLIENT_ID, {}),
        "one node": lambda world: lists.judge_other_nodes(
            IPTABLES, world.service, CLIENT_ID, {HOME: world.node(HOME, {0: {CLIENT: (0,)}})}
        ),
        "no lists": lambda world: lists.judge_other_nodes(
            IPTABLES, world.service, CLIENT_ID, {OTHER: NodeSnapshot(OTHER)}
        ),
        "no endpoint": lambda world: lists.judge_other_nodes(
            IPTABLES, without_endpoints(world), CLIENT_ID, {OTHER: NodeSnapshot(OTHER)}
        ),
    },
    lists.judge_entries_cleared: {
        "empty": lambda world: lists.judge_entries_cleared(
            IPTABLES, world.service, world.node(HOME, {0: {CLIENT: (0,)}}), {}, {}
        ),
        "no entry before": lambda world: lists.judge_entries_cleared(
            IPTABLES, world.service, world.node(HOME), {HOME: NodeSnapshot(HOME)}, {HOME: world.node(HOME)}
        ),
        "read under None only": lambda world: lists.judge_entries_cleared(
            IPTABLES, world.service, world.node(HOME, {0: {CLIENT: (0,)}}), {HOME: NodeSnapshot(HOME)}, {}
        ),
        "read under ClientIP only": lambda world: lists.judge_entries_cleared(
            IPTABLES, world.service, world.node(HOME, {0: {CLIENT: (0,)}}), {}, {HOME: world.node(HOME)}
        ),
    },
    lists.judge_moved_entries: {
        "empty": lambda world: lists.judge_moved_entries(world.service, CLIENT_ID, []),
        "one move": lambda world: lists.judge_moved_entries(
            world.service, CLIENT_ID, [(world.service.endpoints[0], world.answers(A))]
        ),
        "nothing requested": lambda world: lists.judge_moved_entries(
            world.service, CLIENT_ID, [(endpoint, NONE) for endpoint in world.service.endpoints]
        ),
        "all lost": lambda world: lists.judge_moved_entries(
            world.service, CLIENT_ID, [(endpoint, lost(world)) for endpoint in world.service.endpoints]
        ),
    },
    # Many clients.
    many_clients.judge_endpoints_kept: {
        "empty": lambda world: many_clients.judge_endpoints_kept([], [world.service]),
        "no Service": lambda world: many_clients.judge_endpoints_kept([run(world.answers(A, A))], []),
        "nothing requested": lambda world: many_clients.judge_endpoints_kept([run(NONE)], [world.service]),
        "one request": lambda world: many_clients.judge_endpoints_kept([run(world.answers(A))], [world.service]),
        "all lost": lambda world: many_clients.judge_endpoints_kept([run(lost(world))], [world.service]),
    },
    many_clients.judge_independent_choices: {
        "empty": lambda world: many_clients.judge_independent_choices([], [world.service], 1e-2),
        "one client": lambda world: many_clients.judge_independent_choices(
            [run(world.answers(A))], [one_endpoint(world)], 1e-2
        ),
        "no Service": lambda world: many_clients.judge_independent_choices(
            [run(world.answers(A)), run(world.answers(A), SECOND)], [], 1e-2
        ),
        "nothing requested": lambda world: many_clients.judge_independent_choices(
            [run(NONE), run(NONE, SECOND)], [world.service], 1e-2
        ),
        "all lost": lambda world: many_clients.judge_independent_choices(
            [run(lost(world)), run(lost(world), SECOND)], [world.service], 1e-2
        ),
    },
    many_clients.judge_client_entries: {
        "empty": lambda world: many_clients.judge_client_entries([], [world.service], {HOME: {}}),
        "no Service": lambda world: many_clients.judge_client_entries([run(world.answers(A))], [], {HOME: {}}),
        "no node": lambda world: many_clients.judge_client_entries([run(world.answers(A))], [world.service], {}),
        "client's node not read": lambda world: many_clients.judge_client_entries(
            [run(world.answers(A))], [world.service], {OTHER: {}}
        ),
        "nothing requested": lambda world: many_clients.judge_client_entries([run(NONE)], [world.service], {HOME: {}}),
        "all lost": lambda world: many_clients.judge_client_entries([run(lost(world))], [world.service], {HOME: {}}),
    },
    # Paths. Lost requests are what ``judge_dropped_requests`` and ``judge_unanswered_requests`` expect.
    paths.judge_one_endpoint_per_path: {
        "empty": lambda world: paths.judge_one_endpoint_per_path(no_path(world)),
        "nothing requested": lambda world: paths.judge_one_endpoint_per_path(path(world, NONE)),
        "all lost": lambda world: paths.judge_one_endpoint_per_path(path(world, lost(world))),
    },
    paths.judge_allowed_endpoints: {
        "empty": lambda world: paths.judge_allowed_endpoints(no_path(world), {}),
        "nothing requested": lambda world: paths.judge_allowed_endpoints(path(world, NONE), {TARGET: [A]}),
        "no endpoint": lambda world: paths.judge_allowed_endpoints(path(world, world.answers(A)), {TARGET: []}),
        "all lost": lambda world: paths.judge_allowed_endpoints(path(world, lost(world)), {TARGET: [A]}),
    },
    paths.judge_dropped_requests: {
        "empty": lambda world: paths.judge_dropped_requests(no_path(world)),
        "nothing requested": lambda world: paths.judge_dropped_requests(path(world, NONE)),
    },
    paths.judge_unanswered_requests: {
        "empty": lambda world: paths.judge_unanswered_requests(no_path(world)),
        "nothing requested": lambda world: paths.judge_unanswered_requests(path(world, NONE)),
    },
    paths.judge_separate_bindings: {
        "empty": lambda world: paths.judge_separate_bindings(world.service, CLIENT_ID, [], "ports"),
        "first lost": lambda world: paths.judge_separate_bindings(world.service, CLIENT_ID, [(None, A)], "ports"),
        "all lost": lambda world: paths.judge_separate_bindings(world.service, CLIENT_ID, [(None, None)], "ports"),
    },
    paths.judge_flows: {
        "empty": lambda world: paths.judge_flows(path(world, NONE), NONE, NONE),
        "all lost": lambda world: paths.judge_flows(path(world, lost(world)), lost(world), lost(world)),
    },
    paths.judge_entries_by_node: {
        "empty": lambda world: paths.judge_entries_by_node(IPTABLES, no_path(world), {}, {HOME: world.node(HOME)}),
        "no node": lambda world: paths.judge_entries_by_node(
            IPTABLES, path(world, world.answers(A)), {TARGET: HOME}, {}
        ),
        "node not read": lambda world: paths.judge_entries_by_node(
            IPTABLES, path(world, world.answers(A)), {TARGET: HOME}, {OTHER: world.node(OTHER)}
        ),
        "nothing requested": lambda world: paths.judge_entries_by_node(
            IPTABLES, path(world, NONE), {TARGET: HOME}, {HOME: world.node(HOME)}
        ),
        "all lost": lambda world: paths.judge_entries_by_node(
            IPTABLES, path(world, lost(world)), {TARGET: HOME}, {HOME: world.node(HOME)}
        ),
    },
    paths.judge_translated_clients: {
        "empty": lambda world: paths.judge_translated_clients(IPTABLES, world.service, [], world.node(HOME)),
        "one client": lambda world: paths.judge_translated_clients(
            IPTABLES,
            world.service,
            [path(world, world.answers(A))],
            world.node(HOME, {0: {"172.30.0.4": (0,)}}),
        ),
        "nothing requested": lambda world: paths.judge_translated_clients(
            IPTABLES, world.service, [path(world, NONE), path(world, NONE, SECOND)], world.node(HOME)
        ),
        "all lost": lambda world: paths.judge_translated_clients(
            IPTABLES, world.service, [path(world, lost(world)), path(world, lost(world), SECOND)], world.node(HOME)
        ),
    },
    # Rules.
    rules.judge_aspects: {"empty": lambda world: rules.judge_aspects(world.service, {}, 1.0)},
    rules.judge_differences: {"empty": lambda world: rules.judge_differences(world.service, (), (), 1.0)},
    rules.judge_sync: {"empty": lambda world: rules.judge_sync(world.service, sync(world))},
    rules.judge_readable_rules: {
        "empty": lambda world: combine(*rules.judge_readable_rules(world.service, sync(world)))
    },
    rules.judge_no_affinity_rules: {
        "empty": lambda world: rules.judge_no_affinity_rules(IPTABLES, world.service, {}),
        "no rules": lambda world: rules.judge_no_affinity_rules(NFTABLES, world.service, {HOME: NodeSnapshot(HOME)}),
    },
    rules.judge_same_rules: {
        "empty": lambda world: rules.judge_same_rules(IPTABLES, world.service, {}),
        "one node": lambda world: rules.judge_same_rules(IPTABLES, world.service, {HOME: world.programmed(HOME)}),
        "no two nodes alike": lambda world: rules.judge_same_rules(
            IPTABLES, world.service, {name: world.programmed(name) for name in (HOME, OTHER)}, [(HOME,), (OTHER,)]
        ),
        "no rules": lambda world: rules.judge_same_rules(
            IPTABLES, world.service, {name: NodeSnapshot(name) for name in (HOME, OTHER)}
        ),
    },
    rules.judge_timeouts: {
        "empty": lambda world: rules.judge_timeouts(IPTABLES, [], {HOME: world.programmed(HOME)}),
        "no node": lambda world: rules.judge_timeouts(IPTABLES, [world.service], {}),
        "no endpoint": lambda world: rules.judge_timeouts(
            IPTABLES, [without_endpoints(world)], {HOME: NodeSnapshot(HOME)}
        ),
        "no rules": lambda world: rules.judge_timeouts(IPTABLES, [world.service], {HOME: NodeSnapshot(HOME)}),
    },
    # Nodes that are disturbed.
    flows.judge_flows_left: {
        "empty": lambda world: flows.judge_flows_left(flowing(world, (), ()), CHANGED, CHANGED, CLIENT_ID),
        "no datagram": lambda world: flows.judge_flows_left(
            flowing(world, (NONE,), (NONE,)), CHANGED, CHANGED, CLIENT_ID
        ),
        "all lost": lambda world: flows.judge_flows_left(
            flowing(world, (lost(world),), (lost(world),)), CHANGED, CHANGED, CLIENT_ID
        ),
    },
    flows.judge_flows_kept: {
        "empty": lambda world: flows.judge_flows_kept(flowing(world, (), ()), CLIENT_ID, CHANGED),
        "no step": lambda world: flows.judge_flows_kept(flowing(world, (), ()), CLIENT_ID),
        "no datagram later": lambda world: flows.judge_flows_kept(
            flowing(world, (world.answers(B),), (NONE,)), CLIENT_ID, CHANGED
        ),
        "all lost": lambda world: flows.judge_flows_kept(
            flowing(world, (lost(world),), (lost(world),)), CLIENT_ID, CHANGED
        ),
    },
    flows.judge_flows_unanswered: {
        "empty": lambda world: flows.judge_flows_unanswered(flowing(world, (), ()), CHANGED, CLIENT_ID),
        "no datagram later": lambda world: flows.judge_flows_unanswered(
            flowing(world, (world.answers(B),), (NONE,)), CHANGED, CLIENT_ID
        ),
        "all lost": lambda world: flows.judge_flows_unanswered(
            flowing(world, (lost(world),), (lost(world),)), CHANGED, CLIENT_ID
        ),
    },
    flows.judge_flows_answered: {
        "empty": lambda world: flows.judge_flows_answered(flowing(world, (), ()), CHANGED, CLIENT_ID),
        "all lost": lambda world: flows.judge_flows_answered(
            flowing(world, (lost(world),), (lost(world),)), CHANGED, CLIENT_ID
        ),
    },
    flows.judge_flows_at_one_endpoint: {
        "empty": lambda world: flows.judge_flows_at_one_endpoint(world.service, CLIENT_ID, ()),
        "no datagram": lambda world: flows.judge_flows_at_one_endpoint(world.service, CLIENT_ID, (NONE,)),
        "all lost": lambda world: flows.judge_flows_at_one_endpoint(world.service, CLIENT_ID, (lost(world),)),
    },
    flows.judge_flows_ended: {
        "empty": lambda world: flows.judge_flows_ended(world.service, CLIENT_ID, ()),
        "all lost": lambda world: flows.judge_flows_ended(world.service, CLIENT_ID, (lost(world),)),
    },
    disruption.judge_restart: {
        "empty": lambda world: disruption.judge_restart(restart(world, answers=NONE), CLIENT_ID),
        "no entry": lambda world: disruption.judge_restart(restart(world, before=(), after=()), CLIENT_ID),
        "no rules": lambda world: disruption.judge_restart(restart(world, rules=NO_RULES), CLIENT_ID),
        "all lost": lambda world: disruption.judge_restart(restart(world, answers=lost(world)), CLIENT_ID),
    },
    disruption.judge_restart_by_answers: {
        "empty": lambda world: disruption.judge_restart_by_answers(restart(world, answers=NONE), CLIENT_ID),
        "all lost": lambda world: disruption.judge_restart_by_answers(restart(world, answers=lost(world)), CLIENT_ID),
    },
    disruption.judge_missed_changes: {
        "empty": lambda world: disruption.judge_missed_changes(missed_changes(world, rules=NO_RULES)),
        "not read": lambda world: disruption.judge_missed_changes(missed_changes(world, rules=None)),
        "no entry": lambda world: disruption.judge_missed_changes(missed_changes(world, before=(), after=())),
    },
    disruption.judge_missed_changes_by_answers: {
        "empty": lambda world: disruption.judge_missed_changes_by_answers(
            missed_changes(world, first=NONE, answers=NONE, gone=NONE), CLIENT_ID
        ),
        "first not sent": lambda world: disruption.judge_missed_changes_by_answers(
            missed_changes(world, first=NONE), CLIENT_ID
        ),
        "deleted not asked": lambda world: disruption.judge_missed_changes_by_answers(
            missed_changes(world, gone=NONE), CLIENT_ID
        ),
        "all lost": lambda world: disruption.judge_missed_changes_by_answers(
            missed_changes(world, first=lost(world), answers=lost(world)), CLIENT_ID
        ),
    },
    disruption.judge_blocking_rule: {
        "empty": lambda _: disruption.judge_blocking_rule(BlockingRule(NO_RULES, NO_RULES, (FAILED, FAILED))),
        "own not read": lambda world: disruption.judge_blocking_rule(
            BlockingRule(node_rules(world), NO_RULES, (FAILED, FAILED))
        ),
    },
    disruption.judge_node_rules: {"empty": lambda _: disruption.judge_node_rules(NO_RULES)},
    disruption.judge_failed_syncs: {
        "empty": lambda _: disruption.judge_failed_syncs({}, {}),
        "not read before": lambda _: disruption.judge_failed_syncs({}, {HOME: FAILED}),
        "not read after": lambda _: disruption.judge_failed_syncs({HOME: FAILED, OTHER: FAILED}, {HOME: FAILED}),
    },
    # A repair has been observed, or the flush raised: there is no repair without a read.
    disruption.judge_repair: {
        "not repaired": lambda world: disruption.judge_repair(Repair(world.service, HOME, 30.0, 45.0, 45.0, (WRONG,))),
    },
    # Random edits.
    walks.judge_walk: {
        "empty": lambda _: walks.judge_walk(WalkResult("seed 1", 0, "", ())),
        "no edit": lambda _: walks.judge_walk(WalkResult("seed 1", 0, "", (HOME,), waits=1, compared=1)),
        "no wait": lambda _: walks.judge_walk(WalkResult("seed 1", 3, "", (HOME,))),
        "nothing compared": lambda _: walks.judge_walk(WalkResult("seed 1", 3, "", (HOME,), waits=1)),
        "late": lambda _: walks.judge_walk(WalkResult("seed 1", 3, "", (HOME,), waits=1, failed_syncs={HOME: 2})),
        "entry missing": lambda _: walks.judge_walk(
            WalkResult("", 3, "", (HOME,), waits=1, compared=1, entries=(WrongEntry(HOME, "a", "bound", "no entry"),))
        ),
        "left over": lambda _: walks.judge_walk(
            WalkResult("seed 1", 3, "", (HOME,), waits=2, compared=1, leftovers={HOME: (WRONG,)})
        ),
    },
    disruption.judge_many_services: {
        "empty": lambda world: disruption.judge_many_services(many_services(world, NONE, NONE, NONE), CLIENT_ID),
        "first lost": first_lost,
        "all lost": lambda world: disruption.judge_many_services(
            many_services(world, lost(world), lost(world), lost(world)), CLIENT_ID
        ),
    },
    answered_shapes.judge_answered_shapes: {
        "no Service": lambda _: answered_shapes.judge_answered_shapes(AnsweredShapes(CLIENT_ID, ())),
        "none with an endpoint": lambda world: answered_shapes.judge_answered_shapes(
            AnsweredShapes(CLIENT_ID, (AnsweredShape({}, world.service, (), world.answers(None)),))
        ),
        "no request": lambda world: answered_shapes.judge_answered_shapes(
            AnsweredShapes(CLIENT_ID, (AnsweredShape({}, world.service, (A,), world.answers()),))
        ),
        "some not made": lambda world: answered_shapes.judge_answered_shapes(
            AnsweredShapes(CLIENT_ID, (AnsweredShape(DEFAULTS, world.service, (A,), world.answers(A)),), lacking="full")
        ),
    },
    shapes.judge_shapes: {
        "no Service": lambda world: shapes.judge_shapes(shapes_seen(world, rows={}), "IPv4"),
        "not compared": lambda world: shapes.judge_shapes(shapes_seen(world, services=()), "IPv4"),
        "one not compared": lambda world: shapes.judge_shapes(
            shapes_seen(world, rows={world.service.name: {}, "other": {}}), "IPv4"
        ),
        "no node": lambda world: shapes.judge_shapes(shapes_seen(world, nodes=()), "IPv4"),
        "no node after the end": lambda world: shapes.judge_shapes(shapes_seen(world, nodes_at_end=()), "IPv4"),
        "some not made": lambda world: shapes.judge_shapes(replace(shapes_seen(world), lacking="full"), "IPv4"),
    },
}


def judges() -> list[Callable[..., object]]:
    """Return the public judges of all modules of verdicts."""
    names = [module.name for module in pkgutil.iter_modules(verdicts.__path__, f"{verdicts.__name__}.")]
    return [
        function
        for module in map(importlib.import_module, names)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if name.startswith("judge_") and function.__module__ == module.__name__
    ]


def test_every_judge_has_a_row() -> None:
    without = [judge.__qualname__ for judge in judges() if judge not in ROWS]

    assert not without, f"add rows to ROWS for {', '.join(without)}: what it must not take for evidence"


def test_judges_have_names_of_their_own() -> None:
    names = [judge.__name__ for judge in judges()]

    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=f"{judge.__name__}-{case}") for judge, cases in ROWS.items() for case, row in cases.items()],
)
def test_a_judge_without_evidence_never_holds(row: Row, world: World) -> None:
    try:
        verdict = row(world)
    except NothingObservedError:
        return
    assert not verdict.ok, verdict
