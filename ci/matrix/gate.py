"""The gate: open when every leg of a matrix ran, judged every claim that it had to judge, and no claim failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ci.matrix.results import DIFFERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ci.matrix.expectations import Expectation, Plan
    from ci.matrix.results import Result


@dataclass(frozen=True)
class GateVerdict:
    """The state of the gate: a line of totals, and a line for each fault; the gate is open without faults."""

    totals: str
    faults: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        """Whether there is no fault."""
        return not self.faults

    @property
    def text(self) -> str:
        """The verdict for people: whether the gate is open, the totals, and every fault."""
        state = "open" if self.is_open else "shut"
        return "\n".join((f"gate {state}: {self.totals}", *(f"  {fault}" for fault in self.faults)))


def judge(plan: Plan, results: Sequence[Result]) -> GateVerdict:
    """Compare the results of a matrix with its plan.

    A failure on a leg that is not in the plan is a fault too, so that no failure is overlooked.
    """
    faults: list[str] = []
    for expectation in plan.expectations:
        faults += _missing(expectation, [result for result in results if result.leg == expectation.leg])
    faults += [
        f"{result.leg.name}: {result.claim} {result.status}: {_first_line(result.message)}"
        for status in ("failed", "broken")
        for result in results
        if result.status == status
    ]
    return GateVerdict(_totals(plan, results), tuple(faults))


def _totals(plan: Plan, results: Sequence[Result]) -> str:
    counts = Counter(result.status for result in results)
    legs = len({result.leg for result in results})
    shown = ("passed", "failed", "broken", "skipped", *([DIFFERS] if counts[DIFFERS] else []))
    by_status = ", ".join(f"{counts[status]} {status}" for status in shown)
    return f"{legs} of {len(plan.legs)} legs with results; {by_status}"


def _missing(expectation: Expectation, results: Sequence[Result]) -> Iterator[str]:
    """Yield a line for each claim of a leg that did not run, or that was skipped by no rule known at collection."""
    name = expectation.leg.name
    if not results:
        yield f"{name}: no results"
        return
    for claim in {**expectation.judged, **expectation.skipped}:
        to_judge, to_skip = expectation.judged.get(claim, 0), expectation.skipped.get(claim, 0)
        of_claim = [result for result in results if result.claim == claim]
        skipped = [result for result in of_claim if result.status == "skipped"]
        if (unexpected := len(skipped) - to_skip) > 0:
            reason = _first_line(skipped[-1].message)
            yield f"{name}: {claim} was skipped unexpectedly{_of_tests(unexpected, to_judge)}: {reason}"
        if (missing := to_judge + to_skip - len(of_claim)) > 0:
            yield f"{name}: {claim} did not run{_of_tests(missing, to_judge + to_skip)}"


def _of_tests(count: int, tests: int) -> str:
    return f" in {count} of {tests} tests" if tests > 1 else ""


def _first_line(message: str) -> str:
    return message.splitlines()[0] if message else "no reason is given"
