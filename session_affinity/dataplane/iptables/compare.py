"""Compare the actual rules of Services on a node with the expected ones, in the tables nat and filter.

Rules are paired by purpose and target chain, never by position, so that one missing rule is one difference
(``dataplane.pairing``). Paired rules are then compared option by option. Comments are ignored: kube-proxy omits them in
large clusters.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane import chain_names
from session_affinity.dataplane.differences import Aspect, Difference, nearest
from session_affinity.dataplane.iptables import node_ports
from session_affinity.dataplane.iptables.expected import (
    ENTRY_CHAINS,
    EXTERNAL_SERVICES_CHAIN,
    FILTER,
    FILTER_CHAINS,
    FULL_MASK,
    NAT,
    NODE_PORTS_CHAIN,
    PROXY_FIREWALL_CHAIN,
    SERVICES_CHAIN,
    ExpectedChains,
    classify,
    endpoint_chains,
    expected,
    port_chains,
    shared_rules,
)
from session_affinity.dataplane.iptables.index import RuleIndex, chain_in, index_of
from session_affinity.dataplane.iptables.save import Match, network
from session_affinity.dataplane.pairing import (
    OUTSIDE_ORDER,
    ExpectedRule,
    RuleKind,
    out_of_order_pairs,
    pair_rules,
    too_late,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from session_affinity.dataplane.iptables.save import Destination, Option, Rule, Ruleset
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.proxy_config import ProxyConfig

_MISSING: Final = {
    RuleKind.ENTRY: Aspect.ENTRY,
    RuleKind.MASQUERADE: Aspect.MASQUERADE,
    RuleKind.AFFINITY: Aspect.AFFINITY_PRESENCE,
    RuleKind.BALANCE: Aspect.BALANCING,
    RuleKind.TRANSLATE: Aspect.TRANSLATION,
    RuleKind.EXTERNAL: Aspect.EXTERNAL,
    RuleKind.REFUSE: Aspect.REFUSAL,
    RuleKind.FIREWALL: Aspect.FIREWALL,
    RuleKind.HEALTH_CHECK: Aspect.HEALTH_CHECK,
    RuleKind.FORWARD: Aspect.FORWARDING,
    RuleKind.OTHER: Aspect.UNEXPECTED_RULE,
}
"""The aspect of a rule that is missing or surplus."""
_WRONG: Final = {**_MISSING, RuleKind.AFFINITY: Aspect.AFFINITY_ARGUMENTS}
"""The aspect of a rule that has a wrong option."""
_LEAVES_THE_CHAIN: Final = {
    RuleKind.AFFINITY: (RuleKind.BALANCE,),
    RuleKind.MASQUERADE: (RuleKind.AFFINITY, RuleKind.BALANCE, RuleKind.TRANSLATE),
}
"""The kinds of rules that a rule must precede, since packets leave the chain at them."""

PROBABILITY_TOLERANCE: Final = 1e-6
"""The kernel stores a probability as a fraction of 2^31, so the printed value differs from the written one."""
_IMPLIED_MODULES: Final = ("", "tcp", "udp", "sctp")
_UNCOMPARED: Final = ("comment", "nfacct")
"""Matches that change nothing: kube-proxy omits comments in large clusters, and nfacct where the kernel has none."""
_EVERY: Final = "every Service"
_EMPTY: Final = "a rule without matches and target"


def compare(node: str, service: ServiceState, proxy: ProxyConfig, ruleset: Ruleset) -> tuple[Difference, ...]:
    """Return every difference between a node's rules and the expected rules of a Service; empty when equal.

    The filter table is compared where it was read.
    """
    return compare_many(node, [service], proxy, ruleset)[service]


def compare_many(
    node: str, services: Iterable[ServiceState], proxy: ProxyConfig, ruleset: Ruleset
) -> dict[ServiceState, tuple[Difference, ...]]:
    """Return the differences of many Services; empty for one whose rules are right.

    Where kube-proxy leaves open which rules it writes, any of them is right: when slices disagree about an endpoint
    (``ServiceState.alternatives``), and when two of the Services have the same address and port.
    """
    index = index_of(ruleset)
    states = {service: tuple(service.alternatives(node)) for service in services}
    wanted = {
        state: expected(state, proxy, node) for states_of_service in states.values() for state in states_of_service
    }
    chains = {name for chains in wanted.values() for name in chains.chains}
    former = index.former_endpoints(tuple(states), chains)
    shared = tuple(shared_differences(node, proxy, ruleset))
    others = _EntriesOfOthers(wanted)

    def differences(service: ServiceState, state: ServiceState) -> tuple[Difference, ...]:
        comparison = _RulesetComparison(node, state, proxy, wanted[state], index, former.get(service, {}), others)
        return (*comparison.differences(), *(shared if state.cluster_ips else ()))

    return {
        service: nearest(service, (differences(service, state) for state in alternatives))
        for service, alternatives in states.items()
    }


@dataclass(frozen=True)
class _EntriesOfOthers:
    """The rules that Services call for in shared chains, to tell which rules at an address are another Service's."""

    wanted: Mapping[ServiceState, ExpectedChains]

    @cached_property
    def _owners(self) -> Mapping[tuple[str, str, Destination, str], set[str]]:
        owners: dict[tuple[str, str, Destination, str], set[str]] = defaultdict(set)
        for service, chains in self.wanted.items():
            for table, rules in ((NAT, chains.entries), (FILTER, chains.filters)):
                for expected_rule in rules:
                    owners[_entry_key(table, expected_rule.rule)].add(service.key)
        return owners

    def call_for(self, table: str, rule: Rule, service: ServiceState) -> bool:
        """Whether a Service other than this one calls for a rule."""
        return bool(self._owners.get(_entry_key(table, rule), set()) - {service.key})


