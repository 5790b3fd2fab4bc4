"""The layout of kube-proxy's nftables table: its names, the objects of a Service, and the purpose of a rule.

Source: kube-proxy's pkg/proxy/nftables/proxier.go, read for 1.33 to 1.37.
"""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane import chain_names
from session_affinity.dataplane.pairing import RuleKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.dataplane.model import Endpoint, ServiceState
    from session_affinity.dataplane.nftables.rules import NftRule
    from session_affinity.dataplane.nftables.table import Table

SERVICES_CHAIN: Final = "services"
SERVICE_IPS: Final = "service-ips"
SERVICE_NODE_PORTS: Final = "service-nodeports"
NO_ENDPOINTS: Final = "no-endpoint-services"
NO_ENDPOINT_NODE_PORTS: Final = "no-endpoint-nodeports"
FIREWALL_IPS: Final = "firewall-ips"
CLUSTER_IPS: Final = "cluster-ips"
HAIRPINS: Final = "hairpin-connections"
MARK_CHAIN: Final = "mark-for-masquerade"
MASQUERADING_CHAIN: Final = "masquerading"
ENDPOINTS_CHECK_CHAIN: Final = "service-endpoints-check"
NODE_PORTS_CHECK_CHAIN: Final = "nodeport-endpoints-check"
CLUSTER_IPS_CHECK_CHAIN: Final = "cluster-ips-check"
FIREWALL_CHECK_CHAIN: Final = "firewall-check"
NODE_PORT_IPS: Final = "nodeport-ips"
"""The set of the addresses at which node ports are answered; there is none where every address will do."""
LOCALHOST_REFUSALS: Final = "localhost-nodeport-reject-ports"
LOCALHOST_REJECT_CHAIN: Final = "localhost-nodeport-reject-"
"""The beginning of the names of the chains, one a protocol, that refuse node ports on loopback addresses."""
REJECT_CHAIN: Final = "reject-chain"
REJECT: Final = f"goto {REJECT_CHAIN}"
DROP: Final = "drop"

CLUSTER_CHAIN: Final = "service-"
LOCAL_CHAIN: Final = "local-"
EXTERNAL_CHAIN: Final = "external-"
FIREWALL_CHAIN: Final = "firewall-"
ENDPOINT_CHAIN: Final = "endpoint-"
AFFINITY_SET: Final = "affinity-"
_PREFIXES: Final = (CLUSTER_CHAIN, LOCAL_CHAIN, EXTERNAL_CHAIN, FIREWALL_CHAIN)
SET_SIZE: Final = 65535
"""The size of affinity sets: kube-proxy sets none, and nft gives sets that rules update this one."""


class TableLayout(StrEnum):
    """The layouts of kube-proxy's table; it has changed once since the mode is stable."""

    CHAIN_PER_ENDPOINT = "a chain per endpoint, masquerade marks in the chains of each Service"
    """Up to 1.35."""
    CHAIN_PER_STICKY_ENDPOINT = "endpoint chains only for session affinity, masquerade marks in the chain services"
    """From 1.36."""


def layout_of(table: Table) -> TableLayout:
    """Return the layout of a table, derived from the shared chains and sets in it.

    A version number would not do: nodes differ during an upgrade, and a custom build's number means nothing.
    """
    old = MARK_CHAIN in table and HAIRPINS not in table.sets
    return TableLayout.CHAIN_PER_ENDPOINT if old else TableLayout.CHAIN_PER_STICKY_ENDPOINT


def port_chains(service: ServiceState, *prefixes: str) -> tuple[str, ...]:
    """Return the names of the chains of a Service's ports, existing or not: with these prefixes, or with all."""
    return tuple(
        chain_names.nftables_service_chain(service.namespace, service.name, port.name, port.protocol, prefix)
        for port in service.ports
        for prefix in prefixes or _PREFIXES
    )


def endpoint_chains(service: ServiceState) -> Mapping[str, Endpoint]:
    """Return the endpoints by their endpoint chain, whether or not the layout has one for this Service."""
    return {
        chain_names.nftables_endpoint_chain(
            service.namespace, service.name, port.name, port.protocol, endpoint.at
        ): endpoint
        for port in service.ports
        for endpoint in (*port.endpoints, *port.serving_terminating)
    }


def affinity_sets(service: ServiceState) -> Mapping[str, Endpoint]:
    """Return the endpoints by their affinity set, whether or not it should exist."""
    return {
        chain_names.nftables_affinity_set(
            service.namespace, service.name, port.name, port.protocol, endpoint.at
        ): endpoint
        for port in service.ports
        for endpoint in (*port.endpoints, *port.serving_terminating)
    }


def classify(rule: NftRule) -> RuleKind:
    """Return the purpose of a rule of a service or endpoint chain, judged by its clauses."""
    if rule.chain.startswith(FIREWALL_CHAIN):
        return RuleKind.FIREWALL
    if rule.clause("update", "add"):
        return RuleKind.UPDATE
    if rule.clause("set") or rule.target == MARK_CHAIN:
        return RuleKind.MASQUERADE
    if rule.clause("vmap", "dnat"):
        is_endpoint = rule.chain.startswith(ENDPOINT_CHAIN) and not rule.clause("vmap")
        return RuleKind.TRANSLATE if is_endpoint else RuleKind.BALANCE
    if rule.target.startswith(ENDPOINT_CHAIN):
        return RuleKind.AFFINITY
    return RuleKind.EXTERNAL if rule.target.startswith((CLUSTER_CHAIN, LOCAL_CHAIN)) else RuleKind.OTHER


def pod_ranges(table: Table) -> frozenset[str]:
    """Return the pod ranges of a table.

    Traffic from other sources is marked for masquerading, and that from them goes past a Local policy.
    """
    return _not_of_pods(table, "ip saddr", "ip6 saddr") | _past_local_policies(table, "ip saddr", "ip6 saddr")


def pod_interfaces(table: Table) -> frozenset[str]:
    """Return the interfaces of pods in a table, with ``*`` at the end for the beginning of a name."""
    return _not_of_pods(table, "meta iifname") | _past_local_policies(table, "meta iifname")


def _past_local_policies(table: Table, *subjects: str) -> frozenset[str]:
    chains = [chain for chain in table.printed_rules if chain.startswith(EXTERNAL_CHAIN)]
    operands = (
        rule.match_on(subject)
        for chain in chains
        for rule in table.rules(chain)
        for subject in subjects
        if rule.target.startswith(CLUSTER_CHAIN)
    )
    return frozenset(operand for operand in operands if operand)


def _not_of_pods(table: Table, *subjects: str) -> frozenset[str]:
    chains = [
        SERVICES_CHAIN,
        *(chain for chain in table.printed_rules if chain.startswith((CLUSTER_CHAIN, LOCAL_CHAIN))),
    ]
    operands = (
        rule.match_on(subject)
        for chain in chains
        for rule in table.rules(chain)
        for subject in subjects
        if classify(rule) is RuleKind.MASQUERADE
    )
    return frozenset(operand.removeprefix("!= ") for operand in operands if operand.startswith("!= "))


def canonical(address: str) -> str:
    """Return an address or prefix as nft prints it."""
    return str(ipaddress.ip_network(address, strict=False)) if "/" in address else str(ipaddress.ip_address(address))
