"""Whether the rules of the nodes are those that a Service calls for, each claim for its own aspects."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.backends import BACKENDS
from session_affinity.dataplane.differences import Aspect
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.text import changed_lines
from session_affinity.verdicts.verdict import Finding, Verdict, require_observed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.differences import Difference
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.snapshot import NodeSnapshot
    from session_affinity.testbed.testbed import SyncResult

SHORT: Final = 40
"""The most characters of an expectation that the headline repeats."""


def judge_aspects(
    service: ServiceState, differences: Mapping[str, Sequence[Difference]], waited: float, *aspects: Aspect
) -> Verdict:
    """Judge that no node's rules for a Service differ in these aspects, or in any when none is named.

    ``differences`` are those of each node, ``waited`` is how long the nodes had, in seconds. Raises
    NothingObservedError when no node was read.
    """
    found = [
        difference
        for of_node in differences.values()
        for difference in of_node
        if not aspects or difference.aspect in aspects
    ]
    return judge_differences(service, found, differences, waited)


def judge_differences(
    service: ServiceState,
    differences: Sequence[Difference],
    nodes: Collection[str],
    waited: float,
    change: str = "the change",
) -> Verdict:
    """Judge that there are no differences, whatever their aspect.

    ``nodes`` are those that were read, ``waited`` seconds after ``change``. Raises NothingObservedError when no node
    was read.
    """
    if not differences:
        require_observed(nodes, f"nodes with the rules of {service.key}")
        return Verdict(f"as computed on {len(nodes)} nodes", service=service)
    per_node = Counter(difference.node for difference in differences)
    counts = ", ".join(f"{count} on {node}" for node, count in per_node.items())
    headline = f"{_place(differences[0])}: {differences[0].seen}"
    if len(differences[0].expected) <= SHORT:
        headline += f", expected {differences[0].expected}"
    if len(differences) > 1:
        headline += f", and {len(differences) - 1} more"
    context = [f"differences: {counts}; read {waited:.1f} s after {change}"]
    if bare := [node for node in per_node if _has_no_chain(service, node, differences)]:
        context.append(f"no chain of the Service at all on {', '.join(bare)}: is kube-proxy running there?")
    return Verdict(headline, tuple(map(finding, differences)), service, tuple(context))


def judge_sync(service: ServiceState, sync: SyncResult) -> Verdict:
    """Judge that every node had the rules that a Service calls for at the end of a wait.

    Raises NothingObservedError where no node can be read (see ``judge_readable_rules``), NodeError where more nodes are
    missing than may be, and NotReadyError where the machine had no time for a kube-proxy.
    """
    sync.require_every_node()
    return _judge_read_nodes(service, sync)


def judge_readable_rules(service: ServiceState, sync: SyncResult) -> tuple[Verdict, ...]:
    """Return the verdict on the rules as one part of a claim about behaviour; no part where no node can be read.

    Nodes cannot be read on an external cluster without node access, or when kube-proxy runs in a mode whose rules the
    suite does not compute. A claim about behaviour is judged there by what clients see alone. Claims about rules must
    call ``judge_sync``, which raises.
    """
    return (_judge_read_nodes(service, sync),) if sync.states else ()


def _judge_read_nodes(service: ServiceState, sync: SyncResult) -> Verdict:
    require_observed(sync.states, f"nodes with the rules of {service.key}")
    differences = [difference for of_node in sync.differences.values() for difference in of_node]
    sync.require_time()
    return judge_differences(service, differences, sync.states, sync.waited)


def judge_no_affinity_rules(backend: Backend, service: ServiceState, states: Mapping[str, NodeSnapshot]) -> Verdict:
    """Judge that a Service without affinity has rules on every node, and none that reads or updates a list or set."""
    require_observed(states, f"nodes with the rules of {service.key}")
    findings = [
        Finding(name, f"no rule that reads a {backend.store_kind} or adds to it", "\n".join(rules))
        for name, state in states.items()
        if (rules := backend.affinity_rules(state, service))
    ]
    findings += [_no_rules(name) for name, state in states.items() if not backend.normalised(state, service)]
    headline = f"no affinity rules on {len(states)} nodes" if not findings else findings[0].seen
    return Verdict(headline, tuple(findings), service)


def judge_same_rules(
    backend: Backend,
    service: ServiceState,
    states: Mapping[str, NodeSnapshot],
    alike: Sequence[Sequence[str]] | None = None,
) -> Verdict:
    """Judge that all nodes have the same rules for a Service, clients, counters and comments aside.

    ``alike`` are groups of nodes whose kube-proxies have the same settings, and whose rules are compared among
    themselves; by default all nodes are one. A node without any rule of the Service is a finding. Raises
    NothingObservedError unless two nodes of a group were read.
    """
    groups = _groups(states, alike)
    require_observed(groups, f"two nodes with the same settings and the rules of {service.key}")
    findings: list[Finding] = []
    headlines: list[str] = []
    for group in groups:
        headline, of_group = _same_rules(backend, service, group)
        headlines.append(headline)
        findings += of_group
    return Verdict("; ".join(headlines), tuple(findings), service)


def _groups(states: Mapping[str, NodeSnapshot], alike: Sequence[Sequence[str]] | None) -> list[dict[str, NodeSnapshot]]:
    """Return the states by group of nodes; a group of which fewer than two were read is left out."""
    read = dict(states.items())
    groups = [tuple(read)] if alike is None else alike
    found = [{name: read[name] for name in group if name in read} for group in groups]
    return [group for group in found if len(group) > 1]


def _same_rules(
    backend: Backend, service: ServiceState, states: Mapping[str, NodeSnapshot]
) -> tuple[str, list[Finding]]:
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, state in states.items():
        groups[backend.normalised(state, service)].append(name)
    # Most of the nodes that have rules are taken to be right; of two equally large groups the one with more rules.
    (most, agreed), *others = sorted(groups.items(), key=lambda item: (not item[0], -len(item[1]), -len(item[0])))
    findings = [
        Finding(", ".join(nodes), f"the rules of {', '.join(agreed)}", changed_lines(most, rules))
        for rules, nodes in others
    ]
    if not most:
        findings += map(_no_rules, agreed)
    return f"{len(most)} rules, the same on {len(agreed)} of {len(states)} nodes", findings


def judge_timeouts(backend: Backend, services: Sequence[ServiceState], states: Mapping[str, NodeSnapshot]) -> Verdict:
    """Judge that on every node the rules or sets of each Service have the Service's own timeout."""
    require_observed(services, "Services with timeouts")
    require_observed(states, "nodes with the rules of Services")
    findings: list[Finding] = []
    for service in services:
        require_observed(service.endpoints, f"endpoints of {service.key}")
        for name, state in states.items():
            seen = backend.affinity_timeouts(state, service)
            if list(seen.values()) != [service.timeout_seconds] * len(service.endpoints):
                programmed = f"{len(seen)} {backend.store_kind}s: "
                programmed += ", ".join(f"{store} {seconds} s" for store, seconds in seen.items())
                expected = f"{len(service.endpoints)} {backend.store_kind}s with {service.timeout_seconds} s"
                findings.append(Finding(name, expected, programmed if seen else "no timeout at all", service.key))
    values = ", ".join(sorted({str(service.timeout_seconds) for service in services}, key=int))
    headline = f"{values} s on {len(states)} nodes" if not findings else f"not everywhere {values} s"
    return Verdict(headline, tuple(findings), services[0] if len(services) == 1 else None)


def finding(difference: Difference) -> Finding:
    """Return a difference of a node's rules as a finding, with chain, rule and aspect."""
    seen = f"{difference.seen}  ({difference.reason})"
    return Finding(difference.node, difference.expected, seen, f"{_place(difference)}, {difference.aspect}")


def _no_rules(node: str) -> Finding:
    return Finding(node, "the rules of the Service", "no rule of it at all")


def _has_no_chain(service: ServiceState, node: str, differences: Sequence[Difference]) -> bool:
    """Whether a node lacks every chain that some proxy mode makes for the Service."""
    absent = {
        difference.chain
        for difference in differences
        if difference.node == node and difference.aspect is Aspect.CHAIN_NAMES
    }
    names_by_mode = (
        set(backend.expected(service, ProxyConfig(mode, None)).names) for mode, backend in BACKENDS.items()
    )
    return any(names and absent >= names for names in names_by_mode)


def _place(difference: Difference) -> str:
    return f"{difference.chain} rule {difference.rule}" if difference.rule else difference.chain
