"""How what a node's nftables hold for a Service differs from what they owe it.

Rules are aligned by what they are for and where they lead, never by their position, so that one missing rule is one
difference. A chain without rules is no leftover: kube-proxy empties what it no longer needs at once and deletes it with
a later change, because kernels before 6.2 count a chain as used for a moment longer (its proxier.go says so).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.differences import Aspect, Difference
from session_affinity.dataplane.nftables.expected import ExpectedElement, ExpectedTable, expected, numgen
from session_affinity.dataplane.nftables.layout import (
    EXTERNAL_CHAIN,
    NO_ENDPOINT_NODE_PORTS,
    SERVICE_NODE_PORTS,
    SERVICES_CHAIN,
    affinity_sets,
    canonical,
    classify,
    endpoint_chains,
    layout_of,
    port_chains,
)
from session_affinity.dataplane.nftables.rules import VERDICTS, Clause, NftRule
from session_affinity.dataplane.pairing import OUTSIDE_ORDER, ExpectedRule, RuleKind, out_of_order_pairs, pair_rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from session_affinity.dataplane.model import ProxyConfig, ServiceState
    from session_affinity.dataplane.nftables.table import Key, Table

_MISSING: Final = {
    RuleKind.ENTRY: Aspect.ENTRY,
    RuleKind.MASQUERADE: Aspect.MASQUERADE,
    RuleKind.AFFINITY: Aspect.AFFINITY_PRESENCE,
    RuleKind.BALANCE: Aspect.BALANCING,
    RuleKind.REMEMBER: Aspect.TRANSLATION,
    RuleKind.TRANSLATE: Aspect.TRANSLATION,
    RuleKind.EXTERNAL: Aspect.EXTERNAL,
    RuleKind.OTHER: Aspect.UNEXPECTED_RULE,
}
_WRONG: Final = {**_MISSING, RuleKind.AFFINITY: Aspect.AFFINITY_ARGUMENTS}
_BEFORE: Final = {
    RuleKind.MASQUERADE: (RuleKind.AFFINITY, RuleKind.BALANCE, RuleKind.TRANSLATE, RuleKind.ENTRY),
    RuleKind.AFFINITY: (RuleKind.BALANCE,),
    RuleKind.REMEMBER: (RuleKind.TRANSLATE,),
}
"""What each kind of rule has to stand before: rules of those kinds leave the chain."""
_TOO_LATE: Final = {**_MISSING, RuleKind.AFFINITY: Aspect.AFFINITY_ORDER}

Pair = tuple[ExpectedRule[NftRule], NftRule]


def compare(node: str, service: ServiceState, proxy: ProxyConfig, table: Table) -> tuple[Difference, ...]:
    """Return every difference between what a node holds for a Service and what it owes; none when it is right."""
    wanted = expected(service, proxy, node, layout_of(table))
    return tuple(_TableComparison(node, service, wanted, table).differences())


@dataclass(frozen=True)
class _TableComparison:
    node: str
    service: ServiceState
    expected: ExpectedTable
    table: Table

    def differences(self) -> Iterator[Difference]:
        yield from self._elements()
        yield from self._shared()
        for chain, rules in self.expected.chains.items():
            if chain in self.table:
                yield from sorted(self._chain(chain, rules), key=lambda one: one.rule or 0)
            else:
                endpoints = dict.fromkeys(str(one.endpoint) for one in rules if one.endpoint)
                reason = ", ".join((self._service, *endpoints))
                yield self._at(chain, Aspect.CHAIN_NAMES, wanted="one", seen="no such chain", reason=reason)
        yield from self._sets()
        yield from self._leftovers()

    @property
    def _service(self) -> str:
        return f"Service {self.service.key}"

    def _at(self, place: str | NftRule, aspect: Aspect, *, wanted: str, seen: str, reason: str = "") -> Difference:
        chain, number = (place, None) if isinstance(place, str) else (place.chain, place.number)
        return Difference(self.node, chain, number, aspect, wanted, seen, reason or self._service)

    def _elements(self) -> Iterator[Difference]:
        wanted = {(one.container, one.key): one for one in self.expected.elements}
        for one in wanted.values():
            seen = self._verdict(one)
            if seen != one.verdict:
                text = f"no element {' . '.join(one.key)}" if seen is None else f"{' . '.join(one.key)} : {seen}"
                reason = f"{self._service}, {one.about}"
                yield self._at(one.container, _MISSING[one.kind], wanted=str(one), seen=text, reason=reason)
        for container, key, verdict in dict.fromkeys(self._own_elements()):
            if (container, key) not in wanted:
                reason = self._service if self.service.endpoints else f"{self._service} has no ready endpoint"
                seen_text = f"{' . '.join(key)} : {verdict}"
                yield self._at(container, Aspect.LEFTOVER, wanted="no such element", seen=seen_text, reason=reason)

    def _own_elements(self) -> Iterator[tuple[str, Key, str]]:
        """Yield map, key and verdict of what is for the Service's addresses and node ports, or leads to its chains.

        An external address may be that of other Services too: what is for their ports is none of this one's.
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

    def _verdict(self, one: ExpectedElement) -> str | None:
        """Return where an element leads, empty for one of a set; None when it is not there."""
        if one.verdict:
            return self.table.maps.get(one.container, {}).get(one.key)
        known = self.table.sets.get(one.container)
        return "" if known and one.key in known.elements else None

    def _shared(self) -> Iterator[Difference]:
        """Yield what is wrong with the rules that lead to all Services; what else is in their chain is not judged."""
        pairs, missing, _ = pair_rules(
            self.expected.shared,
            self.table.rules(SERVICES_CHAIN),
            lambda rule: rule.spec,
            lambda rule: rule.clauses[0] if rule.clauses else None,
        )
        yield from self._paired_and_missing(pairs, missing)
        yield from self._late(pairs)
        leading = [rule for rule in self.table.rules(SERVICES_CHAIN) if _leads_to(rule, SERVICE_NODE_PORTS)]
        if any(port.node_port for port in self.service.ports) and not leading:
            # What it matches first depends on kube-proxy's nodePortAddresses.
            wanted = f"a rule that looks in {SERVICE_NODE_PORTS}"
            yield self._at(SERVICES_CHAIN, Aspect.EXTERNAL, wanted=wanted, seen="no such rule")

    def _chain(self, chain: str, rules: Sequence[ExpectedRule[NftRule]]) -> Iterator[Difference]:
        asks = "ip6 saddr" if self.service.family == "IPv6" else "ip saddr"
        pairs, missing, surplus = pair_rules(
            rules,
            self.table.rules(chain),
            lambda rule: (classify(rule), rule.target, rule.looks_for(asks)),
            lambda rule: (classify(rule), rule.target),
            lambda rule: (classify(rule), rule.looks_for(asks)) if rule.looks_for(asks) else None,
            lambda rule: rule.clauses[:-1] if classify(rule) is RuleKind.EXTERNAL else None,
        )
        yield from self._paired_and_missing(pairs, missing)
        late = list(self._late(pairs))
        yield from late
        numbers = {one.rule for one in late}
        in_time = [pair for pair in pairs if pair[1].number not in numbers]
        for _, rule, should, does in out_of_order_pairs(in_time, RuleKind.AFFINITY):
            yield self._at(rule, Aspect.AFFINITY_ORDER, wanted=should, seen=does)
        if chain in port_chains(self.service, EXTERNAL_CHAIN):
            for _, rule, should, does in out_of_order_pairs(
                pairs, RuleKind.MASQUERADE, RuleKind.EXTERNAL, order=OUTSIDE_ORDER
            ):
                yield self._at(rule, Aspect.EXTERNAL, wanted=should, seen=does)
        for rule in surplus:
            yield self._surplus(rule)

    def _paired_and_missing(
        self, pairs: Sequence[Pair], missing: Sequence[ExpectedRule[NftRule]]
    ) -> Iterator[Difference]:
        for wanted, seen in pairs:
            reason = f"{self._service}, {'endpoint ' if wanted.endpoint else ''}{wanted.about}"
            for should, does in self._unequal(wanted, seen):
                yield self._at(seen, _WRONG[wanted.kind], wanted=should, seen=does, reason=reason)
            if wanted.kind is RuleKind.BALANCE:
                yield from self._unbalanced(wanted, seen)
        for one in missing:
            seen_text = f"no {one.kind} rule for {one.about}"
            yield self._at(one.rule.chain, _MISSING[one.kind], wanted=one.rule.spec, seen=seen_text)

    def _unequal(self, wanted: ExpectedRule[NftRule], seen: NftRule) -> Iterator[tuple[str, str]]:
        """Yield what is expected and what is seen for every clause in which two rules differ, balancing aside."""
        ours = {_place(clause): clause for clause in wanted.rule.clauses}
        theirs = {_place(clause): clause for clause in seen.clauses if clause not in self._implied_in(wanted)}
        for place in dict.fromkeys((*ours, *theirs)):
            mine, other = ours.get(place), theirs.get(place)
            if mine != other and not (wanted.kind is RuleKind.BALANCE and mine and place in _CHOICES):
                yield str(mine or f"no {other}"), str(other or f"no {mine}")

    def _implied_in(self, wanted: ExpectedRule[NftRule]) -> frozenset[Clause]:
        return self.expected.optional if wanted.kind is RuleKind.MASQUERADE else frozenset()

    def _unbalanced(self, wanted: ExpectedRule[NftRule], seen: NftRule) -> Iterator[Difference]:
        """Yield how the choice of an endpoint differs from an even one; the order of the branches says nothing."""
        ours = [place for _, place in _choice(wanted.rule).branches]
        choice = _choice(seen)
        branches = choice.branches or ((("0", choice.operand),) if choice.operand else ())
        theirs = Counter(place for _, place in branches)
        for place in ours:
            if place not in theirs:
                yield self._at(seen, Aspect.BALANCING, wanted=f"a branch to {self._told(place)}", seen="none")
        for place, count in theirs.items():
            if place not in ours:
                reason = f"{self._service}, none of its {len(self.service.endpoints)} ready endpoints"
                text = f"a branch to {place}"
                yield self._at(seen, Aspect.LEFTOVER, wanted="no such branch", seen=text, reason=reason)
            elif count > 1:
                text = f"{count} branches to {self._told(place)}"
                yield self._at(seen, Aspect.PROBABILITY, wanted="one branch an endpoint", seen=text)
        fixed = len(ours) == 1 and not choice.branches
        numbers = [number for number, _ in branches]
        if not fixed and choice.subject != numgen(len(ours)):
            yield self._at(seen, Aspect.PROBABILITY, wanted=numgen(len(ours)), seen=choice.subject or "no numgen")
        elif not fixed and sorted(numbers) != sorted(map(str, range(len(branches)))):
            wanted_text = f"branches 0 to {len(branches) - 1}"
            yield self._at(seen, Aspect.PROBABILITY, wanted=wanted_text, seen=f"branches {', '.join(numbers)}")

    def _told(self, place: str) -> str:
        chains = endpoint_chains(self.service)
        at = {endpoint.at: endpoint for endpoint in self.service.endpoints}
        return str(chains.get(place.removeprefix("goto "), at.get(place, place)))

    def _late(self, pairs: Sequence[Pair]) -> Iterator[Difference]:
        """Yield rules that stand after one that already leaves the chain."""
        for wanted, rule in pairs:
            kinds = _BEFORE.get(wanted.kind, ())
            earlier = [other for one, other in pairs if one.kind in kinds and other.number < rule.number]
            if earlier:
                first = min(earlier, key=lambda other: other.number)
                should, does = f"before rule {first.number}, {first.spec}", f"{wanted.kind} rule for {wanted.about}"
                yield self._at(rule, _TOO_LATE[wanted.kind], wanted=should, seen=does)

    def _surplus(self, rule: NftRule) -> Difference:
        kind = classify(rule)
        aspect, reason = _MISSING[kind], self._service
        if kind in (RuleKind.AFFINITY, RuleKind.REMEMBER) and not self.service.has_affinity:
            aspect, reason = Aspect.LEFTOVER, f"{self._service}, sessionAffinity {self.service.session_affinity}"
        elif kind is RuleKind.AFFINITY and rule.target not in self.expected.chains:
            aspect = Aspect.LEFTOVER
            reason = f"{self._service}, none of its {len(self.service.endpoints)} ready endpoints"
        return self._at(rule, aspect, wanted="no such rule", seen=rule.spec, reason=reason)

    def _sets(self) -> Iterator[Difference]:
        for name, wanted in self.expected.sets.items():
            reason = f"{self._service}, endpoint {wanted.endpoint}"
            seen = self.table.sets.get(name)
            if seen is None:
                yield self._at(name, Aspect.CHAIN_NAMES, wanted="one", seen="no such set", reason=reason)
                continue
            if seen.type != (wanted.type,):
                kind = " . ".join(seen.type)
                yield self._at(name, Aspect.MEMORY, wanted=f"type {wanted.type}", seen=f"type {kind}", reason=reason)
            if seen.timeout != wanted.timeout:
                reason = f"{self._service}, timeoutSeconds {self.service.timeout_seconds}"
                text = "no timeout" if seen.timeout is None else f"timeout {seen.timeout:g} s"
                yield self._at(name, Aspect.MEMORY, wanted=f"timeout {wanted.timeout} s", seen=text, reason=reason)

    def _leftovers(self) -> Iterator[Difference]:
        known = {*self.expected.names, *self.expected.external_chains}
        sets = affinity_sets(self.service)
        for name in self.table.named_after(self.service.key):
            rules = self.table.rules(name)
            if name in known or (name in self.table and not rules):
                continue
            seen = f"a chain of {len(rules)} rules" if name in self.table else "a set"
            reason = f"{self._service}, {len(self.service.endpoints)} ready endpoints"
            if name in sets:
                reason = f"{self._service}, sessionAffinity {self.service.session_affinity}"
            wanted = f"no such {seen.split()[1]}"
            yield self._at(name, Aspect.LEFTOVER, wanted=wanted, seen=seen, reason=reason)


_CHOICES: Final = ("vmap", "dnat")


def _choice(rule: NftRule) -> Clause:
    return rule.clause(*_CHOICES) or Clause("")


def _leads_to(rule: NftRule, verdicts: str) -> bool:
    choice = rule.clause("vmap")
    return bool(choice and choice.operand == f"@{verdicts}")


def _place(clause: Clause) -> str:
    """Return what a clause of a rule answers to in another: what it looks at, or that it decides."""
    if clause.verb == "match":
        return clause.subject
    return "verdict" if clause.verb in VERDICTS else clause.verb
