"""The Services that tests create, with a fake API."""

from __future__ import annotations

from typing import Any

import pytest

from session_affinity.cluster_objects import services
from session_affinity.cluster_objects.labels import unique_name
from session_affinity.cluster_objects.services import ServiceRequest, Services, manifest
from session_affinity.deadlines import Deadlines
from session_affinity.errors import NotReadyError
from session_affinity.traffic.answers import Target, target

POD = {"IPv4": "10.10.{}.2", "IPv6": "fd00:1:{}::2"}


class FakeApi:
    """Stores Services, and has a slice with ``ready`` endpoints for each of a Service's IP families.

    A Service with PreferDualStack gets both families, unless the cluster is ``single`` stack.
    """

    single = False

    def __init__(self, ready: int = 3) -> None:
        self.ready = ready
        self.stored: dict[str, dict[str, Any]] = {}

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        number = len(self.stored) + 1
        both = body["spec"].get("ipFamilyPolicy") == "PreferDualStack" and not self.single
        families = ["IPv4", "IPv6"] if both else body["spec"].get("ipFamilies", ["IPv4"])
        addresses = [{"IPv4": f"10.200.1.{number}", "IPv6": f"fd00:2::{number}"}[family] for family in families]
        spec = {"sessionAffinity": "None", "clusterIPs": addresses, **body["spec"], "ipFamilies": families}
        if spec["sessionAffinity"] == "ClientIP":
            spec.setdefault("sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 10800}})
        self.stored[body["metadata"]["name"]] = {"metadata": body["metadata"], "spec": spec}
        return self.stored[body["metadata"]["name"]]

    def patch(self, _: object, name: str, __: str, change: dict[str, Any]) -> dict[str, Any]:
        self.stored[name]["spec"] |= change["spec"]
        return self.stored[name]

    def objects(self, *_: object, **__: object) -> list[dict[str, Any]]:
        return [
            {
                "metadata": {"namespace": "default", "labels": {"kubernetes.io/service-name": name}},
                "addressType": family,
                "ports": [{"name": "web", "port": 80, "protocol": "TCP"}],
                "endpoints": [{"addresses": [POD[family].format(number)]} for number in range(1, self.ready + 1)],
            }
            for name, service in self.stored.items()
            for family in service["spec"]["ipFamilies"]
        ]

    def service_with_slices(self, _: str, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        return self.stored[name], self.objects()


def make(ready: int = 3, seconds: float = 5.0) -> Services:
    api: Any = FakeApi(ready)
    return Services(api, "default", 3, deadlines=Deadlines(endpoints=seconds))


def test_a_request_without_affinity_leaves_the_default_to_the_api() -> None:
    assert "sessionAffinity" not in manifest("a", "default", ServiceRequest("plain"))["spec"]


def test_a_request_without_a_timeout_leaves_the_default_to_the_api() -> None:
    spec = manifest("a", "default", ServiceRequest("sticky", "ClientIP"))["spec"]

    assert spec["sessionAffinity"] == "ClientIP"
    assert "sessionAffinityConfig" not in spec


def test_a_requested_timeout_is_in_the_manifest() -> None:
    spec = manifest("a", "default", ServiceRequest("sticky", "ClientIP", 30))["spec"]

    assert spec["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 30}}


def test_fields_of_a_request_replace_the_usual_ones() -> None:
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}]

    spec = manifest("a", "default", ServiceRequest("udp", "ClientIP", spec={"type": "NodePort", "ports": ports}))[
        "spec"
    ]

    assert (spec["type"], spec["ports"], spec["sessionAffinity"]) == ("NodePort", ports, "ClientIP")


def test_a_request_may_wait_for_another_number_of_endpoints() -> None:
    assert len(make(ready=1).create(ServiceRequest("one", endpoints=1)).endpoints) == 1
    assert make(ready=0).create(ServiceRequest("none", endpoints=0)).endpoints == ()
    with pytest.raises(NotReadyError, match="1 of 1 Services do not have 5 ready endpoints"):
        make(seconds=0).create(ServiceRequest("five", endpoints=5))


def test_every_service_has_the_labels_that_select_it_for_deletion() -> None:
    assert manifest("a", "default", ServiceRequest("plain"))["metadata"]["labels"] == {
        "app.kubernetes.io/part-of": "session-affinity-conformance",
        "app.kubernetes.io/component": "service-under-test",
    }


def test_names_are_unique_and_contain_the_purpose() -> None:
    names = {unique_name("sticky") for _ in range(50)}

    assert len(names) == 50
    assert all(name.startswith("affinity-sticky-") and len(name) <= 63 for name in names)


def test_created_services_have_their_endpoints() -> None:
    sticky, plain = make().create_all([ServiceRequest("sticky", "ClientIP"), ServiceRequest("plain")])

    assert (sticky.timeout_seconds, plain.session_affinity) == (10800, "None")
    assert [len(service.endpoints) for service in (sticky, plain)] == [3, 3]
    assert len({target(sticky), target(plain)} & {Target("10.200.1.1", 9000), Target("10.200.1.2", 9000)}) == 2


def test_missing_endpoints_are_an_error() -> None:
    with pytest.raises(NotReadyError, match="1 of 1 Services do not have 3 ready endpoints"):
        make(ready=2, seconds=0.05).create(ServiceRequest("sticky"))


def test_patched_services_keep_their_endpoints() -> None:
    services = make()
    before = services.create_all([ServiceRequest("sticky", "ClientIP"), ServiceRequest("sticky", "ClientIP")])

    after = services.patch_timeouts(before, 30)

    assert [service.timeout_seconds for service in after] == [30, 30]
    assert [service.endpoints for service in after] == [service.endpoints for service in before]
    assert [service.name for service in after] == [service.name for service in before]


def test_services_that_are_patched_once_they_exist_have_the_second_timeout() -> None:
    created = make().create_all([ServiceRequest("sticky", "ClientIP", 600)] * 2, patched=(30, None))

    assert [service.timeout_seconds for service in created] == [30, 600]
    assert [len(service.endpoints) for service in created] == [3, 3]


def test_a_switched_service_keeps_its_endpoints() -> None:
    services = make()
    plain = services.create(ServiceRequest("plain"))

    sticky = services.switch(plain, "ClientIP", 60)

    assert (sticky.session_affinity, sticky.timeout_seconds, sticky.ports) == ("ClientIP", 60, plain.ports)


def test_services_may_have_only_a_family_that_is_not_the_primary_one() -> None:
    service = make().in_family("IPv6").create(ServiceRequest("second"))

    assert (service.family, service.cluster_ips, len(service.endpoints)) == ("IPv6", ("fd00:2::1",), 3)
    assert str(target(service)) == "[fd00:2::1]:9000"


def test_a_service_of_both_families_has_a_state_in_each() -> None:
    services = make()
    service = services.create(ServiceRequest("dual", spec={"ipFamilyPolicy": "PreferDualStack"}))

    second = services.state_in("IPv6", service)

    assert [str(endpoint) for endpoint in service.endpoints] == ["10.10.1.2:80", "10.10.2.2:80", "10.10.3.2:80"]
    assert [str(endpoint) for endpoint in second.endpoints] == [f"[fd00:1:{number}::2]:80" for number in (1, 2, 3)]
    assert (service.cluster_ips, second.cluster_ips) == (("10.200.1.1",), ("fd00:2::1",))


def test_a_changed_service_stays_in_its_family() -> None:
    services = make()
    second = services.state_in(
        "IPv6", services.create(ServiceRequest("dual", spec={"ipFamilyPolicy": "PreferDualStack"}))
    )

    switched = services.switch(second, "ClientIP")

    assert (switched.family, switched.cluster_ips, len(switched.endpoints)) == ("IPv6", ("fd00:2::1",), 3)


def test_a_service_without_a_cluster_ip_of_a_family_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeApi, "single", True)
    services = make(seconds=0)
    service = services.create(ServiceRequest("dual", spec={"ipFamilyPolicy": "PreferDualStack"}))

    with pytest.raises(
        NotReadyError, match=r"IPv6 endpoints of Service .*; last state: 0 cluster IPs and 0 endpoints"
    ) as caught:
        services.state_in("IPv6", service)

    assert "--service-cluster-ip-range" in caught.value.next_step


