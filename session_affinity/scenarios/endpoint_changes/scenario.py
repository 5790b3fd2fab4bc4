"""The scenarios: changes of endpoints as users make them, each to a Service of its own, and the pods they need.

A pod becomes an endpoint by a label and stops being one without it, so pods need not start for Services to be scaled
and updated. Only changes of a pod's own end or readiness have pods of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from session_affinity.cluster_objects.datagrams import udp_ports
from session_affinity.cluster_objects.pods import GATED, PodRequest, Role
from session_affinity.cluster_objects.services import BACKEND, NO_PROVIDER, PORT, ServiceRequest, manifest
from session_affinity.dataplane.model import CLIENT_IP
from session_affinity.deadlines import DEFAULTS, Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from session_affinity.cluster_objects.pods import Pods
    from session_affinity.cluster_objects.services import Services
    from session_affinity.dataplane.model import Family, ServiceState

    Act = Callable[[ServiceState, str], Collection[str]]

SLOW_END_SECONDS: Final = 600
"""How long slowly terminating pods take: longer than all scenarios, on a busy machine too."""
FLOWS: Final = 8
"""Flows of which some are at an endpoint that is removed, and some at others: each port is bound by itself."""
FLOWS_WITHOUT_ENDPOINTS: Final = 2
ADDRESSES: Final[Mapping[Family, tuple[str, str]]] = {
    "IPv4": ("198.51.100.89", "198.51.100.90"),
    "IPv6": ("2001:db8::89", "2001:db8::90"),
}
"""An external address and a load balancer's, from the ranges for documentation (RFC 5737, RFC 3849)."""


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
    TYPED = "typed"
    """Its type becomes ClusterIP, then NodePort again."""
    ADDRESSED = "addressed"
    """Its external address and its load balancer's are withdrawn, then given back."""
    POLICED = "policed"
    """Its policies become Local one after the other, and Cluster again."""
    WIDENED = "widened"
    """It gets a second port, and loses it."""
    FLAPPING = "flapping"
    """The client's endpoint is removed, and is back within a second."""
    FLOWING = "flowing"
    """An endpoint of its flows of datagrams is removed, then given back; then it is deleted."""
    EMPTIED = "emptied"
    """It has no endpoint for a while, in which datagrams are sent to it."""


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
    NODE_PORT_WITHDRAWN = "the type changed to ClusterIP"
    NODE_PORT_GIVEN_BACK = "the type changed to NodePort again"
    BALANCER_ADDRESS_GIVEN = "the load balancer's address set"
    ADDRESSES_WITHDRAWN = "both addresses withdrawn"
    ADDRESSES_GIVEN_BACK = "both addresses given back"
    INTERNAL_POLICY_LOCAL = "internalTrafficPolicy changed to Local"
    EXTERNAL_POLICY_LOCAL = "internalTrafficPolicy changed to Cluster, externalTrafficPolicy to Local"
    POLICIES_CLUSTER = "externalTrafficPolicy changed to Cluster again"
    PORT_ADDED = "a second port added"
    PORT_REMOVED = "the second port removed"
    ENDPOINT_BACK = "the client's endpoint removed and back at once"
    CHANGES_LATER = "other Services changed after that"
    MORE_CHANGES_LATER = "other Services changed once more"
    ENDPOINT_REMOVED = "the endpoint of a flow removed"
    ENDPOINT_GIVEN_BACK = "that endpoint given back"


@dataclass(frozen=True)
class EndpointChange:
    """A change of a Service or its endpoints.

    ``act`` makes it, given the Service and the pod that answered last, and returns the pods that are the endpoints of
    all its ports then. ``deletes`` says that the Service is deleted. ``silent`` says that the client pauses, because
    endpoints vanish without terminating: a SYN sent to a vanished endpoint leaves a conntrack entry for 120 s
    (``nf_conntrack_tcp_timeout_syn_sent``), and kube-proxy clears no such entries of TCP. A later request from the same
    source port is sent to the dead endpoint regardless of the rules; the kernel moves on in the range of local ports
    every 10 s (``secure_ipv4_port_ephemeral``), so such a port is used again now and then. ``frees`` says that the
    client may move although its endpoint is there before and after: that was gone for a moment, or an earlier endpoint,
    whose entry has not expired, may be used again. ``follows`` says that another scenario changes the pods: this one
    only says, after all others, which are left. ``is_undone`` says that the endpoints are those from before: a node
    that has not yet followed has the expected rules, and only a Service created afterwards shows that it has.
    """

    step: ScenarioStep
    act: Act
    deletes: bool = False
    silent: bool = False
    frees: bool = False
    follows: bool = False
    is_undone: bool = False


