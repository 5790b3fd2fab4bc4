"""One report of all legs, made by Allure itself: every leg is seen, and neither gate is passed over."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ci.matrix import report
from ci.matrix.cli import main
from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from ci.matrix.expected import Plan
    from conftest import Writer

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def allure() -> report.Allure:
    """Allure 3 as make report installs it."""
    subprocess.run([report.ROOT / "scripts" / "report-tools.sh", sys.prefix], check=True)
    return report.Allure.of(Path(sys.prefix))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be where the results are, so that paths are relative as those of make are."""
    monkeypatch.chdir(tmp_path)


def merged(plan: Plan, allure: report.Allure) -> report.Merged:
    return report.merge(plan, Path("results"), Path("html"), Path("history.jsonl"), allure)


def of_report(tmp_path: Path) -> list[dict[str, Any]]:
    results = json.loads((tmp_path / "html" / "test-results.json").read_text())["byId"].values()
    return list(results)


def test_every_leg_is_an_environment_and_a_failed_one_is_seen(
    plan: Plan, ran: Writer, tmp_path: Path, allure: report.Allure
) -> None:
    broken = plan.legs[1]
    ran(failed=((broken, "C10"),))

    made = merged(plan, allure)

    seen = of_report(tmp_path)
    assert {one["environment"] for one in seen} == {leg.name for leg in plan.legs}
    assert len(seen) == 12
    assert [one["environment"] for one in seen if one["status"] == "failed"] == [broken.name]
    assert not made.open
    assert f"{broken.name}: C10 failed: C10 does not hold on a node" in made.verdict
    page = (tmp_path / "html" / report.PAGE).read_text()
    assert all(f'href="index.html#{one["id"]}"' in page for one in seen)
    of_run = json.loads((tmp_path / "html" / "widgets" / "globals.json").read_text())
    assert [one["message"].splitlines()[0] for one in of_run["errors"]] == [f"gate: {line}" for line in made.faults]
    assert "**failed**" in (tmp_path / "html" / report.MARKDOWN).read_text()


def test_facts_are_told_of_the_leg_that_has_them(
    plan: Plan, ran: Writer, tmp_path: Path, allure: report.Allure
) -> None:
    ran()
    merged(plan, allure)

    widgets = tmp_path / "html" / "widgets"
    of_all = {one["name"]: one["values"] for one in json.loads((widgets / "allure_environment.json").read_text())}
    assert of_all == {"legs": [", ".join(leg.name for leg in plan.legs)], "kernel": ["6.18"]}
    for leg in plan.legs:
        of_leg = json.loads((widgets / leg.id / "variables.json").read_text())
        assert (of_leg["Kubernetes"], of_leg["kernel"]) == (f"v{leg.kubernetes}.1", "6.18")


def test_the_report_asks_nothing_of_the_internet(
    plan: Plan, ran: Writer, tmp_path: Path, allure: report.Allure
) -> None:
    ran()
    merged(plan, allure)

    page = (tmp_path / "html" / report.INDEX).read_text()
    assert re.findall(r"""(?:src|href)=["']?(?:https?:)?//[^"' >]+""", page) == []
    assert "google" not in page
    assert json.loads((tmp_path / "html" / "widgets" / "metrics.json").read_text())["current"] == []


def test_the_gate_is_open_when_everything_held(plan: Plan, ran: Writer, allure: report.Allure) -> None:
    ran()

    made = merged(plan, allure)

    assert made.open
    assert made.verdict == "gate open: 4 of 4 legs with results; 10 passed, 0 failed, 0 broken, 2 skipped"


def test_a_missing_leg_shuts_both_gates(plan: Plan, ran: Writer, tmp_path: Path, allure: report.Allure) -> None:
    ran(plan.legs[:-1])

    made = merged(plan, allure)
    counted = allure.run(
        "quality-gate",
        "allurerc.gate.mjs",
        [str(path) for path in (tmp_path / "results").rglob("allure-results")],
        {"AFFINITY_EXPECTED": str(tmp_path / "results" / report.EXPECTED)},
    )

    assert not made.open
    assert f"{plan.legs[-1].name}: no results of this leg" in made.verdict
    assert counted.code == 1
    assert f'environments were not tested: "{plan.legs[-1].name}"' in counted.said
    assert f"{plan.legs[-1].name}/minTestsCount" in counted.said


def test_a_matrix_without_any_result_has_a_page_that_says_so(plan: Plan, tmp_path: Path, allure: report.Allure) -> None:
    made = merged(plan, allure)

    assert not made.open
    assert "0 of 4 legs" in (tmp_path / "html" / "index.html").read_text()


def test_a_gate_that_only_allure_shuts_is_shut(
    plan: Plan, ran: Writer, allure: report.Allure, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(failed=((plan.legs[0], "C10"),))
    monkeypatch.setattr(report.gate, "faults", lambda *_: ())

    (fault,) = merged(plan, allure).faults

    assert fault.startswith("Allure: Quality Gate failed")
    assert "The number of failed tests 1 exceeds" in fault


def test_what_is_no_report_is_not_written_over(plan: Plan, ran: Writer, tmp_path: Path, allure: report.Allure) -> None:
    ran()
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "thesis.txt").touch()

    with pytest.raises(UsageError, match="is no report"):
        merged(plan, allure)
    assert [file.name for file in (tmp_path / "html").iterdir()] == ["thesis.txt"]


def test_the_history_has_a_line_for_each_run_and_leg(
    plan: Plan, ran: Writer, tmp_path: Path, allure: report.Allure
) -> None:
    for run in range(1, 4):
        shutil.rmtree(tmp_path / "results", ignore_errors=True)
        ran(failed=((plan.legs[0], "C02"),) if run == 2 else (), at=run)
        merged(plan, allure)
        merged(plan, allure)  # the report of the same run once more

    lines = [json.loads(line)["testResults"] for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [len(line) for line in lines] == [12, 12, 12]
    of_leg = [
        next(one for one in line.values() if one["environment"] == plan.legs[0].name and one["name"].startswith("C02"))
        for line in lines
    ]
    assert [one["status"] for one in of_leg] == ["passed", "failed", "passed"]


def test_the_report_of_a_run_that_is_there_is_made_and_served(
    plan: Plan, ran: Writer, allure: report.Allure, capsys: pytest.CaptureFixture[str]
) -> None:
    del allure  # installed is enough
    ran(plan.legs[:1])

    code = main(["report", "--output", "html", "--history", "h.jsonl"])

    assert code == 0
    assert "html/index.html" in capsys.readouterr().out
    with report.server_of(Path("html")) as server:
        import threading

        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/") as answer:
                assert b"Session affinity conformance" in answer.read()
        finally:
            server.shutdown()
            thread.join()
