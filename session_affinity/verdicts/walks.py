"""Whether all nodes had the expected rules and affinity entries after each batch of a walk's steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.errors import NothingObservedError
from session_affinity.verdicts.rules import judge_differences
from session_affinity.verdicts.verdict import Finding, Verdict, combine, require_observed

if TYPE_CHECKING:
    from session_affinity.scenarios.walks.result import WalkResult

_LEFT: Final = "nothing that no Service calls for"


def judge_walk(walk: WalkResult) -> Verdict:
    """Judge that nodes followed a walk: the rules, the entries of bound clients, in time, and nothing left over.

    The steps of a wrong walk are in the context, as commands. Raises NothingObservedError when nothing was edited or no
    node was compared.
    """
    require_observed(walk.nodes, "nodes with the rules of a walk's Services")
    if not walk.steps or not walk.waits or not (walk.compared or not walk.is_right):
        raise NothingObservedError(
            f"{walk.steps} edits, {walk.waits} batches, {walk.compared} Services compared: nothing can be judged"
        )
    if walk.is_right:
        known = "".join(f"; as known, {count} times: {what}" for what, count in walk.known.items())
        return Verdict(
            f"{walk.steps} edits in {walk.waits} batches, {walk.compared} times the rules of a Service on a node as"
            f" computed, {walk.kept} times a client still bound, slowest after {walk.slowest:.1f} s{known}"
        )
    parts = [
        judge_differences(walk.service, differences, [node], walk.slowest, "the last step")
        for node, differences in walk.differences.items()
        if walk.service is not None
    ]
    findings = [
        Finding(node, difference.expected, f"{difference.seen}  ({difference.reason})", difference.chain)
        for node, found in walk.leftovers.items()
        for difference in found
    ]
    findings += [Finding(entry.node, entry.expected, entry.seen, entry.service) for entry in walk.entries]
    findings += [
        Finding(node, "the rules of a Service created after the last step", f"none of them; {count} failed syncs")
        for node, count in walk.failed_syncs.items()
    ]
    if findings:
        parts.append(
            Verdict(f"{_LEFT}: {len(findings)} found" if walk.leftovers else findings[0].seen, tuple(findings))
        )
    verdict = combine(*parts)
    steps = (f"{walk.what}; the {walk.steps} steps as commands:", *walk.script.splitlines())
    return Verdict(
        f"{verdict.headline} after {walk.steps} steps", verdict.findings, verdict.service, (*verdict.context, *steps)
    )
