"""Services that must be programmed alike, and Services that must not be programmed at all."""

from __future__ import annotations

from difflib import unified_diff
from typing import TYPE_CHECKING, Any

import yaml

from session_affinity.verdicts.api_fields import WHERE
from session_affinity.verdicts.verdict import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from session_affinity.dataplane.model import ServiceState

RulesByNode = dict[str, tuple[str, ...]]
"""What each node holds of a Service, by node."""


def judge_same(
    service: ServiceState,
    specs: tuple[Mapping[str, Any], Mapping[str, Any]],
    held: tuple[RulesByNode, RulesByNode],
) -> Verdict:
    """Judge that a Service created with ClientIP is stored and programmed as after it was switched to it in place.

    ``specs`` and ``held`` are of before and after; nodes that hold nothing are as wrong as those that differ.
    """
    findings = []
    stored, again = (yaml.safe_dump(dict(spec)).splitlines() for spec in specs)
    if stored != again:
        findings.append(Finding(WHERE, "the specification it was created with", _changes(stored, again)))
    created, switched = held
    for node in created:
        if not created[node]:
            findings.append(Finding(node, "the rules of the Service", "no rule of it at all", "when it was created"))
        elif created[node] != switched.get(node, ()):
            seen = _changes(created[node], switched.get(node, ()))
            findings.append(Finding(node, "the rules it was created with", seen, "after it was switched in place"))
    rules = max((len(rules) for rules in created.values()), default=0)
    headline = f"the same specification, the same {rules} rules on {len(created)} nodes"
    return Verdict(headline if not findings else "not the same", tuple(findings), service)


def judge_nothing(held: Mapping[str, Mapping[str, Sequence[str]]], control: RulesByNode) -> Verdict:
    """Judge that no node holds anything of Services that are not to be programmed.

    ``held`` has by Service, then by node, what is there of it. ``control`` is what nodes hold of a Service made after
    them: a node that has nothing of it has not got that far, and tells nothing.
    """
    findings = (*_held(held), *_behind(control))
    headline = f"nothing of {len(held)} Services on {len(control)} nodes"
    return Verdict(headline if not findings else findings[0].seen.splitlines()[0], findings)


def _held(held: Mapping[str, Mapping[str, Sequence[str]]]) -> Iterator[Finding]:
    for service, nodes in held.items():
        for node, found in nodes.items():
            if found:
                yield Finding(node, "no chain, rule, list or set of it", "\n".join(found), service)


def _behind(control: RulesByNode) -> Iterator[Finding]:
    for node, found in control.items():
        if not found:
            yield Finding(node, "the rules of an ordinary Service made after them", "no rule of it at all")


def _changes(before: Sequence[str], after: Sequence[str]) -> str:
    lines = list(unified_diff(before, after, lineterm="", n=0))[2:]
    return "\n".join(line for line in lines if not line.startswith("@@")) or "the same in another order"