def test_endpoints_are_waited_for_by_their_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "ENDPOINTS_PAUSE", 0.0)
    api: Any = FakeApi()
    maker = Services(api, "default", 3)
    service = maker.create(ServiceRequest("sticky", "ClientIP"))
    stored = api.stored[service.name]
    reads = iter(([], ["a"], ["a", "b"]))

    def objects(resource: Any, *_: object, **__: object) -> list[dict[str, Any]]:
        if resource.plural == "services":
            return [{**stored, "metadata": {**stored["metadata"], "namespace": "default"}}]
        endpoints = [
            {"addresses": [f"10.10.{number}.2"], "targetRef": {"kind": "Pod", "name": name}}
            for number, name in enumerate(next(reads), 1)
        ]
        return [
            {
                "metadata": {"namespace": "default", "labels": {"kubernetes.io/service-name": service.name}},
                "addressType": "IPv4",
                "ports": [{"name": "web", "port": 80, "protocol": "TCP"}],
                "endpoints": endpoints,
            }
        ]

    api.objects = objects

    state = maker.wait_for_endpoints({service.name: {"a", "b"}})[service.name]

    assert [endpoint.pod for endpoint in state.endpoints] == ["a", "b"]
    assert next(reads, "no more") == "no more"


def test_endpoints_that_do_not_come_are_an_error_with_the_present_ones() -> None:
    with pytest.raises(NotReadyError, match=r"1 of 1 Services do not have .* no such Service, expected a, b"):
        make(seconds=0).wait_for_endpoints({"affinity-x": ("a", "b")})
