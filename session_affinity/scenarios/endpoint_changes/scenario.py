"""The scenarios: changes of endpoints as users make them, each to a Service of its own, and the pods they need.

A pod becomes an endpoint by a label and stops being one without it, so pods need not start for Services to be scaled
and updated. Only changes of a pod's own end or readiness have pods of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from session_affinity.cluster_objects.pods import GATED, PodRequest, Role
from session_affinity.cluster_objects.services import BACKEND, PORT, ServiceRequest, manifest
from session_affinity.dataplane.model import CLIENT_IP
from session_affinity.deadlines import DEFAULTS, Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from session_affinity.cluster_objects.pods import Pods
    from session_affinity.cluster_objects.services import Services
    from session_affinity.dataplane.model import ServiceState

    Act = Callable[[ServiceState, str], Collection[str]]

SLOW_END_SECONDS: Final = 120
"""How long slowly terminating pods take: longer than all scenarios, on a machine that is not slow."""


class Scenario(StrEnum):
    """What happens to a Service."""

    SCALED = "scaled"
    """To five endpoints, to none, to three."""
    ROLLED = "rolled"
    """Its two endpoints are replaced one by one."""
    UNREADY = "unready"
    """The client's endpoint is not ready for a while."""
    DELETED = "deleted"
    """The client's pod is deleted, and created again under its name."""
    SELECTED = "selected"
    """Its selector selects other pods, then the first ones again."""
    DRAINED = "drained"
    """Its pods terminate slowly, the client's first."""
    LOCAL = "local"
    """As DRAINED with internalTrafficPolicy Local, while a pod on another node stays."""
    OUTSIDE = "outside"
    """As DRAINED with externalTrafficPolicy Local, while a pod on another node stays; without requests."""
    PORT = "port"
    """Its port gets another number, then another name."""
    RECREATED = "recreated"
    """It is deleted, and created again under its name."""


class ScenarioStep(StrEnum):
    """A step of a scenario: the creation of its Service, or a change."""

    MADE = "made"
    SCALED_TO_5 = "scaled to 5"
    SCALED_TO_0 = "scaled to 0"
    SCALED_TO_3 = "scaled to 3"
    NEW_POD_ADDED = "a new pod added"
    FIRST_POD_REPLACED = "the first old pod replaced"
    LAST_POD_REMOVED = "the last old pod removed"
    TWO_PODS_ADDED = "two other pods added"
    POD_NOT_READY = "the client's pod not ready"
    POD_READY_AGAIN = "that pod ready again"
    POD_DELETED = "the client's pod deleted"
    POD_RECREATED = "a pod created under its name"
    OTHER_PODS_SELECTED = "other pods selected"
    FIRST_PODS_SELECTED = "the first pods selected again"
    ONE_POD_TERMINATING = "one pod terminating"
    BOTH_PODS_TERMINATING = "both pods terminating"
    PORT_NUMBER_CHANGED = "the port's number changed"
    PORT_RENAMED = "the port renamed"
    SERVICE_DELETED = "the Service deleted"
    SERVICE_RECREATED = "the Service created again under its name"


@dataclass(frozen=True)
class EndpointChange:
    """A change of a Service or its endpoints.

    ``act`` makes it, given the Service and the pod that answered last, and returns the pods that are the endpoints of
    all its ports then. ``deletes`` says that the Service is deleted. ``silent`` says that the client pauses, because
    endpoints vanish without terminating: a SYN sent to a vanished endpoint leaves a conntrack entry for 120 s
    (``nf_conntrack_tcp_timeout_syn_sent``), and kube-proxy clears no such entries of TCP. A later request from the same
    source port is sent to the dead endpoint regardless of the rules; the kernel moves on in the range of local ports
    every 10 s (``secure_ipv4_port_ephemeral``), so such a port is used again now and then.
    """

    step: ScenarioStep
    act: Act
    deletes: bool = False
    silent: bool = False


@dataclass(frozen=True)
class ScenarioPlan:
    """A Service, the pods that are its endpoints at first, and one change a round, where it has one.

    With ``streams`` the client sends requests all the time, otherwise, with ``sends_requests``, a few when the nodes
    have processed a change.
    """

    request: ServiceRequest
    pods: Collection[str]
    changes: Sequence[EndpointChange]
    streams: bool = True
    sends_requests: bool = True


@dataclass(frozen=True)
class ScenarioPods:
    """The pods by name.

    ``pool`` are five that stay, ``fragile`` is one to be deleted, ``gated`` one whose readiness is declared, ``slow``
    are two on the client's node that take long to terminate, ``samples`` the sample pods.
    """

    pool: tuple[str, ...]
    fragile: str
    gated: str
    slow: tuple[str, str]
    samples: tuple[str, ...]


def label(scenario: Scenario) -> str:
    """Return the label of the pods that are the endpoints of a scenario's Service."""
    return f"scenario-{scenario}"


