"""Reports for people: a report as text, and many reports as a Markdown table of implementations and profiles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.conformance import report as reports
from session_affinity.conformance.profiles import API, KUBE_PROXY
from session_affinity.conformance.result import Outcome, SkipReason
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

PROFILES: Final = (API, f"{KUBE_PROXY}-iptables", f"{KUBE_PROXY}-nftables")
"""The profiles that a report may have, in the order of the table's columns."""
FILE_NAMES: Final = ("*report.yaml", "*report.json")
ABSENT: Final = "-"
"""What a cell shows where a report has nothing to say."""
_NOT_PASSED: Final = (Outcome.FAILED, Outcome.DIFFERS, Outcome.UNDETERMINED)
_LISTED: Final = (*_NOT_PASSED, Outcome.SKIPPED)
_LONGEST_LINE: Final = 160


@dataclass(frozen=True)
class StoredReport:
    """A report, and the file that has it."""

    file: Path
    document: Mapping[str, Any]

    @property
    def implementation(self) -> str:
        """The implementation as ``organization/project``."""
        implementation = self.document["implementation"]
        names = (implementation["organization"], implementation["project"])
        return "/".join(filter(None, names)) or "unnamed"

    @property
    def version(self) -> str:
        """The version of the implementation."""
        return str(self.document["implementation"]["version"]) or ABSENT

    @property
    def mode(self) -> str:
        """The mode of the implementation."""
        return str(self.document["mode"])

    @property
    def title(self) -> str:
        """The report in a heading: project, version and mode."""
        return f"{self.implementation.rpartition('/')[2]} {self.version} {self.mode}"

    @property
    def digest(self) -> str:
        """The digest of the catalogue that the report was made with."""
        return str(self.document["suite"]["catalogueDigest"])

    @property
    def order(self) -> tuple[Any, ...]:
        """The sort key: implementation, then version with numbers compared as numbers, then mode."""
        parts = re.findall(r"\d+|\D+", self.version)
        return (
            self.implementation,
            [(part.isdigit(), int(part) if part.isdigit() else part) for part in parts],
            self.mode,
        )

    def profile(self, name: str) -> Mapping[str, Any] | None:
        """Return one of its profiles; None when the report has no profile of that name."""
        return next((profile for profile in self.document["profiles"] if profile["name"] == name), None)

    def claims(self, *outcomes: Outcome) -> list[Mapping[str, Any]]:
        """Return the claims with one of the outcomes, in the order of judging."""
        return [claim for claim in self.document["claims"] if claim["result"] in outcomes]


def read_reports(places: Iterable[Path]) -> tuple[StoredReport, ...]:
    """Return valid reports, sorted: those in files, and below directories those named ``*report.yaml`` or ``.json``.

    Raises UsageError when a directory has none, and SuiteError for a file that is not a valid report.
    """
    files = dict.fromkeys(file for place in places for file in _files(place))
    stored = [StoredReport(file, reports.read(file)) for file in files]
    for report in stored:
        reports.require_valid(report.document, str(report.file))
    return tuple(sorted(stored, key=lambda report: report.order))


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    files = sorted(file for pattern in FILE_NAMES for file in place.rglob(pattern))
    if not files:
        raise UsageError(f"no report below {place}", next_step=f"name a directory with files {' or '.join(FILE_NAMES)}")
    return files


