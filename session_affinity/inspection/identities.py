"""Whose address a client has: a pod's, a node's, or one from outside the cluster."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from session_affinity.dataplane.model import canonical_range, readable
from session_affinity.inspection.objects import is_over, node_addresses, pod_addresses
from session_affinity.inspection.observation import ClientIdentity, ClientKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from session_affinity.inspection.objects import Object


def identify(
    addresses: Iterable[str], nodes: Sequence[Object] | None, pods: Iterable[Object], *, sees_all_pods: bool
) -> dict[str, ClientIdentity]:
    """Return whose address each one is.

    ``nodes`` is None where they could not be read. An address that is neither a node's nor that of one of ``pods`` is
    from outside only when ``sees_all_pods``: otherwise it may be a pod that this user may not read.
    """
    of_nodes = {address: node["metadata"]["name"] for node in nodes or () for address in node_addresses(node)}
    ranges = {
        ipaddress.ip_network(cidr): str(node["metadata"]["name"])
        for node in nodes or ()
        for cidr in readable(canonical_range, _pod_ranges(node))
    }
    of_pods: Mapping[str, Object] = {
        address: pod
        for pod in pods
        if not is_over(pod) and not (pod.get("spec") or {}).get("hostNetwork")
        for address in pod_addresses(pod)
    }
    return {
        address: _identity(address, of_nodes, of_pods, ranges, is_certain=sees_all_pods and nodes is not None)
        for address in addresses
    }


def _identity(
    address: str,
    of_nodes: Mapping[str, str],
    of_pods: Mapping[str, Object],
    ranges: Mapping[ipaddress.IPv4Network | ipaddress.IPv6Network, str],
    *,
    is_certain: bool,
) -> ClientIdentity:
    if address in of_nodes:
        return ClientIdentity(ClientKind.NODE, of_nodes[address])
    if address in of_pods:
        pod = of_pods[address]
        return ClientIdentity(ClientKind.POD, f"{pod['metadata']['namespace']}/{pod['metadata']['name']}", pod)
    node = next((node for cidr, node in ranges.items() if ipaddress.ip_address(address) in cidr), "")
    if node:
        return ClientIdentity(ClientKind.POD_RANGE, node)
    return ClientIdentity(ClientKind.OUTSIDE if is_certain else ClientKind.UNKNOWN)


def _pod_ranges(node: Object) -> tuple[str, ...]:
    spec = node.get("spec") or {}
    ranges = spec.get("podCIDRs") or [spec.get("podCIDR")]
    return tuple(str(cidr) for cidr in ranges if cidr)
