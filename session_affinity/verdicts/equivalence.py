"""Services that nodes must program alike, and Services that nodes must not program at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from session_affinity.errors import NothingObservedError
from session_affinity.text import changed_lines
from session_affinity.verdicts.api_fields import WHERE
from session_affinity.verdicts.verdict import Finding, Verdict, require_observed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from session_affinity.dataplane.model import ServiceState

RulesByNode = dict[str, tuple[str, ...]]
"""The rules of a Service on each node, by node."""


def judge_equivalence(
    service: ServiceState,
    specs: tuple[Mapping[str, Any], Mapping[str, Any]],
    rules: tuple[RulesByNode, RulesByNode],
) -> Verdict:
    """Judge that a Service created with ClientIP is stored and programmed as after it was switched to it in place.

    ``specs`` and ``rules`` are those from before and after the switch. A node without rules is as wrong as one whose
    rules differ. Raises NothingObservedError when a specification or a node was not read.
    """
    for spec in specs:
        require_observed(spec, f"the stored specification of {service.key}")
    created, switched = rules
    require_observed(created, f"nodes with the rules of {service.key} as created")
    require_observed(switched, f"nodes with the rules of {service.key} after the switch")
    findings = []
    before, after = (yaml.safe_dump(dict(spec)).splitlines() for spec in specs)
    if before != after:
        findings.append(Finding(WHERE, "the specification it was created with", changed_lines(before, after)))
    for node in dict.fromkeys((*created, *switched)):
        if not created.get(node):
            findings.append(Finding(node, "the rules of the Service", "no rule of it at all", "when it was created"))
        elif created[node] != switched.get(node, ()):
            seen = changed_lines(created[node], switched.get(node, ()))
            findings.append(Finding(node, "the rules it was created with", seen, "after it was switched in place"))
    count = max(map(len, created.values()))
    headline = f"the same specification, the same {count} rules on {len(created)} nodes"
    return Verdict(headline if not findings else "not the same", tuple(findings), service)


def judge_not_programmed(objects: Mapping[str, Mapping[str, Sequence[str]]], control: RulesByNode) -> Verdict:
    """Judge that no node has anything of Services that are not to be programmed.

    ``objects`` has what exists of each Service, by Service and node. ``control`` are the rules of a Service created
    after them: a node that has none of its rules has not processed the others yet, so it is a finding. Raises
    NothingObservedError when there is no Service, or a node was not read for one of them.
    """
    require_observed(objects, "Services that are not to be programmed")
    require_observed(control, "nodes with the rules of an ordinary Service")
    for service, nodes in objects.items():
        if unread := control.keys() - nodes.keys():
            raise NothingObservedError(f"{service}: {', '.join(sorted(unread))} was not read, so nothing can be judged")
    findings = (*_leftovers(objects), *_nodes_behind(control))
    headline = f"nothing of {len(objects)} Services on {len(control)} nodes"
    return Verdict(headline if not findings else findings[0].seen.splitlines()[0], findings)


def _leftovers(objects: Mapping[str, Mapping[str, Sequence[str]]]) -> Iterator[Finding]:
    for service, nodes in objects.items():
        for node, names in nodes.items():
            if names:
                yield Finding(node, "no chain, rule, list or set of it", "\n".join(names), service)


def _nodes_behind(control: RulesByNode) -> Iterator[Finding]:
    for node, rules in control.items():
        if not rules:
            yield Finding(node, "the rules of an ordinary Service created after them", "no rule of it at all")
