"""Claim by leg: one row a claim, one column a leg, in text, Markdown and HTML."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from ci.matrix.results import STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ci.matrix.expected import Plan
    from ci.matrix.legs import Leg
    from ci.matrix.results import Result

NOT_RUN: Final = "not run"
"""The word of a test that a leg was to run and has no result of."""
NOT_ASKED: Final = "-"
"""The word of a claim that a leg was not asked about."""
_LOUD: Final = {"failed", "broken", NOT_RUN}
_TITLE_WIDTH: Final = 60


@dataclass(frozen=True)
class Cell:
    """What became of a claim on a leg: the word that matters most, and the results behind it."""

    word: str
    results: tuple[Result, ...] = ()

    @property
    def text(self) -> str:
        """The word, and of how many tests it is true when that is not all of them."""
        alike = sum(one.status == self.word for one in self.results)
        return f"{self.word} {alike} of {len(self.results)}" if 0 < alike < len(self.results) else self.word

    @property
    def detail(self) -> str:
        """Why in a line, or the key number of what passed."""
        telling = (one.message or one.headline for one in self.results if one.status == self.word)
        return next((said.splitlines()[0] for said in telling if said), "")


@dataclass(frozen=True)
class Row:
    """A claim and its cells, in the order of the legs."""

    claim: str
    title: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class LegTable:
    """Every claim that any leg was asked about or has a result of."""

    legs: tuple[Leg, ...]
    rows: tuple[Row, ...]

    def counts(self) -> tuple[str, ...]:
        """Return for each leg how many of the claims it judged passed."""
        columns = [[row.cells[place].word for row in self.rows] for place in range(len(self.legs))]
        return tuple(
            f"{words.count('passed')} of {sum(word not in ('skipped', NOT_ASKED) for word in words)}"
            for words in columns
        )


def claim_by_leg(plan: Plan, results: Sequence[Result]) -> LegTable:
    """Return the table of a plan and of what came of it; legs that ran unplanned have columns too."""
    legs = tuple(sorted({*plan.legs, *(one.leg for one in results)}, key=lambda leg: leg.order))
    expected = {
        (one.leg, claim): one.judged.get(claim, 0) + one.skipped.get(claim, 0)
        for one in plan.expectations
        for claim in (*one.judged, *one.skipped)
    }
    seen: dict[tuple[Leg, str], tuple[Result, ...]] = {}
    for one in results:
        seen[one.leg, one.claim] = (*seen.get((one.leg, one.claim), ()), one)
    claims = {claim for _, claim in (*expected, *seen)}
    titles = plan.titles
    return LegTable(
        legs,
        tuple(
            Row(
                claim,
                titles.get(claim, "(no longer in the catalogue)"),
                tuple(_cell(expected.get((leg, claim), 0), seen.get((leg, claim), ())) for leg in legs),
            )
            for claim in (*titles, *sorted(claims - set(titles)))
        ),
    )


def text(table: LegTable) -> str:
    """Return it for a terminal or a log: plain lines, legs as stacked headings, a last line with the counts."""
    headings = [(leg.kubernetes, leg.proxy_mode, leg.provider) for leg in table.legs]
    body = [[cell.text.upper() if cell.word in _LOUD else cell.text for cell in row.cells] for row in table.rows]
    columns = list(zip(*body, strict=True)) or [()] * len(headings)
    parts = zip(headings, columns, table.counts(), strict=True)
    widths = [max(map(len, (*heading, *column, count))) for heading, column, count in parts]
    title = max((min(len(row.title), _TITLE_WIDTH) for row in table.rows), default=0)
    lines = [_line("", "", title, [heading[level] for heading in headings], widths) for level in range(3)]
    lines += [_line(row.claim, row.title, title, cells, widths) for row, cells in zip(table.rows, body, strict=True)]
    return "\n".join((*lines, _line("", "passed of judged", title, table.counts(), widths)))


def markdown(table: LegTable) -> str:
    """Return it for a step summary or an issue; what keeps the gate shut is bold."""
    lines = [
        _cells(("claim", "", *(leg.name for leg in table.legs))),
        _cells("---" for _ in range(len(table.legs) + 2)),
    ]
    for row in table.rows:
        words = (f"**{cell.text}**" if cell.word in _LOUD else cell.text for cell in row.cells)
        lines.append(_cells((row.claim, row.title.replace("|", "\\|"), *words)))
    lines.append(_cells(("", "passed of judged", *table.counts())))
    return "\n".join(lines) + "\n"


def html(table: LegTable, verdict: str, *, linked: bool) -> str:
    """Return it as a page of its own that needs no script; ``linked`` when the report's index.html is beside it."""
    import jinja2

    template = resources.files("ci.matrix").joinpath("claim-by-leg.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    words = {status: status for status in STATUSES} | {NOT_RUN: "not-run", NOT_ASKED: "not-asked"}
    given: dict[str, Any] = {"table": table, "verdict": verdict, "linked": linked, "classes": words}
    return environment.from_string(template).render(given)


def _cell(expected: int, results: tuple[Result, ...]) -> Cell:
    statuses = {one.status for one in results}
    worst = next((status for status in STATUSES if status in statuses), None)
    if worst in ("failed", "broken"):
        return Cell(worst, results)
    if len(results) < expected:
        return Cell(NOT_RUN, results)
    return Cell(worst or NOT_ASKED, results)


def _line(claim: str, title: str, width: int, cells: Iterable[str], widths: Iterable[int]) -> str:
    cut = title if len(title) <= width else title[: width - 3] + "..."
    columns = "  ".join(f"{cell:<{wide}}" for cell, wide in zip(cells, widths, strict=True))
    return f"{claim:<6}{cut:<{width}}  {columns}".rstrip()


def _cells(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
