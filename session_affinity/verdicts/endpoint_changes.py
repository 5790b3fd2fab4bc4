"""Which endpoint a client is bound to when the endpoints of its Service change, and which requests it loses meanwhile.

One rule for all changes: a client stays with its endpoint as long as that may be used, is bound to one that may be used
when it may not, and does not return to one that comes back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from session_affinity.claims.known_behaviour import UNUSED_CHAINS_KEPT
from session_affinity.dataplane.backend import of_client
from session_affinity.errors import NothingObservedError
from session_affinity.text import lines_or
from session_affinity.verdicts.pace import require_pace, without_timeouts
from session_affinity.verdicts.rules import judge_differences
from session_affinity.verdicts.verdict import Finding, Verdict, combine, require_observed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from session_affinity.dataplane.backend import Backend
    from session_affinity.scenarios.endpoint_changes.result import ScenarioResult, StepResult
    from session_affinity.scenarios.endpoint_changes.scenario import Scenario, ScenarioStep
    from session_affinity.traffic.answers import Answer, Answers
    from session_affinity.traffic.client import ClientId

REFUSED: Final = "curl 7"
"""How curl's error begins when a connection was refused, rather than left without an answer."""


def judge_step(result: ScenarioResult, step: ScenarioStep, client: ClientId) -> Verdict:
    """Judge one change: which endpoint answers, that no request was lost without reason, and that every node followed.

    The rules are left out where no node can be read (an external cluster without node access): what the client sees is
    the claim. Raises NothingObservedError when nothing was requested before the change or after it, and NotReadyError
    where the machine had no time for the node's kube-proxy, or for the client whose requests timed out.
    """
    before, after = result.before(step), result.step(step)
    require_observed(after.answers, f"requests of {client} after {step}")
    if before.usable:
        require_observed(before.answers, f"requests of {client} before {step}")
    findings = _findings(before, after, client)
    if findings:
        before.sync.require_time(client.node)
        after.sync.require_time(client.node)
        if not _findings(_without_timeouts(before), _without_timeouts(after), client):
            require_pace(client, before.answers, after.during, after.answers)
    known = UNUSED_CHAINS_KEPT if findings and _has_only_moved_back(before, after, client) else None
    answers = Verdict(f"{step}: {_outcome(before, after)}", tuple(findings), after.service, known=known)
    if not after.sync.states:
        return answers
    rules = _judge_rules(after)
    return answers if rules.ok else combine(answers, rules)


def judge_steps(result: ScenarioResult, client: ClientId, *steps: ScenarioStep) -> Verdict:
    """Judge several changes, all unless some are named; raises what ``judge_step`` does."""
    changes = steps or [step.step for step in result.steps[1:]]
    require_observed(changes, f"changes of {result.service.key}")
    return combine(*(judge_step(result, step, client) for step in changes))


def judge_step_rules(*steps: StepResult) -> Verdict:
    """Judge that every node had the rules that the Service calls for after each of these changes.

    Raises NothingObservedError where no node was read, NodeError where more nodes are missing than may be, and
    NotReadyError where the machine had no time for a kube-proxy.
    """
    require_observed(steps, "changes of a Service's endpoints")
    for step in steps:
        step.sync.require_every_node()
    return combine(*map(_judge_rules, steps))


def judge_no_entries(step: StepResult, backend: Backend) -> Verdict:
    """Judge that every node had the Service's lists or sets after a change, all empty, before the client's requests.

    Raises NothingObservedError where no node was read, NodeError where more nodes are missing than may be, and
    NotReadyError where the machine had no time for a kube-proxy.
    """
    step.sync.require_every_node()
    require_observed(step.states, f"nodes after {step.step}")
    expected = len(backend.affinity_stores(step.service))
    require_observed(range(expected), f"endpoints of {step.service.key} after {step.step}")
    findings, are_known = [], []
    for name, state in step.states.items():
        entries, stores = backend.affinity_entries(state, step.service), backend.existing_stores(state, step.service)
        if entries or len(stores) != expected:
            seen = lines_or(entries, f"{len(stores)} {backend.store_kind}s")
            findings.append(Finding(name, f"{expected} {backend.store_kind}s without entries", seen, step.step))
            bound_to = {entry.endpoint.pod for entry in entries}
            are_known.append(len(stores) == expected and bound_to <= set(step.returned.get(name, ())))
    headline = f"{step.step}: no entries on {len(step.states)} nodes"
    if findings:
        step.sync.require_time(*(finding.where for finding in findings))
        headline = f"{step.step}: entries, or no {backend.store_kind}s, on {len(findings)} nodes"
    known = UNUSED_CHAINS_KEPT if findings and all(are_known) else None
    return Verdict(headline, tuple(findings), step.service, known=known)


def judge_entry_kept(result: ScenarioResult, step: ScenarioStep, client: ClientId, backend: Backend) -> Verdict:
    """Judge that after a change the client's node has one entry of it, for the endpoint that answered before.

    Raises NothingObservedError when nothing was requested before the change, or the client's node was not read, and
    NotReadyError where the machine had no time for its kube-proxy.
    """
    before, after = result.before(step), result.step(step)
    require_observed(before.answers, f"requests of {client} before {step}")
    if client.node not in after.states:
        raise NothingObservedError(f"{client.node} was not read after {step}, so nothing can be judged")
    entries = of_client(backend.affinity_entries(after.states[client.node], after.service), client.address)
    bound_to = [entry.endpoint.pod for entry in entries]
    answered_by = before.answers.only_endpoint
    headline = f"{step}: entry {client.address} -> {', '.join(bound_to) or 'no endpoint'}"
    if answered_by and bound_to == [answered_by]:
        return Verdict(headline, service=after.service)
    after.sync.require_time(client.node)
    pod = f"{answered_by} (the pod that answered it)" if answered_by else "the one pod that answered it"
    finding = Finding(
        client.node,
        f"entry {client.address} -> {pod}, and no other entry of it",
        lines_or(entries, "no entry"),
        f"{before.answers.summary()} before",
    )
    return Verdict(headline, (finding,), after.service)


