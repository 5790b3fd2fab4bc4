"""The Services that tests make, with an API that answers from memory."""

from __future__ import annotations

from typing import Any

import pytest

from affinity import services
from affinity.errors import NotReadyError
from affinity.names import unique_name
from affinity.services import Services, Wish, manifest, target
from affinity.traffic.answers import Target


class FakeApi:
    """Stores Services, and has a slice with ``ready`` endpoints for each."""

    def __init__(self, ready: int = 3) -> None:
        self.ready = ready
        self.stored: dict[str, dict[str, Any]] = {}

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        number = len(self.stored) + 1
        spec = {"sessionAffinity": "None", "clusterIPs": [f"10.200.1.{number}"], **body["spec"]}
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
                "addressType": "IPv4",
                "ports": [{"name": "web", "port": 80, "protocol": "TCP"}],
                "endpoints": [{"addresses": [f"10.10.{number}.2"]} for number in range(1, self.ready + 1)],
            }
            for name in self.stored
        ]


def make(ready: int = 3) -> Services:
    api: Any = FakeApi(ready)
    return Services(api, "default", 3)


def test_a_wish_without_affinity_leaves_it_to_the_api() -> None:
    assert "sessionAffinity" not in manifest("a", "default", Wish("plain"))["spec"]


def test_a_wish_without_a_timeout_leaves_that_to_the_api() -> None:
    spec = manifest("a", "default", Wish("sticky", "ClientIP"))["spec"]

    assert spec["sessionAffinity"] == "ClientIP"
    assert "sessionAffinityConfig" not in spec


def test_a_timeout_is_asked_for() -> None:
    spec = manifest("a", "default", Wish("sticky", "ClientIP", 30))["spec"]

    assert spec["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 30}}


def test_a_wish_shapes_the_service() -> None:
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}]

    spec = manifest("a", "default", Wish("udp", "ClientIP", spec={"type": "NodePort", "ports": ports}))["spec"]

    assert (spec["type"], spec["ports"], spec["sessionAffinity"]) == ("NodePort", ports, "ClientIP")


def test_a_wish_may_ask_for_another_number_of_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "ENDPOINT_SECONDS", 0.0)

    assert len(make(ready=1).create(Wish("one", endpoints=1)).endpoints) == 1
    assert make(ready=0).create(Wish("none", endpoints=0)).endpoints == ()
    with pytest.raises(NotReadyError, match="1 of 1 Services do not have 5 ready endpoints"):
        make().create(Wish("five", endpoints=5))


def test_every_service_is_labelled_for_its_removal() -> None:
    assert manifest("a", "default", Wish("plain"))["metadata"]["labels"] == {
        "app.kubernetes.io/part-of": "session-affinity-conformance",
        "app.kubernetes.io/component": "service-under-test",
    }


def test_names_are_unique_and_say_what_for() -> None:
    names = {unique_name("sticky") for _ in range(50)}

    assert len(names) == 50
    assert all(name.startswith("affinity-sticky-") and len(name) <= 63 for name in names)


def test_services_come_with_their_endpoints() -> None:
    one, other = make().create_all([Wish("sticky", "ClientIP"), Wish("plain")])

    assert (one.timeout_seconds, other.session_affinity) == (10800, "None")
    assert [len(service.endpoints) for service in (one, other)] == [3, 3]
    assert len({target(one), target(other)} & {Target("10.200.1.1", 9000), Target("10.200.1.2", 9000)}) == 2


def test_missing_endpoints_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "ENDPOINT_SECONDS", 0.05)

    with pytest.raises(NotReadyError, match="1 of 1 Services do not have 3 ready endpoints"):
        make(ready=2).create(Wish("sticky"))


def test_patched_services_keep_their_endpoints() -> None:
    maker = make()
    before = maker.create_all([Wish("sticky", "ClientIP"), Wish("sticky", "ClientIP")])

    after = maker.patch_timeouts(before, 30)

    assert [service.timeout_seconds for service in after] == [30, 30]
    assert [service.endpoints for service in after] == [service.endpoints for service in before]
    assert [service.name for service in after] == [service.name for service in before]


def test_a_switched_service_keeps_its_endpoints() -> None:
    maker = make()
    plain = maker.create(Wish("plain"))

    sticky = maker.switch(plain, "ClientIP", 60)

    assert (sticky.session_affinity, sticky.timeout_seconds, sticky.ports) == ("ClientIP", 60, plain.ports)
