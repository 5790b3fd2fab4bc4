"""Compare the actual nftables objects of Services on a node with the expected ones.

Rules are paired by purpose and target chain, never by position, so that one missing rule is one difference
(``dataplane.pairing``). An empty chain is not a leftover: kube-proxy flushes a stale chain at once and deletes it in a
later sync, because kernels before 6.2 count a chain as in use for a moment longer (comment in its proxier.go).
"""

from __future__ import annotations

import ipaddress
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.differences import Aspect, Difference, nearest
from session_affinity.dataplane.nftables.expected import (
    ExpectedElement,
    ExpectedTable,
    expected,
    numgen,
    shared_rules,
)
from session_affinity.dataplane.nftables.layout import (
    CLUSTER_IPS_CHECK_CHAIN,
    EXTERNAL_CHAIN,
    NO_ENDPOINT_NODE_PORTS,
    NODE_PORTS_CHECK_CHAIN,
    SERVICE_NODE_PORTS,
    SET_SIZE,
    affinity_sets,
    canonical,
    classify,
    endpoint_chains,
    layout_of,
    port_chains,
)
from session_affinity.dataplane.nftables.node_ports import NodePortComparison, is_lookup
from session_affinity.dataplane.nftables.rules import VERDICTS, Clause, NftRule
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

    from session_affinity.dataplane.model import Family, ServiceState
    from session_affinity.dataplane.nftables.table import Key, Table
    from session_affinity.dataplane.proxy_config import ProxyConfig

_MISSING: Final = {
    RuleKind.ENTRY: Aspect.ENTRY,
    RuleKind.MASQUERADE: Aspect.MASQUERADE,
    RuleKind.AFFINITY: Aspect.AFFINITY_PRESENCE,
    RuleKind.BALANCE: Aspect.BALANCING,
    RuleKind.UPDATE: Aspect.TRANSLATION,
    RuleKind.TRANSLATE: Aspect.TRANSLATION,
    RuleKind.EXTERNAL: Aspect.EXTERNAL,
    RuleKind.REFUSE: Aspect.REFUSAL,
    RuleKind.FIREWALL: Aspect.FIREWALL,
    RuleKind.OTHER: Aspect.UNEXPECTED_RULE,
}
"""The aspect of a rule that is missing or surplus."""
_WRONG: Final = {**_MISSING, RuleKind.AFFINITY: Aspect.AFFINITY_ARGUMENTS}
"""The aspect of a rule that has a wrong clause."""
_LEAVES_THE_CHAIN: Final = {
    RuleKind.MASQUERADE: (RuleKind.AFFINITY, RuleKind.BALANCE, RuleKind.TRANSLATE, RuleKind.ENTRY),
    RuleKind.AFFINITY: (RuleKind.BALANCE,),
    RuleKind.UPDATE: (RuleKind.TRANSLATE,),
}
"""The kinds of rules that a rule must precede, since packets leave the chain at them."""
_TOO_LATE: Final = {**_MISSING, RuleKind.AFFINITY: Aspect.AFFINITY_ORDER}
"""The aspect of a rule that follows one of these."""

Pair = tuple[ExpectedRule[NftRule], NftRule]


def compare(node: str, service: ServiceState, proxy: ProxyConfig, table: Table) -> tuple[Difference, ...]:
    """Return every difference between a node's table and the expected objects of a Service; empty when equal."""
    return compare_many(node, [service], proxy, table)[service]


def compare_many(
    node: str, services: Iterable[ServiceState], proxy: ProxyConfig, table: Table
) -> dict[ServiceState, tuple[Difference, ...]]:
    """Return the differences of many Services; empty for one whose objects are right.

    Where kube-proxy leaves open which objects it writes, any of them is right: when slices disagree about an endpoint
    (``ServiceState.alternatives``), and when two of the Services have the same address and port.
    """
    layout = layout_of(table)
    states = {service: tuple(service.alternatives(node)) for service in services}
    wanted = {state: expected(state, proxy, node, layout) for alternatives in states.values() for state in alternatives}
    others = _ElementsOfOthers(wanted)
    shared: dict[Family, tuple[Difference, ...]] = {}

    def differences(state: ServiceState) -> tuple[Difference, ...]:
        family = state.family
        if family not in shared:
            shared[family] = tuple(shared_differences(node, family, proxy, table))
        comparison = _TableComparison(node, state, proxy, wanted[state], table, others)
        return (*comparison.differences(), *(shared[family] if state.cluster_ips else ()))

    return {service: nearest(service, map(differences, alternatives)) for service, alternatives in states.items()}


