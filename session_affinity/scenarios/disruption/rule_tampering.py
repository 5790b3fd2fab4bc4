"""Commands that change a node's rules as other programs do: a firewall that reloads, an administrator's mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.chain_names import CLUSTER_CHAIN
from session_affinity.dataplane.iptables import expected
from session_affinity.dataplane.nftables import layout

if TYPE_CHECKING:
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot

FLUSH: Final = r"""
save=$1 restore=$2; shift 2
for table; do
  "$save" -t "$table" | grep -v KUBE- | "$restore" || exit 1
done
"""
"""Restores tables without kube-proxy's chains and rules, as a firewall does that loads its own rules.

Takes the programs that save and restore, and the tables.
"""
TABLES: Final = ("mangle", "nat", "filter")
"""The tables that kube-proxy writes to in iptables mode; its canaries are in all of them."""
REMOVE_NFT_RULE: Final = r"""
nft -a list chain "$1" kube-proxy "$2" | sed -n 's/^[[:space:]]*return # handle \([0-9]*\)$/\1/p' |
while read -r handle; do nft delete rule "$1" kube-proxy "$2" handle "$handle"; done
"""
"""Removes the rules of a chain that consist of ``return`` only; kube-proxy writes none. Takes family and chain."""


def flush(state: NodeSnapshot, service: ServiceState, mode: str, *tables: str) -> tuple[str, ...]:
    """Return the command that removes kube-proxy's chains and rules from a node, canaries included.

    In iptables mode only those of some ``tables``, where they are named; in nftables mode the whole table of the
    Service's IP family is deleted.
    """
    if mode == "nftables":
        return ("nft", "delete", "table", _nft_family(service), "kube-proxy")
    restore = state.program.replace("-save", "-restore")
    return ("sh", "-c", FLUSH, "flush", state.program, restore, *(tables or TABLES))


def block(state: NodeSnapshot, service: ServiceState, mode: str) -> tuple[str, ...]:
    """Return the command that inserts a rule before all others of a Service's chain, so that none of them matches."""
    if mode == "nftables":
        family, chain = _nft_chain(service)
        return ("nft", "insert", "rule", family, "kube-proxy", chain, "return")
    return _iptables(state, service, "-I")


def unblock(state: NodeSnapshot, service: ServiceState, mode: str) -> tuple[str, ...]:
    """Return the command that removes the rule of ``block``; if there is none, it changes nothing and may fail."""
    if mode == "nftables":
        return ("sh", "-c", REMOVE_NFT_RULE, "remove", *_nft_chain(service))
    return _iptables(state, service, "-D")


def _nft_chain(service: ServiceState) -> tuple[str, str]:
    return _nft_family(service), layout.port_chains(service, layout.CLUSTER_CHAIN)[0]


def _nft_family(service: ServiceState) -> str:
    return "ip6" if service.family == "IPv6" else "ip"


def _iptables(state: NodeSnapshot, service: ServiceState, command: str) -> tuple[str, ...]:
    chain = expected.port_chains(service, CLUSTER_CHAIN)[0]
    return (state.program.replace("-save", ""), "-w", "-t", "nat", command, chain, "-j", "RETURN")