def judge_leftovers(results: Mapping[Scenario, ScenarioResult]) -> Verdict:
    """Judge that no node has anything of Services that were deleted.

    Raises NothingObservedError where no node was read.
    """
    require_observed(results, "Services that were deleted")
    for scenario, result in results.items():
        require_observed(result.left, f"nodes after the Service of scenario {scenario} was deleted")
    findings = [
        Finding(node, f"nothing of Service {result.service.key}", "\n".join(left), scenario)
        for scenario, result in results.items()
        for node, left in result.left.items()
        if left
    ]
    nodes = {node for result in results.values() for node in result.left}
    headline = f"nothing of {len(results)} Services on {len(nodes)} nodes"
    if findings:
        headline = f"{len(findings)} times something is left"
    return Verdict(headline, tuple(findings))


def _judge_rules(step: StepResult) -> Verdict:
    require_observed(step.differences, f"nodes with the rules of {step.service.key} after {step.step}")
    differences = [difference for of_node in step.differences.values() for difference in of_node]
    if not differences:
        return Verdict(f"rules right on {len(step.differences)} nodes", service=step.service)
    step.sync.require_time(*(difference.node for difference in differences))
    return judge_differences(step.service, differences, step.differences, step.sync.waited, f"'{step.step}'")


def _findings(before: StepResult, after: StepResult, client: ClientId) -> list[Finding]:
    return [*_unbound(before, client, after.step), *_after(before, after, client), *_during(before, after, client)]


def _without_timeouts(step: StepResult) -> StepResult:
    return replace(step, during=without_timeouts(step.during), answers=without_timeouts(step.answers))


def _unbound(before: StepResult, client: ClientId, step: ScenarioStep) -> Iterator[Finding]:
    """Yield a finding for a client that no endpoint answered before a change: it cannot have stayed with one."""
    if before.usable and _bound_to(before) is None:
        yield Finding(client.pod, f"an answer before '{step}'", _answers_text(before.answers), step)


def _after(before: StepResult, after: StepResult, client: ClientId) -> Iterator[Finding]:
    if not after.usable:
        if after.answers.by_endpoint:
            expected = "no answer: the Service has no endpoint"
            yield Finding(client.pod, expected, _answers_text(after.answers), after.step)
        return
    bound_to = _stays_with(before, after)
    expected = f"{len(after.answers)} of {len(after.answers)} requests answered by"
    only = after.answers.only_endpoint
    if bound_to:
        if only != bound_to:
            expected += f" {bound_to}, which the client is bound to"
            yield Finding(client.pod, expected, _answers_text(after.answers), after.step)
    elif only not in after.usable:
        expected += f" one of {', '.join(after.usable)}"
        yield Finding(client.pod, expected, _answers_text(after.answers), after.step)


def _during(before: StepResult, after: StepResult, client: ClientId) -> Iterator[Finding]:
    if after.during.failures and before.usable and after.usable:
        expected = "every request answered while the nodes process the change: the endpoints before and after it serve"
        yield Finding(client.pod, expected, _answers_text(after.during), after.step)
    usable = {*before.usable, *after.usable}
    if others := [answer for answer in after.during if answer.ok and answer.endpoint not in usable]:
        expected = f"answers from {', '.join(sorted(usable))} only"
        yield Finding(client.pod, expected, _endpoints_text(others), after.step)
    bound_to = _stays_with(before, after)
    strayed = [answer for answer in after.during if answer.ok and answer.endpoint != bound_to]
    if bound_to and strayed:
        expected = f"answers from {bound_to} only, which the client is bound to"
        yield Finding(client.pod, expected, _endpoints_text(strayed), after.step)


def _has_only_moved_back(before: StepResult, after: StepResult, client: ClientId) -> bool:
    """Whether a client only went to an endpoint that is back, and whose affinity store its node had kept."""
    endpoints = {answer.endpoint for answer in (*after.during, *after.answers)}
    returned = after.returned.get(client.node, ())
    return after.answers.only_endpoint in returned and endpoints <= {_bound_to(before), *returned}


def _stays_with(before: StepResult, after: StepResult) -> str | None:
    """Return the endpoint that a client has to stay with through a change; None when it may or must move."""
    bound_to = _bound_to(before)
    return bound_to if bound_to in after.usable and not after.frees else None


def _bound_to(step: StepResult) -> str | None:
    """Return the endpoint that a client is bound to after a step: that of its last answer; None without any."""
    return next((answer.endpoint for answer in reversed(step.answers.answers) if answer.ok), None)


def _outcome(before: StepResult, after: StepResult) -> str:
    if not after.usable:
        refused = any(answer.error.startswith(REFUSED) for answer in after.answers)
        return "refused" if refused else "not answered"
    bound_to = _bound_to(before)
    outcome = "bound" if bound_to is None else "stays" if after.answers.only_endpoint == bound_to else "moves"
    if not after.during:
        return outcome
    return f"{outcome}, {len(after.during.failures)} of {len(after.during)} requests lost in {after.seconds:.1f} s"


def _answers_text(answers: Answers) -> str:
    return f"{answers.summary()}\nin order: {answers.sequence()}"


def _endpoints_text(answers: Sequence[Answer]) -> str:
    return "; ".join(dict.fromkeys(answer.endpoint or answer.error for answer in answers))