def _entry_key(table: str, rule: Rule) -> tuple[str, str, Destination, str]:
    return table, rule.chain, rule.destination, rule.target


def shared_differences(node: str, proxy: ProxyConfig, ruleset: Ruleset) -> Iterator[Difference]:
    """Yield the differences of the rules that every Service needs."""
    tables = [table for table in (NAT, FILTER) if table in ruleset.tables]
    shared = shared_rules(proxy)
    for (table, chain), rules in shared.chains.items():
        if table not in tables:
            continue
        seen = list(ruleset.rules(chain, table))
        for expected_rule in rules:
            match = next((rule for rule in seen if not any(unequal_options(expected_rule.rule, rule))), None)
            if match:
                seen.remove(match)
            elif not expected_rule.optional:
                yield _shared_difference(node, table, expected_rule, ruleset)
        for rule in seen:
            place = chain_in(table, chain)
            yield Difference(
                node, place, rule.number, Aspect.UNEXPECTED_RULE, "no such rule", rule.spec or _EMPTY, _EVERY
            )
        numbers = [rule.number for rule in _paired(rules, ruleset.rules(chain, table))]
        if numbers != sorted(numbers):
            aspect = _MISSING[rules[0].kind]
            wanted = ", then ".join(expected_rule.rule.spec for expected_rule in rules if not expected_rule.optional)
            yield Difference(node, chain_in(table, chain), None, aspect, wanted, "another order of these rules", _EVERY)
    yield from _foreign(node, index_of(ruleset))
    for table, expected_rule in shared.jumps:
        seen_rules = ruleset.rules(expected_rule.rule.chain, table) if table in tables else ()
        if table in tables and not any(not any(unequal_options(expected_rule.rule, rule)) for rule in seen_rules):
            yield _shared_difference(node, table, expected_rule, ruleset)


def _foreign(node: str, index: RuleIndex) -> Iterator[Difference]:
    """Yield the rules in the shared chains of Services that are of no Service."""
    for table, rule in index.foreign:
        place, seen = chain_in(table, rule.chain), rule.spec or _EMPTY
        yield Difference(node, place, rule.number, Aspect.UNEXPECTED_RULE, "no such rule", seen, _EVERY)


