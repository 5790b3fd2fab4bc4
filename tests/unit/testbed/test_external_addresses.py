"""Which clients a claim about external addresses is judged by: the one outside, and one inside where it is answered."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from fixtures.outside import ExternalAddresses
from session_affinity.dataplane.model import ServicePort, ServiceState
from session_affinity.testbed.node_ports import external_addresses
from session_affinity.traffic.answers import Answer, Answers, Target

pytestmark = pytest.mark.unit

SERVICE = ServiceState(
    "default", "externalip", ("10.200.1.7",), "ClientIP", 10800, (ServicePort("web", "TCP", 9000),),
    external_ips=("198.51.100.77",), balancer_ips=(),
)  # fmt: skip
PROBE = replace(SERVICE, name="externalprobe", external_ips=("198.51.100.79",), balancer_ips=("198.51.100.80",))


@dataclass
class Client:
    """A client that is answered at some addresses; ``asked`` are all that it sent requests to."""

    answered_at: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)

    def request(self, *targets: Target, name: str = "") -> Answers:
        del name
        self.asked += [target.address for target in targets]
        return Answers(
            tuple(
                Answer(target, "webpod1", 200, 1, 1, 0.0)
                if target.address in self.answered_at
                else Answer(target, None, 0, 1, 1, 0.0, "curl 28: nothing")
                for target in targets
            )
        )


def addresses(inside: Client, outside: Client | None, *, leads: bool = True) -> ExternalAddresses:
    clients: Any = (inside, outside)
    return ExternalAddresses(*clients, "" if outside else "no client outside was named", PROBE, leads=leads)


def test_where_traffic_is_led_to_a_node_the_client_outside_judges_without_a_probe() -> None:
    """Its answers are the claim: a probe would turn a dataplane that serves no external address into a skip."""
    inside, outside = Client(), Client()

    found = addresses(inside, outside).clients_of(SERVICE, SERVICE.external_ips)

    assert found.clients == (outside,)
    assert outside.asked == []
    assert inside.asked == ["198.51.100.79"]
    assert found.targets == {Target("198.51.100.77", 9000): "at 198.51.100.77"}


def test_a_client_inside_counts_where_it_is_answered() -> None:
    inside, outside = Client(("198.51.100.79",)), Client()

    assert addresses(inside, outside).clients_of(SERVICE, SERVICE.external_ips).clients == (outside, inside)
    assert addresses(inside, None).clients_of(SERVICE, SERVICE.external_ips).clients == (inside,)


def test_an_address_of_a_load_balancer_is_probed_by_one() -> None:
    service = replace(SERVICE, external_ips=(), balancer_ips=("198.51.100.78",))
    inside = Client(("198.51.100.80",))

    assert addresses(inside, None).clients_of(service, service.balancer_ips).clients == (inside,)


@pytest.mark.parametrize(
    ("outside", "says"),
    [
        pytest.param(None, "no client outside was named", id="none"),
        pytest.param(Client(), "gets no answer at 198.51.100.79: its routes may not lead there", id="no route"),
    ],
)
def test_where_nobody_is_answered_the_claim_is_skipped(outside: Client | None, says: str) -> None:
    """A dataplane may serve external addresses from outside only, and the route of somebody's machine is unknown."""
    with pytest.raises(pytest.skip.Exception, match=says):
        addresses(Client(), outside, leads=False).clients_of(SERVICE, SERVICE.external_ips)


def test_a_machine_of_somebody_counts_where_it_is_answered() -> None:
    outside = Client(("198.51.100.79",))

    found = addresses(Client(), outside, leads=False).clients_of(SERVICE, SERVICE.external_ips)

    assert found.clients == (outside,)


def test_external_addresses_of_nodes_are_those_of_the_family() -> None:
    entries = [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "ExternalIP", "address": "203.0.113.1"}]
    nodes = [{"metadata": {"name": "first"}, "status": {"addresses": entries}}, {"metadata": {"name": "second"}}]

    assert external_addresses(nodes, "IPv4") == {"first": "203.0.113.1"}
    assert external_addresses(nodes, "IPv6") == {}
