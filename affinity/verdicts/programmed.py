"""Whether the nodes hold the rules they owe, one aspect a claim."""

from __future__ import annotations

from collections import Counter, defaultdict
from difflib import unified_diff
from typing import TYPE_CHECKING, Final

from affinity.dataplane.iptables import Aspect, affinity_timeouts, normalised
from affinity.verdicts.verdict import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from affinity.dataplane.batch import NodeState
    from affinity.dataplane.iptables import Difference
    from affinity.dataplane.model import ServiceState

ASPECTS: Final[Mapping[str, tuple[Aspect, ...]]] = {
    "C14": (Aspect.CHAIN_NAMES, Aspect.LEFTOVER, Aspect.UNEXPECTED_RULE),
    "C15": (Aspect.CHAIN_NAMES, Aspect.RCHECK_PRESENCE, Aspect.RCHECK_ORDER),
    "C16": (Aspect.CHAIN_NAMES, Aspect.RCHECK_ARGUMENTS),
    "C17": (Aspect.CHAIN_NAMES, Aspect.BALANCING, Aspect.PROBABILITY),
    "C18": (Aspect.CHAIN_NAMES, Aspect.SET_AND_DNAT),
    "C51": (Aspect.ENTRY, Aspect.MASQUERADE),
}
"""What each claim speaks of. A chain that is missing has none of the rules that belong in it."""


def judge_aspects(
    claim: str, service: ServiceState, differences: Mapping[str, Sequence[Difference]], waited: float
) -> Verdict:
    """Judge that no node's rules for a Service differ in what the claim speaks of.

    ``waited`` is how long the nodes had, in seconds.
    """
    spoken_of = ASPECTS[claim]
    found = [one for node in differences.values() for one in node if one.aspect in spoken_of]
    return judge_differences(claim, service, found, differences, waited)


def judge_differences(
    claim: str, service: ServiceState, found: Sequence[Difference], nodes: Iterable[str], waited: float
) -> Verdict:
    """Judge that there are no differences, of whatever aspect."""
    if not found:
        return Verdict(claim, f"as computed on {len(list(nodes))} nodes", service=service)
    per_node = Counter(one.node for one in found)
    counts = ", ".join(f"{count} on {node}" for node, count in per_node.items())
    figure = f"{found[0].aspect}: {found[0].seen}, expected {found[0].expected}"
    if len(found) > 1:
        figure += f", and {len(found) - 1} more"
    background = (f"differences: {counts}; read {waited:.1f} s after the change",)
    return Verdict(claim, figure, tuple(map(_finding, found)), service, background)


def judge_no_memory(service: ServiceState, states: Mapping[str, NodeState]) -> Verdict:
    """Judge that no rule of a Service without affinity remembers or asks for clients, on any node."""
    findings = [
        Finding(name, "no rule with -m recent", "\n".join(rules))
        for name, state in states.items()
        if (rules := [rule for rule in normalised(service, state.ruleset) if "-m recent" in rule])
    ]
    present = [name for name, state in states.items() if normalised(service, state.ruleset)]
    findings += [
        Finding(name, "the rules of the Service", "no rule of it at all") for name in states if name not in present
    ]
    return Verdict("C19", f"no recent rule on {len(present)} nodes", tuple(findings), service)


def judge_same_everywhere(service: ServiceState, states: Mapping[str, NodeState]) -> Verdict:
    """Judge that all nodes hold the same rules for a Service; counters and comments aside."""
    held: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, state in states.items():
        held[normalised(service, state.ruleset)].append(name)
    # Most nodes are taken to be right; of two equally large groups the one that holds more.
    (most, agreed), *others = sorted(held.items(), key=lambda item: (-len(item[1]), -len(item[0])))
    findings = tuple(
        Finding(", ".join(nodes), f"the rules of {', '.join(agreed)}", _changes(most, rules)) for rules, nodes in others
    )
    figure = f"{len(most)} rules, the same on {len(agreed)} of {len(states)} nodes"
    return Verdict("C20", figure, findings, service)


def judge_timeouts(claim: str, services: Sequence[ServiceState], states: Mapping[str, NodeState]) -> Verdict:
    """Judge that on every node all rules of each Service carry the Service's own timeout."""
    findings: list[Finding] = []
    for service in services:
        for name, state in states.items():
            seen = affinity_timeouts(service, state.ruleset)
            if list(seen.values()) != [service.timeout_seconds] * len(service.endpoints):
                programmed = ", ".join(f"{chain} {seconds} s" for chain, seconds in seen.items())
                expected = f"{len(service.endpoints)} rules with --seconds {service.timeout_seconds}"
                findings.append(Finding(name, expected, programmed or "no rule with a timeout", service.key))
    values = ", ".join(sorted({str(service.timeout_seconds) for service in services}, key=int))
    figure = f"{values} s on {len(states)} nodes" if not findings else f"not every rule says {values} s"
    return Verdict(claim, figure, tuple(findings), services[0] if len(services) == 1 else None)


def _finding(difference: Difference) -> Finding:
    rule = f" rule {difference.rule}" if difference.rule else ""
    return Finding(
        difference.node,
        difference.expected,
        f"{difference.seen}  ({difference.reason})",
        f"{difference.chain}{rule}, {difference.aspect}",
    )


def _changes(expected: Sequence[str], seen: Sequence[str]) -> str:
    lines = list(unified_diff(expected, seen, lineterm="", n=0))[2:]
    return "\n".join(line for line in lines if not line.startswith("@@")) or "the same rules in another order"