def _paired(wanted: Sequence[ExpectedRule[Rule]], seen: Sequence[Rule]) -> Iterator[Rule]:
    """Yield the seen rules in the order of the expected rules that they equal."""
    for expected_rule in wanted:
        yield from [rule for rule in seen if not any(unequal_options(expected_rule.rule, rule))][:1]


def _shared_difference(node: str, table: str, expected_rule: ExpectedRule[Rule], ruleset: Ruleset) -> Difference:
    rule = expected_rule.rule
    same_target = [seen for seen in ruleset.rules(rule.chain, table) if seen.target == rule.target]
    seen = same_target[0].spec if same_target else f"no {_purpose(expected_rule)}"
    number = same_target[0].number if same_target else None
    return Difference(node, chain_in(table, rule.chain), number, _MISSING[expected_rule.kind], rule.spec, seen, _EVERY)


@dataclass(frozen=True)
class _RulesetComparison:
    node: str
    service: ServiceState
    proxy: ProxyConfig
    expected: ExpectedChains
    index: RuleIndex
    former: Mapping[str, str]
    others: _EntriesOfOthers

    @property
    def ruleset(self) -> Ruleset:
        return self.index.ruleset

    def differences(self) -> Iterator[Difference]:
        for chain in ENTRY_CHAINS:
            yield from self._entries(NAT, chain, self.expected.entries)
        if FILTER in self.ruleset.tables:
            for chain in FILTER_CHAINS:
                yield from self._entries(FILTER, chain, self.expected.filters)
        yield from self._jump_to_node_ports()
        for chain, rules in self.expected.chains.items():
            actual = self.ruleset.chain(chain)
            if actual is None:
                endpoints = dict.fromkeys(str(rule.endpoint) for rule in rules if rule.endpoint)
                reason = ", ".join((self._service, *endpoints))
                wanted, seen = "a chain of this name", "no such chain"
                yield self._at(chain, Aspect.CHAIN_NAMES, wanted=wanted, seen=seen, reason=reason)
            elif not _same_text(rules, actual.plain):
                yield from sorted(self._chain(chain, rules), key=lambda difference: difference.rule or 0)
        yield from self._leftover_chains()

    @property
    def _service(self) -> str:
        return f"Service {self.service.key}"

    def _at(self, place: str | Rule, aspect: Aspect, *, wanted: str, seen: str, reason: str = "") -> Difference:
        chain, number = (place, None) if isinstance(place, str) else (place.chain, place.number)
        return Difference(self.node, chain, number, aspect, wanted, seen, reason or self._service)

    def _jump_to_node_ports(self) -> Iterator[Difference]:
        """Yield the differences of the rules that lead to KUBE-NODEPORTS, which depend on nodePortAddresses."""
        if any(port.node_port for port in self.service.ports):
            jumps = self.index.entries(NAT, SERVICES_CHAIN, (), (NODE_PORTS_CHAIN,))
            yield from node_ports.differences(self.node, self.service.family, self.proxy, jumps, self._service)

    def _entries(self, table: str, chain: str, rules: Iterable[ExpectedRule[Rule]]) -> Iterator[Difference]:
        """Yield the differences of the Service's rules in a chain that all Services share."""
        wanted = [entry for entry in rules if entry.rule.chain == chain]
        seen = self.index.entries(table, chain, self._destinations(table, chain), self._targets(table))
        if _same_text(wanted, (rule.plain for rule in seen)):
            return
        pairs, missing, surplus = pair_rules(
            wanted,
            [rule for rule in seen if not self._is_for_loopback(rule)],
            lambda rule: (*rule.destination, rule.target),
            lambda rule: rule.destination,
            lambda rule: rule.target,
        )
        for difference in self._paired_and_missing(pairs, missing):
            yield replace(difference, chain=chain_in(table, chain))
        for rule in surplus:
            if self.others.call_for(table, rule, self.service):
                continue
            aspect = _MISSING[wanted[0].kind] if wanted else Aspect.LEFTOVER
            if table == FILTER and rule.target in ("REJECT", "DROP"):
                aspect = Aspect.FIREWALL if chain == PROXY_FIREWALL_CHAIN else Aspect.REFUSAL
            reason = self._service if self.service.endpoints else f"{self._service} has no ready endpoint"
            difference = self._at(rule, aspect, wanted="no such rule", seen=rule.spec, reason=reason)
            yield replace(difference, chain=chain_in(table, chain))

    def _targets(self, table: str) -> tuple[str, ...]:
        """Return the chains of the Service: a rule that leads there is the Service's, whatever it matches."""
        return self.expected.port_chains if table == NAT else ()

    def _destinations(self, table: str, chain: str) -> set[Destination]:
        """Return the destinations whose rules in a shared chain are the Service's."""
        if table == FILTER and chain == NODE_PORTS_CHAIN:
            number = self.service.health_check_node_port
            return {("", "tcp", str(number))} if number else set()
        by_address = {
            (network(address), port.protocol.lower(), str(port.port))
            for address in (*self.service.cluster_ips, *self.service.external_ips, *self.service.balancer_ips)
            for port in self.service.ports
        }
        node_ports = {("", port.protocol.lower(), str(port.node_port)) for port in self.service.ports if port.node_port}
        if chain == NODE_PORTS_CHAIN:
            return node_ports
        return by_address | (node_ports if chain == EXTERNAL_SERVICES_CHAIN else set())

    def _is_for_loopback(self, rule: Rule) -> bool:
        """Whether a rule only counts traffic to a node port of a loopback address.

        Some versions of kube-proxy write it on some kernels; its target is that of the rule after it (kube-proxy's
        option iptables.localhostNodePorts).
        """
        if not self.proxy.serves_localhost_node_ports:
            return False
        loopback = rule.chain == NODE_PORTS_CHAIN and (rule.value("-d") or "").startswith("127.")
        return loopback and any(
            (rule.target, rule.value("--dport")) == (entry.rule.target, entry.rule.value("--dport"))
            for entry in self.expected.entries
        )

    def _chain(self, chain: str, rules: Sequence[ExpectedRule[Rule]]) -> Iterator[Difference]:
        """Yield the differences of a chain that belongs to the Service alone."""
        pairs, missing, surplus = pair_rules(
            rules,
            self.ruleset.rules(chain),
            lambda rule: (
                classify(rule),
                rule.target,
                rule.value("--name"),
                rule.value("-s"),
                rule.value("-i"),
                rule.value("--src-type"),
            ),
            lambda rule: (classify(rule), rule.target, rule.value("--name")),
            lambda rule: (classify(rule), rule.target),
            lambda rule: (classify(rule), rule.value("--name")) if rule.value("--name") else None,
            lambda rule: (
                (rule.value("-s"), rule.value("-i"), rule.value("--src-type"))
                if classify(rule) is RuleKind.EXTERNAL
                else None
            ),
        )
        yield from self._paired_and_missing(pairs, missing)
        late = list(too_late(pairs, _LEAVES_THE_CHAIN))
        for expected_rule, rule, first in late:
            aspect = Aspect.AFFINITY_ORDER if expected_rule.kind is RuleKind.AFFINITY else Aspect.MASQUERADE
            wanted, seen = f"before rule {first.number}, {first.spec}", _purpose(expected_rule)
            yield self._at(rule, aspect, wanted=wanted, seen=seen)
        numbers = {rule.number for _, rule, _ in late}
        in_time = [pair for pair in pairs if pair[1].number not in numbers]
        for kind, aspect in ((RuleKind.AFFINITY, Aspect.AFFINITY_ORDER), (RuleKind.BALANCE, Aspect.BALANCING)):
            for _, rule, wanted, seen in out_of_order_pairs(in_time, kind):
                yield self._at(rule, aspect, wanted=wanted, seen=seen)
        if chain in port_chains(self.service, chain_names.EXTERNAL_CHAIN):
            for _, rule, wanted, seen in out_of_order_pairs(
                pairs, RuleKind.MASQUERADE, RuleKind.EXTERNAL, order=OUTSIDE_ORDER
            ):
                yield self._at(rule, Aspect.EXTERNAL, wanted=wanted, seen=seen)
        for rule in surplus:
            yield self._surplus(rule)

    def _paired_and_missing(
        self, pairs: Sequence[tuple[ExpectedRule[Rule], Rule]], missing: Sequence[ExpectedRule[Rule]]
    ) -> Iterator[Difference]:
        for expected_rule, rule in pairs:
            for module, wanted, seen in unequal_options(expected_rule.rule, rule):
                reason = self._reason(expected_rule, with_timeout="--seconds" in seen)
                yield self._at(rule, self._wrong(expected_rule, module), wanted=wanted, seen=seen, reason=reason)
        for expected_rule in missing:
            if expected_rule.optional:
                continue
            wanted, seen = (
                expected_rule.rule.spec or "a rule without matches and target",
                f"no {_purpose(expected_rule)}",
            )
            yield self._at(expected_rule.rule.chain, _MISSING[expected_rule.kind], wanted=wanted, seen=seen)

    def _wrong(self, expected_rule: ExpectedRule[Rule], module: str) -> Aspect:
        if module == "recent" and not self.service.has_affinity:
            return Aspect.LEFTOVER
        if module == "statistic" and expected_rule.kind is RuleKind.BALANCE:
            return Aspect.PROBABILITY
        return _WRONG[expected_rule.kind]

    def _surplus(self, rule: Rule) -> Difference:
        kind = classify(rule)
        aspect, reason = _MISSING[kind], self._service
        if rule.match("recent") and not self.service.has_affinity:
            aspect, reason = Aspect.LEFTOVER, f"{self._service}, sessionAffinity {self.service.session_affinity}"
        elif kind in (RuleKind.AFFINITY, RuleKind.BALANCE):
            if rule.target in self.expected.chains:
                reason = f"{self._service}, surplus {kind} rule for {endpoint_chains(self.service).get(rule.target)}"
            else:
                aspect, reason = Aspect.LEFTOVER, f"{self._service}, {self._former_endpoint(rule.target)}"
        elif rule.match("recent") and rule.option("--set"):
            aspect, reason = Aspect.TRANSLATION, f"{self._service}, --set belongs in the DNAT rule"
        seen = rule.spec or _EMPTY
        return self._at(rule, aspect, wanted="no such rule", seen=seen, reason=reason)

    def _former_endpoint(self, chain: str) -> str:
        what = self.index.endpoint_targets.get(chain, f"{chain} (no DNAT rule)")
        return f"{what} is not one of its {len(self.service.endpoints)} ready endpoints"

    def _leftover_chains(self) -> Iterator[Difference]:
        """Yield the chains that the Service does not call for; a rule that leads to one is another difference."""
        if self._is_cleanup_deferred:
            return
        for chain in self.expected.port_chains:
            if chain not in self.expected.chains and self.ruleset.chain(chain):
                seen = f"a chain with {len(self.ruleset.rules(chain))} rules"
                reason = f"{self._service}, {len(self.service.endpoints)} ready endpoints"
                yield self._at(chain, Aspect.LEFTOVER, wanted="no such chain", seen=seen, reason=reason)
        for chain, target in self.former.items():
            seen, reason = f"a chain with DNAT to {target}", f"{self._service}, {self._former_endpoint(chain)}"
            yield self._at(chain, Aspect.LEFTOVER, wanted="no such chain", seen=seen, reason=reason)

    @property
    def _is_cleanup_deferred(self) -> bool:
        """Whether kube-proxy may rightly keep unused chains of the Service: it wrote its rules above 1000 endpoints.

        It then omits comments, and deletes unused chains in the first sync later than its syncPeriod after the last
        cleanup (pkg/proxy/iptables/proxier.go, largeClusterMode and lastIPTablesCleanup).
        """
        chains = [chain for chain in self.expected.chains if self.ruleset.rules(chain)]
        return not self.index.is_commented(chains) if chains else self.index.has_uncommented_rules

    def _reason(self, expected_rule: ExpectedRule[Rule], *, with_timeout: bool = False) -> str:
        if with_timeout:
            return f"{self._service}, timeoutSeconds {self.service.timeout_seconds}"
        return f"{self._service}, {'endpoint ' if expected_rule.endpoint else ''}{expected_rule.about}"


