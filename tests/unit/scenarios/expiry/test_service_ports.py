"""Services with several ports, each port for a trial of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from session_affinity.dataplane.model import CLIENT_IP, ServicePort, ServiceState
from session_affinity.scenarios.expiry import service_ports

pytestmark = pytest.mark.unit


def with_rules(*, reads_rules: bool) -> Any:
    return SimpleNamespace(reads_rules=reads_rules)


@pytest.mark.parametrize(
    ("trials", "sizes"),
    [
        pytest.param(15, [5, 5, 5], id="full"),
        pytest.param(6, [3, 3], id="as many each"),
        pytest.param(7, [4, 3], id="one more"),
        pytest.param(3, [3], id="one Service"),
        pytest.param(0, [], id="none"),
    ],
)
def test_trials_are_spread_over_few_services(trials: int, sizes: list[int]) -> None:
    requests = service_ports.requests(with_rules(reads_rules=True), "kept", 30, trials)

    assert [len(request.spec["ports"]) for request in requests] == sizes
    assert [len({port["port"] for port in request.spec["ports"]}) for request in requests] == sizes


def test_where_rules_cannot_be_read_each_trial_has_a_service_of_its_own() -> None:
    """Not every dataplane has an entry for each port."""
    requests = service_ports.requests(with_rules(reads_rules=False), "kept", 30, 6)

    assert [len(request.spec["ports"]) for request in requests] == [1] * 6


def test_each_port_is_a_state_of_its_own() -> None:
    ports = tuple(ServicePort(f"t{number}", "TCP", number) for number in (9000, 9001))
    service = ServiceState("default", "kept", ("10.200.1.5",), CLIENT_IP, 30, ports)

    states = service_ports.each_port([service])

    assert [state.ports for state in states] == [(port,) for port in ports]
    assert {state.key for state in states} == {service.key}
