"""How many generated Services a cluster has room for."""

from __future__ import annotations

import ipaddress
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.cluster_objects.capacity import (
    FEWEST,
    WHERE_UNKNOWN,
    NoRoomError,
    Room,
    Selection,
    ServiceCapacity,
    is_for_lack_of_room,
    needs,
    quotas_left,
    select,
)
from session_affinity.kube.reply import ApiError
from session_affinity.kube.resources import RESOURCE_QUOTAS, SERVICES
from session_affinity.shapes import arrays
from session_affinity.shapes.objects import Site, SiteNode, objects

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.kube.resources import Resource

Json = dict[str, Any]
ADDRESS = "IPv4 Service addresses"
SITE = Site((SiteNode("a", "east", ("172.30.0.2",)),), namespace="work")
COMPACT = {
    number: needs(objects(row, number, SITE, "x").service)
    for number, row in enumerate(arrays.array(arrays.COMPACT).rows)
}


def service(component: str = "shapes", **spec: Any) -> Json:
    labels = {"app.kubernetes.io/component": component}
    return {"metadata": {"name": "a", "labels": labels}, "spec": {"ipFamilies": ["IPv4"], "ports": [{}], **spec}}


def quota(hard: Mapping[str, str], used: Mapping[str, str], **spec: Any) -> Json:
    return {"metadata": {"name": "quota"}, "spec": spec, "status": {"hard": hard, "used": used}}


class FakeApi:
    """A cluster with one range of Service addresses, some of which others use, and the Services of a run."""

    def __init__(self, cidr: str = "10.0.0.0/24", others: int = 0) -> None:
        self.network = ipaddress.ip_network(cidr)
        self.others = others
        self.services: list[Json] = []
        self.quotas: list[Json] = []
        self.refuses: set[str] = set()

    def objects(self, resource: Resource, namespace: str = "", *, labels: str = "") -> list[Json]:
        if resource.plural in self.refuses:
            raise ApiError(f"GET {resource.plural}: 403: forbidden", status=403)
        if resource == SERVICES:
            assert (namespace, labels) == ("work", "app.kubernetes.io/part-of=session-affinity-conformance")
            return self.services
        if resource == RESOURCE_QUOTAS:
            assert namespace == "work"
            return self.quotas
        if resource.plural == "servicecidrs":
            return [{"metadata": {}, "spec": {"cidrs": [str(self.network)]}}]
        used = self.others + sum((needs(each) for each in self.services), Counter[str]())[ADDRESS]
        return [{"metadata": {"name": str(self.network[-2 - number])}} for number in range(used)]

    def count(self, resource: Resource) -> int:
        return len(self.objects(resource))


def capacity_of(api: Any, reserved: int = 0, seconds: float = 0.0) -> ServiceCapacity:
    return ServiceCapacity(
        api, "work", ("IPv4",), components=("shapes", "answered-shapes"), reserved=reserved, seconds=seconds
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, {ADDRESS: 1}),
        ({"ipFamilies": ["IPv4", "IPv6"]}, {ADDRESS: 1, "IPv6 Service addresses": 1}),
        ({"clusterIP": "None"}, {}),
        ({"type": "ExternalName"}, {}),
        ({"type": "NodePort", "ports": [{}, {}]}, {ADDRESS: 1, "node ports": 2}),
        ({"type": "LoadBalancer"}, {ADDRESS: 1, "node ports": 1, "load balancers": 1}),
        ({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}, {ADDRESS: 1, "load balancers": 1}),
    ],
)
def test_what_a_service_needs(spec: Json, expected: dict[str, int]) -> None:
    assert needs(service(**spec)) == {"Services": 1, **expected}


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (500, 'Internal error occurred: failed to allocate a serviceIP for Service "a": range is full', True),
        (500, "Internal error occurred: failed to allocate a nodePort: range is full", True),
        (500, "Internal error occurred: etcd", False),
        (403, 'services "a" is forbidden: exceeded quota: q, requested: services=1, used: services=5, limited: ', True),
        (403, "exceeded quota: q, requested: count/services=1,services.nodeports=1, used: ", True),
        (403, "exceeded quota: q, requested: services.loadbalancers=1,services=1, used: ", True),
        (403, "exceeded quota: q, requested: services.loadbalancers=1, used: services.loadbalancers=0", False),
        (403, "no external IPs here", False),
        (422, "range is full", False),
    ],
)
def test_a_refusal_for_lack_of_room(status: int, message: str, *, expected: bool) -> None:
    assert is_for_lack_of_room(ApiError(f"POST /services: {status}: {message}", status=status)) is expected


