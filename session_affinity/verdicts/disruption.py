"""What happens to rules and clients when kube-proxy stops, and when another program changes its rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from session_affinity.errors import NothingObservedError
from session_affinity.traffic.answers import target
from session_affinity.verdicts.distribution import judge_one_endpoint
from session_affinity.verdicts.pace import require_pace, without_timeouts
from session_affinity.verdicts.rules import judge_differences, judge_readable_rules
from session_affinity.verdicts.verdict import Finding, Verdict, combine, require_observed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from session_affinity.dataplane.backend import AffinityEntry
    from session_affinity.dataplane.model import ServiceState
    from session_affinity.nodes.kube_proxy import FailedSyncs
    from session_affinity.scenarios.disruption.flush import Repair
    from session_affinity.scenarios.disruption.many_services import ManyServices
    from session_affinity.scenarios.disruption.outages import BlockingRule, KubeProxyRestart, MissedChanges, NodeRules
    from session_affinity.traffic.answers import Answers
    from session_affinity.traffic.client import ClientId


def judge_restart(restart: KubeProxyRestart, client: ClientId) -> Verdict:
    """Judge that after a restart one endpoint answered every request, the entry is kept, and the rules are right.

    Raises NothingObservedError where rules cannot be read, and what ``judge_restart_by_answers`` does.
    """
    rules = _require_rules(restart.rules, restart.service)
    verdict = combine(
        judge_restart_by_answers(restart, client),
        _judge_entry(restart.service, rules.node, restart.before, restart.after),
        judge_node_rules(rules),
    )
    if not verdict.ok:
        return verdict
    headline = f"{len(restart.answers)} requests answered, down for {restart.down:.1f} s"
    return Verdict(f"{headline}, entry and rules kept", service=restart.service)


def judge_restart_by_answers(restart: KubeProxyRestart, client: ClientId) -> Verdict:
    """Judge by a client's requests that one endpoint answered every one of them during a restart.

    Raises NothingObservedError when no request was sent, and NotReadyError where the machine had no time for the client
    whose requests timed out.
    """
    verdict = judge_one_endpoint(restart.service, client, restart.answers)
    if not verdict.ok and without_timeouts(restart.answers).only_endpoint:
        require_pace(client, restart.answers)
    return verdict


def judge_missed_changes(changes: MissedChanges) -> Verdict:
    """Judge that a node has the rules for changes that its kube-proxy could not write at first as for any others.

    Raises NothingObservedError where rules cannot be read.
    """
    rules = _require_rules(changes.rules, changes.patched)
    cleared = _judge_absence(changes.off, rules.node, "no affinity entry under None", [*map(str, changes.off_entries)])
    deleted = _judge_absence(changes.deleted, rules.node, "nothing of a deleted Service", changes.deleted_objects)
    kept = _judge_entry(changes.patched, rules.node, changes.before, changes.after)
    verdict = combine(judge_node_rules(rules), deleted, cleared, kept)
    if not verdict.ok:
        return verdict
    headline = f"{len(rules.differences) + 1} changes right {changes.waited:.1f} s after the outage"
    return Verdict(f"{headline}, entry kept", service=changes.patched)


def judge_missed_changes_by_answers(changes: MissedChanges, client: ClientId) -> Verdict:
    """Judge by a client's requests that its node follows changes that its kube-proxy could not write at first.

    Raises NothingObservedError when a request was not sent.
    """
    verdicts = [
        _judge_bound(service, client, changes.answers) for service in (changes.on, changes.patched, changes.new)
    ]
    verdicts.append(_judge_gone(changes.deleted, client, changes.gone))
    bound_to, again = changes.first.only_endpoint, changes.answers.of(target(changes.patched))
    require_observed(changes.first, f"requests of {client} to {changes.patched.key} before the outage")
    if bound_to is None or {*again.by_endpoint} - {bound_to}:
        expected = f"answered by {bound_to or 'an endpoint before the outage, and'}, which the client is bound to"
        seen = f"{again.summary()}\nbefore the outage: {changes.first.summary()}"
        verdicts.append(
            Verdict("the client moved", (Finding(client.pod, expected, seen, changes.patched.key),), changes.patched)
        )
    verdict = combine(*verdicts)
    if not verdict.ok:
        return verdict
    return Verdict(f"{len(changes.answers)} requests right, the client kept", service=changes.patched)


def judge_blocking_rule(blocking: BlockingRule) -> Verdict:
    """Judge that a rule in front of one Service's rules left others alone, and went with that Service's next change."""
    before, after = blocking.failed_syncs
    node = blocking.blocked.node
    verdict = combine(
        judge_node_rules(blocking.other),
        judge_node_rules(blocking.blocked),
        judge_failed_syncs({node: before}, {node: after}),
    )
    if not verdict.ok:
        return verdict
    return Verdict(f"the other right after {blocking.other.waited:.1f} s, itself after {blocking.blocked.waited:.1f} s")


def judge_node_rules(rules: NodeRules) -> Verdict:
    """Judge that a node has the rules that Services call for, and nothing of former endpoints."""
    require_observed(rules.differences, f"Services whose rules were read on {rules.node}")
    wrong = [
        judge_differences(service, differences, [rules.node], rules.waited)
        for service, differences in rules.differences
        if differences
    ]
    if wrong:
        return combine(*wrong)
    headline = f"rules of {len(rules.differences)} Services right on {rules.node} after {rules.waited:.1f} s"
    return Verdict(headline, service=rules.differences[0][0])


def judge_failed_syncs(before: Mapping[str, FailedSyncs], after: Mapping[str, FailedSyncs]) -> Verdict:
    """Judge that no node's kube-proxy failed to write its rules between two reads of its counters.

    A counter that went down belongs to a kube-proxy that was restarted in between. Raises NothingObservedError unless
    every node was read both times.
    """
    require_observed(after, "nodes whose failed syncs were read")
    if unread := before.keys() ^ after.keys():
        raise NothingObservedError(f"{', '.join(sorted(unread))}: failed syncs were read only once")
    more = [
        (name, counter, count, count - before[name].get(counter, 0))
        for name, counters in after.items()
        for counter, count in sorted(counters.items())
        if count > before[name].get(counter, 0)
    ]
    findings = tuple(
        Finding(name, "no failed sync", f"{count} failed syncs, {added} more: {counter}")
        for name, counter, count, added in more
    )
    return Verdict(f"{sum(added for *_, added in more)} failed syncs on {len(after)} nodes", findings)


def judge_repair(repair: Repair) -> Verdict:
    """Judge that flushed rules were written again in the time that kube-proxy's syncPeriod allows."""
    if repair.differences:
        return judge_differences(repair.service, repair.differences, [repair.node], repair.took, "the flush")
    quiet = " without a change" if repair.quiet else ""
    headline = f"repaired in {repair.took:.1f} s{quiet}, syncPeriod {repair.period:g} s"
    return Verdict(headline, service=repair.service)


