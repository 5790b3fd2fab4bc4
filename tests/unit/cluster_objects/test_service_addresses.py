"""The Service addresses that an API server has left to give out by itself."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.cluster_objects.service_addresses import FreeAddresses, free_addresses, given_out
from session_affinity.kube.reply import ApiError

if TYPE_CHECKING:
    from session_affinity.dataplane.model import Family
    from session_affinity.kube.resources import Resource

Json = dict[str, Any]


def service_cidr(*cidrs: str, ready: str = "True", **metadata: str) -> Json:
    conditions = [{"type": "Ready", "status": ready}]
    return {
        "metadata": {"name": "range", **metadata},
        "spec": {"cidrs": [*cidrs]},
        "status": {"conditions": conditions},
    }


class FakeApi:
    """Has ServiceCIDRs and IPAddresses in some versions of the API; refuses what is forbidden."""

    def __init__(self, ranges: list[Json], addresses: list[str], version: str = "v1", *, forbidden: str = "") -> None:
        self.ranges, self.addresses, self.version, self.forbidden = ranges, addresses, version, forbidden
        self.counts = True
        self.listed: list[str] = []

    def _require(self, resource: Resource) -> None:
        if resource.plural == self.forbidden:
            raise ApiError(f"GET {resource.path()}: 403: forbidden", status=403)
        if resource.group_version != f"networking.k8s.io/{self.version}":
            raise ApiError(f"GET {resource.path()}: 404: not found", status=404)

    def objects(self, resource: Resource) -> list[Json]:
        self._require(resource)
        self.listed.append(resource.plural)
        if resource.plural == "servicecidrs":
            return self.ranges
        return [{"metadata": {"name": address}} for address in self.addresses]

    def count(self, resource: Resource) -> int | None:
        self._require(resource)
        return len(self.addresses) if self.counts else None


def read(api: Any, *families: Family) -> dict[Family, FreeAddresses] | str:
    return free_addresses(api, families or ("IPv4",))


@pytest.mark.parametrize(
    ("cidr", "first", "last"),
    [
        # As kube-apiserver: the first address and the broadcast address are never given out, the lower part is for
        # Services that name their address, min(max(16, size / 16), 256) of them.
        ("10.0.0.0/24", "10.0.0.17", "10.0.0.254"),
        ("10.0.0.0/28", "10.0.0.1", "10.0.0.14"),
        ("10.0.0.0/20", "10.0.1.1", "10.0.15.254"),
        ("10.0.0.0/12", "10.0.1.1", "10.15.255.254"),
        ("fd00::/120", "fd00::11", "fd00::ff"),
    ],
)
def test_the_api_server_gives_out_the_upper_part_of_a_range(cidr: str, first: str, last: str) -> None:
    ((low, high),) = given_out([service_cidr(cidr)], "IPv6" if ":" in cidr else "IPv4")

    assert (str(ipaddress.ip_address(low)), str(ipaddress.ip_address(high))) == (first, last)


def test_ranges_that_overlap_count_once() -> None:
    parts = given_out([service_cidr("10.0.0.0/24"), service_cidr("10.0.0.0/25", "10.9.0.0/28")], "IPv4")

    assert sum(last - first + 1 for first, last in parts) == 238 + 14


@pytest.mark.parametrize(
    "closed",
    [
        service_cidr("10.9.0.0/24", ready="False"),
        service_cidr("10.9.0.0/24", deletionTimestamp="2026-11-26T14:00:00Z"),
    ],
)
def test_a_range_that_is_not_ready_or_is_being_deleted_gives_out_nothing(closed: Json) -> None:
    assert given_out([closed], "IPv4") == []


def test_addresses_in_use_are_counted_where_they_are_given_out() -> None:
    # Two below the part, one of another family, one of another range.
    in_use = ["10.0.0.1", "10.0.0.10", "10.0.0.77", "10.0.0.200", "fd00::99", "10.9.0.5"]

    found = read(FakeApi([service_cidr("10.0.0.0/24", "fd00::/120")], in_use), "IPv4", "IPv6")

    assert found == {"IPv4": FreeAddresses(236, 238), "IPv6": FreeAddresses(238, 239)}


def test_of_a_large_range_the_addresses_in_use_are_counted_and_not_read() -> None:
    api = FakeApi([service_cidr("10.0.0.0/16")], ["10.0.7.7"] * 300)

    assert read(api) == {"IPv4": FreeAddresses(65278 - 300, 65278)}
    assert api.listed == ["servicecidrs"]


def test_without_a_count_they_are_read() -> None:
    api = FakeApi([service_cidr("10.0.0.0/16")], ["10.0.7.7", "10.0.7.8"])
    api.counts = False

    assert read(api) == {"IPv4": FreeAddresses(65276, 65278)}


def test_an_older_api_has_them_in_v1beta1() -> None:
    assert read(FakeApi([service_cidr("10.0.0.0/24")], [], "v1beta1")) == {"IPv4": FreeAddresses(238, 238)}


@pytest.mark.parametrize(
    ("api", "reason"),
    [
        (FakeApi([], [], "v9"), "404"),
        (FakeApi([], [], forbidden="servicecidrs"), "servicecidrs: 403"),
        (FakeApi([service_cidr("10.0.0.0/24")], [], forbidden="ipaddresses"), "ipaddresses: 403"),
    ],
)
def test_where_the_api_does_not_say_the_reason_is_returned(api: FakeApi, reason: str) -> None:
    found = read(api)

    assert isinstance(found, str)
    assert reason in found


def test_an_api_that_fails_is_no_reason() -> None:
    class Failing(FakeApi):
        def objects(self, resource: Resource) -> list[Json]:
            raise ApiError(f"GET {resource.path()}: no answer")

    with pytest.raises(ApiError):
        read(Failing([], []))