def test_a_run_takes_half_of_what_others_do_not_use() -> None:
    # 238 are given out, 138 in use: 100 are free, of which one is for the sentinel.
    api = FakeApi(others=138)

    assert capacity_of(api).room().most == {ADDRESS: 49}
    assert "100 of 238 IPv4 Service addresses are not used by others" in capacity_of(api).room().why


def test_what_the_run_has_already_counts_against_its_half() -> None:
    api = FakeApi(others=138)
    api.services = [service("service-under-test")] * 10 + [service("shapes")] * 20

    assert capacity_of(api).room().most == {ADDRESS: 19}


def test_what_other_claims_may_still_need_is_left_to_them() -> None:
    api = FakeApi(others=138)
    api.services = [service("service-under-test")] * 10

    assert capacity_of(api, reserved=30).room().most == {ADDRESS: 19}
    assert capacity_of(api, reserved=5).room().most == {ADDRESS: 39}


def test_the_compact_array_is_made_in_batches_that_never_take_more() -> None:
    api = FakeApi(others=138)
    limited, left = capacity_of(api), dict(COMPACT)
    sizes = []
    while left:
        selection = limited.select(left)
        batch = sum((left.pop(number) for number in selection.numbers), Counter[str]())
        sizes.append(batch[ADDRESS])

    assert sum(sizes) == sum(COMPACT.values(), Counter[str]())[ADDRESS]
    assert max(sizes) == 49
    assert len(sizes) == 3


def test_a_large_range_takes_all_at_once() -> None:
    assert capacity_of(FakeApi("10.0.0.0/16")).select(COMPACT).numbers == tuple(COMPACT)


def test_batches_are_small_where_free_addresses_are_not_known() -> None:
    api = FakeApi()
    api.refuses = {"servicecidrs", "resourcequotas"}

    selection = capacity_of(api).select(COMPACT)

    assert sum((COMPACT[number] for number in selection.numbers), Counter[str]())[ADDRESS] == WHERE_UNKNOWN
    assert "is not known (GET servicecidrs: 403" in selection.why


def test_too_few_addresses_make_no_batch() -> None:
    with pytest.raises(NoRoomError, match="16 of 238 IPv4 Service addresses are not used by others"):
        capacity_of(FakeApi(others=222)).select(COMPACT)


def test_a_few_services_need_no_more_than_they_are() -> None:
    few = {number: COMPACT[number] for number in [n for n, each in COMPACT.items() if each[ADDRESS]][: FEWEST - 2]}

    assert capacity_of(FakeApi(others=222)).select(few).numbers == tuple(few)


def test_a_batch_waits_for_generated_services_that_go() -> None:
    api = FakeApi(others=138)
    api.services = [service("answered-shapes")] * 49
    threading.Timer(0.2, api.services.clear).start()

    assert capacity_of(api, seconds=10.0).select(COMPACT).numbers


def test_quotas_leave_the_least() -> None:
    quotas = [
        quota({"services": "1k", "services.nodeports": "5", "pods": "9"}, {"services": "10", "pods": "1"}),
        quota({"count/services": "60"}, {"count/services": "20"}),
        quota({"services": "1"}, {}, scopes=["BestEffort"]),
    ]

    assert quotas_left(quotas) == {"Services": 40, "node ports": 5}


def test_a_quota_of_services_makes_batches() -> None:
    api = FakeApi("10.0.0.0/16")
    api.quotas = [quota({"services": "70"}, {"services": "10"})]

    selection = capacity_of(api).select(COMPACT)

    assert len(selection.numbers) == 29
    assert selection.refused == {}
    assert "quotas of namespace work leave 60 Services" in selection.why


def test_shapes_for_which_a_quota_leaves_nothing_are_refused_and_the_others_made() -> None:
    api = FakeApi("10.0.0.0/16")
    api.quotas = [quota({"services.loadbalancers": "0"}, {})]

    selection = capacity_of(api).select(COMPACT)

    balanced = {number for number, each in COMPACT.items() if each["load balancers"]}
    assert balanced
    assert selection.refused.keys() == balanced
    assert {*selection.numbers} == COMPACT.keys() - balanced
    assert all("too few load balancers" in reason for reason in selection.refused.values())


def test_a_selection_fits() -> None:
    needed = {number: Counter({ADDRESS: 1, "node ports": number}) for number in range(12)}

    assert select(needed, Room({ADDRESS: 8, "node ports": 9}, "")) == Selection((0, 1, 2, 3), {}, "")