def _same_text(wanted: Sequence[ExpectedRule[Rule]], seen: Iterable[str]) -> bool:
    """Whether rules have the plain texts that were seen, in this order; most have, and need not be parsed."""
    return tuple(expected_rule.rule.body for expected_rule in wanted) == tuple(seen)


def _purpose(expected_rule: ExpectedRule[Rule]) -> str:
    return f"{expected_rule.kind} rule for {expected_rule.about}"


def unequal_options(wanted: Rule, seen: Rule) -> Iterator[tuple[str, str, str]]:
    """Yield module, expected text and seen text of every option that differs; order and spelling are ignored."""
    expected_matches, seen_matches = _by_module(wanted), _by_module(seen)
    for module in dict.fromkeys((*expected_matches, *seen_matches)):
        expected_match, seen_match = expected_matches.get(module), seen_matches.get(module)
        if expected_match and seen_match:
            for texts in _unequal(expected_match.options, seen_match.options):
                yield module, *texts
        else:
            yield module, str(expected_match or f"no -m {module}"), str(seen_match or f"no -m {module}")
    if (wanted.target, wanted.jump) != (seen.target, seen.jump):
        yield "", wanted.target, f"{seen.jump} {seen.target}" if seen.target else "no target"
    for texts in _unequal(wanted.target_options, seen.target_options):
        yield "", *texts


