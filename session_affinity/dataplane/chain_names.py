"""Compute the names that kube-proxy derives for chains, sets and recent lists.

Sources: ``servicePortChainName`` and its neighbours in kube-proxy's pkg/proxy/iptables/proxier.go and
``hashAndTruncate`` in pkg/proxy/nftables/proxier.go. A ``port_name`` here is ``ServiceState.port_name``, an ``at`` is
``Endpoint.at``; protocols are accepted in either case.
"""

from __future__ import annotations

import base64
import functools
import hashlib

CLUSTER_CHAIN = "KUBE-SVC-"
LOCAL_CHAIN = "KUBE-SVL-"
EXTERNAL_CHAIN = "KUBE-EXT-"
FIREWALL_CHAIN = "KUBE-FW-"
ENDPOINT_CHAIN = "KUBE-SEP-"

# Every comparison of every node computes the same names again.
_cached = functools.lru_cache(maxsize=1 << 16)

NFT_NAME_LENGTH = 240
"""The longest name, without its prefix, that the nftables proxier writes."""


@_cached
def iptables_service_chain(port_name: str, protocol: str, prefix: str = CLUSTER_CHAIN) -> str:
    """Return a chain of a Service port: the balancing chain KUBE-SVC, or KUBE-SVL, KUBE-EXT or KUBE-FW by prefix."""
    return prefix + _hash(port_name + protocol.lower(), 16)


@_cached
def iptables_endpoint_chain(port_name: str, protocol: str, at: str) -> str:
    """Return the KUBE-SEP chain of an endpoint; its recent list in /proc/net/xt_recent has the same name."""
    return ENDPOINT_CHAIN + _hash(port_name + protocol.lower() + at, 16)


@_cached
def nftables_service_chain(namespace: str, name: str, port: str, protocol: str, prefix: str = "service-") -> str:
    """Return the nftables chain of a port; other prefixes are ``local-``, ``external-`` and ``firewall-``."""
    return prefix + _hash_and_truncate(f"{namespace}/{name}/{protocol.lower()}/{port}")


@_cached
def nftables_endpoint_chain(namespace: str, name: str, port: str, protocol: str, at: str) -> str:
    """Return the nftables chain of an endpoint; from 1.36 it exists only while the Service has session affinity."""
    return "endpoint-" + _nftables_endpoint(namespace, name, port, protocol, at)


@_cached
def nftables_affinity_set(namespace: str, name: str, port: str, protocol: str, at: str) -> str:
    """Return the nftables set with the affinity entries of an endpoint."""
    return "affinity-" + _nftables_endpoint(namespace, name, port, protocol, at)


def _nftables_endpoint(namespace: str, name: str, port: str, protocol: str, at: str) -> str:
    address, _, number = at.rpartition(":")
    address = address.strip("[]").replace(":", ".")
    return _hash_and_truncate(f"{namespace}/{name}/{protocol.lower()}/{port}__{address}/{number}")


def _hash(text: str, length: int) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:length]


def _hash_and_truncate(base: str) -> str:
    full = f"{_hash(base, 8)}-{base}"
    return full if len(full) <= NFT_NAME_LENGTH else full[: NFT_NAME_LENGTH - 3] + "..."