@dataclass(frozen=True)
class ScenarioPlan:
    """A Service, the pods that are its endpoints at first, and one change a round, where it has one.

    With ``streams`` the client sends requests all the time, otherwise, with ``sends_requests``, a few when the nodes
    have processed a change. With ``flows`` it sends datagrams to all ports all the time, and no requests.
    """

    request: ServiceRequest
    pods: Collection[str]
    changes: Sequence[EndpointChange]
    streams: bool = True
    sends_requests: bool = True
    flows: bool = False


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


def pod_requests(
    client_node: str,
    other_node: str,
    deadlines: Deadlines = DEFAULTS,
    datagram_server: Sequence[str] = (),
) -> list[PodRequest]:
    """Return the pods to create, in the order of ``scenario_pods``.

    The first is on the other node, the second on the client's. ``datagram_server`` is the command of a client's
    container that answers datagrams in those that get some; empty where endpoints answer them by themselves.
    """

    def request(purpose: str, *scenarios: Scenario, **more: Any) -> PodRequest:
        return PodRequest(purpose, (Role.ENDPOINT,), {label(scenario): "yes" for scenario in scenarios}, **more)

    pool = [request(f"pool{number}", *scenarios) for number, scenarios in enumerate(_POOL, 1)]
    if datagram_server:
        more: Mapping[str, Any] = {"roles": (Role.ENDPOINT, Role.CLIENT), "commands": {Role.CLIENT: datagram_server}}
        pool[:3] = [replace(pod, **more) for pod in pool[:3]]
    pool[0], pool[1] = replace(pool[0], node=other_node), replace(pool[1], node=client_node)
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


_FIRST_THREE: Final = (Scenario.FLAPPING, Scenario.FLOWING, Scenario.EMPTIED)
_POOL: Final = (
    (Scenario.SCALED, Scenario.ROLLED, Scenario.LOCAL, Scenario.OUTSIDE, Scenario.POLICED, *_FIRST_THREE),
    (Scenario.SCALED, Scenario.ROLLED, Scenario.POLICED, *_FIRST_THREE),
    (Scenario.SCALED, *_FIRST_THREE),
    (Scenario.SELECTED,),
    (Scenario.SELECTED,),
)


def scenario_pods(names: Sequence[str], samples: Sequence[str]) -> ScenarioPods:
    """Return the pods that were created for ``pod_requests``, in its order, by their part in the scenarios."""
    *pool, first, second, gated, fragile = names
    return ScenarioPods(tuple(pool), fragile, gated, (first, second), tuple(samples))


