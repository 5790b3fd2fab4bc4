"""The thread of the shared wait: its end when it is cancelled, and its result when it fails."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.dataplane.model import CLIENT_IP, Endpoint, ServicePort, ServiceState
from session_affinity.deadlines import Deadlines
from session_affinity.errors import ClusterError, NotReadyError
from session_affinity.scenarios.expiry.plan import Group
from session_affinity.scenarios.expiry.shared_wait import CancelledError, Observations, SharedWait

if TYPE_CHECKING:
    from session_affinity.cluster_objects.services import ServiceRequest

pytestmark = pytest.mark.unit


class FakeTestbed:
    """Creates Services when the test lets it, and counts the syncs after that."""

    reads_rules = False

    def __init__(self, error: Exception | None = None, **deadlines: float) -> None:
        self.deadlines = Deadlines(**deadlines)
        self.services = self.client = self
        self.creating, self.may_create = threading.Event(), threading.Event()
        self.error = error
        self.syncs = 0
        self.thread = ""

    def create_all(self, requests: list[object], *, patched: object) -> list[object]:
        del patched
        self.thread = threading.current_thread().name
        self.creating.set()
        assert self.may_create.wait(5)
        if self.error:
            raise self.error
        return requests

    def wait_for_client_sync(self, *_: object, **__: object) -> Any:
        self.syncs += 1
        raise ClusterError("not reached")


def started(testbed: Any) -> SharedWait:
    return SharedWait(testbed, Future()).start()


def test_cancelling_waits_for_the_end_of_the_thread_before_its_next_step() -> None:
    testbed = FakeTestbed()
    wait = started(testbed)
    assert testbed.creating.wait(5)
    threading.Timer(0.02, testbed.may_create.set).start()

    wait.cancel()

    assert wait._observer is not None
    assert not wait._observer.is_alive()
    assert testbed.syncs == 0
    with pytest.raises(CancelledError, match="before this step: wait until the client's node has the Services"):
        wait.result()


def test_the_wait_for_a_cancelled_thread_has_a_deadline() -> None:
    testbed = FakeTestbed(shared_wait_cancel=0.01)
    wait = started(testbed)
    assert testbed.creating.wait(5)

    wait.cancel()

    testbed.may_create.set()


def test_the_observing_thread_has_its_name() -> None:
    testbed = FakeTestbed()
    testbed.may_create.set()
    wait = started(testbed)

    with pytest.raises(ClusterError, match="not reached"):
        wait.result()
    assert testbed.thread == "expiry-observer"


def test_the_result_raises_the_exception_of_the_thread() -> None:
    testbed = FakeTestbed(ClusterError("no Services"))
    testbed.may_create.set()

    with pytest.raises(ClusterError, match="no Services"):
        started(testbed).result()


def test_the_error_of_a_late_wait_names_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("session_affinity.scenarios.expiry.shared_wait.LEAST_SECONDS", 0.01)
    testbed = FakeTestbed(shared_wait_overtime=-100)
    wait = started(testbed)

    with pytest.raises(NotReadyError, match="last state: create the Services"):
        wait.result()
    testbed.may_create.set()


class ReadableTestbed:
    """Notes what is done to Services on nodes that can be read; the first wait for a sync is ``late``."""

    reads_rules = True
    deadlines = Deadlines()
    sync_seconds = 10.0

    def __init__(self, late: NotReadyError | None = None, *, reads_rules: bool = True) -> None:
        self.services = self.client = self.nodes = self.backend = self
        self.reads_rules = reads_rules
        self.counts_connections = True
        self.node = "myk8s-worker"
        self.late = late
        self.done: list[str] = []

    def create_all(self, requests: list[ServiceRequest], *, patched: list[int | None]) -> list[ServiceState]:
        self.done.append("create")
        self.done += dict.fromkeys(
            f"patch {request.purpose}" for request, timeout in zip(requests, patched, strict=True) if timeout
        )
        return [
            ServiceState("default", f"{request.purpose}-{number}", ("10.200.0.9",), CLIENT_IP, timeout or 10800, PORTS)
            for number, (request, timeout) in enumerate(zip(requests, patched, strict=True))
        ]

    def patch_timeouts(self, services: list[ServiceState], seconds: int) -> list[ServiceState]:
        self.done += [f"patch {services[0].name.partition('-')[0]}"]
        return [replace(service, timeout_seconds=seconds) for service in services]

    def wait_for_client_sync(self, *services: ServiceState, **_: object) -> None:
        self.done.append(f"client's node: {len({service.timeout_seconds for service in services})} timeouts")

    def wait_for_sync(self, *services: ServiceState, since: float, nodes: Any = (), with_entries: bool = False) -> Any:
        del since, with_entries
        self.done.append(f"sync of {', '.join(nodes) or 'all nodes'}")
        late, self.late = self.late, None
        return FakeSync(services, late)

    def request(self, *targets: object) -> str:
        self.done.append(f"requests to {len(targets)}")
        return "answers"

    def read_one(self, node: str) -> str:
        self.done.append(f"read {node}")
        return "snapshot"


PORTS = (ServicePort("", "TCP", 9000, (Endpoint("10.10.1.2", 80),)),)


class FakeSync(SimpleNamespace):
    """The result of a wait for a sync, which may be late."""

    def __init__(self, services: tuple[ServiceState, ...], late: NotReadyError | None) -> None:
        super().__init__(services=services, late=late)

    def require(self, *_: str) -> None:
        if self.late:
            raise self.late


def observed(testbed: Any) -> Observations:
    """Return the observations of a shared wait without a second client, which ends when it would need that."""
    second: Future[Any] = Future()
    second.set_exception(ClusterError("no second client"))
    return SharedWait(testbed, second).start().result()


def test_only_services_that_are_patched_with_entries_are_seen_unpatched() -> None:
    testbed = ReadableTestbed()

    with pytest.raises(ClusterError, match="no second client"):
        observed(testbed)

    assert testbed.done == [
        *("create", "patch kept", "patch sliding", "patch expired", "sync of myk8s-worker"),
        *("requests to 3", "read myk8s-worker"),
    ]


def test_where_nodes_cannot_be_read_the_dataplane_has_the_services_before_their_patch() -> None:
    testbed = ReadableTestbed(reads_rules=False)

    with pytest.raises(ClusterError, match="no second client"):
        observed(testbed)

    assert testbed.done[:3] == ["create", "client's node: 1 timeouts", "patch kept"]
    assert testbed.done[-1] == "sync of myk8s-worker"


def test_where_the_clients_node_is_late_the_patch_is_seen_and_no_trial() -> None:
    late = NotReadyError("myk8s-worker: not programmed")
    testbed = ReadableTestbed(late)

    observations = observed(testbed)

    assert testbed.done[-3:] == ["read myk8s-worker", "patch patched", "sync of all nodes"]
    assert {service.timeout_seconds for service in observations.timeout_patch().services} == {30}
    with pytest.raises(NotReadyError, match="not programmed"):
        observations.of(Group.EXPIRED)


def test_where_nothing_can_be_read_and_the_node_is_late_there_is_no_observation() -> None:
    testbed = ReadableTestbed(NotReadyError("no sentinel"), reads_rules=False)

    observations = observed(testbed)

    with pytest.raises(NotReadyError, match="no sentinel"):
        observations.of(Group.EXPIRED)
    with pytest.raises(ClusterError, match="not read before and after the patch"):
        observations.timeout_patch()
