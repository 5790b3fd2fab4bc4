"""Compare a Service's actual nat rules on a node with the expected ones.

Rules are paired by purpose and target chain, never by position, so that one missing rule is one difference
(``dataplane.pairing``). Paired rules are then compared option by option. Comments are ignored: kube-proxy omits them in
large clusters.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane import chain_names
from session_affinity.dataplane.differences import Aspect, Difference
from session_affinity.dataplane.iptables.expected import (
    ENTRY_CHAINS,
    FULL_MASK,
    NODE_PORTS_CHAIN,
    SERVICES_CHAIN,
    ExpectedChains,
    classify,
    endpoint_chains,
    expected,
    port_chains,
)
from session_affinity.dataplane.iptables.queries import dnat_target, endpoint_chain_targets
from session_affinity.dataplane.iptables.save import Match
from session_affinity.dataplane.pairing import OUTSIDE_ORDER, ExpectedRule, RuleKind, out_of_order_pairs, pair_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from session_affinity.dataplane.iptables.save import Option, Rule, Ruleset
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.proxy_config import ProxyConfig

_MISSING: Final = {
    RuleKind.ENTRY: Aspect.ENTRY,
    RuleKind.MASQUERADE: Aspect.MASQUERADE,
    RuleKind.AFFINITY: Aspect.AFFINITY_PRESENCE,
    RuleKind.BALANCE: Aspect.BALANCING,
    RuleKind.TRANSLATE: Aspect.TRANSLATION,
    RuleKind.EXTERNAL: Aspect.EXTERNAL,
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


def compare(node: str, service: ServiceState, proxy: ProxyConfig, ruleset: Ruleset) -> tuple[Difference, ...]:
    """Return every difference between a node's nat rules and the expected rules of a Service; empty when equal."""
    return tuple(_RulesetComparison(node, service, expected(service, proxy, node), ruleset).differences())


