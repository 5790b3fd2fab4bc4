"""An index of a node's rules, so that comparing many Services does not go through all rules for each of them."""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from session_affinity.dataplane import chain_names
from session_affinity.dataplane.iptables.expected import (
    ENTRY_CHAINS,
    FILTER,
    FILTER_CHAINS,
    NAT,
    NODE_PORTS_CHAIN,
    PROXY_FIREWALL_CHAIN,
    SERVICES_CHAIN,
)
from session_affinity.dataplane.iptables.save import Rule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from session_affinity.dataplane.iptables.save import Destination, Ruleset
    from session_affinity.dataplane.model import ServiceState

_SERVICE_CHAINS = (
    chain_names.CLUSTER_CHAIN,
    chain_names.LOCAL_CHAIN,
    chain_names.EXTERNAL_CHAIN,
    chain_names.FIREWALL_CHAIN,
)
_REFUSALS = ("REJECT", "DROP")


def chain_in(table: str, chain: str) -> str:
    """Return the name of a chain in messages; the tables nat and filter both have a KUBE-SERVICES."""
    return chain if table == NAT else f"{table} {chain}"


def index_of(ruleset: Ruleset) -> RuleIndex:
    """Return the index of a node's rules, which is made once: the same rules are compared for claim after claim."""
    index = ruleset.memory.get(RuleIndex)
    if not isinstance(index, RuleIndex):
        index = ruleset.memory[RuleIndex] = RuleIndex(ruleset)
    return index


@dataclass(frozen=True)
class RuleIndex:
    """The rules of one node by what they match and where they lead."""

    ruleset: Ruleset

    @cached_property
    def foreign(self) -> tuple[tuple[str, Rule], ...]:
        """The rules in shared chains, each with its table, that kube-proxy writes for no Service whatever.

        Its own match one port and protocol, and an address unless they are about node ports, and lead to a chain of a
        Service or refuse the traffic (pkg/proxy/iptables/proxier.go, syncProxyRules).
        """
        return tuple(
            (table, rule)
            for table, chains in ((NAT, ENTRY_CHAINS), (FILTER, FILTER_CHAINS))
            for chain in chains
            for rule in self.ruleset.rules(chain, table)
            if not _may_be_of_a_service(table, chain, rule.body)
        )

    def entries(
        self, table: str, chain: str, destinations: Iterable[Destination], targets: Iterable[str] = ()
    ) -> list[Rule]:
        """Return the rules of a shared chain that match one of the destinations or lead to one of the targets."""
        found = self.ruleset.chain(chain, table)
        if found is None:
            return []
        rules = {rule.number: rule for key in destinations for rule in found.by_destination.get(key, ())} | {
            rule.number: rule for target in targets for rule in found.by_target.get(target, ())
        }
        return [rules[number] for number in sorted(rules)]

    @cached_property
    def endpoint_targets(self) -> Mapping[str, str]:
        """The DNAT targets of the KUBE-SEP chains by chain; a chain without a DNAT rule is left out."""
        targets = (
            (name, chain.dnat_target)
            for name, chain in self.ruleset.chains().items()
            if name.startswith(chain_names.ENDPOINT_CHAIN)
        )
        return {name: target for name, target in targets if target}

    @cached_property
    def chains_in_use(self) -> frozenset[str]:
        """The chains of the nat table that rules of shared chains lead to, directly or through others of them."""
        found: set[str] = set()
        ahead = [*ENTRY_CHAINS]
        while ahead:
            chain = self.ruleset.chain(ahead.pop())
            targets = set(chain.by_target if chain else ()) - found
            found |= targets
            ahead += targets
        return frozenset(found)

    @cached_property
    def has_uncommented_rules(self) -> bool:
        """Whether a KUBE-SEP chain has a rule without a comment: it was written while there were 1000 endpoints."""
        return any(not self.is_commented((name,)) for name in self.endpoint_targets)

    def is_commented(self, chains: Iterable[str]) -> bool:
        """Whether the rules of the chains of endpoints among these have comments; True when there is none."""
        rules = (
            rule
            for chain in chains
            if chain.startswith(chain_names.ENDPOINT_CHAIN)
            for rule in self.ruleset.rules(chain)[:1]
        )
        return all(rule.has_comment for rule in rules)

    def former_endpoints(
        self, services: Sequence[ServiceState], wanted: Collection[str]
    ) -> Mapping[ServiceState, Mapping[str, str]]:
        """Return the KUBE-SEP chains that no Service calls for and their DNAT targets, by the Service they were of.

        The name of such a chain is the hash of Service port and DNAT target, so it can be verified without the endpoint
        (pkg/proxy/iptables/proxier.go, servicePortEndpointChainName).
        """
        former: dict[ServiceState, dict[str, str]] = {}
        for service in services:
            # Most chains are other Services', as their comments say; the hash is what decides.
            unwanted = [
                (chain, at)
                for key in ("", service.key)
                for chain, at in self._targets_by_service.get(key, {}).items()
                if chain not in wanted
            ]
            chains = {chain: at for chain, at in unwanted if chain in _names(service, at)}
            if chains:
                former[service] = chains
        return former

    @cached_property
    def _targets_by_service(self) -> Mapping[str, Mapping[str, str]]:
        """The DNAT targets of the KUBE-SEP chains by the Service in their comments, empty where they have none."""
        by_service: dict[str, dict[str, str]] = defaultdict(dict)
        for chain, at in self.endpoint_targets.items():
            by_service[self.ruleset.chains()[chain].service][chain] = at
        return by_service


@lru_cache(maxsize=1 << 15)
def _may_be_of_a_service(table: str, chain: str, body: str) -> bool:
    """Whether a rule in a shared chain has the form of those that kube-proxy writes for Services."""
    rule = Rule(chain, 0, body)
    if table == NAT and rule.chain == SERVICES_CHAIN and rule.target == NODE_PORTS_CHAIN:
        return True
    address, protocol, port = (rule.option(name) for name in ("-d", "-p", "--dport"))
    if protocol is None or port is None or protocol.negated or port.negated or not port.value.isdigit():
        return False
    if rule.chain == NODE_PORTS_CHAIN:
        return rule.target.startswith(chain_names.EXTERNAL_CHAIN) if table == NAT else rule.target == "ACCEPT"
    is_host = address is not None and not address.negated and _is_host(address.value)
    if table == NAT:
        return is_host and rule.target.startswith(_SERVICE_CHAINS)
    if rule.chain in (SERVICES_CHAIN, PROXY_FIREWALL_CHAIN):
        return is_host and rule.target in _REFUSALS
    return rule.target in _REFUSALS and (is_host or rule.value("--dst-type") == "LOCAL")


def _is_host(address: str) -> bool:
    _, slash, length = address.partition("/")
    return not slash or length == ("128" if ":" in address else "32")


def _names(service: ServiceState, at: str) -> list[str]:
    """Return the names of the KUBE-SEP chains that a DNAT target would have; not cached, as most are of no Service."""
    texts = (f"{service.port_name(port)}{port.protocol.lower()}{at}" for port in service.ports)
    return [
        chain_names.ENDPOINT_CHAIN + b32encode(hashlib.sha256(text.encode()).digest())[:16].decode() for text in texts
    ]
