"""What happens to which Service: changes of endpoints that stand for what users do, and the pods they need.

A pod becomes an endpoint by a label and stops being one without it, so pods need not start for Services to be scaled
and updated. Only what is about a pod's own end or readiness has pods of its own.
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
"""How long slowly terminating pods take: longer than all that happens, on a machine that is not slow."""


class Scenario(StrEnum):
    """What happens to a Service."""

    SCALED = "scaled"
    """To five endpoints, to none, to three."""
    ROLLED = "rolled"
    """Its two endpoints are replaced one by one."""
    UNREADY = "unready"
    """The client's endpoint is not ready for a while."""
    DELETED = "deleted"
    """The client's pod is deleted, and made again under its name."""
    SELECTED = "selected"
    """Its selector selects other pods, then the first ones again."""
    DRAINED = "drained"
    """Its pods terminate slowly, the client's first."""
    LOCAL = "local"
    """The same with internalTrafficPolicy Local, while a pod on another node stays."""
    OUTSIDE = "outside"
    """The same with externalTrafficPolicy Local; nobody asks it."""
    PORT = "port"
    """Its port gets another number, then another name."""
    RECREATED = "recreated"
    """It is deleted, and made again under its name."""


@dataclass(frozen=True)
class EndpointChange:
    """Something done to a Service or its endpoints.

    ``act`` does it, given the Service and the pod that answered last, and returns the pods that are the endpoints of
    all its ports then. ``deletes`` says that the Service goes, ``silent`` that the client is not to ask while it
    happens, because endpoints go without an end of their own. A request that is lost on its way to one leaves an entry
    in conntrack: for two minutes (``nf_conntrack_tcp_timeout_syn_sent``) it leads whoever gets that request's local
    port to an endpoint that is gone, whatever the rules say. kube-proxy clears no such entries of TCP, and every 10 s
    the kernel begins to hand out local ports somewhere else (``secure_ipv4_port_ephemeral``): now and then the same.
    """

    says: str
    act: Act
    deletes: bool = False
    silent: bool = False


@dataclass(frozen=True)
class ScenarioPlan:
    """A Service, the pods that are its endpoints at first, and one change a round, where it has one.

    ``followed`` Services are asked all the time; the others when the nodes have followed a change, if ``asked``.
    """

    wish: ServiceRequest
    pods: Collection[str]
    changes: Sequence[EndpointChange]
    followed: bool = True
    asked: bool = True


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


def label(story: Scenario) -> str:
    """Return the label by which pods are the endpoints of a story's Service."""
    return f"lifecycle-{story}"


def wishes(client_node: str, other_node: str, deadlines: Deadlines = DEFAULTS) -> list[PodRequest]:
    """Return the pods to be made, in the order that ``cast`` takes their names in; the first is not with the client."""

    def wish(purpose: str, *stories: Scenario, **more: Any) -> PodRequest:
        return PodRequest(purpose, (Role.ENDPOINT,), {label(story): "yes" for story in stories}, **more)

    pool = [wish(f"pool{number}", *stories) for number, stories in enumerate(_POOL, 1)]
    pool[0] = replace(pool[0], node=other_node)
    seconds = round(SLOW_END_SECONDS * deadlines.scale)
    slow_end: Mapping[str, Any] = {
        "node": client_node,
        "spec": {"terminationGracePeriodSeconds": seconds},
        "container": {"lifecycle": {"preStop": {"sleep": {"seconds": seconds - 5}}}},
    }
    slow = [wish(f"slow{number}", Scenario.DRAINED, Scenario.LOCAL, Scenario.OUTSIDE, **slow_end) for number in (1, 2)]
    return [*pool, *slow, wish("gated", Scenario.UNREADY, spec=GATED), wish("fragile", Scenario.DELETED)]


