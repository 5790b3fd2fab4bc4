"""Whether the nodes hold the rules they owe, one aspect a claim."""

from __future__ import annotations

from collections import Counter, defaultdict
from difflib import unified_diff
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.backends import PLUGS
from session_affinity.dataplane.differences import Aspect
from session_affinity.dataplane.model import ProxyConfig
from session_affinity.verdicts.verdict import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from session_affinity.dataplane.backend import Dataplane
    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeState
    from session_affinity.testbed.testbed import Settled

SHORT: Final = 40
"""How long an expectation may be to be told in the first line."""
ASPECTS: Final[Mapping[str, tuple[Aspect, ...]]] = {
    "C14": (Aspect.CHAIN_NAMES, Aspect.LEFTOVER, Aspect.UNEXPECTED_RULE),
    "C15": (Aspect.CHAIN_NAMES, Aspect.AFFINITY_PRESENCE, Aspect.AFFINITY_ORDER),
    "C16": (Aspect.CHAIN_NAMES, Aspect.AFFINITY_ARGUMENTS),
    "C16n": (Aspect.CHAIN_NAMES, Aspect.AFFINITY_ARGUMENTS, Aspect.MEMORY),
    "C17": (Aspect.CHAIN_NAMES, Aspect.BALANCING, Aspect.PROBABILITY),
    "C18": (Aspect.CHAIN_NAMES, Aspect.TRANSLATION),
    "C18n": (Aspect.CHAIN_NAMES, Aspect.TRANSLATION),
    "C51": (Aspect.ENTRY, Aspect.MASQUERADE),
    **dict.fromkeys(("C32c", "C46c", "C47b", "C65", "C66b", "C67b"), tuple(Aspect)),
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
    figure = f"{_place(found[0])}: {found[0].seen}"
    if len(found[0].expected) <= SHORT:
        figure += f", expected {found[0].expected}"
    if len(found) > 1:
        figure += f", and {len(found) - 1} more"
    background = [f"differences: {counts}; read {waited:.1f} s after the change"]
    if bare := [node for node in per_node if _lacks_all(service, [one for one in found if one.node == node])]:
        background.append(f"no chain of the Service at all on {', '.join(bare)}: is kube-proxy running there?")
    return Verdict(claim, figure, tuple(map(_finding, found)), service, tuple(background))


def judge_programmed(claim: str, service: ServiceState, settled: Settled) -> Verdict:
    """Judge that every node got to hold the rules a Service calls for after a change; none where none can be read."""
    found = [one for node in settled.differences.values() for one in node]
    return judge_differences(claim, service, found, settled.seconds, settled.waited)


def judge_no_memory(dataplane: Dataplane, service: ServiceState, states: Mapping[str, NodeState]) -> Verdict:
    """Judge that nothing of a Service without affinity remembers or asks for clients, on any node."""
    findings = [
        Finding(name, f"no rule that asks a {dataplane.memory} or adds to it", "\n".join(found))
        for name, state in states.items()
        if (found := dataplane.remembering(state, service))
    ]
    present = [name for name, state in states.items() if dataplane.normalised(state, service)]
    findings += [
        Finding(name, "the rules of the Service", "no rule of it at all") for name in states if name not in present
    ]
    figure = f"nothing remembers on {len(present)} nodes" if not findings else findings[0].seen
    return Verdict("C19", figure, tuple(findings), service)


def judge_same_everywhere(dataplane: Dataplane, service: ServiceState, states: Mapping[str, NodeState]) -> Verdict:
    """Judge that all nodes hold the same rules for a Service; clients, counters and comments aside."""
    held: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, state in states.items():
        held[dataplane.normalised(state, service)].append(name)
    # Most nodes are taken to be right; of two equally large groups the one that holds more.
    (most, agreed), *others = sorted(held.items(), key=lambda item: (-len(item[1]), -len(item[0])))
    findings = tuple(
        Finding(", ".join(nodes), f"the rules of {', '.join(agreed)}", _changes(most, rules)) for rules, nodes in others
    )
    figure = f"{len(most)} rules, the same on {len(agreed)} of {len(states)} nodes"
    return Verdict("C20", figure, findings, service)


def judge_timeouts(
    claim: str, dataplane: Dataplane, services: Sequence[ServiceState], states: Mapping[str, NodeState]
) -> Verdict:
    """Judge that on every node each Service's clients are remembered for the Service's own timeout."""
    findings: list[Finding] = []
    for service in services:
        for name, state in states.items():
            seen = dataplane.affinity_timeouts(state, service)
            if list(seen.values()) != [service.timeout_seconds] * len(service.endpoints):
                programmed = f"{len(seen)} {dataplane.memory}s: "
                programmed += ", ".join(f"{memory} {wait} s" for memory, wait in seen.items())
                wanted = f"{len(service.endpoints)} {dataplane.memory}s with {service.timeout_seconds} s"
                findings.append(Finding(name, wanted, programmed if seen else "no timeout at all", service.key))
    values = ", ".join(sorted({str(service.timeout_seconds) for service in services}, key=int))
    figure = f"{values} s on {len(states)} nodes" if not findings else f"not everywhere {values} s"
    return Verdict(claim, figure, tuple(findings), services[0] if len(services) == 1 else None)


def _finding(difference: Difference) -> Finding:
    seen = f"{difference.seen}  ({difference.reason})"
    return Finding(difference.node, difference.expected, seen, f"{_place(difference)}, {difference.aspect}")


def _lacks_all(service: ServiceState, found: Sequence[Difference]) -> bool:
    absent = {one.chain for one in found if one.aspect is Aspect.CHAIN_NAMES}
    owed = (set(plug.expected(service, ProxyConfig(mode, None)).names) for mode, plug in PLUGS.items())
    return any(names and absent >= names for names in owed)


def _place(difference: Difference) -> str:
    return f"{difference.chain} rule {difference.rule}" if difference.rule else difference.chain


def _changes(expected: Sequence[str], seen: Sequence[str]) -> str:
    lines = list(unified_diff(expected, seen, lineterm="", n=0))[2:]
    changed = [f"{line[0]} {line[1:]}" for line in lines if not line.startswith("@@")]
    return "\n".join(changed) or "the same rules in another order"
