"""Services that are switched in place: the order of what is done, and that nothing of them stays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.cluster_objects.services import NO_AFFINITY
from session_affinity.dataplane.model import CLIENT_IP, ServicePort, ServiceState
from session_affinity.errors import NotReadyError
from session_affinity.scenarios import switches
from session_affinity.scenarios.switches import create_without_rules, switch_off_and_on, switch_on_and_off

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from session_affinity.cluster_objects.services import ServiceRequest

pytestmark = pytest.mark.unit

PORTS = (ServicePort("web", "TCP", 9000),)


@dataclass(frozen=True)
class Sync:
    """The wait for a Service; its client's node is late where ``late`` says so."""

    late: bool
    states: Mapping[str, str]

    def require(self, *_: str) -> Sync:
        if self.late:
            raise NotReadyError("late")
        return self


class World:
    """A cluster that keeps a journal; the node is late with a Service in the state ``late``."""

    sync_seconds = 5.0

    def __init__(self, late: str = "") -> None:
        self.journal: list[str] = []
        self.late = late
        self.client = self.nodes = self.services = self.backend = self
        self.with_lists: tuple[str, ...] = ()
        self.node = "home"

    def note(self, what: str, service: ServiceState) -> str:
        self.journal.append(f"{what} {service.name} {service.session_affinity}")
        return self.journal[-1]

    def create_all(self, requests: Sequence[ServiceRequest]) -> list[ServiceState]:
        created = [
            ServiceState("default", request.purpose, ("10.0.0.1",), request.affinity, None, PORTS)
            for request in requests
        ]
        for service in created:
            self.note("create", service)
        return created

    def create(self, request: ServiceRequest) -> ServiceState:
        return self.create_all([request])[0]

    def recreate(self, manifest: Mapping[str, Any]) -> ServiceState:
        service = ServiceState("default", manifest["metadata"]["name"], ("10.0.0.1",), NO_AFFINITY, None, PORTS)
        self.note("create", service)
        return service

    def switch(self, service: ServiceState, affinity: str) -> ServiceState:
        switched = replace(service, session_affinity=affinity)
        self.note("switch", switched)
        return switched

    def delete(self, service: ServiceState) -> None:
        self.journal.append(f"delete {service.name}")

    def stored(self, service: ServiceState) -> tuple[dict[str, Any], list[Any]]:
        return {"spec": service.session_affinity}, []

    def wait_for_sync(self, service: ServiceState, *, since: float, with_entries: bool = False) -> Sync:
        assert since
        what = self.note("sync with entries" if with_entries else "sync", service)
        return Sync(bool(self.late) and what.endswith(self.late), {"home": "as synced"})

    def wait_for_client_sync(self, service: ServiceState, *, since: float) -> None:
        self.wait_for_sync(service, since=since).require()

    def request(self, target: object, count: int = 1) -> int:
        del target
        self.journal.append(f"{count} requests")
        return count

    def read_one(self, node: str) -> str:
        self.journal.append(f"read {node}")
        return f"{node}, read {self.journal.count(f'read {node}')} times"

    def existing_stores(self, state: str, service: ServiceState) -> tuple[str, ...]:
        assert service.session_affinity == CLIENT_IP
        return ("a list",) if state in self.with_lists else ()


def on_and_off(world: Any) -> Any:
    return switch_on_and_off(world, {"metadata": {"name": "svc"}})


def test_a_service_is_switched_on_and_off_with_requests_after_each_wait() -> None:
    world = World()

    seen = on_and_off(world)

    assert world.journal == [
        *("create svc None", "sync svc None"),
        *("switch svc ClientIP", "sync svc ClientIP", "100 requests"),
        *("switch svc None", "sync svc None", "300 requests", "delete svc"),
    ]
    assert (seen.kept, seen.spread) == (100, 300)
    assert (seen.sticky.session_affinity, seen.plain.session_affinity) == (CLIENT_IP, NO_AFFINITY)


def test_a_bound_client_is_seen_before_the_switch_and_entries_after_each() -> None:
    world: Any = World()

    seen = switch_off_and_on(world)

    assert world.journal == [
        *("create switched ClientIP", "sync switched ClientIP", "1 requests", "read home"),
        *("switch switched None", "sync with entries switched None"),
        *("switch switched ClientIP", "sync with entries switched ClientIP", "delete switched"),
    ]
    assert seen.specs == (CLIENT_IP, CLIENT_IP)
    assert seen.bound == "home, read 1 times"


@pytest.mark.parametrize(
    ("with_lists", "state"),
    [
        pytest.param((), "as synced", id="gone with the rules"),
        pytest.param(("as synced", "home, read 2 times"), "home, read 3 times", id="gone a moment later"),
    ],
)
def test_lists_may_go_a_moment_after_their_rules(
    with_lists: tuple[str, ...], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switches, "POLL_SECONDS", 0.0)
    world: Any = World()
    world.with_lists = with_lists

    assert switch_off_and_on(world).off.states == {"home": state}


def test_lists_that_stay_are_read_for_the_time_of_a_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switches, "POLL_SECONDS", 0.0)
    world: Any = World()
    world.existing_stores = lambda *_: ("a list",)
    world.sync_seconds = 0.05

    (state,) = switch_off_and_on(world).off.states.values()

    assert str(state).startswith("home, read")


def test_the_ordinary_service_is_created_after_those_without_rules() -> None:
    world: Any = World()

    seen = create_without_rules(world)

    created = [line.split()[1] for line in world.journal if line.startswith("create")]
    assert created == [*(service.name for service in seen.without), seen.control.name] == ["bare", "named", "control"]
    assert world.journal[-3:] == ["delete bare", "delete named", "delete control"]


@pytest.mark.parametrize(
    ("late", "observe"),
    [pytest.param("svc ClientIP", on_and_off, id="switched on"), pytest.param("svc None", on_and_off, id="created")],
)
def test_a_service_is_deleted_where_the_clients_node_is_late(late: str, observe: Callable[[Any], object]) -> None:
    world = World(late)

    with pytest.raises(NotReadyError):
        observe(world)

    assert world.journal[-1] == "delete svc"
