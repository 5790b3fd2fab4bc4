"""The settings of a kube-proxy that the rules on its node show, for one that does not say them itself.

Source: what kube-proxy's pkg/proxy/iptables/proxier.go and pkg/proxy/nftables/proxier.go write for each setting.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from session_affinity.dataplane.chain_names import CLUSTER_CHAIN, EXTERNAL_CHAIN, LOCAL_CHAIN
from session_affinity.dataplane.iptables.expected import MASQUERADE_CHAIN, NODE_PORTS_CHAIN, SERVICES_CHAIN
from session_affinity.dataplane.local_traffic import LOOPBACK
from session_affinity.dataplane.nftables import layout
from session_affinity.dataplane.nftables.node_ports import is_lookup
from session_affinity.dataplane.pairing import RuleKind
from session_affinity.dataplane.proxy_config import NFTABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from session_affinity.dataplane.iptables.save import Rule
    from session_affinity.dataplane.nftables.rules import NftRule
    from session_affinity.dataplane.nftables.table import Table
    from session_affinity.dataplane.snapshot import NodeSnapshot

_MARK: Final = re.compile(r"meta mark & (\d+)")
_SOURCES: Final = ("ip saddr", "ip6 saddr", "meta iifname")
_ANY: Final = ("0.0.0.0/0", "::/0")


def shown_by(states: Sequence[NodeSnapshot], mode: str) -> dict[str, Any]:
    """Return the fields of ``ProxyConfig`` that the rules of one node show, read in each IP family.

    They are the mark, whether all traffic to cluster IPs is masqueraded, and where node ports are answered.
    """
    if mode == NFTABLES:
        tables = [state.nftables for state in states if state.nftables is not None]
        marks = [int(found[1]) for table in tables for found in _marks(table)]
        fields: dict[str, Any] = {
            "masquerade_all": any(map(_marks_all, tables)),
            "node_port_addresses": tuple(address for table in tables for address in _node_port_addresses(table)),
        }
    else:
        masked = [rule.value("--set-xmark") or "" for state in states for rule in state.ruleset.rules(MASQUERADE_CHAIN)]
        marks = [int(mark.partition("/")[0], 16) for mark in masked if mark.startswith("0x")]
        jumps = [rule for state in states for rule in _of_target(state, SERVICES_CHAIN, NODE_PORTS_CHAIN)]
        destinations = [option for rule in jumps if (option := rule.option("-d"))]
        fields = {
            "masquerade_all": any(_is_of_all(rule) for state in states for rule in _marking(state)),
            "node_port_addresses": tuple(option.value for option in destinations if not option.negated),
            "localhost_node_ports": not any(
                option.negated and option.value == LOOPBACK["IPv4"] for option in destinations
            ),
        }
    return fields | ({"masquerade_bit": marks[0].bit_length() - 1} if marks and marks[0] else {})


def pods_past_local_policies(state: NodeSnapshot, option: str) -> Iterator[str]:
    """Yield the sources, or interfaces, from which iptables mode sends pods past a Local policy: ``-s`` or ``-i``."""
    for name, chain in state.ruleset.chains().items():
        if name.startswith(EXTERNAL_CHAIN):
            for rule in chain.rules:
                found = rule.option(option)
                if rule.target.startswith(CLUSTER_CHAIN) and found and not found.negated:
                    yield found.value


def _of_target(state: NodeSnapshot, chain: str, target: str) -> Iterable[Rule]:
    return [rule for rule in state.ruleset.rules(chain) if rule.target == target]


def _marking(state: NodeSnapshot) -> Iterator[Rule]:
    """Yield the rules that mark traffic to cluster IPs."""
    for name in state.ruleset.chains():
        if name.startswith((CLUSTER_CHAIN, LOCAL_CHAIN)):
            yield from _of_target(state, name, MASQUERADE_CHAIN)


def _is_of_all(rule: Rule) -> bool:
    return rule.option("-d") is not None and rule.option("-s") is None and rule.option("-i") is None


def _marks(table: Table) -> Iterator[re.Match[str]]:
    for rule in table.rules(layout.MASQUERADING_CHAIN):
        yield from (found for clause in rule.clauses if (found := _MARK.fullmatch(clause.subject)))


def _marks_all(table: Table) -> bool:
    chains = [layout.SERVICES_CHAIN]
    chains += [chain for chain in table.printed_rules if chain.startswith((layout.CLUSTER_CHAIN, layout.LOCAL_CHAIN))]
    return any(_is_of_all_sources(rule) for chain in chains for rule in table.rules(chain))


def _is_of_all_sources(rule: NftRule) -> bool:
    """Whether a rule marks traffic to cluster IPs whatever its source."""
    has_destination = bool(rule.match_on("ip daddr") or rule.match_on("ip6 daddr"))
    is_mark = layout.classify(rule) is RuleKind.MASQUERADE
    return has_destination and is_mark and not any(map(rule.match_on, _SOURCES))


def _node_port_addresses(table: Table) -> Iterator[str]:
    """Yield the addresses in ``nodeport-ips`` as ranges, or all of a family where rules do not look them up."""
    six = any(words[:1] == ("ipv6_addr",) for words in (each.type for each in table.sets.values()))
    lookups = [rule for rule in table.rules(layout.SERVICES_CHAIN) if is_lookup(rule)]
    if any(rule.match_on("fib daddr type") for rule in lookups):
        yield _ANY[six]
    elif layout.NODE_PORT_IPS in table.sets:
        yield from (f"{key[0]}/{128 if six else 32}" for key in table.sets[layout.NODE_PORT_IPS].elements)
