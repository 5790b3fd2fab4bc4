"""Which endpoints answer a client of Services of many shapes, and which its node remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from session_affinity.errors import NothingObservedError
from session_affinity.shapes import reduction
from session_affinity.verdicts.verdict import Finding, Verdict, require_observed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from session_affinity.scenarios.answered_shapes import AnsweredShape, AnsweredShapes


def judge_answered_shapes(seen: AnsweredShapes) -> Verdict:
    """Judge that each Service is answered by endpoints that it may use, under ClientIP by one, which is remembered.

    A Service without a usable endpoint must not be answered. Raises NothingObservedError when no Service got an answer
    where one was expected, or requests are missing, or nothing is wrong and some Services were not made.
    """
    require_observed(seen.shapes, "Services of many shapes")
    require_observed([shape for shape in seen.shapes if shape.expected], "Services of many shapes with an endpoint")
    for shape in seen.shapes:
        require_observed(shape.answers, f"requests to {shape.service.key}")
    findings = tuple(finding for shape in seen.shapes for finding in _findings(shape, seen))
    answered = sum(bool(shape.expected) for shape in seen.shapes)
    bound = [shape for shape in seen.shapes if shape.expected and shape.service.has_affinity]
    remembered = sum(shape.entries is not None for shape in bound)
    refused = f", {len(seen.refused)} refused by the cluster" if seen.refused else ""
    if seen.lacking and not findings:
        raise NothingObservedError(f"{len(seen.shapes)} Services of many shapes were made: {seen.lacking}")
    if not findings:
        entries = f", {remembered} with their entry read" if remembered else ""
        return Verdict(
            f"{answered} Services answered by endpoints that they may use, {len(bound)} of them by one{entries}; "
            f"{len(seen.shapes) - answered} without one not answered{refused}"
        )
    wrong = next(shape for shape in seen.shapes if any(_findings(shape, seen)))
    return Verdict(f"{len(findings)} contradictions in {len(seen.shapes)} Services{refused}", findings, wrong.service)


def _findings(shape: AnsweredShape, seen: AnsweredShapes) -> Iterator[Finding]:
    what = f"{shape.service.key} ({reduction.describe(shape.row)})"
    where = seen.client.pod
    if not shape.expected:
        if shape.answers.by_endpoint:
            yield Finding(where, "no answer: it has no endpoint that this node may use", shape.answers.summary(), what)
        return
    strangers = sorted(shape.answers.by_endpoint.keys() - set(shape.expected))
    if shape.answers.failures or strangers:
        yield Finding(where, f"answers from {' or '.join(shape.expected)} only", shape.answers.summary(), what)
    elif shape.service.has_affinity and not shape.answers.only_endpoint:
        yield Finding(where, "all answers from one endpoint", shape.answers.sequence(), what)
    elif shape.entries is not None:
        stored = sorted({entry.endpoint.pod for entry in shape.entries})
        expected = [shape.answers.only_endpoint] if shape.service.has_affinity else []
        if stored != expected:
            kept = f"an affinity entry for {expected[0]} alone" if expected else "no affinity entry"
            yield Finding(seen.client.node, kept, f"entries for {', '.join(stored) or 'none'}", what)