@dataclass(frozen=True)
class _RulesetComparison:
    node: str
    service: ServiceState
    expected: ExpectedChains
    ruleset: Ruleset

    def differences(self) -> Iterator[Difference]:
        for chain in ENTRY_CHAINS:
            yield from self._entries(chain)
        yield from self._jump_to_node_ports()
        for chain, rules in self.expected.chains.items():
            if self.ruleset.chain(chain) is None:
                endpoints = dict.fromkeys(str(rule.endpoint) for rule in rules if rule.endpoint)
                reason = ", ".join((self._service, *endpoints))
                wanted, seen = "a chain of this name", "no such chain"
                yield self._at(chain, Aspect.CHAIN_NAMES, wanted=wanted, seen=seen, reason=reason)
            else:
                yield from sorted(self._chain(chain, rules), key=lambda difference: difference.rule or 0)
        yield from self._leftover_chains()

    @property
    def _service(self) -> str:
        return f"Service {self.service.key}"

    def _at(self, place: str | Rule, aspect: Aspect, *, wanted: str, seen: str, reason: str = "") -> Difference:
        chain, number = (place, None) if isinstance(place, str) else (place.chain, place.number)
        return Difference(self.node, chain, number, aspect, wanted, seen, reason or self._service)

    def _jump_to_node_ports(self) -> Iterator[Difference]:
        """Yield that no rule leads to KUBE-NODEPORTS; its matches depend on kube-proxy's nodePortAddresses."""
        jumps = [rule for rule in self.ruleset.rules(SERVICES_CHAIN) if rule.target == NODE_PORTS_CHAIN]
        if any(port.node_port for port in self.service.ports) and not jumps:
            wanted = f"a rule with target {NODE_PORTS_CHAIN}"
            yield self._at(SERVICES_CHAIN, Aspect.EXTERNAL, wanted=wanted, seen="no such rule")

    def _entries(self, chain: str) -> Iterator[Difference]:
        """Yield the differences of the Service's rules in KUBE-SERVICES or KUBE-NODEPORTS."""
        wanted = [entry for entry in self.expected.entries if entry.rule.chain == chain]
        pairs, missing, surplus = pair_rules(
            wanted,
            [rule for rule in self.ruleset.rules(chain) if self._is_entry(rule) and not self._is_for_loopback(rule)],
            lambda rule: (*destination(rule), rule.target),
            destination,
            lambda rule: rule.target,
        )
        yield from self._paired_and_missing(pairs, missing)
        for rule in surplus:
            aspect = _MISSING[wanted[0].kind] if wanted else Aspect.LEFTOVER
            reason = self._service if self.service.endpoints else f"{self._service} has no ready endpoint"
            yield self._at(rule, aspect, wanted="no such rule", seen=rule.spec, reason=reason)

    def _is_entry(self, rule: Rule) -> bool:
        """Whether a rule leads to the Service's chains, or matches one of its addresses and ports."""
        if rule.target in port_chains(self.service):
            return True
        address, *port = destination(rule)
        if rule.chain == NODE_PORTS_CHAIN:
            node_ports = [
                [service_port.protocol.lower(), str(service_port.node_port)] for service_port in self.service.ports
            ]
            return not address and port in node_ports
        addresses = (*self.service.cluster_ips, *self.service.external_ips, *self.service.balancer_ips)
        ports = [[service_port.protocol.lower(), str(service_port.port)] for service_port in self.service.ports]
        return address in map(network, addresses) and port in ports

    def _is_for_loopback(self, rule: Rule) -> bool:
        """Whether a rule only counts traffic to a node port of a loopback address.

        Some versions of kube-proxy write it on some kernels; its target is that of the rule after it (kube-proxy's
        option iptables.localhostNodePorts).
        """
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
                rule.value("--src-type"),
            ),
            lambda rule: (classify(rule), rule.target, rule.value("--name")),
            lambda rule: (classify(rule), rule.target),
            lambda rule: (classify(rule), rule.value("--name")) if rule.value("--name") else None,
            lambda rule: (rule.value("-s"), rule.value("--src-type")) if classify(rule) is RuleKind.EXTERNAL else None,
        )
        yield from self._paired_and_missing(pairs, missing)
        late = list(_too_late(pairs))
        for expected_rule, rule, first in late:
            aspect = Aspect.AFFINITY_ORDER if expected_rule.kind is RuleKind.AFFINITY else Aspect.MASQUERADE
            wanted, seen = f"before rule {first.number}, {first.spec}", _purpose(expected_rule)
            yield self._at(rule, aspect, wanted=wanted, seen=seen)
        in_time = [pair for pair in pairs if pair not in [(expected_rule, rule) for expected_rule, rule, _ in late]]
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
            wanted, seen = expected_rule.rule.spec, f"no {_purpose(expected_rule)}"
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
        seen = rule.spec or "a rule without matches and target"
        return self._at(rule, aspect, wanted="no such rule", seen=seen, reason=reason)

    def _former_endpoint(self, chain: str) -> str:
        what = dnat_target(chain, self.ruleset) or f"{chain} (no DNAT rule)"
        return f"{what} is not one of its {len(self.service.endpoints)} ready endpoints"

    def _leftover_chains(self) -> Iterator[Difference]:
        for chain in self.expected.port_chains:
            if chain in self.expected.external_chains:
                yield from (self._surplus(rule) for rule in self.ruleset.rules(chain) if rule.match("recent"))
            elif chain not in self.expected.chains and self.ruleset.chain(chain):
                seen = f"a chain with {len(self.ruleset.rules(chain))} rules"
                reason = f"{self._service}, {len(self.service.endpoints)} ready endpoints"
                yield self._at(chain, Aspect.LEFTOVER, wanted="no such chain", seen=seen, reason=reason)
        for chain, target in endpoint_chain_targets(self.service, self.ruleset).items():
            if chain not in self.expected.chains:
                seen, reason = f"a chain with DNAT to {target}", f"{self._service}, {self._former_endpoint(chain)}"
                yield self._at(chain, Aspect.LEFTOVER, wanted="no such chain", seen=seen, reason=reason)

    def _reason(self, expected_rule: ExpectedRule[Rule], *, with_timeout: bool = False) -> str:
        if with_timeout:
            return f"{self._service}, timeoutSeconds {self.service.timeout_seconds}"
        return f"{self._service}, {'endpoint ' if expected_rule.endpoint else ''}{expected_rule.about}"


def _purpose(expected_rule: ExpectedRule[Rule]) -> str:
    return f"{expected_rule.kind} rule for {expected_rule.about}"


def _too_late(pairs: Sequence[tuple[ExpectedRule[Rule], Rule]]) -> Iterator[tuple[ExpectedRule[Rule], Rule, Rule]]:
    """Yield the pairs whose rule follows a rule at which packets leave the chain, with the first such rule."""
    for expected_rule, rule in pairs:
        kinds = _LEAVES_THE_CHAIN.get(expected_rule.kind, ())
        earlier = [other for pair, other in pairs if pair.kind in kinds and other.number < rule.number]
        if earlier:
            yield expected_rule, rule, min(earlier, key=lambda other: other.number)


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
    """Return the matches by module, without comments; a module that is named twice has a second key."""
    matches = {"": Match("")}
    for match in rule.matches:
        if match.module != "comment" and (match.options or match.module not in _IMPLIED_MODULES):
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


def network(text: str) -> str:
    """Return an address or prefix in one spelling; other text is returned as it is."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return text


def destination(rule: Rule) -> tuple[str, str, str]:
    """Return the destination address, protocol and port that a rule matches; empty where it matches none."""
    return network(rule.value("-d") or ""), rule.value("-p") or "", rule.value("--dport") or ""