@dataclass(frozen=True)
class _ElementsOfOthers:
    """The elements that Services call for, to tell which elements at an address are another Service's."""

    wanted: Mapping[ServiceState, ExpectedTable]

    @cached_property
    def _owners(self) -> Mapping[tuple[str, Key, str], set[str]]:
        owners: dict[tuple[str, Key, str], set[str]] = defaultdict(set)
        for service, table in self.wanted.items():
            for element in table.elements:
                owners[element.container, element.key, element.verdict].add(service.key)
        return owners

    def call_for(self, container: str, key: Key, verdict: str, service: ServiceState) -> bool:
        """Whether a Service other than this one calls for an element."""
        return bool(self._owners.get((container, key, verdict), set()) - {service.key})


def shared_differences(node: str, family: Family, proxy: ProxyConfig, table: Table) -> Iterator[Difference]:
    """Yield the differences of the rules that every Service needs."""
    shared = shared_rules(family, proxy, layout_of(table))
    for chain, rules in shared.chains.items():
        pairs, missing, surplus = pair_rules(
            rules,
            [rule for rule in table.rules(chain) if not is_lookup(rule)],
            lambda rule: rule.clauses,
            lambda rule: rule.clauses[0] if rule.clauses else None,
        )
        yield from _shared_pairs(node, pairs, missing)
        numbers = [rule.number for _, rule in pairs]
        if numbers != sorted(numbers):
            wanted = ", then ".join(expected_rule.rule.spec for expected_rule in rules)
            aspect = _MISSING[rules[0].kind]
            yield Difference(node, chain, None, aspect, wanted, "another order of these rules", _EVERY)
        for rule in surplus:
            if not _is_of_service_cidrs(rule):
                yield Difference(
                    node,
                    chain,
                    rule.number,
                    Aspect.UNEXPECTED_RULE,
                    "no such rule",
                    rule.spec or "an empty rule",
                    _EVERY,
                )
    yield from _foreign(node, table, [expected_rule.rule.clauses for _, expected_rule in shared.jumps])
    for hook, expected_rule in shared.jumps:
        chains = [chain for chain, seen in table.hooks.items() if seen == hook]
        if not any(rule.clauses == expected_rule.rule.clauses for chain in chains for rule in table.rules(chain)):
            place = chains[0] if chains else expected_rule.rule.chain
            wanted, seen = expected_rule.rule.spec, f"no {_purpose(expected_rule)}"
            yield Difference(node, place, None, _MISSING[expected_rule.kind], wanted, seen, _EVERY)


def _foreign(node: str, table: Table, jumps: Sequence[tuple[Clause, ...]]) -> Iterator[Difference]:
    """Yield the rules of base chains that are no jumps of kube-proxy, and of the check of node ports that look up none.

    The table is kube-proxy's own, and its base chains have nothing but jumps.
    """
    rules = [rule for chain in table.hooks for rule in table.rules(chain) if rule.clauses not in jumps]
    rules += [rule for rule in table.rules(NODE_PORTS_CHECK_CHAIN) if not is_lookup(rule)]
    for rule in rules:
        seen = rule.spec or "an empty rule"
        yield Difference(node, rule.chain, rule.number, Aspect.UNEXPECTED_RULE, "no such rule", seen, _EVERY)


def _shared_pairs(node: str, pairs: Sequence[Pair], missing: Sequence[ExpectedRule[NftRule]]) -> Iterator[Difference]:
    for expected_rule, rule in pairs:
        aspect = _WRONG[expected_rule.kind]
        for wanted_clause, seen_clause in _by_role(expected_rule.rule.clauses, rule.clauses):
            if wanted_clause != seen_clause:
                wanted, seen = _texts(wanted_clause, seen_clause)
                yield Difference(node, rule.chain, rule.number, aspect, wanted, seen, _EVERY)
        for wanted, seen in _late_matches(expected_rule.rule, rule):
            yield Difference(node, rule.chain, rule.number, aspect, wanted, seen, _EVERY)
    for expected_rule in missing:
        chain, wanted = expected_rule.rule.chain, expected_rule.rule.spec
        yield Difference(
            node, chain, None, _MISSING[expected_rule.kind], wanted, f"no {_purpose(expected_rule)}", _EVERY
        )


