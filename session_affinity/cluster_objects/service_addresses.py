"""The Service addresses that an API server has left to give out by itself.

It has them from the ranges of its ServiceCIDR objects, and keeps an IPAddress object for each that is in use (KEP-1880;
kubernetes/kubernetes pkg/registry/core/service/ipallocator/ipallocator.go). It gives out no range's first address, and
in IPv4 not the last one. The lower part of a range is for Services that name their address: the API server takes from
it when the rest is used up (KEP-3070, ``calculateRangeOffset``). So that part does not count as free here.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from session_affinity.kube.reply import FORBIDDEN, ApiError
from session_affinity.kube.resources import IP_ADDRESSES, SERVICE_CIDRS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from session_affinity.dataplane.model import Family
    from session_affinity.kube.api import Api, Object
    from session_affinity.kube.resources import Resource

VERSIONS: Final = ("networking.k8s.io/v1", "networking.k8s.io/v1beta1")
"""Where the API may have these objects: from Kubernetes 1.33, and before that if v1beta1 is switched on."""
NOT_SERVED: Final = 404
PLENTY: Final = 4096
"""So many free addresses need no exact count, which takes a list of all that are in use."""

Part = tuple[int, int]
"""The first and the last address of a part of a range, as numbers."""


@dataclass(frozen=True)
class FreeAddresses:
    """How many addresses of one family are free, at least, of those that the API server gives out by itself."""

    free: int
    size: int


def free_addresses(api: Api, families: Iterable[Family]) -> dict[Family, FreeAddresses] | str:
    """Return the free addresses of each family, or why they cannot be known; raises ApiError if the API fails."""
    refusal = ""
    for version in VERSIONS:
        try:
            return _free_addresses(api, families, version)
        except ApiError as error:
            if error.status not in (NOT_SERVED, FORBIDDEN):
                raise
            refusal = refusal or error.what
            if error.status == FORBIDDEN:
                break
    return refusal


def given_out(ranges: Iterable[Mapping[str, Any]], family: Family) -> list[Part]:
    """Return the parts from which addresses of a family are given out, by ServiceCIDR objects; none overlap.

    A range that is not ready, or is being deleted, gives out no more.
    """
    cidrs = [cidr for each in ranges if _is_ready(each) for cidr in each["spec"].get("cidrs") or ()]
    merged: list[Part] = []
    for first, last in sorted(_part(cidr) for cidr in cidrs if _family(cidr) == family):
        if first > last:
            continue
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


def _free_addresses(api: Api, families: Iterable[Family], version: str) -> dict[Family, FreeAddresses]:
    ranges = api.objects(_in(version, SERVICE_CIDRS))
    parts = {family: given_out(ranges, family) for family in families}
    sizes = {family: sum(last - first + 1 for first, last in parts[family]) for family in parts}
    # Those of all families, so at least as many as of each.
    in_use = api.count(_in(version, IP_ADDRESSES))
    if in_use is not None and all(size - in_use >= PLENTY for size in sizes.values()):
        return {family: FreeAddresses(size - in_use, size) for family, size in sizes.items()}
    addresses = api.objects(_in(version, IP_ADDRESSES))
    return {family: FreeAddresses(size - _used(addresses, parts[family]), size) for family, size in sizes.items()}


def _used(addresses: Iterable[Object], parts: Iterable[Part]) -> int:
    numbers = [int(ipaddress.ip_address(address["metadata"]["name"])) for address in addresses]
    return sum(any(first <= number <= last for first, last in parts) for number in numbers)


def _in(version: str, resource: Resource) -> Resource:
    return replace(resource, group_version=version)


def _is_ready(service_cidr: Mapping[str, Any]) -> bool:
    conditions = (service_cidr.get("status") or {}).get("conditions") or ()
    is_ready = all(each["status"] == "True" for each in conditions if each["type"] == "Ready")
    return is_ready and not service_cidr["metadata"].get("deletionTimestamp")


def _family(cidr: str) -> Family:
    return "IPv6" if ":" in cidr else "IPv4"


def _part(cidr: str) -> Part:
    network = ipaddress.ip_network(cidr)
    size = network.num_addresses
    for_named = 0 if size <= 16 else min(max(16, size // 16), 256)
    last = int(network.broadcast_address) - (network.version == 4)
    return int(network.network_address) + 1 + for_named, last