def _unequal(wanted: Iterable[Option], seen: Iterable[Option]) -> Iterator[tuple[str, str]]:
    expected_options, seen_options = ({option.name: option for option in options} for options in (wanted, seen))
    for name in dict.fromkeys((*expected_options, *seen_options)):
        expected_option, seen_option = expected_options.get(name), seen_options.get(name)
        if not _equal(expected_option, seen_option):
            yield _texts(name, expected_option, seen_option)


def _texts(name: str, wanted: Option | None, seen: Option | None) -> tuple[str, str]:
    if wanted is None:
        return f"no {name}", str(seen)
    if seen is None:
        return str(wanted), f"no {name}"
    return (wanted.value if wanted.negated == seen.negated and wanted.value else str(wanted)), str(seen)


def _by_module(rule: Rule) -> dict[str, Match]:
    """Return the matches by module, without comments and counters; a module that is named twice has a second key."""
    matches = {"": Match("")}
    for match in rule.matches:
        if match.module not in _UNCOMPARED and (match.options or match.module not in _IMPLIED_MODULES):
            key = f"{match.module} again" if match.module and match.module in matches else match.module
            matches[key] = match
    return matches


def _equal(wanted: Option | None, seen: Option | None) -> bool:
    if wanted is None or seen is None:
        option = wanted or seen
        return option is None or option.name == "--rsource" or option.value in FULL_MASK.values()
    if wanted.negated != seen.negated:
        return False
    if wanted.name == "--probability":
        return abs(float(wanted.value) - float(seen.value)) <= PROBABILITY_TOLERANCE
    if wanted.name in ("-s", "-d"):
        return network(wanted.value) == network(seen.value)
    return wanted.values == seen.values