def pod_requests(client_node: str, other_node: str, deadlines: Deadlines = DEFAULTS) -> list[PodRequest]:
    """Return the pods to create, in the order of ``scenario_pods``; the first is on the other node."""

    def request(purpose: str, *scenarios: Scenario, **more: Any) -> PodRequest:
        return PodRequest(purpose, (Role.ENDPOINT,), {label(scenario): "yes" for scenario in scenarios}, **more)

    pool = [request(f"pool{number}", *scenarios) for number, scenarios in enumerate(_POOL, 1)]
    pool[0] = replace(pool[0], node=other_node)
    seconds = round(SLOW_END_SECONDS * deadlines.scale)
    slow_end: Mapping[str, Any] = {
        "node": client_node,
        "spec": {"terminationGracePeriodSeconds": seconds},
        "container": {"lifecycle": {"preStop": {"sleep": {"seconds": seconds - 5}}}},
    }
    slow = [
        request(f"slow{number}", Scenario.DRAINED, Scenario.LOCAL, Scenario.OUTSIDE, **slow_end) for number in (1, 2)
    ]
    return [*pool, *slow, request("gated", Scenario.UNREADY, spec=GATED), request("fragile", Scenario.DELETED)]


_POOL: Final = (
    (Scenario.SCALED, Scenario.ROLLED, Scenario.LOCAL, Scenario.OUTSIDE),
    (Scenario.SCALED, Scenario.ROLLED),
    (Scenario.SCALED,),
    (Scenario.SELECTED,),
    (Scenario.SELECTED,),
)


def scenario_pods(names: Sequence[str], samples: Sequence[str]) -> ScenarioPods:
    """Return the pods that were created for ``pod_requests``, in its order, by their part in the scenarios."""
    *pool, first, second, gated, fragile = names
    return ScenarioPods(tuple(pool), fragile, gated, (first, second), tuple(samples))


