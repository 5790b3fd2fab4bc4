"""The summary at the end of a run, written to be pasted into an issue."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from session_affinity.experiment import BUDGET
from session_affinity.plugin.check import HEADLINE
from session_affinity.plugin.claims import CATALOGUE
from session_affinity.plugin.facts import IN_BATCHES, RUN_FACTS
from session_affinity.plugin.phases import CLUSTER_START, long_enough
from session_affinity.plugin.terminal import CLAIM, LINE_OUTCOMES, properties_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pytest
    from _pytest.terminal import TerminalReporter

    from session_affinity.claims import Claim
    from session_affinity.claims.catalogue import ClaimTest

    Catalogue = Mapping[str, ClaimTest]
    Stats = Mapping[str, Sequence[Any]]
    """pytest's reports by outcome."""

_OUTCOMES: Final = {name: LINE_OUTCOMES.get(name, name) for name in ("failed", "error", "passed", "xfailed", "xpassed")}
"""pytest's outcomes, the worst first, with their names in the summary; skipped claims are listed by reason instead."""


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Write the summary."""
    if config.get_verbosity() < 0 or not config.stash[RUN_FACTS].facts:
        return
    terminalreporter.section("summary")
    for line in summary(config, terminalreporter.stats):
        terminalreporter.line(line)


def summary(config: pytest.Config, stats: Stats) -> list[str]:
    """Return the lines of the summary: cluster, counts, claims, seconds of each phase, directory of the evidence."""
    run, catalogue = config.stash[RUN_FACTS], config.stash[CATALOGUE]
    suite, alarm = run.facts["suite"] or "unknown", false_alarm_line(catalogue, stats)
    lines = [
        f"cluster: {cluster_line(run.facts)}",
        f"suite: {suite}, {counts_line(catalogue, stats)}; false alarm {alarm}",
        *claim_lines(catalogue, stats),
        *([f"sample: {run.facts['nodes sampled']}"] if "nodes sampled" in run.facts else []),
        *([f"{IN_BATCHES}: {run.facts[IN_BATCHES]}"] if IN_BATCHES in run.facts else []),
        f"time: {time_line(run.phases(), run.cluster_steps, time.monotonic() - run.began)}",
    ]
    if directory := config.getoption("allure_report_dir", default=None):
        lines.append(f"evidence: {directory}")
    return lines


def cluster_line(facts: Mapping[str, str]) -> str:
    """Return the cluster, its kube-proxy or what serves Services instead, and its kernel as a line."""
    rules = f" ({facts['rules read with']})" if "rules read with" in facts else ""
    families = f", {facts['IP families'].replace(', ', ' and ')}" if "IP families" in facts else ""
    kube_proxy = f"kube-proxy {facts.get('proxy mode', 'mode unknown')}{rules}"
    missing = "".join(
        f" ({word}: {facts[name]})"
        for word, name in (("missing", "nodes missing"), ("left out", "nodes left out"))
        if name in facts
    )
    judged = facts.get("nodes judged", facts["nodes"])
    nodes = facts["nodes"] if judged == facts["nodes"] else f"{judged} of {facts['nodes']}"
    return (
        f"{facts['cluster']}, {facts['provider']}, Kubernetes {facts['Kubernetes']}, {nodes} nodes{missing},"
        f" {facts.get('served by') or kube_proxy}{families}, kernel {facts['kernel']}"
    )


def counts_line(catalogue: Catalogue, stats: Stats) -> str:
    """Return the number of claims by outcome."""
    counts = Counter(outcome for outcome, _, _ in _judged(catalogue, stats))
    counts["skipped"] = len(_claims(catalogue, stats.get("skipped", ())))
    names = dict.fromkeys((*_OUTCOMES.values(), "skipped"))
    return ", ".join(f"{counts[name]} {name}" for name in names if counts[name]) or "no claim judged"


def claim_lines(catalogue: Catalogue, stats: Stats) -> Iterator[str]:
    """Yield a line for each judged claim, with its headline or title, and one for each reason for skipping claims."""
    places = {claim_id: place for place, claim_id in enumerate(catalogue)}
    lines = []
    for outcome, claim, report in _judged(catalogue, stats):
        headline = properties_of(report).get(HEADLINE) or claim.title
        title = f"{claim.title}: " if outcome in ("failed", "differs") and headline != claim.title else ""
        lines.append((places[claim.id], f"{outcome:<8}{claim.id:<6}{title}{headline}"))
    yield from (line for _, line in sorted(lines))
    by_reason: dict[str, list[str]] = {}
    for claim, report in _claims(catalogue, stats.get("skipped", ())):
        by_reason.setdefault(_reason(report), []).append(claim.id)
    yield from (f"skipped {' '.join(ids)}: {reason}" for reason, ids in by_reason.items())


def time_line(phases: Mapping[str, float], cluster_steps: Sequence[tuple[str, float]], whole: float) -> str:
    """Return the seconds of each phase and of the whole run as a line; the start of the cluster with its steps."""
    parts = _seconds(phases.items())
    steps = _seconds(long_enough(dict(cluster_steps)).items())
    if CLUSTER_START in phases and steps:
        place = list(phases).index(CLUSTER_START)
        parts[place] += f" ({', '.join(steps)})"
    return ", ".join((*parts, f"whole run {whole:.1f} s"))


def false_alarm_line(catalogue: Catalogue, stats: Stats) -> str:
    """Return the bound on the probability of a false alarm: of the claims judged, and allowed for a whole run."""
    used = sum(claim.false_alarm for _, claim, _ in _judged(catalogue, stats))
    return f"at most {used:.1e}, {BUDGET:.0e} is allowed"


def _judged(catalogue: Catalogue, stats: Stats) -> list[tuple[str, Claim, Any]]:
    """Return the claims that ran, each with its worst outcome: the teardown of a test that passed may fail."""
    judged: dict[str, tuple[str, Claim, Any]] = {}
    for outcome, name in _OUTCOMES.items():
        for claim, report in _claims(catalogue, stats.get(outcome, ())):
            judged.setdefault(claim.id, (name, claim, report))
    return list(judged.values())


def _claims(catalogue: Catalogue, reports: Iterable[Any]) -> list[tuple[Claim, Any]]:
    """Return the claims of reports, each once."""
    by_id = {properties_of(report).get(CLAIM, ""): report for report in reports}
    return [(catalogue[claim_id].claim, report) for claim_id, report in by_id.items() if claim_id]


def _seconds(entries: Iterable[tuple[str, float]]) -> list[str]:
    return [f"{name} {seconds:.1f} s" for name, seconds in entries]


def _reason(report: Any) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return str(text).removeprefix("Skipped: ")
