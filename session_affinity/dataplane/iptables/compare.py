"""How the nat rules that a node holds for a Service differ from those it owes.

Rules are aligned by what they are for and which chain they lead to, never by their position, so that one missing rule
is one difference. Comments are not looked at: kube-proxy writes none in large clusters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane import chain_names
from session_affinity.dataplane.differences import Aspect, Difference
from session_affinity.dataplane.iptables.expected import (
    ENTRY_CHAINS,
    NODE_PORTS_CHAIN,
    SERVICES_CHAIN,
    ExpectedChains,
    classify,
    endpoint_chains,
    expected,
    port_chains,
)
from session_affinity.dataplane.iptables.queries import own_endpoint_chains, translates_to
from session_affinity.dataplane.iptables.rule_diff import destination, network, unequal
from session_affinity.dataplane.pairing import OUTSIDE_ORDER, ExpectedRule, RuleKind, out_of_order_pairs, pair_rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from session_affinity.dataplane.iptables.save import Rule, Ruleset
    from session_affinity.dataplane.model import ProxyConfig, ServiceState

_MISSING: Final = {
    RuleKind.ENTRY: Aspect.ENTRY,
    RuleKind.MASQUERADE: Aspect.MASQUERADE,
    RuleKind.AFFINITY: Aspect.AFFINITY_PRESENCE,
    RuleKind.BALANCE: Aspect.BALANCING,
    RuleKind.TRANSLATE: Aspect.TRANSLATION,
    RuleKind.EXTERNAL: Aspect.EXTERNAL,
    RuleKind.OTHER: Aspect.UNEXPECTED_RULE,
}
_WRONG: Final = {**_MISSING, RuleKind.AFFINITY: Aspect.AFFINITY_ARGUMENTS}


def compare(node: str, service: ServiceState, proxy: ProxyConfig, ruleset: Ruleset) -> tuple[Difference, ...]:
    """Return every difference between what a node holds for a Service and what it owes; none when it is right."""
    return tuple(_Comparison(node, service, expected(service, proxy, node), ruleset).differences())


@dataclass(frozen=True)
class _Comparison:
    node: str
    service: ServiceState
    expected: ExpectedChains
    ruleset: Ruleset

    def differences(self) -> Iterator[Difference]:
        yield from self._entries()
        for chain, rules in self.expected.chains.items():
            if self.ruleset.chain(chain) is None:
                endpoints = dict.fromkeys(str(one.endpoint) for one in rules if one.endpoint)
                reason = ", ".join((self._service, *endpoints))
                yield self._at(chain, Aspect.CHAIN_NAMES, wanted="one", seen="no such chain", reason=reason)
            else:
                yield from sorted(self._chain(chain, rules), key=lambda one: one.rule or 0)
        yield from self._leftover_chains()

    @property
    def _service(self) -> str:
        return f"Service {self.service.key}"

    def _at(self, place: str | Rule, aspect: Aspect, *, wanted: str, seen: str, reason: str) -> Difference:
        chain, number = (place, None) if isinstance(place, str) else (place.chain, place.number)
        return Difference(self.node, chain, number, aspect, wanted, seen, reason)

    def _entries(self) -> Iterator[Difference]:
        for chain in ENTRY_CHAINS:
            yield from self._entries_in(chain)
        yield from self._node_ports()

    def _node_ports(self) -> Iterator[Difference]:
        """Yield that nothing leads to node ports; what it matches first depends on kube-proxy's nodePortAddresses."""
        leading = [rule for rule in self.ruleset.rules(SERVICES_CHAIN) if rule.target == NODE_PORTS_CHAIN]
        if any(port.node_port for port in self.service.ports) and not leading:
            wanted, seen = f"a rule that leads to {NODE_PORTS_CHAIN}", "no such rule"
            yield self._at(SERVICES_CHAIN, Aspect.EXTERNAL, wanted=wanted, seen=seen, reason=self._service)

    def _entries_in(self, chain: str) -> Iterator[Difference]:
        wanted = [one for one in self.expected.entries if one.rule.chain == chain]
        pairs, missing, surplus = pair_rules(
            wanted,
            [rule for rule in self.ruleset.rules(chain) if self._leads_here(rule) and not self._is_for_loopback(rule)],
            lambda rule: (*destination(rule), rule.target),
            destination,
            lambda rule: rule.target,
        )
        yield from self._paired_and_missing(pairs, missing)
        for rule in surplus:
            aspect = _MISSING[wanted[0].kind] if wanted else Aspect.LEFTOVER
            reason = self._service if self.service.endpoints else f"{self._service} has no ready endpoint"
            yield self._at(rule, aspect, wanted="no such rule", seen=rule.spec, reason=reason)

    def _leads_here(self, rule: Rule) -> bool:
        """Whether an entry leads to the Service's chains, or away from its addresses and ports."""
        if rule.target in port_chains(self.service):
            return True
        address, *port = destination(rule)
        if rule.chain == NODE_PORTS_CHAIN:
            return not address and port in [[one.protocol.lower(), str(one.node_port)] for one in self.service.ports]
        own = (*self.service.cluster_ips, *self.service.external_ips, *self.service.balancer_ips)
        ports = [[one.protocol.lower(), str(one.port)] for one in self.service.ports]
        return address in map(network, own) and port in ports

    def _is_for_loopback(self, rule: Rule) -> bool:
        """Whether a rule counts what comes for a node port by a loopback address, as some versions do in some kernels.

        It leads where the rule after it leads (kube-proxy's option iptables.localhostNodePorts).
        """
        loopback = rule.chain == NODE_PORTS_CHAIN and (rule.value("-d") or "").startswith("127.")
        return loopback and any(
            (rule.target, rule.value("--dport")) == _leads(one.rule) for one in self.expected.entries
        )

    def _chain(self, chain: str, rules: Sequence[ExpectedRule[Rule]]) -> Iterator[Difference]:
        pairs, missing, surplus = pair_rules(
            rules,
            self.ruleset.rules(chain),
            lambda rule: (
                classify(rule),
                rule.target,
                rule.value("--name"),
                rule.value("-s"),
                rule.value("--src-type"),
            ),
            lambda rule: (classify(rule), rule.target, rule.value("--name")),
            lambda rule: (classify(rule), rule.target),
            lambda rule: (classify(rule), rule.value("--name")) if rule.value("--name") else None,
            lambda rule: (rule.value("-s"), rule.value("--src-type")) if classify(rule) is RuleKind.EXTERNAL else None,
        )
        yield from self._paired_and_missing(pairs, missing)
        late = list(_too_late(pairs))
        for wanted, rule, first in late:
            aspect = Aspect.AFFINITY_ORDER if wanted.kind is RuleKind.AFFINITY else Aspect.MASQUERADE
            should, does = f"before rule {first.number}, {first.spec}", f"{wanted.kind} rule for {wanted.about}"
            yield self._at(rule, aspect, wanted=should, seen=does, reason=self._service)
        in_time = [pair for pair in pairs if pair not in [(wanted, rule) for wanted, rule, _ in late]]
        for kind, aspect in ((RuleKind.AFFINITY, Aspect.AFFINITY_ORDER), (RuleKind.BALANCE, Aspect.BALANCING)):
            for _, rule, should, does in out_of_order_pairs(in_time, kind):
                yield self._at(rule, aspect, wanted=should, seen=does, reason=self._service)
        if chain in port_chains(self.service, chain_names.EXTERNAL_CHAIN):
            for _, rule, should, does in out_of_order_pairs(
                pairs, RuleKind.MASQUERADE, RuleKind.EXTERNAL, order=OUTSIDE_ORDER
            ):
                yield self._at(rule, Aspect.EXTERNAL, wanted=should, seen=does, reason=self._service)
        for rule in surplus:
            yield self._surplus(rule)

    def _paired_and_missing(
        self, pairs: Sequence[tuple[ExpectedRule[Rule], Rule]], missing: Sequence[ExpectedRule[Rule]]
    ) -> Iterator[Difference]:
        for wanted, seen in pairs:
            for module, should, does in unequal(wanted.rule, seen):
                reason = self._reason(wanted, with_timeout="--seconds" in does)
                yield self._at(seen, self._wrong(wanted, module), wanted=should, seen=does, reason=reason)
        for one in missing:
            seen_text, aspect = f"no {one.kind} rule for {one.about}", _MISSING[one.kind]
            yield self._at(one.rule.chain, aspect, wanted=one.rule.spec, seen=seen_text, reason=self._service)

    def _wrong(self, wanted: ExpectedRule[Rule], module: str) -> Aspect:
        if module == "recent" and not self.service.has_affinity:
            return Aspect.LEFTOVER
        if module == "statistic" and wanted.kind is RuleKind.BALANCE:
            return Aspect.PROBABILITY
        return _WRONG[wanted.kind]

    def _surplus(self, rule: Rule) -> Difference:
        kind = classify(rule)
        aspect, reason = _MISSING[kind], self._service
        if rule.match("recent") and not self.service.has_affinity:
            aspect, reason = Aspect.LEFTOVER, f"{self._service}, sessionAffinity {self.service.session_affinity}"
        elif kind in (RuleKind.AFFINITY, RuleKind.BALANCE):
            endpoint = endpoint_chains(self.service).get(rule.target)
            if rule.target in self.expected.chains:
                reason = f"{self._service}, one {kind} rule is enough for {endpoint}"
            else:
                aspect, reason = Aspect.LEFTOVER, f"{self._service}, {self._stranger(rule.target)}"
        elif rule.match("recent") and rule.option("--set"):
            aspect, reason = Aspect.TRANSLATION, f"{self._service}, --set belongs in the DNAT rule"
        return self._at(
            rule, aspect, wanted="no such rule", seen=rule.spec or "a rule that does nothing", reason=reason
        )

    def _stranger(self, chain: str) -> str:
        what = translates_to(chain, self.ruleset) or f"{chain}, which translates to nothing,"
        return f"{what} is none of its {len(self.service.endpoints)} ready endpoints"

    def _leftover_chains(self) -> Iterator[Difference]:
        for chain in self.expected.port_chains:
            if chain in self.expected.external_chains:
                yield from (self._surplus(rule) for rule in self.ruleset.rules(chain) if rule.match("recent"))
            elif chain not in self.expected.chains and self.ruleset.chain(chain):
                seen = f"a chain of {len(self.ruleset.rules(chain))} rules"
                reason = f"{self._service}, {len(self.service.endpoints)} ready endpoints"
                yield self._at(chain, Aspect.LEFTOVER, wanted="no such chain", seen=seen, reason=reason)
        for chain, target in own_endpoint_chains(self.service, self.ruleset).items():
            if chain not in self.expected.chains:
                seen, reason = f"a chain that translates to {target}", f"{self._service}, {self._stranger(chain)}"
                yield self._at(chain, Aspect.LEFTOVER, wanted="no such chain", seen=seen, reason=reason)

    def _reason(self, wanted: ExpectedRule[Rule], *, with_timeout: bool = False) -> str:
        if with_timeout:
            return f"{self._service}, timeoutSeconds {self.service.timeout_seconds}"
        return f"{self._service}, {'endpoint ' if wanted.endpoint else ''}{wanted.about}"


def _leads(entry: Rule) -> tuple[str, str | None]:
    return entry.target, entry.value("--dport")


def _too_late(pairs: Sequence[tuple[ExpectedRule[Rule], Rule]]) -> Iterator[tuple[ExpectedRule[Rule], Rule, Rule]]:
    """Yield rules that stand after one that already leaves the chain, with that one."""
    for wanted, rule in pairs:
        before = {
            RuleKind.AFFINITY: (RuleKind.BALANCE,),
            RuleKind.MASQUERADE: (RuleKind.AFFINITY, RuleKind.BALANCE, RuleKind.TRANSLATE),
        }
        earlier = [
            other for one, other in pairs if one.kind in before.get(wanted.kind, ()) and other.number < rule.number
        ]
        if earlier:
            yield wanted, rule, min(earlier, key=lambda other: other.number)
