"""The changes of each scenario, with pods and Services that only record their calls."""

from __future__ import annotations

from typing import Any

import pytest

from session_affinity.cluster_objects.pods import Role
from session_affinity.dataplane.model import CLIENT_IP, ServiceState
from session_affinity.scenarios.endpoint_changes.scenario import (
    Scenario,
    ScenarioBuilder,
    ScenarioPlan,
    ScenarioPods,
    label,
    pod_requests,
    scenario_pods,
)

pytestmark = pytest.mark.unit

SERVICE = ServiceState("default", "affinity-x", ("10.200.1.5",), CLIENT_IP, 30, ())
PODS = ScenarioPods(
    ("a", "b", "c", "d", "e"), "fragile", "gated", ("slow1", "slow2"), ("webpod1", "webpod2", "webpod3")
)


WITH_SAMPLE_PODS = (
    *(Scenario.SELECTED, Scenario.PORT, Scenario.RECREATED),
    *(Scenario.TYPED, Scenario.ADDRESSED, Scenario.WIDENED),
)
"""The scenarios whose endpoints at first are the sample pods."""


class Recording:
    """Records each call with its arguments."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.family = "IPv4"

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self.calls.append((name, *args, *kwargs.items()))


def plans() -> tuple[dict[Scenario, ScenarioPlan], Recording, Recording]:
    pods, services = Recording(), Recording()
    made: Any = (pods, services)
    return ScenarioBuilder(*made, PODS).all(), pods, services


def played(plan: ScenarioPlan) -> list[set[str]]:
    """Return the endpoints after each change, the first pod having answered before it."""
    return [set(change.act(SERVICE, next(iter(plan.pods)))) for change in plan.changes]


def test_pods_have_their_part_in_the_order_of_their_requests() -> None:
    requests = pod_requests("control-plane", "worker")
    names = [request.purpose for request in requests]

    found = scenario_pods(names, ("webpod1",))

    assert found.pool == ("pool1", "pool2", "pool3", "pool4", "pool5")
    assert (found.fragile, found.gated, found.slow) == ("fragile", "gated", ("slow1", "slow2"))
    assert {request.node for request in requests if request.purpose.startswith("slow")} == {"control-plane"}
    assert [request.node for request in requests[:2]] == ["worker", "control-plane"]


@pytest.mark.parametrize("scenario", list(Scenario))
def test_pods_have_the_labels_of_the_services_they_are_endpoints_of_at_first(scenario: Scenario) -> None:
    plan = plans()[0][scenario]
    requests = {request.purpose.replace("pool", ""): request for request in pod_requests("control-plane", "worker")}
    labelled = {name for name, request in requests.items() if label(scenario) in request.labels}
    names = {"1": "a", "2": "b", "3": "c", "4": "d", "5": "e"}

    if scenario not in WITH_SAMPLE_PODS:
        assert {names.get(name, name) for name in labelled} == set(plan.pods)
        assert plan.request.endpoints == len(plan.pods)


def test_scaling_changes_the_labels_that_differ_and_no_others() -> None:
    made, pods, _ = plans()

    assert played(made[Scenario.SCALED]) == [{"a", "b", "c", "d", "e"}, set(), {"a", "b", "c"}]
    first = [call for call in pods.calls[:2] if call[0] == "label"]
    assert {call[1] for call in first} == {"d", "e"}
    assert {call[2][1] for call in first} == {"yes"}
    assert {call[2][1] for call in pods.calls[2:7]} == {None}


def test_a_rolling_update_leaves_none_of_the_old_pods() -> None:
    plan = plans()[0][Scenario.ROLLED]

    assert not set(plan.pods) & played(plan)[-1]
    assert all(before & after for before, after in zip([set(plan.pods), *played(plan)], played(plan), strict=False))


def test_the_pod_that_answered_terminates_first_and_all_that_have_both_see_it() -> None:
    made, pods, _ = plans()
    drained = [made[scenario] for scenario in (Scenario.DRAINED, Scenario.LOCAL, Scenario.OUTSIDE)]

    first = [set(plan.changes[0].act(SERVICE, "slow2")) for plan in drained]
    then = [set(plan.changes[1].act(SERVICE, "slow1")) for plan in drained]

    assert first == [{"slow1"}, {"slow1", "a"}, {"slow1", "a"}]
    assert then == [{"slow1", "slow2"}, {"a"}, {"a"}]
    assert pods.calls == [("delete", "slow2"), ("delete", "slow1")]


def test_a_deleted_pod_comes_back_under_its_name() -> None:
    made, pods, _ = plans()

    assert played(made[Scenario.DELETED]) == [{"fragile", "a", "b"}, {"a", "b"}, {"fragile", "a", "b"}]
    (again,) = [call[1] for call in pods.calls if call[0] == "create"]
    assert (again.name, dict(again.labels)) == ("fragile", {"scenario-deleted": "yes"})


def test_a_selector_drops_its_former_labels() -> None:
    made, _, services = plans()

    assert played(made[Scenario.SELECTED]) == [{"d", "e"}, {"webpod1", "webpod2", "webpod3"}]
    assert [call[2]["selector"] for call in services.calls] == [
        {"app": None, "scenario-selected": "yes"},
        {"scenario-selected": None, "app": "webpod"},
    ]


def test_a_port_changes_its_number_and_then_its_name() -> None:
    made, _, services = plans()
    played(made[Scenario.PORT])

    assert [(port["name"], port["port"]) for call in services.calls for port in call[2]["ports"]] == [
        ("web", 9001),
        ("other", 9001),
    ]


def test_a_service_is_deleted_and_made_again_under_its_name() -> None:
    made, _, services = plans()

    assert played(made[Scenario.RECREATED]) == [set(), {"webpod1", "webpod2", "webpod3"}]
    (deleted, again) = services.calls
    assert deleted == ("delete", SERVICE)
    assert again[1]["metadata"]["name"] == "affinity-x"


def test_a_flapping_endpoint_is_removed_from_the_api_before_it_is_back() -> None:
    made, pods, services = plans()
    plan = made[Scenario.FLAPPING]

    assert set(plan.changes[0].act(SERVICE, "b")) == {"a", "b", "c"}
    assert [(call[1], call[2][1]) for call in pods.calls] == [("b", None), ("b", "yes")]
    assert [(name, set(expected["affinity-x"])) for name, expected in services.calls] == [
        ("wait_for_endpoints", {"a", "c"})
    ]
    assert [change.frees for change in plan.changes] == [True, False, False]


def test_policies_become_local_one_after_the_other() -> None:
    made, _, services = plans()

    assert played(made[Scenario.POLICED]) == [{"a", "b"}] * 3
    assert [call[2] for call in services.calls] == [
        {"internalTrafficPolicy": "Local"},
        {"internalTrafficPolicy": "Cluster", "externalTrafficPolicy": "Local"},
        {"externalTrafficPolicy": "Cluster"},
    ]


def test_addresses_are_set_withdrawn_and_given_back() -> None:
    made, _, services = plans()
    plan = made[Scenario.ADDRESSED]
    played(plan)

    assert plan.request.spec["externalIPs"] == ["198.51.100.89"]
    assert [(call[0], *call[2:]) for call in services.calls] == [
        ("set_load_balancer", "198.51.100.90"),
        ("change", {"externalIPs": None}),
        ("set_load_balancer",),
        ("change", {"externalIPs": ["198.51.100.89"]}),
        ("set_load_balancer", "198.51.100.90"),
    ]


def test_a_port_is_added_beside_the_first_and_removed_again() -> None:
    made, _, services = plans()
    played(made[Scenario.WIDENED])

    assert [[port["name"] for port in call[2]["ports"]] for call in services.calls] == [["web", "other"], ["web"]]


def test_a_service_with_flows_loses_the_endpoint_of_the_first_flow() -> None:
    made, _, services = plans()
    plan = made[Scenario.FLOWING]

    assert plan.flows
    assert [port["protocol"] for port in plan.request.spec["ports"]] == ["UDP"] * 8
    assert [set(change.act(SERVICE, "b")) for change in plan.changes] == [{"a", "c"}, {"a", "b", "c"}, set()]
    assert services.calls == [("delete", SERVICE)]


def test_a_service_without_endpoints_stays_so_for_a_round() -> None:
    assert played(plans()[0][Scenario.EMPTIED]) == [set(), set(), {"a", "b", "c"}]


def test_scenarios_can_be_left_out() -> None:
    made: Any = (Recording(), Recording())

    assert Scenario.ADDRESSED not in ScenarioBuilder(*made, PODS).all(Scenario.ADDRESSED)


def test_pods_that_get_datagrams_run_a_server_where_endpoints_do_not_answer_them() -> None:
    requests = pod_requests("control-plane", "worker", datagram_server=("serve",))

    assert [request.purpose for request in requests if Role.CLIENT in request.roles] == ["pool1", "pool2", "pool3"]
    assert requests[0].commands == {Role.CLIENT: ("serve",)}
