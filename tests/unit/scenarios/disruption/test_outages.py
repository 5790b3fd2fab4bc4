"""What is deleted and mended when an observation that disturbs a node fails."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.dataplane.model import CLIENT_IP, Endpoint, ServicePort, ServiceState
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import NodeError
from session_affinity.nodes.node import Completed
from session_affinity.scenarios.disruption.allocation import DisruptionNodes
from session_affinity.scenarios.disruption.outages import Outages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from session_affinity.cluster_objects.services import ServiceRequest

pytestmark = pytest.mark.unit


class World:
    """Testbed, nodes, Services, client and kube-proxies that keep a journal and fail at the step ``fails_at``."""

    deadlines = DEFAULTS
    node = "control-plane"

    def __init__(self, fails_at: str) -> None:
        self.nodes = self.services = self.client = self
        self.backend = SimpleNamespace(
            mode="iptables",
            pin_argv=lambda *_: ("pin",),
            affinity_stores=lambda _: ["L"],
            affinity_entries=lambda *_: (),
        )
        self.fails_at = fails_at
        self.journal: list[str] = []
        self.created = 0

    def step(self, name: str) -> None:
        self.journal.append(name)
        if name == self.fails_at:
            raise NodeError(f"failed: {name}")

    def create_all(self, requests: Sequence[ServiceRequest]) -> list[ServiceState]:
        states = []
        for request in requests:
            self.created += 1
            self.step(f"create {request.purpose}")
            ports = (ServicePort("web", "TCP", 9000, (Endpoint("10.10.1.2", 80, "webpod1"),)),)
            states.append(ServiceState("default", request.purpose, (f"10.200.1.{self.created}",), CLIENT_IP, 30, ports))
        return states

    def create(self, request: ServiceRequest) -> ServiceState:
        return self.create_all([request])[0]

    def switch(self, service: ServiceState, affinity: str) -> ServiceState:
        self.step(f"switch {service.name}")
        return replace(service, session_affinity=affinity)

    def patch_timeouts(self, services: Sequence[ServiceState], seconds: int) -> list[ServiceState]:
        self.step(f"patch {services[0].name}")
        return [replace(service, timeout_seconds=seconds) for service in services]

    def delete(self, service: ServiceState) -> None:
        self.journal.append(f"delete {service.name}")

    def wait_for_sync(self, *services: ServiceState, **_: object) -> Any:
        self.step(f"sync {services[-1].name}")
        return SimpleNamespace(require=lambda *_: None, waited=0.1)

    def compare(self, *_: object) -> tuple[str, ...]:
        return ("differs",)

    def read_one(self, node: str) -> NodeSnapshot:
        return NodeSnapshot(node, program="iptables-save")

    def run(self, node: str, argv: tuple[str, ...]) -> Completed:
        if argv[0] == "iptables":
            self.step(f"rule {argv[4]}")
        return Completed(node, argv, 0, "", "")

    def started(self, node: str) -> float:
        del node
        return 100.0

    def failed_syncs(self, node: str) -> int:
        del node
        return 0

    def pause(self, node: str) -> None:
        self.step(f"pause {node}")

    def kill(self, node: str) -> None:
        self.step(f"kill {node}")

    def kill_during_sync(self, node: str) -> bool:
        self.step(f"kill {node}")
        return False

    def revive(self, node: str, *, before: float) -> float:
        del before
        self.step(f"revive {node}")
        return 1.0

    def mend(self, node: str, *, before: float) -> None:
        assert before == 100.0
        self.journal.append(f"mend {node}")


def after_failure(fails_at: str, observe: Callable[[Outages], object]) -> list[str]:
    """Return the steps after the one that failed."""
    world: Any = World(fails_at)
    with pytest.raises(NodeError):
        observe(Outages(world, world, DisruptionNodes("worker", "worker2", "worker3")))
    place = world.journal.index(fails_at) if fails_at in world.journal else 0
    return list(world.journal[place + 1 :])


@pytest.mark.parametrize("step", ["rule -I", "create other", "sync other", "patch blocked"])
def test_the_blocking_rule_is_removed_before_its_service(step: str) -> None:
    done = after_failure(step, Outages.blocking_rule)

    assert done[-2:] == ["rule -D", "delete blocked"]
    assert ("delete other" in done) == (step in ("sync other", "patch blocked"))


def test_a_service_that_the_node_does_not_sync_is_deleted() -> None:
    assert after_failure("sync blocked", Outages.blocking_rule) == ["delete blocked"]


def test_a_stopped_kube_proxy_runs_again_and_all_services_are_deleted() -> None:
    done = after_failure("patch patched", Outages.changes_while_stopped)

    assert done == ["mend worker", *(f"delete {name}" for name in ("deleted", "patched", "off", "on"))]


def test_a_kube_proxy_that_was_not_caught_in_a_sync_runs_again_and_all_services_are_deleted() -> None:
    done = after_failure("", Outages.killed_during_sync)

    assert done[-1] == "mend worker2"
    assert done.count("delete written") == done.count("create written") == 100
