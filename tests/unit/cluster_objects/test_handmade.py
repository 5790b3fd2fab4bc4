"""Hand-made Services and EndpointSlices, with a fake API."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.cluster_objects import handmade
from session_affinity.cluster_objects.capacity import NoRoomError
from session_affinity.cluster_objects.handmade import LABELS, SELECTOR, HandMadeServices, merge_patch
from session_affinity.kube.reply import ApiError
from session_affinity.kube.resources import ENDPOINT_SLICES, SERVICES, Resource

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]
NAMES = {SERVICES: "Service", ENDPOINT_SLICES: "EndpointSlice"}


class FakeApi:
    """Stores objects by kind and name, and the order of the requests."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], Json] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.lock = threading.Lock()
        self.most_services: int | None = None
        self.refuses = ""

    def note(self, verb: str, kind: str, name: str) -> None:
        with self.lock:
            self.requests.append((verb, kind, name))

    def create(self, manifest: Json) -> Json:
        self.note("create", manifest["kind"], manifest["metadata"]["name"])
        if manifest["metadata"]["name"] == self.refuses:
            raise ApiError("POST: 403: a policy", status=403)
        services = [kind for kind, _ in self.stored if kind == "Service"]
        if manifest["kind"] == "Service" and self.most_services is not None and len(services) >= self.most_services:
            raise ApiError("POST: 500: failed to allocate a serviceIP: range is full", status=500)
        self.stored[manifest["kind"], manifest["metadata"]["name"]] = manifest
        return manifest

    def patch(self, resource: Resource, name: str, _: str, change: Json) -> Json:
        self.note("patch", NAMES[resource], name)
        stored = self.stored[NAMES[resource], name]
        self.stored[NAMES[resource], name] = {**stored, "patched": change}
        return self.stored[NAMES[resource], name]

    def patch_status(self, resource: Resource, name: str, _: str, status: Json) -> Json:
        self.note("status", NAMES[resource], name)
        return {**self.stored[NAMES[resource], name], "status": status}

    def delete(self, resource: Resource, name: str, _: str) -> None:
        self.note("delete", NAMES[resource], name)
        self.stored.pop((NAMES[resource], name), None)

    def delete_all(self, resource: Resource, namespace: str, *, labels: str) -> None:
        self.note("delete all", NAMES[resource], f"{namespace} {labels}")

    def objects(self, resource: Resource, _: str, *, labels: str) -> list[Json]:
        assert labels == SELECTOR
        return [value for (kind, _), value in self.stored.items() if kind == NAMES[resource]]


def service(name: str = "a", **fields: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": [{"port": 80}]},
        **fields,
    }


def endpoint_slice(name: str = "a-1", of: str = "a", address: str = "10.10.1.70") -> Json:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address]}],
    }


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def made(api: Any) -> Iterator[HandMadeServices]:
    with HandMadeServices(api, "work") as made:
        yield made


def test_services_are_created_before_slices_and_returned_in_the_given_order(
    made: HandMadeServices, api: FakeApi
) -> None:
    stored = made.create([endpoint_slice(), service(), endpoint_slice("b-1", "b"), service("b")])

    assert [each["metadata"]["name"] for each in stored] == ["a-1", "a", "b-1", "b"]
    assert [kind for _, kind, _ in api.requests] == ["Service", "Service", "EndpointSlice", "EndpointSlice"]


def test_everything_is_labelled_and_in_the_namespace(made: HandMadeServices) -> None:
    for stored in made.create([service(), endpoint_slice()]):
        assert stored["metadata"]["namespace"] == "work"
        assert stored["metadata"]["labels"].items() >= LABELS.items()