def _is_of_service_cidrs(rule: NftRule) -> bool:
    """Whether a rule depends on the cluster's ServiceCIDRs: it drops what is sent to them."""
    if rule.chain != CLUSTER_IPS_CHECK_CHAIN or [clause.verb for clause in rule.clauses] != ["match", "drop"]:
        return False
    match = rule.clauses[0]
    return match.subject in ("ip daddr", "ip6 daddr") and not match.operand.startswith("!= ")


@dataclass(frozen=True)
class _TableComparison:
    node: str
    service: ServiceState
    proxy: ProxyConfig
    expected: ExpectedTable
    table: Table
    others: _ElementsOfOthers

    def differences(self) -> Iterator[Difference]:
        yield from self._elements()
        yield from self._lookup_of_node_ports()
        for chain, rules in self.expected.chains.items():
            if chain not in self.table:
                endpoints = dict.fromkeys(str(rule.endpoint) for rule in rules if rule.endpoint)
                reason = ", ".join((self._service, *endpoints))
                wanted, seen = "a chain of this name", "no such chain"
                yield self._at(chain, Aspect.CHAIN_NAMES, wanted=wanted, seen=seen, reason=reason)
            elif [rule.rule.clauses for rule in rules] != [rule.clauses for rule in self.table.rules(chain)]:
                yield from sorted(self._chain(chain, rules), key=lambda difference: difference.rule or 0)
        yield from self._sets()
        yield from self._leftovers()

    @property
    def _service(self) -> str:
        return f"Service {self.service.key}"

    def _at(self, place: str | NftRule, aspect: Aspect, *, wanted: str, seen: str, reason: str = "") -> Difference:
        chain, number = (place, None) if isinstance(place, str) else (place.chain, place.number)
        return Difference(self.node, chain, number, aspect, wanted, seen, reason or self._service)

    def _elements(self) -> Iterator[Difference]:
        wanted = {(element.container, element.key): element for element in self.expected.elements}
        for element in wanted.values():
            verdict = self._verdict(element)
            if verdict is not None and self.others.call_for(element.container, element.key, verdict, self.service):
                continue
            if verdict != element.verdict:
                key_text = " . ".join(element.key)
                seen = f"no element {key_text}" if verdict is None else f"{key_text} : {verdict}"
                reason = f"{self._service}, {element.about}"
                yield self._at(element.container, _MISSING[element.kind], wanted=str(element), seen=seen, reason=reason)
        for container, key, target in dict.fromkeys(self._seen_elements()):
            if (container, key) not in wanted and not self.others.call_for(container, key, target, self.service):
                reason = self._service if self.service.endpoints else f"{self._service} has no ready endpoint"
                seen = f"{' . '.join(key)} : {target}"
                yield self._at(container, Aspect.LEFTOVER, wanted="no such element", seen=seen, reason=reason)

    def _seen_elements(self) -> Iterator[tuple[str, Key, str]]:
        """Yield map, key and verdict of the node's elements for the Service's addresses, node ports and chains.

        Services may share an external address, so elements of other ports there belong to other Services.
        """
        for address in map(canonical, self.service.cluster_ips):
            yield from self.table.elements_of(address)
        ports = {(port.protocol.lower(), str(port.port)) for port in self.service.ports}
        for address in map(canonical, (*self.service.external_ips, *self.service.balancer_ips)):
            yield from (element for element in self.table.elements_of(address) if element[1][1:] in ports)
        for key in ((port.protocol.lower(), str(port.node_port)) for port in self.service.ports if port.node_port):
            for container in (SERVICE_NODE_PORTS, NO_ENDPOINT_NODE_PORTS):
                if verdict := self.table.maps.get(container, {}).get(key):
                    yield container, key, verdict
        for chain in port_chains(self.service):
            yield from self.table.elements_to(chain)

    def _verdict(self, element: ExpectedElement) -> str | None:
        """Return the verdict that the node has for an element, empty in a set; None when it has no such element."""
        if element.verdict:
            return self.table.maps.get(element.container, {}).get(element.key)
        seen = self.table.sets.get(element.container)
        return "" if seen and element.key in seen.elements else None

    def _lookup_of_node_ports(self) -> Iterator[Difference]:
        """Yield the differences of the rules that look up node ports, which depend on nodePortAddresses."""
        if any(port.node_port for port in self.service.ports):
            comparison = NodePortComparison(self.node, self.service.family, self.proxy, self.table, self._service)
            compared = comparison.differences if self.service.cluster_ips else comparison.leftovers
            yield from compared(self.service.ports)

    def _chain(self, chain: str, rules: Sequence[ExpectedRule[NftRule]]) -> Iterator[Difference]:
        """Yield the differences of a chain that belongs to the Service alone."""
        source = "ip6 saddr" if self.service.family == "IPv6" else "ip saddr"
        pairs, missing, surplus = pair_rules(
            rules,
            self.table.rules(chain),
            lambda rule: (classify(rule), rule.target, rule.match_on(source)),
            lambda rule: (classify(rule), rule.target),
            lambda rule: (classify(rule), rule.match_on(source)) if rule.match_on(source) else None,
            lambda rule: rule.clauses[:-1] if classify(rule) is RuleKind.EXTERNAL else None,
        )
        yield from self._paired_and_missing(pairs, missing)
        late = list(self._late(pairs))
        yield from late
        numbers = {difference.rule for difference in late}
        in_time = [pair for pair in pairs if pair[1].number not in numbers]
        for _, rule, wanted, seen in out_of_order_pairs(in_time, RuleKind.AFFINITY):
            yield self._at(rule, Aspect.AFFINITY_ORDER, wanted=wanted, seen=seen)
        if chain in port_chains(self.service, EXTERNAL_CHAIN):
            for _, rule, wanted, seen in out_of_order_pairs(
                pairs, RuleKind.MASQUERADE, RuleKind.EXTERNAL, order=OUTSIDE_ORDER
            ):
                yield self._at(rule, Aspect.EXTERNAL, wanted=wanted, seen=seen)
        for rule in surplus:
            yield self._surplus(rule)

    def _paired_and_missing(
        self, pairs: Sequence[Pair], missing: Sequence[ExpectedRule[NftRule]]
    ) -> Iterator[Difference]:
        for expected_rule, rule in pairs:
            reason = f"{self._service}, {'endpoint ' if expected_rule.endpoint else ''}{expected_rule.about}"
            for wanted, seen in self._unequal(expected_rule, rule):
                yield self._at(rule, _WRONG[expected_rule.kind], wanted=wanted, seen=seen, reason=reason)
            if expected_rule.kind is RuleKind.BALANCE:
                yield from self._unbalanced(expected_rule, rule)
        for expected_rule in missing:
            wanted, seen = expected_rule.rule.spec, f"no {_purpose(expected_rule)}"
            yield self._at(expected_rule.rule.chain, _MISSING[expected_rule.kind], wanted=wanted, seen=seen)

    def _unequal(self, expected_rule: ExpectedRule[NftRule], rule: NftRule) -> Iterator[tuple[str, str]]:
        """Yield expected and seen text of every clause that differs, except the map of a balancing rule."""
        optional = self.expected.optional if expected_rule.kind is RuleKind.MASQUERADE else frozenset()
        clauses = [clause for clause in rule.clauses if clause not in optional]
        for wanted, seen in _by_role(expected_rule.rule.clauses, clauses):
            if expected_rule.kind is RuleKind.FIREWALL and wanted and seen and self._same_sources(wanted, seen):
                continue
            is_choice = expected_rule.kind is RuleKind.BALANCE and wanted is not None and wanted.verb in _CHOICES
            if wanted != seen and not is_choice:
                yield _texts(wanted, seen)
        yield from _late_matches(expected_rule.rule, rule)

    def _same_sources(self, wanted: Clause, seen: Clause) -> bool:
        """Whether two matches let in the same addresses; nft merges ranges that overlap and sorts them."""
        optional = self.expected.optional_sources
        expected_addresses, seen_addresses = (_addresses(clause.operand, optional) for clause in (wanted, seen))
        return expected_addresses is not None and expected_addresses == seen_addresses

    def _unbalanced(self, expected_rule: ExpectedRule[NftRule], rule: NftRule) -> Iterator[Difference]:
        """Yield how a balancing rule differs from an even choice of an endpoint; the order of branches is ignored."""
        expected_targets = [target for _, target in _choice(expected_rule.rule).branches]
        choice = _choice(rule)
        branches = choice.branches or ((("0", choice.operand),) if choice.operand else ())
        seen_targets = Counter(target for _, target in branches)
        for target in expected_targets:
            if target not in seen_targets:
                wanted = f"a branch to {self._endpoint(target)}"
                yield self._at(rule, Aspect.BALANCING, wanted=wanted, seen="no such branch")
        for target, count in seen_targets.items():
            if target not in expected_targets:
                seen, reason = f"a branch to {target}", f"{self._service}, {self._former_endpoint}"
                yield self._at(rule, Aspect.LEFTOVER, wanted="no such branch", seen=seen, reason=reason)
            elif count > 1:
                seen = f"{count} branches to {self._endpoint(target)}"
                yield self._at(rule, Aspect.PROBABILITY, wanted="one branch per endpoint", seen=seen)
        has_one_target = len(expected_targets) == 1 and not choice.branches
        numbers = [number for number, _ in branches]
        random = numgen(len(expected_targets))
        if not has_one_target and choice.subject != random:
            yield self._at(rule, Aspect.PROBABILITY, wanted=random, seen=choice.subject or "no numgen")
        elif not has_one_target and sorted(numbers) != sorted(map(str, range(len(branches)))):
            wanted, seen = f"branches 0 to {len(branches) - 1}", f"branches {', '.join(numbers)}"
            yield self._at(rule, Aspect.PROBABILITY, wanted=wanted, seen=seen)

    def _endpoint(self, target: str) -> str:
        """Return the endpoint that a branch leads to as text, or the target itself when it is of no endpoint."""
        chains = endpoint_chains(self.service)
        by_address = {endpoint.at: endpoint for endpoint in self.service.endpoints}
        return str(chains.get(target.removeprefix("goto "), by_address.get(target, target)))

    @property
    def _former_endpoint(self) -> str:
        return f"the target is not one of its {len(self.service.endpoints)} ready endpoints"

    def _late(self, pairs: Sequence[Pair]) -> Iterator[Difference]:
        """Yield the rules that follow a rule at which packets leave the chain."""
        for expected_rule, rule, first in too_late(pairs, _LEAVES_THE_CHAIN):
            wanted, seen = f"before rule {first.number}, {first.spec}", _purpose(expected_rule)
            yield self._at(rule, _TOO_LATE[expected_rule.kind], wanted=wanted, seen=seen)

    def _surplus(self, rule: NftRule) -> Difference:
        kind = classify(rule)
        aspect, reason = _MISSING[kind], self._service
        if kind in (RuleKind.AFFINITY, RuleKind.UPDATE) and not self.service.has_affinity:
            aspect, reason = Aspect.LEFTOVER, f"{self._service}, sessionAffinity {self.service.session_affinity}"
        elif kind is RuleKind.AFFINITY and rule.target not in self.expected.chains:
            aspect, reason = Aspect.LEFTOVER, f"{self._service}, {self._former_endpoint}"
        return self._at(rule, aspect, wanted="no such rule", seen=rule.spec, reason=reason)

    def _sets(self) -> Iterator[Difference]:
        for name, wanted in self.expected.sets.items():
            reason = f"{self._service}, endpoint {wanted.endpoint}"
            seen = self.table.sets.get(name)
            if seen is None:
                wanted_text, seen_text = "a set of this name", "no such set"
                yield self._at(name, Aspect.CHAIN_NAMES, wanted=wanted_text, seen=seen_text, reason=reason)
                continue
            if seen.type != (wanted.type,):
                wanted_text, seen_text = f"type {wanted.type}", f"type {' . '.join(seen.type)}"
                yield self._at(name, Aspect.AFFINITY_STORE, wanted=wanted_text, seen=seen_text, reason=reason)
            if seen.size not in (None, SET_SIZE):
                wanted_text, seen_text = f"size {SET_SIZE}", f"size {seen.size}"
                yield self._at(name, Aspect.AFFINITY_STORE, wanted=wanted_text, seen=seen_text, reason=reason)
            if not {"timeout"} <= set(seen.flags) <= {"timeout", "dynamic"}:
                wanted_text, seen_text = "flags dynamic, timeout", f"flags {', '.join(seen.flags) or 'none'}"
                yield self._at(name, Aspect.AFFINITY_STORE, wanted=wanted_text, seen=seen_text, reason=reason)
            if seen.timeout != wanted.timeout:
                reason = f"{self._service}, timeoutSeconds {self.service.timeout_seconds}"
                wanted_text = f"timeout {wanted.timeout} s"
                seen_text = "no timeout" if seen.timeout is None else f"timeout {seen.timeout:g} s"
                yield self._at(name, Aspect.AFFINITY_STORE, wanted=wanted_text, seen=seen_text, reason=reason)

    def _leftovers(self) -> Iterator[Difference]:
        allowed = set(self.expected.names)
        sets = affinity_sets(self.service)
        for name in self.table.named_after(self.service.key):
            rules = self.table.rules(name)
            if name in allowed or (name in self.table and not rules):
                continue
            seen = f"a chain with {len(rules)} rules" if name in self.table else "a set"
            reason = f"{self._service}, {len(self.service.endpoints)} ready endpoints"
            if name in sets:
                reason = f"{self._service}, sessionAffinity {self.service.session_affinity}"
            wanted = f"no such {seen.split()[1]}"
            yield self._at(name, Aspect.LEFTOVER, wanted=wanted, seen=seen, reason=reason)


