"""Whether the nodes hold the rules they owe, one aspect a claim."""

from __future__ import annotations

from collections import Counter, defaultdict
from difflib import unified_diff
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.backends import BACKENDS
from session_affinity.dataplane.differences import Aspect
from session_affinity.dataplane.model import ProxyConfig
from session_affinity.verdicts.verdict import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.testbed.testbed import SyncResult

SHORT: Final = 40
"""How long an expectation may be to be told in the first line."""


def judge_aspects(
    service: ServiceState, differences: Mapping[str, Sequence[Difference]], waited: float, *aspects: Aspect
) -> Verdict:
    """Judge that no node's rules for a Service differ in these aspects, or in any when none is named.

    ``differences`` are those of each node, ``waited`` is how long the nodes had, in seconds. Raises
    NothingObservedError when no node was read.
    """
    found = [one for node in differences.values() for one in node if not aspects or one.aspect in aspects]
    return judge_differences(service, found, differences, waited)


def judge_differences(
    service: ServiceState, found: Sequence[Difference], nodes: Iterable[str], waited: float
) -> Verdict:
    """Judge that there are no differences, of whatever aspect."""
    if not found:
        return Verdict(f"as computed on {len(list(nodes))} nodes", service=service)
    per_node = Counter(one.node for one in found)
    counts = ", ".join(f"{count} on {node}" for node, count in per_node.items())
    headline = f"{_place(found[0])}: {found[0].seen}"
    if len(found[0].expected) <= SHORT:
        headline += f", expected {found[0].expected}"
    if len(found) > 1:
        headline += f", and {len(found) - 1} more"
    context = [f"differences: {counts}; read {waited:.1f} s after the change"]
    if bare := [node for node in per_node if _lacks_all(service, [one for one in found if one.node == node])]:
        context.append(f"no chain of the Service at all on {', '.join(bare)}: is kube-proxy running there?")
    return Verdict(headline, tuple(map(_finding, found)), service, tuple(context))


def judge_programmed(service: ServiceState, sync: SyncResult) -> Verdict:
    """Judge that every node got to hold the rules a Service calls for after a change; none where none can be read."""
    found = [one for node in sync.differences.values() for one in node]
    return judge_differences(service, found, sync.seconds, sync.waited)


def judge_no_memory(backend: Backend, service: ServiceState, states: Mapping[str, NodeSnapshot]) -> Verdict:
    """Judge that nothing of a Service without affinity remembers or asks for clients, on any node."""
    findings = [
        Finding(name, f"no rule that asks a {backend.store_kind} or adds to it", "\n".join(found))
        for name, state in states.items()
        if (found := backend.affinity_rules(state, service))
    ]
    present = [name for name, state in states.items() if backend.normalised(state, service)]
    findings += [
        Finding(name, "the rules of the Service", "no rule of it at all") for name in states if name not in present
    ]
    headline = f"nothing remembers on {len(present)} nodes" if not findings else findings[0].seen
    return Verdict(headline, tuple(findings), service)


def judge_same_everywhere(backend: Backend, service: ServiceState, states: Mapping[str, NodeSnapshot]) -> Verdict:
    """Judge that all nodes hold the same rules for a Service; clients, counters and comments aside."""
    held: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, state in states.items():
        held[backend.normalised(state, service)].append(name)
    # Most nodes are taken to be right; of two equally large groups the one that holds more.
    (most, agreed), *others = sorted(held.items(), key=lambda item: (-len(item[1]), -len(item[0])))
    findings = tuple(
        Finding(", ".join(nodes), f"the rules of {', '.join(agreed)}", _changes(most, rules)) for rules, nodes in others
    )
    headline = f"{len(most)} rules, the same on {len(agreed)} of {len(states)} nodes"
    return Verdict(headline, findings, service)


def judge_timeouts(backend: Backend, services: Sequence[ServiceState], states: Mapping[str, NodeSnapshot]) -> Verdict:
    """Judge that on every node each Service's clients are remembered for the Service's own timeout."""
    findings: list[Finding] = []
    for service in services:
        for name, state in states.items():
            seen = backend.affinity_timeouts(state, service)
            if list(seen.values()) != [service.timeout_seconds] * len(service.endpoints):
                programmed = f"{len(seen)} {backend.store_kind}s: "
                programmed += ", ".join(f"{memory} {wait} s" for memory, wait in seen.items())
                wanted = f"{len(service.endpoints)} {backend.store_kind}s with {service.timeout_seconds} s"
                findings.append(Finding(name, wanted, programmed if seen else "no timeout at all", service.key))
    values = ", ".join(sorted({str(service.timeout_seconds) for service in services}, key=int))
    headline = f"{values} s on {len(states)} nodes" if not findings else f"not everywhere {values} s"
    return Verdict(headline, tuple(findings), services[0] if len(services) == 1 else None)


def _finding(difference: Difference) -> Finding:
    seen = f"{difference.seen}  ({difference.reason})"
    return Finding(difference.node, difference.expected, seen, f"{_place(difference)}, {difference.aspect}")


def _lacks_all(service: ServiceState, found: Sequence[Difference]) -> bool:
    absent = {one.chain for one in found if one.aspect is Aspect.CHAIN_NAMES}
    expected_lines = (
        set(backend.expected(service, ProxyConfig(mode, None)).names) for mode, backend in BACKENDS.items()
    )
    return any(names and absent >= names for names in expected_lines)


def _place(difference: Difference) -> str:
    return f"{difference.chain} rule {difference.rule}" if difference.rule else difference.chain


def _changes(expected: Sequence[str], seen: Sequence[str]) -> str:
    lines = list(unified_diff(expected, seen, lineterm="", n=0))[2:]
    changed = [f"{line[0]} {line[1:]}" for line in lines if not line.startswith("@@")]
    return "\n".join(changed) or "the same rules in another order"