def summary(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a valid report as lines: implementation, cluster, profiles, and every claim that did not pass."""
    implementation, cluster, suite = document["implementation"], document["cluster"], document["suite"]
    names = (implementation["organization"], implementation["project"], implementation["version"])
    yield f"implementation: {' '.join(filter(None, names)) or 'unnamed'}, mode {document['mode']}"
    nodes, families = cluster["nodes"], " and ".join(cluster["ipFamilies"])
    yield (
        f"cluster: Kubernetes {cluster['kubernetes']}, {cluster['provider']}, {nodes['judged']} of {nodes['total']}"
        f" nodes judged, {families}, {_served_by(cluster)}"
    )
    if "sample" in nodes:
        yield f"sample: {nodes['sample']}"
    access = document["access"]
    behaviour = ", behaviour only" if access["onlyBehaviour"] else ""
    yield f"access: nodes {access['nodes']}, {access['location']}{behaviour}"
    commit = f" {suite['commit']}" if suite["commit"] else ""
    yield f"suite: {suite['version']}{commit}, {suite['claims']} claims, catalogue {suite['catalogueDigest'][:19]}"
    if image := suite.get("image"):
        yield f"image: {image}"
    yield f"made: {document['date']}, in {document['durationSeconds']:.0f} s"
    counts = ", ".join(f"{count} {outcome}" for outcome, count in document["summary"].items() if count)
    yield f"claims: {counts}; false alarm at most {document['falseAlarmBound']:.1e}"
    for profile in document["profiles"]:
        features = ", ".join(profile["supportedFeatures"]) or "none"
        yield f"profile {profile['name']}: {profile_cell(profile)}; supported features: {features}"
    for outcome in _LISTED:
        yield from _claims(document, outcome)
    if document["passesAfterAll"]:
        yield f"passes after all: {', '.join(document['passesAfterAll'])}"


def _served_by(cluster: Mapping[str, Any]) -> str:
    """Return kube-proxy's mode, and the programs that serve Services where some were recognised."""
    fields = ("name", "version", "serves")
    programs = [" ".join(filter(None, map(program.get, fields))) for program in cluster.get("programs", ())]
    return "; ".join((f"kube-proxy {cluster['proxyMode']}", *programs))


def table(
    stored: Sequence[StoredReport], digest: str = "", link: Callable[[StoredReport], str] | None = None
) -> Iterator[str]:
    """Yield reports as a Markdown table: a row for each, with the result of every profile.

    ``digest`` is that of the suite's catalogue: reports made with another one are marked. ``link`` returns the address
    of a report.
    """
    head = ("implementation", "version", "mode", "Kubernetes", *PROFILES, "supported features", "suite")
    yield _row(head)
    yield _row("---" for _ in head)
    for report in stored:
        version = escaped(report.version)
        features = dict.fromkeys(
            feature for profile in report.document["profiles"] for feature in profile["supportedFeatures"]
        )
        suite = str(report.document["suite"]["version"])
        yield _row(
            (
                escaped(report.implementation),
                f"[{version}]({link(report)})" if link else version,
                escaped(report.mode),
                escaped(report.document["cluster"]["kubernetes"]),
                *(profile_cell(report.profile(name)) for name in PROFILES),
                ", ".join(features) or ABSENT,
                f"{suite}, another catalogue" if digest and digest != report.digest else suite,
            )
        )


def profile_cell(profile: Mapping[str, Any] | None) -> str:
    """Return the result of a profile, and how many of the core claims that apply passed."""
    if profile is None:
        return ABSENT
    passed = profile["core"].get(Outcome.PASSED, 0)
    applicable = sum(profile["core"].values()) - len(profile["skipped"].get(SkipReason.NOT_APPLICABLE, ()))
    return f"{profile['result']} ({passed} of {applicable})"


def first_line(message: str) -> str:
    """Return the first line of a message, shortened."""
    line = message.strip().partition("\n")[0]
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"


def escaped(text: str) -> str:
    """Return a text that comes from a report as one that is only text in a cell of a Markdown table."""
    return re.sub(r"([\\`*_\[\]<>|&])", r"\\\1", " ".join(text.split()))


def _claims(document: Mapping[str, Any], outcome: Outcome) -> Iterator[str]:
    claims = [claim for claim in document["claims"] if claim["result"] == outcome]
    if outcome is Outcome.SKIPPED:
        by_reason: dict[str, list[str]] = {}
        for claim in claims:
            by_reason.setdefault(f"{claim['reason']}: {claim['message']}", []).append(claim["id"])
        yield from (f"skipped {' '.join(ids)}: {reason}" for reason, ids in by_reason.items())
        return
    for claim in claims:
        link = f" ({claim['link']})" if claim.get("link") else ""
        yield f"{outcome} {claim['id']} {claim['title']}: {first_line(claim['message'])}{link}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
