"""Pictures: answers over time, the distribution of answers, and how long clients stayed on their endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Final

from session_affinity.report.svg import Picture, colour

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from session_affinity.scenarios.expiry.trials import Trial
    from session_affinity.traffic.answers import Answer, Answers
    from session_affinity.verdicts.spread import SpreadVerdict

WIDTH: Final = 760.0
_LEFT: Final = 170.0
_RIGHT: Final = 90.0
_TOP: Final = 46.0
_ROW: Final = 26.0
_NOTE: Final = 14.0
"""The height of the line of text between the title and the rows."""
NO_ANSWER: Final = "no answer"
_NARROWEST: Final = 1.0
"""The width in pixels below which a request has no mark of its own."""
_MOST_TARGETS: Final = 4
"""The number of targets that have rows of their own; above it, they share one row for each endpoint."""


def timeline(
    title: str,
    answers: Answers,
    names: Mapping[str, str] | None = None,
    marks: Sequence[tuple[int, str]] = (),
) -> str:
    """Return answers in the order of their requests: one row for each endpoint, one mark for each request.

    ``names`` are the names of Services by target; up to four targets have rows of their own. ``marks`` are changes made
    between requests, each with the number of requests before it.
    """
    by_target = 1 < len({str(answer.target) for answer in answers}) <= _MOST_TARGETS

    def row_of(answer: Answer) -> str:
        endpoint = answer.endpoint if answer.ok and answer.endpoint else NO_ANSWER
        service = (names or {}).get(str(answer.target), str(answer.target))
        return f"{service}: {endpoint}" if by_target else endpoint

    endpoints = sorted({answer.endpoint or "" for answer in answers if answer.ok})
    rows = sorted(
        {row_of(answer) for answer in answers}, key=lambda row: (row.endswith(NO_ANSWER) and not by_target, row)
    )
    left = max(_LEFT, 24.0 + 7.2 * max(map(len, rows), default=0))
    top = _TOP + (_NOTE if marks else 0)
    plot, height = WIDTH - left - _RIGHT, top + _ROW * len(rows)
    picture = Picture(WIDTH, height + 38 + 18 * len(marks), title)
    picture.text(16, 26, title, "ink b")
    step = plot / max(len(answers), 1)
    for number, row in enumerate(rows):
        y = top + _ROW * number
        total = sum(row_of(answer) == row for answer in answers)
        picture.text(left - 12, y + 17, row, "bad" if row.endswith(NO_ANSWER) else "ink", anchor="end")
        picture.line((left, y + _ROW), (left + plot, y + _ROW), "line")
        picture.text(left + plot + 12, y + 17, f"{total} of {len(answers)}", "ink")
    # Where marks would touch, consecutive requests of one row are drawn as one bar.
    narrow, number = step < _NARROWEST, 0
    for row, run in groupby(answers, key=row_of):
        same = list(run)
        y = top + _ROW * rows.index(row)
        style = colour(endpoints.index(same[0].endpoint or "")) if same[0].ok else "bad"
        if narrow:
            picture.box(left + step * number, y + 5, step * len(same), _ROW - 9, style)
        else:
            for place in range(number, number + len(same)):
                picture.box(left + step * (place + 0.15), y + 5, min(step * 0.7, 9), _ROW - 9, style)
        number += len(same)
    _count_axis(picture, len(answers), left, plot, height)
    for number, (place, text) in enumerate(marks, 1):
        x = left + step * place
        picture.line((x, top - 4), (x, height + 4), "ink", dashed=True)
        picture.text(x + 2, top - 6, str(number), "dim")
        picture.text(24, height + 22 + 18 * number, f"{number}: {text}", "dim")
    return picture.render()


def spread(title: str, verdict: SpreadVerdict) -> str:
    """Return the number of answers of each endpoint, with the expected number and the band that chance allows."""
    low, high = verdict.band
    counts = {**verdict.counts, **verdict.strangers}
    most = max(high, *counts.values()) * 1.08
    plot = WIDTH - _LEFT - 130
    height = _TOP + 34 * len(counts)

    def at(count: float) -> float:
        return _LEFT + plot * count / most

    picture = Picture(WIDTH, height + 44, title)
    picture.text(16, 26, title, "ink b")
    picture.box(at(low), _TOP, at(high) - at(low), height - _TOP, "band")
    for place, (endpoint, count) in enumerate(counts.items()):
        y = _TOP + 34 * place
        inside = low <= count <= high and endpoint not in verdict.strangers
        share = 100 * count / max(verdict.requests, 1)
        picture.text(_LEFT - 12, y + 22, endpoint, "ink" if inside else "bad", anchor="end")
        picture.box(_LEFT, y + 7, at(count) - _LEFT, 20, colour(place) if inside else "bad")
        picture.text(_LEFT + plot + 12, y + 22, f"{count} ({share:.1f} %)", "ink" if inside else "bad")
    picture.line((at(verdict.expected), _TOP), (at(verdict.expected), height + 6), "ink", dashed=True)
    picture.line((_LEFT, _TOP), (_LEFT, height), "dim")
    picture.text(at(verdict.expected), height + 20, f"{verdict.expected:.0f} expected", "dim", anchor="middle")
    bounds = f"{low} to {high} allowed; chi-square {verdict.chi2:.2f} of {verdict.threshold:.2f} allowed"
    picture.text(at(verdict.expected), height + 36, bounds, "dim", anchor="middle")
    return picture.render()


@dataclass(frozen=True)
class EntryLifetime:
    """The answers of one Service to one client.

    ``answers`` are pairs of a moment, in seconds since the connection before the probe, and an endpoint; the last is
    the probe. ``margin`` is the uncertainty of its moment in seconds.
    """

    label: str
    answers: tuple[tuple[float, str], ...]
    margin: float = 0.0

    @property
    def moved(self) -> bool:
        """Whether the probe and the connection before it were answered by different endpoints."""
        return len(self.answers) > 1 and self.answers[-1][1] != self.answers[-2][1]


def lifetime(trial: Trial) -> EntryLifetime:
    """Return a trial of the shared wait as a line of the picture."""
    last = trial.silence()
    probe = (last.low + last.high) / 2
    places = range(-len(trial.contacts), -1)
    gaps = [trial.silence(place) for place in places]
    answers = [
        (probe - (gap.low + gap.high) / 2, contact.endpoint or NO_ANSWER)
        for gap, contact in zip(gaps, trial.contacts, strict=False)
    ]
    answers.append((probe, trial.probe.endpoint or NO_ANSWER))
    return EntryLifetime(trial.name, tuple(answers), (last.high - last.low) / 2)


def lifelines(title: str, lifetimes: Sequence[EntryLifetime], timeout: float) -> str:
    """Return, for each client, its last connection and the probe on a line with T - 1 s, T and T + 1 s.

    The time between them is compressed, so that the seconds around the timeout are distinguishable.
    """
    scale = _Scale(min((lifetime.answers[0][0] for lifetime in lifetimes), default=0.0), lifetimes, timeout)
    endpoints = sorted({endpoint for lifetime in lifetimes for _, endpoint in lifetime.answers} - {NO_ANSWER})
    top = _TOP + _NOTE
    height = top + 26 + 24 * len(lifetimes)
    picture = Picture(WIDTH, height + 52, title)
    picture.text(16, 26, title, "ink b")
    for moment, label in _marked_moments(lifetimes, timeout):
        if scale.low <= moment <= scale.high:
            x, on_time = scale.at(moment), label.startswith(("T =", "T w"))
            picture.text(x, top + (-4 if on_time else 11), label, "dim", anchor="middle")
            picture.line(
                (x, top + (2 if on_time else 17)), (x, height), "bad" if on_time else "dim", dashed=not on_time
            )
    styles = {endpoint: colour(place) for place, endpoint in enumerate(endpoints)}
    for place, lifetime in enumerate(lifetimes):
        y = top + 36 + 24 * place
        picture.text(_LEFT + 10, y + 4, lifetime.label.removeprefix("affinity-"), "ink", anchor="end")
        picture.line((scale.at(lifetime.answers[0][0]), y), (scale.at(lifetime.answers[-1][0]), y), "line")
        for moment, endpoint in lifetime.answers:
            picture.dot(scale.at(moment), y, 5.5, styles.get(endpoint, "bad"))
        probe, endpoint = lifetime.answers[-1]
        margin = f" ±{lifetime.margin:.2f}" if lifetime.margin >= 0.005 else ""
        outcome = ("moved to " if lifetime.moved else "stayed with ") if endpoint in styles else ""
        text = f"{outcome}{endpoint}, {probe:.2f}{margin} s"
        picture.text(WIDTH - 214, y + 4, text, styles.get(endpoint, "bad"))
    x = 24.0
    for endpoint, style in styles.items():
        picture.dot(x, height + 20, 5.5, style)
        picture.text(x + 10, height + 24, endpoint, "ink")
        x += 34 + 8 * len(endpoint)
    note = "seconds since the connection before the probe; each dot is an answer on a new connection"
    picture.text(16, height + 44, note, "dim")
    return picture.render()


def _marked_moments(lifetimes: Sequence[EntryLifetime], timeout: float) -> list[tuple[float, str]]:
    """Return the marks of the scale; with a renewal, also the timeout counted from the first connection."""
    renewed = [lifetime.answers[0][0] + timeout for lifetime in lifetimes if len(lifetime.answers) > 2]
    if renewed:
        return [(0.0, "0 s"), (min(renewed), "T without renewal"), (timeout, f"T = {timeout:g} s")]
    return [(0.0, "0 s"), (timeout - 1, "T - 1 s"), (timeout, f"T = {timeout:g} s"), (timeout + 1, "T + 1 s")]


class _Scale:
    """Converts seconds to pixels; the seconds around timeout and probes get more pixels than those before."""

    def __init__(self, low: float, lifetimes: Sequence[EntryLifetime], timeout: float) -> None:
        probes = [lifetime.answers[-1][0] for lifetime in lifetimes]
        self.low = min(low, 0.0)
        latest = max(probes, default=0.0)
        self.high = max(latest, timeout) + 0.6 if latest * 3 > timeout else latest + 1.0
        self._knee = max(min([*probes, timeout]) - 2.0, self.low + 0.1)
        self._left, self._middle, self._right = _LEFT + 30, _LEFT + 150, WIDTH - 240

    def at(self, moment: float) -> float:
        if moment <= self._knee:
            return self._left + (self._middle - self._left) * (moment - self.low) / (self._knee - self.low)
        return self._middle + (self._right - self._middle) * (moment - self._knee) / (self.high - self._knee)


def _count_axis(picture: Picture, requests: int, left: float, plot: float, height: float) -> None:
    ticks = sorted({1, *(round(requests * part / 4) for part in (1, 2, 3)), requests} - {0})
    for number in ticks:
        picture.text(left + plot * (number - 0.5) / requests, height + 16, str(number), "dim", anchor="middle")
    picture.text(left - 12, height + 16, "request", "dim", anchor="end")
