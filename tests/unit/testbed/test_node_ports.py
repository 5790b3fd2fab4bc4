"""Node ports as targets, and the nodes that they belong to."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.zones import why_no_zones
from session_affinity.dataplane.model import ServicePort, ServiceState
from session_affinity.errors import NotReadyError
from session_affinity.testbed.node_ports import Entrance, NodePortTargets, internal_addresses
from session_affinity.traffic.answers import Answer, Answers, Target
from session_affinity.traffic.client import ClientId

pytestmark = pytest.mark.unit

SERVICE = ServiceState(
    "default", "svc", ("10.200.1.7",), "None", None, (ServicePort("web", "TCP", 9000, node_port=30127),)
)
CONTROL_PLANE, WORKER = Target("172.30.0.2", 30127), Target("172.30.0.3", 30127)
TARGETS = NodePortTargets({"control-plane": "172.30.0.2", "worker": "172.30.0.3"})


def node(name: str, *addresses: tuple[str, str]) -> dict[str, Any]:
    entries = [{"type": kind, "address": address} for kind, address in addresses]
    return {"metadata": {"name": name}, "status": {"addresses": entries}}


def test_addresses_are_the_nodes_first_internal_ones_of_the_family() -> None:
    nodes = [
        node("first", ("Hostname", "first"), ("ExternalIP", "203.0.113.1"), ("InternalIP", "10.0.0.1")),
        node("second", ("InternalIP", "fd00::2"), ("InternalIP", "10.0.0.2"), ("InternalIP", "10.0.0.3")),
        node("third", ("InternalIP", "fd00::6")),
    ]

    assert internal_addresses(nodes, "IPv4") == {"first": "10.0.0.1", "second": "10.0.0.2"}
    assert internal_addresses(nodes, "IPv6") == {"second": "fd00::2", "third": "fd00::6"}


def test_a_target_is_a_nodes_address_and_the_node_port() -> None:
    assert TARGETS.labelled_targets(SERVICE) == {
        CONTROL_PLANE: "through control-plane",
        WORKER: "through worker",
    }
    assert TARGETS.target_to_node(SERVICE, "worker") == {WORKER: "worker"}
    assert TARGETS.others("worker") == ("control-plane",)


class LateNode:
    """A client that the worker answers from its third request on, if ever."""

    id = ClientId("client", "1.2.3.4", "home")

    def __init__(self, answers_from: int) -> None:
        self.asked: list[Target] = []
        self.answers_from = answers_from

    def request(self, *targets: Target) -> Answers:
        self.asked += targets
        late = self.asked.count(WORKER) < self.answers_from
        silent = {at for at in targets if late and at == WORKER}
        return Answers(tuple(Answer(at, None if at in silent else "webpod1", 200, 40000, 1, 0.01) for at in targets))


def test_nodes_are_asked_until_they_answer_and_not_again() -> None:
    client: Any = LateNode(3)

    Entrance(SERVICE, client, 10.0).require(TARGETS)

    assert client.asked.count(CONTROL_PLANE) == 1
    assert client.asked.count(WORKER) == 3


def test_a_node_that_never_answers_is_named() -> None:
    client: Any = LateNode(10**9)
    entrance = Entrance(SERVICE, client, 0.1)

    assert entrance.answering(TARGETS.addresses) == ("control-plane",)
    with pytest.raises(NotReadyError, match="worker: no answer to client at the node port of Service default/svc"):
        entrance.require(TARGETS)


@pytest.mark.parametrize(
    ("zones", "says"),
    [
        ({"c": "a", "w1": "a", "w2": "b"}, ""),
        ({"c": "a", "w1": "a", "w2": "a"}, "c in a, w1 in a, w2 in a"),
        ({"c": "z", "w1": "a", "w2": "b"}, "c in z"),
        ({"c": "a", "w1": "a", "w2": ""}, "w2 in none"),
    ],
)
def test_zones_of_somebodys_cluster_do_when_endpoints_are_in_the_clients_and_in_another(
    zones: dict[str, str], says: str
) -> None:
    reason = why_no_zones(zones, "c", ["w1", "w2"])

    assert bool(reason) is bool(says)
    assert says in reason
