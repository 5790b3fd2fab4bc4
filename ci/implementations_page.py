"""Writes docs/implementations.md, and the README of kube-proxy's reports, from all reports in reports/.

``python -m ci.implementations_page`` (``make docs``) writes the pages; with ``--check`` it ends with 1 unless they are
current, and writes nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from session_affinity.cli.pytest_run import catalogue
from session_affinity.conformance import overview
from session_affinity.conformance.overview import ABSENT, PROFILES, StoredReport, escaped, first_line
from session_affinity.conformance.profiles import KUBE_PROXY as KUBE_PROXY_PROFILE
from session_affinity.conformance.profiles import feature_of, profiles
from session_affinity.conformance.result import ClaimResult, Outcome, SkipReason, digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from session_affinity.claims.catalogue import ClaimTest

ROOT: Final = Path(__file__).parents[1]
REPORTS: Final = ROOT / "reports"
KUBE_PROXY: Final = REPORTS / "kubernetes-kube-proxy"
"""The directory of the reports that this project makes itself."""
PAGE: Final = ROOT / "docs" / "implementations.md"

_HEAD: Final = """\
# Implementations

<!-- Written by `make docs` (ci/implementations_page.py) from the reports in reports/. Do not edit. -->

What the [reports](../reports) say about implementations of Services. A report is made by the suite and never edited;
[report.md](report.md) says what it has, and how to submit one for your implementation.
"""
_PROFILES: Final = """\
## Profiles

The result of each profile's core, with the number of core claims that passed and that apply. A report that was made
with another catalogue of claims than today's is marked: it says nothing about claims that came later.
"""
_DIFFERENCES: Final = """\
## Claims that did not pass

Violated claims, known differences, and claims that could not be judged.
"""
_CLAIMS: Final = """\
## Claims

The core claims of each profile. A feature beside the core, such as `dualStack`, is listed above where all of its claims
passed. `{absent}` means that a claim does not apply: another proxy mode, one IP family, a feature that the cluster does
not have.
"""
_README: Final = """\
# kube-proxy

<!-- Written by `make docs` (ci/implementations_page.py) from the reports in this directory. Do not edit. -->

kube-proxy of the released Kubernetes versions, on embedded clusters: one control plane and three workers that the suite
starts. The mode is kube-proxy's, with `-dual` where nodes, pods and Services have an IPv4 and an IPv6 address.
"""
_REPRODUCE: Final = """\
## Reproduce

From a checkout, on Linux and as root; every report of one Kubernetes version, a few minutes each:

    make reports VERSIONS=1.37

One of them with the released package, as any other run:

    pipx install 'session-affinity-conformance[embedded]'
    session-affinity check --cluster embedded --kubernetes 1.37 --proxy-mode iptables --report report.yaml
"""
_OUTCOMES: Final = (Outcome.FAILED, Outcome.DIFFERS, Outcome.UNDETERMINED)
_NOT_TESTED: Final = {
    SkipReason.NO_ACCESS: "no access",
    SkipReason.DESELECTED: "deselected",
    SkipReason.DISRUPTIVE: "disruptive",
    SkipReason.NOT_APPLICABLE: ABSENT,
}
_NOT_IN_CATALOGUE: Final = "not in its catalogue"


def render(stored: Sequence[StoredReport], claims: Mapping[str, ClaimTest]) -> str:
    """Return the page about all reports, ending with a newline."""
    current = digest(claims.values())
    parts = [
        _HEAD,
        _PROFILES,
        _lines(overview.table(stored, current, lambda report: f"../{report.file.relative_to(ROOT)}")),
        _DIFFERENCES,
        _lines(_not_passed(stored)),
        _CLAIMS.format(absent=ABSENT),
    ]
    for name in PROFILES:
        with_profile = [report for report in stored if report.profile(name)]
        if with_profile:
            parts += [f"### {name}\n", _lines(_claims_table(with_profile, _core_of(name, claims)))]
    return "\n".join(parts)


def render_readme(stored: Sequence[StoredReport], current: str) -> str:
    """Return the README of kube-proxy's reports, ending with a newline; ``current`` is the catalogue's digest."""
    reports = [report for report in stored if report.file.parent == KUBE_PROXY]
    table = _lines(overview.table(reports, current, lambda report: report.file.name))
    return f"{_README}\n{table}\n{_REPRODUCE}"


def pages() -> dict[Path, str]:
    """Return the text of every page, by file."""
    stored, claims = overview.read_reports([REPORTS]), catalogue()
    return {PAGE: render(stored, claims), KUBE_PROXY / "README.md": render_readme(stored, digest(claims.values()))}


def write() -> None:
    """Write the pages."""
    for file, text in pages().items():
        file.write_text(text, encoding="utf-8")


def _core_of(name: str, claims: Mapping[str, ClaimTest]) -> list[ClaimTest]:
    """Return the core claims of a profile, in the order of judging."""
    mode = name.removeprefix(f"{KUBE_PROXY_PROFILE}-")
    results = [ClaimResult(test.claim, Outcome.PASSED) for test in claims.values()]
    profile = next(profile for profile in profiles(results, claims, mode) if profile.name == name)
    return [claims[result.claim.id] for result in profile.core if not feature_of(claims[result.claim.id])]


def _claims_table(stored: Sequence[StoredReport], tests: Iterable[ClaimTest]) -> Iterator[str]:
    by_report = [{claim["id"]: claim for claim in report.document["claims"]} for report in stored]
    titles = (f"[{escaped(report.title)}](../{report.file.relative_to(ROOT)})" for report in stored)
    yield _row(("id", "claim", *titles))
    yield _row("---" for _ in range(2 + len(stored)))
    for test in tests:
        claim = test.claim
        yield _row((claim.id, escaped(claim.title), *(_cell(claims.get(claim.id)) for claims in by_report)))


def _cell(claim: Mapping[str, Any] | None) -> str:
    if claim is None:
        return _NOT_IN_CATALOGUE
    if claim["result"] == Outcome.SKIPPED:
        return _NOT_TESTED[SkipReason(claim["reason"])]
    outcome = str(claim["result"])
    return outcome if outcome == Outcome.PASSED else f"**{outcome}**"


def _not_passed(stored: Iterable[StoredReport]) -> Iterator[str]:
    rows = [
        (
            escaped(report.title),
            f"{claim['id']} {escaped(claim['title'])}",
            str(claim["result"]),
            escaped(first_line(claim["message"])),
            f"<{claim['link']}>" if claim.get("link", "").startswith("https://") else ABSENT,
        )
        for report in stored
        for claim in report.claims(*_OUTCOMES)
    ]
    if not rows:
        yield "None: every claim that was judged passed."
        return
    yield _row(("report", "claim", "result", "what was observed", "link"))
    yield _row("---" for _ in range(5))
    yield from map(_row, rows)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the pages, or say which are not current."""
    if sys.argv[1:] != ["--check"]:
        write()
        return 0
    stale = [file for file, text in pages().items() if not file.exists() or file.read_text(encoding="utf-8") != text]
    for file in stale:
        sys.stderr.write(f"{file.relative_to(ROOT)} is not what the reports make it\n  next: make docs\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
