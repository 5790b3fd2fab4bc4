"""Find the chains and rules of a node that no Service calls for, such as those of deleted Services."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane import chain_names
from session_affinity.dataplane.differences import Aspect, Difference, Leftovers
from session_affinity.dataplane.iptables.expected import (
    ENTRY_CHAINS,
    FILTER,
    FILTER_CHAINS,
    NAT,
    NODE_PORTS_CHAIN,
    SERVICES_CHAIN,
    expected,
)
from session_affinity.dataplane.iptables.index import chain_in, index_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from session_affinity.dataplane.iptables.expected import ExpectedChains
    from session_affinity.dataplane.iptables.save import Destination, Rule, Ruleset
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.proxy_config import ProxyConfig

LARGE_CLUSTER_ENDPOINTS: Final = 1000
"""With more endpoints kube-proxy puts off deleting chains (proxier.go, largeClusterEndpointsThreshold)."""
_SERVICE_CHAINS: Final = (
    chain_names.CLUSTER_CHAIN,
    chain_names.LOCAL_CHAIN,
    chain_names.EXTERNAL_CHAIN,
    chain_names.FIREWALL_CHAIN,
    chain_names.ENDPOINT_CHAIN,
)
_TARGET: Final = re.compile(r" -[jg] (\S+)")
_REASON: Final = "no Service calls for it"


def leftovers(node: str, services: Iterable[ServiceState], proxy: ProxyConfig, ruleset: Ruleset) -> Leftovers:
    """Return the chains and the rules in shared chains that none of the Services calls for.

    The Services are all of the cluster, or those that a caller picks the leftovers of. Above
    ``LARGE_CLUSTER_ENDPOINTS`` chains that no rule leads to are ``deferred``: kube-proxy deletes them in the first sync
    that is later than its syncPeriod after the last cleanup, which may take an hour (proxier.go, lastIPTablesCleanup;
    kubernetes/kubernetes#110334). Rules without comments show that there are as many, whatever the Services have.
    """
    given = tuple(services)
    wanted = [expected(state, proxy, node) for service in given for state in service.alternatives(node)]
    names = {name for chains in wanted for name in chains.chains}
    unused = [name for name in ruleset.chains() if name.startswith(_SERVICE_CHAINS) and name not in names]
    endpoints = sum(
        max(port.entry_count, len(port.endpoints)) for service in given if service.cluster_ips for port in service.ports
    )
    is_large = bool(unused) and (endpoints > LARGE_CLUSTER_ENDPOINTS or index_of(ruleset).has_uncommented_rules)
    in_use = set(_targets(ruleset, names)) if is_large else set(unused)
    reason = f"{_REASON}; kube-proxy puts off deleting chains above {LARGE_CLUSTER_ENDPOINTS} endpoints"
    return Leftovers(
        (*_rules(node, wanted, ruleset), *(_chain(node, name, ruleset, _REASON) for name in unused if name in in_use)),
        tuple(_chain(node, name, ruleset, reason) for name in unused if name not in in_use),
    )


def _chain(node: str, name: str, ruleset: Ruleset, reason: str) -> Difference:
    chain = ruleset.chains()[name]
    seen = (
        f"a chain with DNAT to {chain.dnat_target}" if chain.dnat_target else f"a chain with {len(chain.rules)} rules"
    )
    return Difference(node, name, None, Aspect.LEFTOVER, "no such chain", seen, reason)


def _targets(ruleset: Ruleset, names: Collection[str]) -> Iterator[str]:
    """Yield the targets of the shared chains and of the chains that Services call for."""
    for name in (*ENTRY_CHAINS, *names):
        for rule in ruleset.rules(name):
            if match := _TARGET.search(f" {rule.plain}"):
                yield match[1]


def _rules(node: str, wanted: Iterable[ExpectedChains], ruleset: Ruleset) -> Iterator[Difference]:
    """Yield the rules in shared chains that no Service calls for."""
    texts: dict[tuple[str, str], set[str]] = defaultdict(set)
    keys: dict[tuple[str, str], dict[tuple[Destination, str], None]] = defaultdict(dict)
    for chains in wanted:
        for table, rules in ((NAT, chains.entries), (FILTER, chains.filters)):
            for expected_rule in rules:
                rule = expected_rule.rule
                texts[table, rule.chain].add(rule.plain)
                keys[table, rule.chain][rule.destination, rule.target] = None
    for table, shared in ((NAT, ENTRY_CHAINS), (FILTER, FILTER_CHAINS)):
        for chain in shared:
            for rule in ruleset.rules(chain, table):
                is_wanted = rule.plain in texts[table, chain] or _is_called_for(rule, keys[table, chain])
                if not is_wanted and (table, chain, rule.target) != (NAT, SERVICES_CHAIN, NODE_PORTS_CHAIN):
                    place, seen = chain_in(table, chain), rule.spec or "an empty rule"
                    comment = rule.value("--comment")
                    reason = f'{_REASON}; its comment is "{comment}"' if comment else _REASON
                    yield Difference(node, place, rule.number, Aspect.LEFTOVER, "no such rule", seen, reason)


def _is_called_for(rule: Rule, keys: Mapping[tuple[Destination, str], None]) -> bool:
    """Whether a rule has the destination and target of an expected one, apart from how it is spelled.

    A rule that only counts traffic to a node port of a loopback address has those of the rule after it.
    """
    address, protocol, port = rule.destination
    is_loopback = rule.chain == NODE_PORTS_CHAIN and address.startswith("127.")
    return (("" if is_loopback else address, protocol, port), rule.target) in keys