class ScenarioBuilder:
    """Makes the plans of all scenarios, for pods that exist.

    ``datagram_port`` is the port at which the first three of the pool answer datagrams.
    """

    def __init__(self, pods: Pods, services: Services, names: ScenarioPods, datagram_port: int = 80) -> None:
        self._datagram_port = datagram_port
        self._pods = pods
        self._services = services
        self._names = names
        self._terminating: list[str] = []

    def all(self, *without: Scenario) -> dict[Scenario, ScenarioPlan]:
        """Return them by scenario; all but those named."""
        stays = self._names.pool[0]
        plans = {
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
            Scenario.TYPED: self._typed(),
            Scenario.ADDRESSED: self._addressed(),
            Scenario.POLICED: self._policed(),
            Scenario.WIDENED: self._widened(),
            Scenario.FLAPPING: self._flapping(),
            Scenario.FLOWING: self._flowing(),
            Scenario.EMPTIED: self._emptied(),
        }
        return {scenario: plan for scenario, plan in plans.items() if scenario not in without}

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
            return self._patch(pods, selector={**dict.fromkeys(without), **selector})

        changes = (
            EndpointChange(ScenarioStep.OTHER_PODS_SELECTED, select(new, old, (d, e))),
            EndpointChange(ScenarioStep.FIRST_PODS_SELECTED, select(old, new, self._names.samples)),
        )
        return ScenarioPlan(ServiceRequest(str(Scenario.SELECTED), CLIENT_IP), self._names.samples, changes)

    def _drained(self, scenario: Scenario, *stays: str, sends_requests: bool = True, **spec: Any) -> ScenarioPlan:
        """Return the plan of pods that terminate: DRAINED deletes them, the other scenarios share the change."""
        slow, follows = self._names.slow, scenario is not Scenario.DRAINED

        def act(service: ServiceState, answered_by: str) -> Collection[str]:
            del service
            if not follows:
                self._terminating.append(answered_by)
                self._pods.delete(answered_by)
            return [name for name in (*slow, *stays) if name not in self._terminating] or slow

        changes = (
            EndpointChange(ScenarioStep.ONE_POD_TERMINATING, act, follows=follows),
            EndpointChange(ScenarioStep.BOTH_PODS_TERMINATING, act, follows=follows),
        )
        request = _request(scenario, 2 + len(stays), **spec)
        return ScenarioPlan(request, (*slow, *stays), changes, streams=sends_requests, sends_requests=sends_requests)

    def _port(self) -> ScenarioPlan:
        samples = self._names.samples

        def to(name: str, number: int) -> Act:
            return self._patch(samples, ports=[{"name": name, "port": number, "targetPort": 80, "protocol": "TCP"}])

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

    def _typed(self) -> ScenarioPlan:
        samples = self._names.samples
        changes = (
            EndpointChange(ScenarioStep.NODE_PORT_WITHDRAWN, self._patch(samples, type="ClusterIP")),
            EndpointChange(ScenarioStep.NODE_PORT_GIVEN_BACK, self._patch(samples, type="NodePort")),
        )
        request = ServiceRequest(str(Scenario.TYPED), CLIENT_IP, spec={"type": "NodePort"})
        return ScenarioPlan(request, samples, changes, streams=False)

    def _addressed(self) -> ScenarioPlan:
        samples, services = self._names.samples, self._services
        external, balancer = ADDRESSES[services.family]

        def give(*, back: bool) -> Act:
            def act(service: ServiceState, answered_by: str) -> Collection[str]:
                del answered_by
                if back:
                    services.change(service, {"externalIPs": [external]})
                services.set_load_balancer(service, balancer)
                return samples

            return act

        def withdraw(service: ServiceState, answered_by: str) -> Collection[str]:
            del answered_by
            services.change(service, {"externalIPs": None})
            services.set_load_balancer(service)
            return samples

        changes = (
            EndpointChange(ScenarioStep.BALANCER_ADDRESS_GIVEN, give(back=False)),
            EndpointChange(ScenarioStep.ADDRESSES_WITHDRAWN, withdraw),
            EndpointChange(ScenarioStep.ADDRESSES_GIVEN_BACK, give(back=True)),
        )
        return ScenarioPlan(addressed(services.family), samples, changes, streams=False)

    def _policed(self) -> ScenarioPlan:
        pods = self._names.pool[:2]
        changes = (
            EndpointChange(ScenarioStep.INTERNAL_POLICY_LOCAL, self._patch(pods, internalTrafficPolicy="Local")),
            EndpointChange(
                ScenarioStep.EXTERNAL_POLICY_LOCAL,
                self._patch(pods, internalTrafficPolicy="Cluster", externalTrafficPolicy="Local"),
                frees=True,
            ),
            EndpointChange(ScenarioStep.POLICIES_CLUSTER, self._patch(pods, externalTrafficPolicy="Cluster")),
        )
        return ScenarioPlan(_request(Scenario.POLICED, 2, type="NodePort"), pods, changes)

    def _widened(self) -> ScenarioPlan:
        samples = self._names.samples
        first = {"name": "web", "port": PORT, "targetPort": 80, "protocol": "TCP"}
        second = {**first, "name": "other", "port": PORT + 1}
        changes = (
            EndpointChange(ScenarioStep.PORT_ADDED, self._patch(samples, ports=[first, second])),
            EndpointChange(ScenarioStep.PORT_REMOVED, self._patch(samples, ports=[first])),
        )
        return ScenarioPlan(ServiceRequest(str(Scenario.WIDENED), CLIENT_IP), samples, changes, streams=False)

    def _flapping(self) -> ScenarioPlan:
        pods = self._names.pool[:3]
        to = self._relabel(Scenario.FLAPPING, pods)

        def flap(service: ServiceState, answered_by: str) -> Collection[str]:
            others = [name for name in pods if name != answered_by]
            self._services.wait_for_endpoints({service.name: to(*others)(service, answered_by)})
            return to(*pods)(service, answered_by)

        changes = (
            EndpointChange(ScenarioStep.ENDPOINT_BACK, flap, frees=True, is_undone=True),
            # kube-proxy deletes what it has of a former endpoint in a sync at least a second later.
            EndpointChange(ScenarioStep.CHANGES_LATER, to(*pods)),
            EndpointChange(ScenarioStep.MORE_CHANGES_LATER, to(*pods)),
        )
        return ScenarioPlan(_request(Scenario.FLAPPING, 3), pods, changes)

    def _flowing(self) -> ScenarioPlan:
        pods = self._names.pool[:3]
        to = self._relabel(Scenario.FLOWING, pods)

        def remove(service: ServiceState, answered_by: str) -> Collection[str]:
            return to(*(name for name in pods if name != answered_by))(service, answered_by)

        def delete(service: ServiceState, answered_by: str) -> Collection[str]:
            del answered_by
            self._services.delete(service)
            return ()

        changes = (
            EndpointChange(ScenarioStep.ENDPOINT_REMOVED, remove),
            EndpointChange(ScenarioStep.ENDPOINT_GIVEN_BACK, to(*pods)),
            EndpointChange(ScenarioStep.SERVICE_DELETED, delete, deletes=True),
        )
        return self._with_flows(Scenario.FLOWING, FLOWS, pods, changes)

    def _emptied(self) -> ScenarioPlan:
        pods = self._names.pool[:3]
        to = self._relabel(Scenario.EMPTIED, pods)
        changes = (
            EndpointChange(ScenarioStep.SCALED_TO_0, to()),
            EndpointChange(ScenarioStep.CHANGES_LATER, to()),
            EndpointChange(ScenarioStep.SCALED_TO_3, to(*pods)),
        )
        return self._with_flows(Scenario.EMPTIED, FLOWS_WITHOUT_ENDPOINTS, pods, changes)

    def _with_flows(
        self, scenario: Scenario, flows: int, pods: Collection[str], changes: Sequence[EndpointChange]
    ) -> ScenarioPlan:
        """Return the plan of a Service with UDP ports, to each of which the client sends a flow of datagrams."""
        request = _request(scenario, len(pods), ports=udp_ports(flows, self._datagram_port))
        return ScenarioPlan(request, pods, changes, streams=False, sends_requests=False, flows=True)

    def _patch(self, pods: Collection[str], **spec: Any) -> Act:
        """Return the act that patches fields of a Service; its endpoints are these pods before and after."""

        def act(service: ServiceState, answered_by: str) -> Collection[str]:
            del answered_by
            self._services.change(service, spec)
            return pods

        return act

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


def addressed(family: Family) -> ServiceRequest:
    """Return the Service of type LoadBalancer with an external address, which some clusters refuse."""
    spec = {"type": "LoadBalancer", "loadBalancerClass": NO_PROVIDER, "externalIPs": [ADDRESSES[family][0]]}
    return ServiceRequest(str(Scenario.ADDRESSED), CLIENT_IP, spec=spec)


def _request(scenario: Scenario, endpoints: int, **spec: Any) -> ServiceRequest:
    selector = {label(scenario): "yes"}
    return ServiceRequest(str(scenario), CLIENT_IP, spec={"selector": selector, **spec}, endpoints=endpoints)