def judge_many_services(many_services: ManyServices, client: ClientId) -> Verdict:
    """Judge that among a thousand others a new Service gets its rules and binds a client, and an old one keeps it.

    The rules are left out where no node can be read. Raises NothingObservedError when no request was sent before the
    others were created.
    """
    rules = judge_readable_rules(many_services.after, many_services.sync)
    verdict = combine(
        *rules,
        _judge_binding(many_services, client),
        judge_one_endpoint(many_services.after, client, many_services.answers),
    )
    if not verdict.ok:
        return verdict
    programmed = f"right on every node after {many_services.sync.slowest()}, " if rules else ""
    return Verdict(f"{programmed}client kept", service=many_services.after)


def _judge_binding(many_services: ManyServices, client: ClientId) -> Verdict:
    """Judge that the endpoint of a client's first request answered its later ones."""
    service, first, again = many_services.before, many_services.first, many_services.again
    require_observed(first, f"requests of {client} to {service.key} before the others were created")
    require_observed(again, f"requests of {client} to {service.key} after the others were created")
    bound_to = first.only_endpoint
    if bound_to is None:
        finding = Finding(client.pod, "an answer before the others were created", first.summary(), service.key)
        return Verdict("the client was bound to no endpoint", (finding,), service)
    if again.only_endpoint != bound_to:
        expected = f"answered by {bound_to} again, which the client is bound to"
        return Verdict("the client moved", (Finding(client.pod, expected, again.summary()),), service)
    return Verdict("kept", service=service)


def _judge_entry(
    service: ServiceState, node: str, before: Sequence[AffinityEntry], after: Sequence[AffinityEntry]
) -> Verdict:
    """Judge that a client's one entry is the one it had before, not a new one in its place."""
    if len(before) == len(after) == 1 and _is_same(before[0], after[0]):
        return Verdict("entry kept", service=service)
    seen = ", ".join(map(str, after)) or "no entry"
    finding = Finding(node, ", ".join(map(str, before)) or "an entry before", seen, service.key)
    return Verdict("entry lost", (finding,), service)


def _is_same(before: AffinityEntry, after: AffinityEntry) -> bool:
    """Whether an entry continues another: it has stamps of the other's, or so many that those had to go."""
    shared = not before.stamps or bool({*before.stamps} & {*after.stamps}) or after.is_full
    return before.store == after.store and shared


def _require_rules(rules: NodeRules | None, service: ServiceState) -> NodeRules:
    if rules is None:
        raise NothingObservedError(f"{service.key}: the node's rules were not read, so nothing can be judged")
    return rules


def _judge_bound(service: ServiceState, client: ClientId, answers: Answers) -> Verdict:
    """Judge that one endpoint answered all requests to one of several Services."""
    return judge_one_endpoint(service, client, answers.of(target(service)))


def _judge_gone(service: ServiceState, client: ClientId, answers: Answers) -> Verdict:
    require_observed(answers, f"requests of {client} to the deleted {service.key}")
    if not answers.by_endpoint:
        return Verdict("a deleted Service leads nowhere", service=service)
    finding = Finding(client.pod, "no answer: the Service was deleted", answers.summary(), service.key)
    return Verdict("a deleted Service is answered", (finding,), service)


def _judge_absence(service: ServiceState, node: str, expected: str, seen: Sequence[str]) -> Verdict:
    findings = (Finding(node, expected, "\n".join(seen), service.key),) if seen else ()
    return Verdict(f"{expected}: {len(seen)} found", findings, service)
