"""Whether a matrix as a whole conforms: every leg ran, judged every claim it was to judge, and none failed.

Allure's own quality gate counts (report/gate.mjs); this one names the leg, the claim and the reason.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ci.matrix.expected import Expectation, Plan
    from ci.matrix.results import Result


def faults(plan: Plan, results: Sequence[Result]) -> tuple[str, ...]:
    """Return a line for everything that keeps the gate shut; none when it is open.

    Results of a leg that the plan does not have count as well, so that a failure is never passed over.
    """
    found: list[str] = []
    for expectation in plan.expectations:
        found += _shortfall(expectation, [one for one in results if one.leg == expectation.leg])
    found += [
        f"{one.leg.name}: {one.claim} {one.status}: {_first_line(one.message)}"
        for status in ("failed", "broken")
        for one in results
        if one.status == status
    ]
    return tuple(found)


def told(plan: Plan, results: Sequence[Result], found: Sequence[str]) -> str:
    """Return the gate's verdict in words: a line of figures, then one for each fault."""
    counts = Counter(one.status for one in results)
    figures = ", ".join(f"{counts[status]} {status}" for status in ("passed", "failed", "broken", "skipped"))
    legs = len({one.leg for one in results})
    head = f"gate {'shut' if found else 'open'}: {legs} of {len(plan.legs)} legs with results; {figures}"
    return "\n".join((head, *(f"  {fault}" for fault in found)))


def _shortfall(expectation: Expectation, results: Sequence[Result]) -> Iterator[str]:
    name = expectation.leg.name
    if not results:
        yield f"{name}: no results of this leg"
        return
    for claim in {**expectation.judged, **expectation.skipped}:
        wanted, foreseen = expectation.judged.get(claim, 0), expectation.skipped.get(claim, 0)
        of_claim = [one for one in results if one.claim == claim]
        skipped = [one for one in of_claim if one.status == "skipped"]
        if (beyond := len(skipped) - foreseen) > 0:
            why = _first_line(skipped[-1].message)
            yield f"{name}: {claim} was skipped{_times(beyond, wanted)}, and was to be judged: {why}"
        if (missing := wanted + foreseen - len(of_claim)) > 0:
            yield f"{name}: {claim} did not run{_times(missing, wanted + foreseen)}"


def _times(some: int, of: int) -> str:
    return f" in {some} of {of} tests" if of > 1 else ""


def _first_line(message: str) -> str:
    return message.splitlines()[0] if message else "no reason is given"