_POOL: Final = (
    (Scenario.SCALED, Scenario.ROLLED, Scenario.LOCAL, Scenario.OUTSIDE),
    (Scenario.SCALED, Scenario.ROLLED),
    (Scenario.SCALED,),
    (Scenario.SELECTED,),
    (Scenario.SELECTED,),
)


def cast(names: Sequence[str], samples: Sequence[str]) -> ScenarioPods:
    """Return who is who of the pods made for ``wishes``."""
    *pool, first, second, gated, fragile = names
    return ScenarioPods(tuple(pool), fragile, gated, (first, second), tuple(samples))


class ScenarioBuilder:
    """Makes the plans of all stories, for pods that are there."""

    def __init__(self, pods: Pods, services: Services, cast: ScenarioPods) -> None:
        self._pods = pods
        self._services = services
        self._cast = cast
        self._terminating: list[str] = []

    def all(self) -> dict[Scenario, ScenarioPlan]:
        """Return them by story, in the order in which the changes of a round are made."""
        stays = self._cast.pool[0]
        return {
            Scenario.SCALED: self._scaled(),
            Scenario.ROLLED: self._rolled(),
            Scenario.UNREADY: self._unready(),
            Scenario.DELETED: self._deleted(),
            Scenario.SELECTED: self._selected(),
            Scenario.DRAINED: self._drained(Scenario.DRAINED),
            Scenario.LOCAL: self._drained(Scenario.LOCAL, stays, internalTrafficPolicy="Local"),
            Scenario.OUTSIDE: self._drained(
                Scenario.OUTSIDE, stays, asked=False, type="NodePort", externalTrafficPolicy="Local"
            ),
            Scenario.PORT: self._port(),
            Scenario.RECREATED: self._recreated(),
        }

    def _scaled(self) -> ScenarioPlan:
        a, b, c, *more = self._cast.pool
        to = self._relabel(Scenario.SCALED, (a, b, c))
        changes = (
            EndpointChange("scaled to 5", to(a, b, c, *more)),
            EndpointChange("scaled to 0", to(), silent=True),
            EndpointChange("scaled to 3", to(a, b, c)),
        )
        return ScenarioPlan(_wish(Scenario.SCALED, 3), (a, b, c), changes)

    def _rolled(self) -> ScenarioPlan:
        a, b, c, d, _ = self._cast.pool
        to = self._relabel(Scenario.ROLLED, (a, b))
        changes = (
            EndpointChange("a new pod added", to(a, b, c)),
            EndpointChange("the first old pod replaced", to(b, c, d)),
            EndpointChange("the last old pod removed", to(c, d)),
        )
        return ScenarioPlan(_wish(Scenario.ROLLED, 2), (a, b), changes)

    def _unready(self) -> ScenarioPlan:
        a, b, *_ = self._cast.pool
        own = self._cast.gated
        to = self._relabel(Scenario.UNREADY, (own,))

        def declare(pods: Collection[str], *, ready: bool) -> Act:
            def act(service: ServiceState, answered: str) -> Collection[str]:
                del service, answered
                self._pods.declare(own, ready=ready)
                return pods

            return act

        changes = (
            EndpointChange("two other pods added", to(own, a, b)),
            EndpointChange("the client's pod not ready", declare((a, b), ready=False)),
            EndpointChange("that pod ready again", declare((own, a, b), ready=True)),
        )
        return ScenarioPlan(_wish(Scenario.UNREADY, 1), (own,), changes)

    def _deleted(self) -> ScenarioPlan:
        a, b, *_ = self._cast.pool
        own = self._cast.fragile
        to = self._relabel(Scenario.DELETED, (own,))

        def delete(service: ServiceState, answered: str) -> Collection[str]:
            del service, answered
            self._pods.delete(own)
            return (a, b)

        def again(service: ServiceState, answered: str) -> Collection[str]:
            del service, answered
            self._pods.create(PodRequest("fragile", (Role.ENDPOINT,), {label(Scenario.DELETED): "yes"}, name=own))
            return (own, a, b)

        changes = (
            EndpointChange("two other pods added", to(own, a, b)),
            EndpointChange("the client's pod deleted", delete, silent=True),
            EndpointChange("a pod made under its name", again),
        )
        return ScenarioPlan(_wish(Scenario.DELETED, 1), (own,), changes)

    def _selected(self) -> ScenarioPlan:
        *_, d, e = self._cast.pool
        old, new = dict(BACKEND), {label(Scenario.SELECTED): "yes"}

        def select(selector: Mapping[str, str], without: Mapping[str, str], pods: Collection[str]) -> Act:
            def act(service: ServiceState, answered: str) -> Collection[str]:
                del answered
                self._services.change(service, {"selector": {**dict.fromkeys(without), **selector}})
                return pods

            return act

        changes = (
            EndpointChange("other pods selected", select(new, old, (d, e))),
            EndpointChange("the first pods selected again", select(old, new, self._cast.samples)),
        )
        return ScenarioPlan(ServiceRequest(str(Scenario.SELECTED), CLIENT_IP), self._cast.samples, changes)

    def _drained(self, story: Scenario, *stays: str, asked: bool = True, **spec: Any) -> ScenarioPlan:
        """Return the plan of pods that terminate: the story DRAINED tells them to, the others see it happen."""
        slow = self._cast.slow

        def act(service: ServiceState, answered: str) -> Collection[str]:
            del service
            if story is Scenario.DRAINED:
                self._terminating.append(answered)
                self._pods.delete(answered)
            return [name for name in (*slow, *stays) if name not in self._terminating] or slow

        changes = (EndpointChange("one pod terminating", act), EndpointChange("both pods terminating", act))
        wish = _wish(story, 2 + len(stays), **spec)
        return ScenarioPlan(wish, (*slow, *stays), changes, followed=asked, asked=asked)

    def _port(self) -> ScenarioPlan:
        samples = self._cast.samples

        def to(name: str, number: int) -> Act:
            def act(service: ServiceState, answered: str) -> Collection[str]:
                del answered
                port = {"name": name, "port": number, "targetPort": 80, "protocol": "TCP"}
                self._services.change(service, {"ports": [port]})
                return samples

            return act

        changes = (
            EndpointChange("the port's number changed", to("web", PORT + 1)),
            EndpointChange("the port renamed", to("other", PORT + 1)),
        )
        return ScenarioPlan(ServiceRequest(str(Scenario.PORT), CLIENT_IP), samples, changes, followed=False)

    def _recreated(self) -> ScenarioPlan:
        wish = ServiceRequest(str(Scenario.RECREATED), CLIENT_IP)

        def delete(service: ServiceState, answered: str) -> Collection[str]:
            del answered
            self._services.delete(service)
            return ()

        def again(service: ServiceState, answered: str) -> Collection[str]:
            del answered
            self._services.create_anew(manifest(service.name, service.namespace, wish))
            return self._cast.samples

        changes = (
            EndpointChange("the Service deleted", delete, deletes=True),
            EndpointChange("made again under its name", again),
        )
        return ScenarioPlan(wish, self._cast.samples, changes, followed=False)

    def _relabel(self, story: Scenario, first: Collection[str]) -> Callable[..., Act]:
        """Return a maker of acts that give a story's label to the pods named, and to no others."""
        labelled = set(first)

        def to(*pods: str) -> Act:
            def act(service: ServiceState, answered: str) -> Collection[str]:
                del service, answered
                for name in labelled.symmetric_difference(pods):
                    self._pods.label(name, **{label(story): "yes" if name in pods else None})
                labelled.clear()
                labelled.update(pods)
                return pods

            return act

        return to


def _wish(story: Scenario, endpoints: int, **spec: Any) -> ServiceRequest:
    return ServiceRequest(str(story), CLIENT_IP, spec={"selector": {label(story): "yes"}, **spec}, endpoints=endpoints)
