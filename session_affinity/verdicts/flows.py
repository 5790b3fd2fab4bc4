"""Where flows of datagrams go while the endpoints of their Service change.

A flow is what one socket sends: conntrack keeps it at the endpoint of its first datagram, and kube-proxy has to remove
it from an endpoint that is gone, and from no other. A datagram may get lost without anything wrong, so a flow counts as
unanswered when its last datagram was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.errors import NothingObservedError
from session_affinity.verdicts.verdict import Finding, Verdict, require_observed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from session_affinity.dataplane.model import ServiceState
    from session_affinity.scenarios.endpoint_changes.result import ScenarioResult, StepResult
    from session_affinity.scenarios.endpoint_changes.scenario import ScenarioStep
    from session_affinity.traffic.answers import Answers
    from session_affinity.traffic.client import ClientId

SHOWN: Final = 5
"""The flows that a finding shows at most."""


def judge_flows_left(result: ScenarioResult, removed: ScenarioStep, later: ScenarioStep, client: ClientId) -> Verdict:
    """Judge that flows whose endpoint was removed are answered by another one at the end of a later step.

    Only then has kube-proxy certainly ended the sync of the removal. Raises NothingObservedError when no flow was at a
    removed endpoint.
    """
    gone = {*result.before(removed).usable} - {*result.step(removed).usable}
    began, ended = _ends(result.before(removed), client), _ends(result.step(later), client)
    concerned = [place for place, pod in enumerate(began) if pod in gone]
    require_observed(concerned, f"flows of {client} to an endpoint that was removed")
    others = {*result.step(removed).usable}
    wrong = [place for place in concerned if ended[place] not in others]
    expected = f"{len(concerned)} flows that were at {', '.join(sorted(gone))} answered by {_either(others)}"
    headline = f"{len(concerned) - len(wrong)} of {len(concerned)} flows left the endpoint that was removed"
    findings = (Finding(client.pod, expected, _seen(wrong, result.step(later).flows), later),) if wrong else ()
    return Verdict(headline, findings, result.service)


def judge_flows_kept(result: ScenarioResult, client: ClientId, *steps: ScenarioStep) -> Verdict:
    """Judge that in each step a flow stays at the endpoint where it was at the end of the step before, if that stays.

    Raises NothingObservedError when there was no such flow in any of the steps.
    """
    require_observed(steps, f"changes of {result.service.key}")
    findings: list[Finding] = []
    kept = 0
    for step in steps:
        before, after = result.before(step), result.step(step)
        stayed = [
            (place, pod) for place, pod in enumerate(_ends(before, client)) if pod in after.usable and pod is not None
        ]
        if stayed:
            _ends(after, client)
        strayed = [
            place
            for place, pod in stayed
            if {*after.flows[place].by_endpoint} - {pod} or not after.flows[place].answers[-1].ok
        ]
        kept += len(stayed) - len(strayed)
        if strayed:
            expected = f"{len(stayed)} flows to endpoints that stay answered by the same endpoint all the time"
            findings.append(Finding(client.pod, expected, _seen(strayed, after.flows), step))
    if not kept and not findings:
        raise NothingObservedError(f"{result.service.key}: no flow of {client} was at an endpoint that stayed")
    headline = f"{kept} times a flow stayed" if not findings else "flows left endpoints that stayed"
    return Verdict(headline, tuple(findings), result.service)


def judge_flows_unanswered(result: ScenarioResult, step: ScenarioStep, client: ClientId) -> Verdict:
    """Judge that at the end of a step no endpoint answers a flow any more.

    Raises NothingObservedError unless every flow was answered at first.
    """
    _require_answered(result.steps[0], client)
    ended = _ends(result.step(step), client)
    answered = [place for place, pod in enumerate(ended) if pod is not None]
    headline = f"{len(ended) - len(answered)} of {len(ended)} flows unanswered"
    expected = f"{len(ended)} flows without an answer: the Service leads nowhere"
    findings = (Finding(client.pod, expected, _seen(answered, result.step(step).flows), step),) if answered else ()
    return Verdict(headline, findings, result.service)


def judge_flows_answered(result: ScenarioResult, step: ScenarioStep, client: ClientId) -> Verdict:
    """Judge that at the end of a step every flow is answered by an endpoint that the Service has then.

    Raises NothingObservedError unless every flow was answered at first.
    """
    _require_answered(result.steps[0], client)
    after = result.step(step)
    require_observed(after.usable, f"endpoints of {result.service.key} after {step}")
    ended = _ends(after, client)
    lost = [place for place, pod in enumerate(ended) if pod not in after.usable]
    headline = f"{len(ended) - len(lost)} of {len(ended)} flows answered"
    expected = f"{len(ended)} flows answered by {_either(after.usable)}"
    findings = (Finding(client.pod, expected, _seen(lost, after.flows), step),) if lost else ()
    return Verdict(headline, findings, result.service)


def judge_flows_at_one_endpoint(service: ServiceState, client: ClientId, flows: Sequence[Answers]) -> Verdict:
    """Judge that each flow is answered by one endpoint all the time, the last datagram too.

    Raises NothingObservedError when no datagram of a flow was answered or lost.
    """
    require_observed(flows, f"flows of {client} to {service.key}")
    for answers in flows:
        require_observed(answers, f"datagrams of a flow of {client} to {service.key}")
    wrong = [
        place for place, answers in enumerate(flows) if len(answers.by_endpoint) != 1 or not answers.answers[-1].ok
    ]
    headline = f"{len(flows) - len(wrong)} of {len(flows)} flows stayed"
    expected = f"{len(flows)} flows answered by one endpoint each all the time"
    findings = (Finding(client.pod, expected, _seen(wrong, flows), service.key),) if wrong else ()
    return Verdict(headline, findings, service)


def judge_flows_ended(service: ServiceState, client: ClientId, flows: Sequence[Answers]) -> Verdict:
    """Judge that no endpoint answers the last datagram of a flow.

    Raises NothingObservedError unless every flow was answered before.
    """
    require_observed(flows, f"flows of {client} to {service.key}")
    for answers in flows:
        require_observed(answers.by_endpoint, f"answers to a flow of {client} to {service.key}")
    answered = [place for place, answers in enumerate(flows) if answers.answers[-1].ok]
    headline = f"{len(flows) - len(answered)} of {len(flows)} flows ended"
    expected = f"{len(flows)} flows without an answer in the end: the Service has no endpoint"
    findings = (Finding(client.pod, expected, _seen(answered, flows), service.key),) if answered else ()
    return Verdict(headline, findings, service)


def _require_answered(step: StepResult, client: ClientId) -> None:
    if None in (ended := _ends(step, client)):
        unanswered = sum(pod is None for pod in ended)
        raise NothingObservedError(
            f"{step.service.key}: {unanswered} of {len(ended)} flows of {client} were not answered before any change"
        )


def _ends(step: StepResult, client: ClientId) -> list[str | None]:
    """Return the endpoint that answered the last datagram of each flow in a step; None where none did.

    Raises NothingObservedError when a flow has no datagram in the step.
    """
    require_observed(step.flows, f"flows of {client} to {step.service.key}")
    for answers in step.flows:
        require_observed(answers, f"datagrams of a flow of {client} to {step.service.key} after {step.step}")
    return [answers.answers[-1].endpoint if answers.answers[-1].ok else None for answers in step.flows]


def _seen(places: Sequence[int], flows: Sequence[Answers]) -> str:
    return "\n".join(_lines(places, flows))


def _lines(places: Sequence[int], flows: Sequence[Answers]) -> Iterator[str]:
    for place in places[:SHOWN]:
        answers = flows[place]
        yield f"{answers.answers[0].target}: {answers.sequence()}"
    if len(places) > SHOWN:
        yield f"and {len(places) - SHOWN} more"


def _either(pods: Sequence[str] | set[str]) -> str:
    return " or ".join(sorted(pods)) or "no endpoint"