class ScenarioBuilder:
    """Makes the plans of all scenarios, for pods that exist."""

    def __init__(self, pods: Pods, services: Services, names: ScenarioPods) -> None:
        self._pods = pods
        self._services = services
        self._names = names
        self._terminating: list[str] = []

    def all(self) -> dict[Scenario, ScenarioPlan]:
        """Return them by scenario, in the order in which the changes of a round are made."""
        stays = self._names.pool[0]
        return {
            Scenario.SCALED: self._scaled(),
            Scenario.ROLLED: self._rolled(),
            Scenario.UNREADY: self._unready(),
            Scenario.DELETED: self._deleted(),
            Scenario.SELECTED: self._selected(),
            Scenario.DRAINED: self._drained(Scenario.DRAINED),
            Scenario.LOCAL: self._drained(Scenario.LOCAL, stays, internalTrafficPolicy="Local"),
            Scenario.OUTSIDE: self._drained(
                Scenario.OUTSIDE, stays, sends_requests=False, type="NodePort", externalTrafficPolicy="Local"
            ),
            Scenario.PORT: self._port(),
            Scenario.RECREATED: self._recreated(),
        }

    def _scaled(self) -> ScenarioPlan:
        a, b, c, *more = self._names.pool
        to = self._relabel(Scenario.SCALED, (a, b, c))
        changes = (
            EndpointChange(ScenarioStep.SCALED_TO_5, to(a, b, c, *more)),
            EndpointChange(ScenarioStep.SCALED_TO_0, to(), silent=True),
            EndpointChange(ScenarioStep.SCALED_TO_3, to(a, b, c)),
        )
        return ScenarioPlan(_request(Scenario.SCALED, 3), (a, b, c), changes)

    def _rolled(self) -> ScenarioPlan:
        a, b, c, d, _ = self._names.pool
        to = self._relabel(Scenario.ROLLED, (a, b))
        changes = (
            EndpointChange(ScenarioStep.NEW_POD_ADDED, to(a, b, c)),
            EndpointChange(ScenarioStep.FIRST_POD_REPLACED, to(b, c, d)),
            EndpointChange(ScenarioStep.LAST_POD_REMOVED, to(c, d)),
        )
        return ScenarioPlan(_request(Scenario.ROLLED, 2), (a, b), changes)

    def _unready(self) -> ScenarioPlan:
        a, b, *_ = self._names.pool
        gated = self._names.gated
        to = self._relabel(Scenario.UNREADY, (gated,))

        def set_ready(pods: Collection[str], *, ready: bool) -> Act:
            def act(service: ServiceState, answered_by: str) -> Collection[str]:
                del service, answered_by
                self._pods.set_ready(gated, ready=ready)
                return pods

            return act

        changes = (
            EndpointChange(ScenarioStep.TWO_PODS_ADDED, to(gated, a, b)),
            EndpointChange(ScenarioStep.POD_NOT_READY, set_ready((a, b), ready=False)),
            EndpointChange(ScenarioStep.POD_READY_AGAIN, set_ready((gated, a, b), ready=True)),
        )
        return ScenarioPlan(_request(Scenario.UNREADY, 1), (gated,), changes)

    def _deleted(self) -> ScenarioPlan:
        a, b, *_ = self._names.pool
        fragile = self._names.fragile
        to = self._relabel(Scenario.DELETED, (fragile,))

        def delete(service: ServiceState, answered_by: str) -> Collection[str]:
            del service, answered_by
            self._pods.delete(fragile)
            return (a, b)

        def again(service: ServiceState, answered_by: str) -> Collection[str]:
            del service, answered_by
            self._pods.create(PodRequest("fragile", (Role.ENDPOINT,), {label(Scenario.DELETED): "yes"}, name=fragile))
            return (fragile, a, b)

        changes = (
            EndpointChange(ScenarioStep.TWO_PODS_ADDED, to(fragile, a, b)),
            EndpointChange(ScenarioStep.POD_DELETED, delete, silent=True),
            EndpointChange(ScenarioStep.POD_RECREATED, again),
        )
        return ScenarioPlan(_request(Scenario.DELETED, 1), (fragile,), changes)

    def _selected(self) -> ScenarioPlan:
        *_, d, e = self._names.pool
        old, new = dict(BACKEND), {label(Scenario.SELECTED): "yes"}

        def select(selector: Mapping[str, str], without: Mapping[str, str], pods: Collection[str]) -> Act:
            def act(service: ServiceState, answered_by: str) -> Collection[str]:
                del answered_by
                self._services.change(service, {"selector": {**dict.fromkeys(without), **selector}})
                return pods

            return act

        changes = (
            EndpointChange(ScenarioStep.OTHER_PODS_SELECTED, select(new, old, (d, e))),
            EndpointChange(ScenarioStep.FIRST_PODS_SELECTED, select(old, new, self._names.samples)),
        )
        return ScenarioPlan(ServiceRequest(str(Scenario.SELECTED), CLIENT_IP), self._names.samples, changes)

    def _drained(self, scenario: Scenario, *stays: str, sends_requests: bool = True, **spec: Any) -> ScenarioPlan:
        """Return the plan of pods that terminate: DRAINED deletes them, the other scenarios share the change."""
        slow = self._names.slow

        def act(service: ServiceState, answered_by: str) -> Collection[str]:
            del service
            if scenario is Scenario.DRAINED:
                self._terminating.append(answered_by)
                self._pods.delete(answered_by)
            return [name for name in (*slow, *stays) if name not in self._terminating] or slow

        changes = (
            EndpointChange(ScenarioStep.ONE_POD_TERMINATING, act),
            EndpointChange(ScenarioStep.BOTH_PODS_TERMINATING, act),
        )
        request = _request(scenario, 2 + len(stays), **spec)
        return ScenarioPlan(request, (*slow, *stays), changes, streams=sends_requests, sends_requests=sends_requests)

    def _port(self) -> ScenarioPlan:
        samples = self._names.samples

        def to(name: str, number: int) -> Act:
            def act(service: ServiceState, answered_by: str) -> Collection[str]:
                del answered_by
                port = {"name": name, "port": number, "targetPort": 80, "protocol": "TCP"}
                self._services.change(service, {"ports": [port]})
                return samples

            return act

        changes = (
            EndpointChange(ScenarioStep.PORT_NUMBER_CHANGED, to("web", PORT + 1)),
            EndpointChange(ScenarioStep.PORT_RENAMED, to("other", PORT + 1)),
        )
        return ScenarioPlan(ServiceRequest(str(Scenario.PORT), CLIENT_IP), samples, changes, streams=False)

    def _recreated(self) -> ScenarioPlan:
        request = ServiceRequest(str(Scenario.RECREATED), CLIENT_IP)

        def delete(service: ServiceState, answered_by: str) -> Collection[str]:
            del answered_by
            self._services.delete(service)
            return ()

        def again(service: ServiceState, answered_by: str) -> Collection[str]:
            del answered_by
            self._services.recreate(manifest(service.name, service.namespace, request))
            return self._names.samples

        changes = (
            EndpointChange(ScenarioStep.SERVICE_DELETED, delete, deletes=True),
            EndpointChange(ScenarioStep.SERVICE_RECREATED, again),
        )
        return ScenarioPlan(request, self._names.samples, changes, streams=False)

    def _relabel(self, scenario: Scenario, first: Collection[str]) -> Callable[..., Act]:
        """Return a maker of acts that give the label of a scenario to the pods named, and to no others."""
        labelled = set(first)

        def to(*pods: str) -> Act:
            def act(service: ServiceState, answered_by: str) -> Collection[str]:
                del service, answered_by
                for name in labelled.symmetric_difference(pods):
                    self._pods.label(name, **{label(scenario): "yes" if name in pods else None})
                labelled.clear()
                labelled.update(pods)
                return pods

            return act

        return to


def _request(scenario: Scenario, endpoints: int, **spec: Any) -> ServiceRequest:
    selector = {label(scenario): "yes"}
    return ServiceRequest(str(scenario), CLIENT_IP, spec={"selector": selector, **spec}, endpoints=endpoints)
