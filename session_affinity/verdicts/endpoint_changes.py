"""What becomes of a client when the endpoints of its Service change, and of the requests it sends meanwhile.

One rule for all changes: a client stays with its endpoint as long as that may be used, is bound to one that may be used
when it may not, and is not drawn back to one that comes again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.backend import of_client
from session_affinity.verdicts.rules import judge_differences
from session_affinity.verdicts.verdict import Finding, Verdict, combine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from session_affinity.dataplane.backend import Backend
    from session_affinity.scenarios.endpoint_changes.result import ScenarioResult, Stage
    from session_affinity.scenarios.endpoint_changes.scenario import Scenario
    from session_affinity.traffic.answers import Answer, Answers
    from session_affinity.traffic.client import Client

REFUSED: Final = "curl 7"
"""How curl says that a connection was refused, and not left without an answer."""


def judge_stage(course: ScenarioResult, number: int, client: str) -> Verdict:
    """Judge one change: who answers, that no more requests were lost than it explains, and that every node followed.

    ``client`` is the client's name.
    """
    before, stage = course.stages[number - 1], course.stages[number]
    findings = [*_after(before, stage, client), *_during(before, stage, client)]
    rules = judge_rules(stage)
    own = Verdict(f"{stage.change}: {_figure(before, stage)}", tuple(findings), stage.service)
    return own if rules.ok else combine(own, rules)


def judge_stages(course: ScenarioResult, client: str, *numbers: int) -> Verdict:
    """Judge several changes, all unless some are named."""
    wanted = numbers or range(1, len(course.stages))
    return combine(*(judge_stage(course, number, client) for number in wanted))


def judge_rules(stage: Stage) -> Verdict:
    """Judge that every node holds what the Service calls for after a change; none where nodes cannot be read."""
    found = [one for node in stage.differences.values() for one in node]
    if not found:
        return Verdict(f"rules right on {len(stage.differences)} nodes", service=stage.service)
    return judge_differences(stage.service, found, stage.differences, stage.sync.waited)


def judge_no_memory_yet(stage: Stage, backend: Backend) -> Verdict:
    """Judge that no node remembered anyone for the Service when it had followed a change, before the client asked."""
    findings = [
        Finding(name, "no client remembered", ", ".join(map(str, known)), stage.change)
        for name, state in stage.states.items()
        if (known := backend.affinity_entries(state, stage.service))
    ]
    headline = f"{stage.change}: nobody remembered on {len(stage.states)} nodes"
    if findings:
        headline = f"{stage.change}: {len(findings)} nodes remember clients"
    return Verdict(headline, tuple(findings), stage.service)


def judge_still_remembered(before: Stage, stage: Stage, client: Client, backend: Backend) -> Verdict:
    """Judge that the client's node remembers it for the endpoint that answered before the change, and for no other."""
    node, address = client.node, client.address
    known = of_client(backend.affinity_entries(stage.states[node], stage.service), address)
    seen = [one.endpoint.pod for one in known]
    answered = before.answers.only_endpoint
    headline = f"{stage.change}: {', '.join(seen) or 'no endpoint'} remembers {address}"
    if seen == [answered]:
        return Verdict(headline, service=stage.service)
    finding = Finding(node, f"{address} remembered for {answered} alone", ", ".join(map(str, known)) or "nowhere")
    return Verdict(headline, (finding,), stage.service)


def judge_nothing_left(courses: Mapping[Scenario, ScenarioResult]) -> Verdict:
    """Judge that no node holds anything of Services that were deleted."""
    findings = [
        Finding(node, f"nothing of Service {course.service.key}", "\n".join(left), story)
        for story, course in courses.items()
        for node, left in course.left.items()
        if left
    ]
    nodes = {node for course in courses.values() for node in course.left}
    headline = f"nothing of {len(courses)} Services on {len(nodes)} nodes"
    if findings:
        headline = f"{len(findings)} times something is left"
    return Verdict(headline, tuple(findings))


def _after(before: Stage, stage: Stage, client: str) -> Iterator[Finding]:
    if not stage.usable:
        if stage.answers.by_endpoint:
            yield Finding(client, "no answer: the Service has no endpoint", _said(stage.answers), stage.change)
        return
    held, told = _held(before), f"{len(stage.answers)} of {len(stage.answers)} requests answered by"
    only = stage.answers.only_endpoint
    if held in stage.usable:
        if only != held:
            yield Finding(client, f"{told} {held}, which the client is bound to", _said(stage.answers), stage.change)
    elif only not in stage.usable:
        yield Finding(client, f"{told} one of {', '.join(stage.usable)}", _said(stage.answers), stage.change)


def _during(before: Stage, stage: Stage, client: str) -> Iterator[Finding]:
    explained = not (before.usable and stage.usable)
    if stage.during.failures and not explained:
        expected = "every request answered while the nodes learn of it: the endpoints before and after it serve"
        yield Finding(client, expected, _said(stage.during), stage.change)
    known = {*before.usable, *stage.usable}
    if strangers := [one for one in stage.during if one.ok and one.endpoint not in known]:
        yield Finding(client, f"answers from {', '.join(sorted(known))} only", _told(strangers), stage.change)
    held = _held(before)
    if held in stage.usable and (strayed := [one for one in stage.during if one.ok and one.endpoint != held]):
        yield Finding(client, f"answers from {held} only, which the client is bound to", _told(strayed), stage.change)


def _held(before: Stage) -> str | None:
    """Return the endpoint that a client was bound to, as its last answer tells."""
    return next((one.endpoint for one in reversed(before.answers.answers) if one.ok), None)


def _figure(before: Stage, stage: Stage) -> str:
    if not stage.usable:
        return "refused" if any(one.error.startswith(REFUSED) for one in stage.answers) else "not answered"
    held = _held(before)
    what = "bound" if held is None else "stays" if stage.answers.only_endpoint == held else "moves"
    if not stage.during:
        return what
    return f"{what}, {len(stage.during.failures)} of {len(stage.during)} requests lost in {stage.seconds:.1f} s"


def _said(answers: Answers) -> str:
    return f"{answers.summary()}\nin order: {answers.sequence()}"


def _told(answers: Sequence[Answer]) -> str:
    return "; ".join(dict.fromkeys(one.endpoint or one.error for one in answers))
