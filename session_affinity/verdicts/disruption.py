"""What becomes of rules and clients when kube-proxy stops, and when somebody else changes what it wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from session_affinity.dataplane.xt_recent import MAX_STAMPS
from session_affinity.verdicts.distribution import judge_one_endpoint
from session_affinity.verdicts.rules import judge_differences, judge_programmed
from session_affinity.verdicts.verdict import Finding, Verdict, combine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from session_affinity.dataplane.backend import AffinityEntry
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.scenarios.disruption.flush import Repair
    from session_affinity.scenarios.disruption.many_services import ManyServices
    from session_affinity.scenarios.disruption.outages import BlockingRule, ChangesWhileStopped, NodeRules, Restart


def judge_restart(restart: Restart, client: str) -> Verdict:
    """Judge that a client noticed nothing of a restart: answers of one endpoint, its entry kept, the rules right."""
    verdict = combine(
        judge_one_endpoint(restart.service, client, restart.answers),
        _judge_entry(restart.service, restart.held.node, restart.before, restart.after),
        judge_held(restart.held),
    )
    if not verdict.ok:
        return verdict
    headline = f"{len(restart.answers)} requests answered, down for {restart.down:.1f} s"
    return Verdict(f"{headline}, entry and rules kept", service=restart.service)


def judge_toggle(toggle: ChangesWhileStopped) -> Verdict:
    """Judge that a node made of changes that its kube-proxy did not see happen what it makes of those it does."""
    node = toggle.held.node
    forgotten = _none(toggle.off, node, "nobody remembered under None", map(str, toggle.off_remembers))
    gone = _none(toggle.gone, node, "nothing of a deleted Service", toggle.gone_left)
    kept = _judge_entry(toggle.timed, node, toggle.before, toggle.after)
    verdict = combine(judge_held(toggle.held), gone, forgotten, kept)
    if not verdict.ok:
        return verdict
    headline = f"{len(toggle.held.differences) + 1} changes right {toggle.held.waited:.1f} s after the kill"
    return Verdict(f"{headline}, entry kept", service=toggle.timed)


def judge_obstacle(obstacle: BlockingRule) -> Verdict:
    """Judge that a rule in the way of one Service kept no other from its rules, and went with its own next change."""
    before, after = obstacle.failed
    failed = judge_no_failed_sync({obstacle.own.node: before}, {obstacle.own.node: after})
    verdict = combine(judge_held(obstacle.other), judge_held(obstacle.own), failed)
    if not verdict.ok:
        return verdict
    return Verdict(f"the other right after {obstacle.other.waited:.1f} s, itself after {obstacle.own.waited:.1f} s")


def judge_held(held: NodeRules) -> Verdict:
    """Judge that a node holds what Services call for, and nothing of former endpoints."""
    wrong = [
        judge_differences(service, found, [held.node], held.waited) for service, found in held.differences if found
    ]
    if wrong:
        return combine(*wrong)
    headline = f"rules of {len(held.differences)} Services right on {held.node} after {held.waited:.1f} s"
    return Verdict(headline, service=held.differences[0][0])


def judge_no_failed_sync(before: Mapping[str, int], after: Mapping[str, int]) -> Verdict:
    """Judge that no node's kube-proxy failed to write its rules meanwhile."""
    more = {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}
    findings = tuple(Finding(name, "no failed sync", f"{count} failed syncs") for name, count in more.items())
    return Verdict(f"{sum(more.values())} failed syncs on {len(after)} nodes", findings)


def judge_repair(repair: Repair) -> Verdict:
    """Judge that rules that somebody flushed were written again in the time that kube-proxy's syncPeriod allows."""
    if repair.differences:
        return judge_differences(repair.service, repair.differences, [repair.node], repair.allowed)
    headline = f"repaired in {repair.took:.1f} s, syncPeriod {repair.period:g} s"
    return Verdict(headline, service=repair.service)


def judge_many_services(many_services: ManyServices, client: str) -> Verdict:
    """Judge that a Service among a thousand others has its rules on every node, keeps its client, and binds one."""
    held = many_services.first.only_endpoint
    kept = Verdict("kept", service=many_services.before)
    if many_services.again.only_endpoint != held:
        finding = Finding(
            client, f"answered by {held} again, which the client is bound to", many_services.again.summary()
        )
        kept = Verdict("the client moved", (finding,), many_services.before)
    verdict = combine(
        judge_programmed(many_services.after, many_services.sync),
        kept,
        judge_one_endpoint(many_services.after, client, many_services.answers),
    )
    if not verdict.ok:
        return verdict
    return Verdict(
        f"right on every node after {many_services.sync.slowest()}, client kept", service=many_services.after
    )


def _judge_entry(
    service: ServiceState, node: str, before: Sequence[AffinityEntry], after: Sequence[AffinityEntry]
) -> Verdict:
    """Judge that a client's one entry is the one it was, and no other in its place."""
    if len(before) == len(after) == 1 and _is_same(before[0], after[0]):
        return Verdict("entry kept", service=service)
    seen = ", ".join(map(str, after)) or "no entry"
    finding = Finding(node, ", ".join(map(str, before)) or "an entry before", seen, service.key)
    return Verdict("entry lost", (finding,), service)


def _is_same(before: AffinityEntry, after: AffinityEntry) -> bool:
    """Whether an entry grew out of another: it has connections of the other's, or so many that those had to go."""
    shared = not before.stamps or bool({*before.stamps} & {*after.stamps}) or len(after.stamps) == MAX_STAMPS
    return before.store == after.store and shared


def _none(service: ServiceState, node: str, expected: str, seen: Sequence[str] | map[str]) -> Verdict:
    found = list(seen)
    findings = (Finding(node, expected, "\n".join(found), service.key),) if found else ()
    return Verdict(f"{expected}: {len(found)} found", findings, service)
