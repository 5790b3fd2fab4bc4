"""What becomes of rules and clients when kube-proxy stops, and when somebody else changes what it wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from session_affinity.dataplane.xt_recent import MAX_STAMPS
from session_affinity.verdicts.distribution import judge_one_endpoint
from session_affinity.verdicts.rules import judge_differences, judge_programmed
from session_affinity.verdicts.verdict import Finding, Verdict, combine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from session_affinity.dataplane.backend import Remembered
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.scenarios.disruption.flush import Repair
    from session_affinity.scenarios.disruption.many_services import Crowd
    from session_affinity.scenarios.disruption.outages import Held, Obstacle, Restart, Toggle


def judge_restart(claim: str, restart: Restart, client: str) -> Verdict:
    """Judge that a client noticed nothing of a restart: answers of one endpoint, its entry kept, the rules right."""
    verdict = combine(
        claim,
        judge_one_endpoint(claim, restart.service, client, restart.answers),
        _judge_entry(claim, restart.service, restart.held.node, restart.before, restart.after),
        judge_held(claim, restart.held),
    )
    if not verdict.ok:
        return verdict
    figure = f"{len(restart.answers)} requests answered, down for {restart.down:.1f} s"
    return Verdict(claim, f"{figure}, entry and rules kept", service=restart.service)


def judge_toggle(claim: str, toggle: Toggle) -> Verdict:
    """Judge that a node made of changes that its kube-proxy did not see happen what it makes of those it does."""
    node = toggle.held.node
    forgotten = _none(claim, toggle.off, node, "nobody remembered under None", map(str, toggle.off_remembers))
    gone = _none(claim, toggle.gone, node, "nothing of a deleted Service", toggle.gone_left)
    kept = _judge_entry(claim, toggle.timed, node, toggle.before, toggle.after)
    verdict = combine(claim, judge_held(claim, toggle.held), gone, forgotten, kept)
    if not verdict.ok:
        return verdict
    figure = f"{len(toggle.held.differences) + 1} changes right {toggle.held.waited:.1f} s after the kill"
    return Verdict(claim, f"{figure}, entry kept", service=toggle.timed)


def judge_obstacle(claim: str, obstacle: Obstacle) -> Verdict:
    """Judge that a rule in the way of one Service kept no other from its rules, and went with its own next change."""
    before, after = obstacle.failed
    failed = judge_no_failed_sync(claim, {obstacle.own.node: before}, {obstacle.own.node: after})
    verdict = combine(claim, judge_held(claim, obstacle.other), judge_held(claim, obstacle.own), failed)
    if not verdict.ok:
        return verdict
    return Verdict(
        claim, f"the other right after {obstacle.other.waited:.1f} s, itself after {obstacle.own.waited:.1f} s"
    )


def judge_held(claim: str, held: Held) -> Verdict:
    """Judge that a node holds what Services call for, and nothing of former endpoints."""
    wrong = [
        judge_differences(claim, service, found, [held.node], held.waited)
        for service, found in held.differences
        if found
    ]
    if wrong:
        return combine(claim, *wrong)
    figure = f"rules of {len(held.differences)} Services right on {held.node} after {held.waited:.1f} s"
    return Verdict(claim, figure, service=held.differences[0][0])


def judge_no_failed_sync(claim: str, before: Mapping[str, int], after: Mapping[str, int]) -> Verdict:
    """Judge that no node's kube-proxy failed to write its rules meanwhile."""
    more = {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}
    findings = tuple(Finding(name, "no failed sync", f"{count} failed syncs") for name, count in more.items())
    return Verdict(claim, f"{sum(more.values())} failed syncs on {len(after)} nodes", findings)


def judge_repair(claim: str, repair: Repair) -> Verdict:
    """Judge that rules that somebody flushed were written again in the time that kube-proxy's syncPeriod allows."""
    if repair.differences:
        return judge_differences(claim, repair.service, repair.differences, [repair.node], repair.allowed)
    figure = f"repaired in {repair.took:.1f} s, syncPeriod {repair.period:g} s"
    return Verdict(claim, figure, service=repair.service)


def judge_crowd(claim: str, crowd: Crowd, client: str) -> Verdict:
    """Judge that a Service among a thousand others has its rules on every node, keeps its client, and binds one."""
    held = crowd.first.only_endpoint
    kept = Verdict(claim, "kept", service=crowd.before)
    if crowd.again.only_endpoint != held:
        finding = Finding(client, f"answered by {held} again, which the client is bound to", crowd.again.summary())
        kept = Verdict(claim, "the client moved", (finding,), crowd.before)
    verdict = combine(
        claim,
        judge_programmed(claim, crowd.after, crowd.settled),
        kept,
        judge_one_endpoint(claim, crowd.after, client, crowd.answers),
    )
    if not verdict.ok:
        return verdict
    return Verdict(claim, f"right on every node after {crowd.settled.slowest()}, client kept", service=crowd.after)


def _judge_entry(
    claim: str, service: ServiceState, node: str, before: Sequence[Remembered], after: Sequence[Remembered]
) -> Verdict:
    """Judge that a client's one entry is the one it was, and no other in its place."""
    if len(before) == len(after) == 1 and _is_same(before[0], after[0]):
        return Verdict(claim, "entry kept", service=service)
    seen = ", ".join(map(str, after)) or "no entry"
    finding = Finding(node, ", ".join(map(str, before)) or "an entry before", seen, service.key)
    return Verdict(claim, "entry lost", (finding,), service)


def _is_same(before: Remembered, after: Remembered) -> bool:
    """Whether an entry grew out of another: it has connections of the other's, or so many that those had to go."""
    shared = not before.stamps or bool({*before.stamps} & {*after.stamps}) or len(after.stamps) == MAX_STAMPS
    return before.memory == after.memory and shared


def _none(claim: str, service: ServiceState, node: str, expected: str, seen: Sequence[str] | map[str]) -> Verdict:
    found = list(seen)
    findings = (Finding(node, expected, "\n".join(found), service.key),) if found else ()
    return Verdict(claim, f"{expected}: {len(found)} found", findings, service)
