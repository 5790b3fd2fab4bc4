"""The end of a run on the terminal: what can be pasted into an issue."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from session_affinity import claims
from session_affinity.claims import BUDGET, CATALOGUE
from session_affinity.plugin.evidence import KEY_NUMBER
from session_affinity.plugin.facts import RUN_FACTS
from session_affinity.plugin.terminal import CLAIM, properties_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pytest
    from _pytest.terminal import TerminalReporter

_OUTCOMES = {"failed": "failed", "error": "error", "passed": "passed", "xfailed": "differs", "xpassed": "passed"}
"""What pytest calls an outcome, and what the summary does; skipped claims are told apart, by their rules."""
_ORDER = {claim_id: place for place, claim_id in enumerate(CATALOGUE)}


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Say what the run was on, how each claim went, where the time went and where the evidence is."""
    if config.get_verbosity() < 0 or not config.stash[RUN_FACTS].facts:
        return
    terminalreporter.section("summary")
    for line in summary(config, terminalreporter.stats):
        terminalreporter.line(line)


def summary(config: pytest.Config, stats: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the lines of the summary; ``stats`` are pytest's reports by outcome."""
    known = config.stash[RUN_FACTS]
    lines = [
        "cluster: " + told_cluster(known.facts),
        f"suite: {known.facts['suite'] or 'unknown'}, {told_counts(stats)}; false alarm {told_false_alarm(stats)}",
        *told_claims(stats),
        f"time: {told_times(known.phases(), time.monotonic() - known.began)}",
    ]
    if directory := config.getoption("allure_report_dir", default=None):
        lines.append(f"evidence: {directory}")
    return lines


def told_cluster(facts: Mapping[str, str]) -> str:
    """Return the cluster in a line."""
    rules = f" ({facts['rules told by']})" if "rules told by" in facts else ""
    families = f", {facts['IP families'].replace(', ', ' and ')}" if "IP families" in facts else ""
    return (
        f"{facts['cluster']}, {facts['provider']}, Kubernetes {facts['Kubernetes']}, {facts['nodes']} nodes,"
        f" kube-proxy {facts.get('proxy mode', 'mode unknown')}{rules}{families}, kernel {facts['kernel']}"
    )


def told_counts(stats: Mapping[str, Sequence[Any]]) -> str:
    """Return how many claims came out how."""
    counts = Counter(told for told, _, _ in _judged(stats))
    counts["skipped"] = len(_claims(stats.get("skipped", ())))
    names = dict.fromkeys((*_OUTCOMES.values(), "skipped"))
    return ", ".join(f"{counts[name]} {name}" for name in names if counts[name]) or "no claim judged"


def told_claims(stats: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Yield a line a claim: outcome, id and key number, or its title where it has none; then the rules that skipped."""
    lines = []
    for told, claim, report in _judged(stats):
        figure = properties_of(report).get(KEY_NUMBER) or claim.title
        title = f"{claim.title}: " if told in ("failed", "differs") and figure != claim.title else ""
        lines.append((_ORDER[claim.id], f"{told:<8}{claim.id:<6}{title}{figure}"))
    yield from (line for _, line in sorted(lines))
    by_rule: dict[str, list[str]] = {}
    for claim, report in _claims(stats.get("skipped", ())):
        by_rule.setdefault(_rule(report), []).append(claim.id)
    yield from (f"skipped {' '.join(ids)}: {rule}" for rule, ids in by_rule.items())


def told_times(phases: Mapping[str, float], whole: float) -> str:
    """Return how long each phase took, and the whole run, in words."""
    told = [f"{name} {seconds:.1f} s" for name, seconds in phases.items()]
    return ", ".join((*told, f"whole run {whole:.1f} s"))


def told_false_alarm(stats: Mapping[str, Sequence[Any]]) -> str:
    """Return how much of what chance may cost in a run the judged claims used."""
    used = sum(claim.false_alarm for _, claim, _ in _judged(stats))
    return f"at most {used:.1e}, {BUDGET:.0e} is allowed"


def _judged(stats: Mapping[str, Sequence[Any]]) -> list[tuple[str, claims.Claim, Any]]:
    """Return the claims that ran, each with the worst that became of it: one that held may not be tidied up."""
    found: dict[str, tuple[str, claims.Claim, Any]] = {}
    for outcome, told in _OUTCOMES.items():
        for claim, report in _claims(stats.get(outcome, ())):
            found.setdefault(claim.id, (told, claim, report))
    return list(found.values())


def _claims(reports: Iterable[Any]) -> list[tuple[claims.Claim, Any]]:
    """Return the claims of reports, each once."""
    found = {properties_of(one).get(CLAIM, ""): one for one in reports}
    return [(claims.find(claim_id), one) for claim_id, one in found.items() if claim_id]


def _rule(report: Any) -> str:
    told = report.longrepr
    text = told[2] if isinstance(told, tuple) else str(told)
    return str(text).removeprefix("Skipped: ")