def test_no_controller_manages_a_slice(made: HandMadeServices) -> None:
    (stored,) = made.create([endpoint_slice()])

    assert stored["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "session-affinity-conformance"
    assert stored["metadata"]["labels"]["kubernetes.io/service-name"] == "a"


def test_load_balancer_addresses_are_stored_by_the_subresource(made: HandMadeServices, api: FakeApi) -> None:
    balancer = {"loadBalancer": {"ingress": [{"ip": "198.51.100.9"}]}}

    (stored,) = made.create([service(status=balancer)])

    assert stored["status"] == balancer
    assert "status" not in api.stored["Service", "a"]
    assert [verb for verb, _, _ in api.requests] == ["create", "status"]


def test_a_change_removes_what_the_manifest_leaves_out(made: HandMadeServices) -> None:
    made.create([service(spec={"ports": [{"port": 80}], "externalIPs": ["198.51.100.1"]})])

    (changed,) = made.change([service(spec={"ports": [{"port": 81}]})])

    assert changed["patched"] == {"spec": {"ports": [{"port": 81}], "externalIPs": None}}


def test_load_balancer_addresses_can_be_taken_away(made: HandMadeServices) -> None:
    made.create([service(status={"loadBalancer": {"ingress": [{"ip": "198.51.100.9"}]}})])

    (changed,) = made.change([service()])

    assert changed["status"] == {"loadBalancer": {"ingress": []}}


def test_slices_are_deleted_before_services(made: HandMadeServices, api: FakeApi) -> None:
    made.create([service(), endpoint_slice()])
    made.delete([service(), endpoint_slice()])

    assert api.requests[-2:] == [("delete", "EndpointSlice", "a-1"), ("delete", "Service", "a")]
    assert made.stored() == ([], [])


def test_all_are_deleted_by_their_label(made: HandMadeServices, api: FakeApi) -> None:
    made.delete_all()

    assert api.requests == [
        ("delete all", "EndpointSlice", f"work {SELECTOR}"),
        ("delete all", "Service", f"work {SELECTOR}"),
    ]


def test_objects_of_two_components_are_apart(api: Any) -> None:
    with HandMadeServices(api, "work", component="walk") as others:
        (stored,) = others.create([service()])

    assert stored["metadata"]["labels"]["app.kubernetes.io/component"] == "walk"


def test_a_group_that_is_refused_is_left_out(made: HandMadeServices, api: FakeApi) -> None:
    api.refuses = "b-1"

    reasons = made.create_accepted([[service(), endpoint_slice()], [service("b"), endpoint_slice("b-1", "b")]])

    assert reasons == {1: "POST: 403: a policy"}
    assert {name for _, name in api.stored} == {"a", "a-1"}


def test_of_groups_for_which_there_is_no_room_nothing_is_left(made: HandMadeServices, api: FakeApi) -> None:
    api.most_services = 5
    groups = [[service(f"s{number}"), endpoint_slice(f"s{number}-1", f"s{number}")] for number in range(40)]

    with pytest.raises(NoRoomError, match="range is full"):
        made.create_accepted(groups)

    assert api.stored == {}
    assert len([verb for verb, *_ in api.requests if verb == "create"]) < 40, "the rest was tried although it was full"


def test_each_state_has_the_endpoints_of_its_own_slices(made: HandMadeServices) -> None:
    made.create([service(), service("b"), endpoint_slice(), endpoint_slice("b-1", "b", "10.10.1.71")])

    first, second = handmade.states(*made.stored())

    assert [endpoint.address for endpoint in first.endpoints] == ["10.10.1.70"]
    assert [endpoint.address for endpoint in second.endpoints] == ["10.10.1.71"]


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {}, {"a": None}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, {"a": {"c": 3}}),
        ({"a": [1, 2]}, {"a": [2]}, {"a": [2]}),
        ({}, {"a": {}}, {"a": {}}),
        ({"a": {"b": 1}}, {"a": 2}, {"a": 2}),
    ],
)
def test_a_merge_patch_has_what_differs(before: Json, after: Json, patch: Json) -> None:
    assert merge_patch(before, after) == patch