_CHOICES: Final = ("vmap", "dnat")
_EVERY: Final = "every Service"


def _addresses(operand: str, also: Sequence[str]) -> tuple[tuple[int, int], ...] | None:
    """Return the addresses of ``!= { ... }`` and some more, as first and last of each stretch; None for other text."""
    sources = operand.removeprefix("!= ").strip("{ }").split(", ")
    try:
        stretches = sorted(_stretch(source) for source in (*sources, *also))
    except ValueError:
        return None
    merged: list[tuple[int, int]] = []
    for first, last in stretches if operand.startswith("!= ") else ():
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def _stretch(source: str) -> tuple[int, int]:
    """Return the first and the last address of ``address``, ``address/length`` or ``first-last``, as numbers."""
    if "-" in source:
        first, last = map(ipaddress.ip_address, source.split("-"))
        return int(first), int(last)
    network = ipaddress.ip_network(source)
    return int(network[0]), int(network[-1])


def _choice(rule: NftRule) -> Clause:
    return rule.clause(*_CHOICES) or Clause("")


def _purpose(expected_rule: ExpectedRule[NftRule]) -> str:
    return f"{expected_rule.kind} rule for {expected_rule.about}"


def _role(clause: Clause) -> str:
    """Return the key by which clauses of two rules are compared: the matched field, ``verdict``, or the verb."""
    if clause.verb == "match":
        return clause.subject
    return "verdict" if clause.verb in VERDICTS else clause.verb


def _by_role(wanted: Iterable[Clause], seen: Iterable[Clause]) -> Iterator[tuple[Clause | None, Clause | None]]:
    """Yield the clauses of two rules side by side, None where one of them has no such clause."""
    expected_clauses, seen_clauses = ({_role(clause): clause for clause in clauses} for clauses in (wanted, seen))
    for role in dict.fromkeys((*expected_clauses, *seen_clauses)):
        yield expected_clauses.get(role), seen_clauses.get(role)


def _late_matches(wanted: NftRule, seen: NftRule) -> Iterator[tuple[str, str]]:
    """Yield the texts of two rules where a match of the second follows what it should restrict."""
    verbs = [clause.verb for clause in seen.clauses]
    if "match" in verbs[next((place for place, verb in enumerate(verbs) if verb != "match"), len(verbs)) :]:
        yield wanted.spec, seen.spec


def _texts(wanted: Clause | None, seen: Clause | None) -> tuple[str, str]:
    return str(wanted or f"no {seen}"), str(seen or f"no {wanted}")
