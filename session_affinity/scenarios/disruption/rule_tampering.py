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
for table in mangle nat filter; do
  "$1" -t "$table" | grep -v KUBE- | "$2" || exit 1
done
"""
"""Restores the tables without kube-proxy's chains and rules, as a firewall does that loads its own rules."""
REMOVE_NFT_RULE: Final = r"""
nft -a list chain "$1" kube-proxy "$2" | sed -n 's/^[[:space:]]*return # handle \([0-9]*\)$/\1/p' |
while read -r handle; do nft delete rule "$1" kube-proxy "$2" handle "$handle"; done
"""
"""Removes the rules of a chain that consist of ``return`` only; kube-proxy writes none. Takes family and chain."""


def flush(state: NodeSnapshot) -> tuple[str, ...]:
    """Return the command that removes kube-proxy's chains and rules from a node's tables, canaries included."""
    return ("sh", "-c", FLUSH, "flush", state.program, state.program.replace("-save", "-restore"))


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
    return "ip6" if service.family == "IPv6" else "ip", layout.port_chains(service, layout.CLUSTER_CHAIN)[0]


def _iptables(state: NodeSnapshot, service: ServiceState, command: str) -> tuple[str, ...]:
    chain = expected.port_chains(service, CLUSTER_CHAIN)[0]
    return (state.program.replace("-save", ""), "-w", "-t", "nat", command, chain, "-j", "RETURN")
