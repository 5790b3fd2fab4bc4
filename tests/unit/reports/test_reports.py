"""How the reports of kube-proxy are made, and the page about all implementations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ci import implementations_page, reports
from session_affinity import versions
from session_affinity.conformance import report
from session_affinity.conformance.implementation import Implementation
from session_affinity.conformance.overview import StoredReport
from session_affinity.conformance.result import Outcome, SkipReason
from session_affinity.legs import Leg
from tests.unit.conformance import conftest as small

if TYPE_CHECKING:
    from session_affinity.conformance.report import RunDescription

pytestmark = pytest.mark.unit

description = small.description
LEG = Leg("1.37", "iptables", "embedded")
CURRENT = "sha256:0"


def stored(
    description: RunDescription, version: str, mode: str = "iptables", **outcomes: Outcome | SkipReason
) -> StoredReport:
    implementation = Implementation("kubernetes", "kube-proxy", version=version, mode=mode)
    about = replace(description, implementation=implementation, proxy_mode=mode)
    file = implementations_page.KUBE_PROXY / f"{version}-{mode}-report.yaml"
    return StoredReport(file, report.document(small.run_of(**outcomes), small.CATALOGUE, about))


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let reports be made here, of one leg, without pages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reports, "DIRECTORY", tmp_path / "kept")
    monkeypatch.setattr(reports, "embedded_legs", lambda *_: (LEG,))
    monkeypatch.setattr(implementations_page, "write", lambda: None)
    return tmp_path / "kept"


@pytest.mark.parametrize(
    ("leg", "mode"),
    [
        (LEG, "iptables"),
        (replace(LEG, family="dual"), "iptables-dual"),
        (replace(LEG, proxy_mode="nftables"), "nftables"),
    ],
)
def test_a_report_is_named_after_version_and_mode(leg: Leg, mode: str) -> None:
    release = versions.resolve("1.37").release

    assert reports.report_name(leg) == f"v{release}-{mode}-report.yaml"
    command = reports.check_command(leg, Path("r.yaml"))
    assert command[command.index("--implementation-version") + 1] == f"v{release}"
    assert command[command.index("--implementation-mode") + 1] == mode


@pytest.mark.parametrize(("code", "kept"), [(0, True), (1, True), (10, False), (4, False)])
def test_only_a_run_that_judged_every_claim_replaces_a_report(
    directory: Path, monkeypatch: pytest.MonkeyPatch, code: int, *, kept: bool
) -> None:
    def run_command(command: list[str]) -> int:
        file = Path(command[command.index("--report") + 1])
        file.parent.mkdir(parents=True)
        file.write_text("new")
        return code

    monkeypatch.setattr(reports, "run_command", run_command)
    directory.mkdir()
    file = directory / reports.report_name(LEG)
    file.write_text("old")

    assert reports.main([]) == (0 if kept else 1)
    assert file.read_text() == ("new" if kept else "old")


def test_the_page_has_a_table_of_claims_for_each_profile(description: RunDescription) -> None:
    page = implementations_page.render(
        [
            stored(description, "v1", C61=SkipReason.NOT_APPLICABLE, C24=SkipReason.NO_ACCESS),
            stored(description, "v1", "nftables", C10=Outcome.FAILED, C16=SkipReason.NOT_APPLICABLE),
        ],
        small.CATALOGUE,
    )

    link = "../reports/kubernetes-kube-proxy/v1-{}-report.yaml"
    head = f"[kube-proxy v1 iptables]({link.format('iptables')})"
    assert f"| id | claim | {head} | [kube-proxy v1 nftables]({link.format('nftables')}) |" in page
    assert "| C10 | One endpoint answers | passed | **failed** |" in page
    assert "| C24 | A client expires | no access | passed |" in page
    assert f"### kube-proxy-iptables\n\n| id | claim | {head} |" in page
    assert "| kube-proxy v1 nftables | C10 One endpoint answers | failed | what was seen | - |" in page


def test_a_claim_that_came_after_a_report_is_marked(description: RunDescription) -> None:
    older = stored(description, "v1")
    older.document["claims"].pop(0)

    page = implementations_page.render([older], small.CATALOGUE)

    assert "| C10 | One endpoint answers | not in its catalogue |" in page


def test_a_page_of_good_reports_says_so(description: RunDescription) -> None:
    page = implementations_page.render([stored(description, "v1")], small.CATALOGUE)

    assert "None: every claim that was judged passed." in page


def test_the_readme_has_only_kube_proxys_reports(description: RunDescription) -> None:
    other = StoredReport(implementations_page.REPORTS / "a-b" / "v2-x-report.yaml", stored(description, "v2").document)

    text = implementations_page.render_readme([stored(description, "v1"), other], CURRENT)

    assert "[v1](v1-iptables-report.yaml)" in text
    assert "v2" not in text
