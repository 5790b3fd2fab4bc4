"""What is deleted and mended when an observation that disturbs a node fails."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.cluster_objects.datagrams import DatagramEndpoints
from session_affinity.dataplane.model import CLIENT_IP, Endpoint, ServicePort, ServiceState
from session_affinity.dataplane.nftables.layout import NODE_PORT_IPS
from session_affinity.dataplane.nftables.table import Element, NftSet, Table
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import NodeError
from session_affinity.nodes.kube_proxy import FailureCounter, Syncs
from session_affinity.nodes.node import Completed
from session_affinity.scenarios.disruption.outages import Outages
from session_affinity.traffic.answers import Answers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from session_affinity.cluster_objects.services import ServiceRequest
    from session_affinity.nodes.kube_proxy import FailedSyncs

pytestmark = pytest.mark.unit


class Flows(contextlib.AbstractContextManager[Any]):
    """Flows of datagrams that have all answers."""

    def wait_for(self, *_: object) -> None:
        """Return at once."""

    def stop(self) -> dict[str, Answers]:
        return {}

    def __exit__(self, *_: object) -> None:
        """End nothing."""


class World:
    """Testbed, nodes, Services, client and kube-proxies that keep a journal and fail at the step ``fails_at``.

    Syncs fail from the outage ``syncs_fail_from`` on, in none where it is 0.
    """

    deadlines = DEFAULTS
    node = "control-plane"
    reads_rules = True

    def __init__(self, fails_at: str, *, syncs_fail_from: int = 0) -> None:
        self.syncs_fail_from = syncs_fail_from
        self.nodes = self.services = self.client = self
        self.failed = 0
        self.table: Table | None = None
        self.backend = SimpleNamespace(
            mode="iptables",
            pin_argv=lambda *_: ("pin",),
            affinity_stores=lambda _: ["L"],
            affinity_entries=lambda *_: (),
            objects_of=lambda *_: (),
        )
        self.family = "IPv4"
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
        return NodeSnapshot(node, program="iptables-save", nftables=self.table)

    def has_behaviour(self, *_: object) -> bool:
        return self.table is not None

    def restart(self, node: str) -> None:
        self.step(f"restart {node}")

    def run(self, node: str, argv: tuple[str, ...]) -> Completed:
        if argv[0] == "iptables":
            self.step(f"rule {argv[4]}")
        return Completed(node, argv, 0, "", "")

    def started(self, node: str) -> float:
        del node
        return 100.0

    def flows(self, *_: object) -> Any:
        return Flows()

    stream = flows

    def request(self, *_: object, **__: object) -> Answers:
        return Answers(())

    @property
    def with_short_timeouts(self) -> Any:
        return self

    def uptime(self) -> float:
        return 0.0

    def change(self, service: ServiceState, spec: object) -> None:
        del spec
        self.step(f"change {service.name}")

    def wait_for_endpoints(self, expected: Mapping[str, object]) -> dict[str, ServiceState]:
        return {name: ServiceState("default", name, ("10.200.1.9",), CLIENT_IP, 30, ()) for name in expected}

    def failed_syncs(self, node: str) -> FailedSyncs:
        del node
        return {FailureCounter("a transaction of nft failed"): self.failed}

    def syncs(self, node: str) -> Syncs:
        return Syncs(self.failed_syncs(node), {"IPv4": 8.0}, {"IPv4": 70.0})

    def fail_syncs(self, node: str) -> int:
        self.step(f"fail {node}")
        return 1024

    def end_failures(self, node: str, files: int) -> None:
        assert files == 1024
        self.journal.append(f"end {node}")
        self.failed += 0 < self.syncs_fail_from <= self.journal.count(f"end {node}")

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


DATAGRAMS = DatagramEndpoints({"app": "webpod"}, 80)


def after_failure(fails_at: str, observe: Callable[[Outages], object]) -> list[str]:
    """Return the steps after the one that failed."""
    world: Any = World(fails_at)
    with pytest.raises(NodeError):
        observe(Outages(world, world, "worker2", DATAGRAMS))
    place = world.journal.index(fails_at) if fails_at in world.journal else 0
    return list(world.journal[place + 1 :])


DELETED = [f"delete {name}" for name in ("emptied", "deleted", "patched", "off", "on")]


@pytest.mark.parametrize("step", ["rule -I", "create other", "sync other", "patch blocked"])
def test_the_blocking_rule_is_removed_before_its_service(step: str) -> None:
    done = after_failure(step, Outages.blocking_rule)

    assert done[-2:] == ["rule -D", "delete blocked"]
    assert ("delete other" in done) == (step in ("sync other", "patch blocked"))


def test_a_service_that_the_node_does_not_sync_is_deleted() -> None:
    assert after_failure("sync blocked", Outages.blocking_rule) == ["delete blocked"]


def test_a_stopped_kube_proxy_runs_again_and_all_services_are_deleted() -> None:
    done = after_failure("patch patched", Outages.restart)

    assert done == ["mend control-plane", *DELETED, "delete flowing", "delete restart"]


def test_syncs_succeed_again_and_all_services_are_deleted() -> None:
    assert after_failure("patch patched", Outages.changes_while_failing) == ["end control-plane", *DELETED]


def test_changes_while_no_sync_failed_are_an_error() -> None:
    world: Any = World("")

    with pytest.raises(NodeError, match="control-plane: no sync of kube-proxy failed"):
        Outages(world, world, "worker2", DATAGRAMS).changes_while_failing()


def test_an_outage_in_which_no_sync_failed_is_made_again() -> None:
    world: Any = World("", syncs_fail_from=2)

    changes = Outages(world, world, "worker2", DATAGRAMS).changes_while_failing()

    assert not changes.answers
    assert world.journal.count("fail control-plane") == 2
    assert world.journal.index("sync second") < world.journal.index("end control-plane")


@pytest.mark.parametrize(
    ("elements", "restarts"), [({}, 1), ({("172.30.0.2",): Element(("172.30.0.2",))}, 0), (None, 0)]
)
def test_a_kube_proxy_that_lost_its_nodes_addresses_while_syncs_failed_is_restarted(
    elements: Mapping[tuple[str, ...], Element] | None, restarts: int
) -> None:
    world: Any = World("", syncs_fail_from=1)
    sets = {} if elements is None else {NODE_PORT_IPS: NftSet(NODE_PORT_IPS, elements=elements)}
    world.table = Table(sets=sets)

    Outages(world, world, "worker2", DATAGRAMS).changes_while_failing()

    assert world.journal.count("restart control-plane") == restarts


def test_a_kube_proxy_that_was_not_caught_in_a_sync_runs_again_and_all_services_are_deleted() -> None:
    done = after_failure("", Outages.killed_during_sync)

    assert done[-1] == "mend control-plane"
    assert done.count("delete written") == done.count("create written") == 20
