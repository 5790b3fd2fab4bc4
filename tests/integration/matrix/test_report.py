"""One report of all legs, made by Allure itself: every leg is seen, and neither gate is passed over."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from affinity.matrix import report
from affinity.matrix.cli import main

if TYPE_CHECKING:
    from affinity.matrix.expected import Plan
    from conftest import Writer

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def allure() -> report.Allure:
    """Allure 3 as make report installs it."""
    subprocess.run([report.ROOT / "scripts" / "report-tools.sh", sys.prefix], check=True)
    return report.Allure.of(Path(sys.prefix))


def merged(plan: Plan, tmp_path: Path, allure: report.Allure) -> report.Merged:
    return report.merge(plan, tmp_path / "results", tmp_path / "html", tmp_path / "history.jsonl", allure)


def of_report(tmp_path: Path) -> list[dict[str, Any]]:
    results = json.loads((tmp_path / "html" / "test-results.json").read_text())["byId"].values()
    return list(results)


def test_every_leg_is_an_environment_and_a_failed_one_is_seen(
    plan: Plan, ran: Writer, tmp_path: Path, allure: report.Allure
) -> None:
    broken = plan.legs[1]
    ran(failed=((broken, "C10"),))

    made = merged(plan, tmp_path, allure)

    seen = of_report(tmp_path)
    assert {one["environment"] for one in seen} == {leg.name for leg in plan.legs}
    assert len(seen) == 12
    assert [one["environment"] for one in seen if one["status"] == "failed"] == [broken.name]
    assert not made.open
    assert f"{broken.name}: C10 failed: C10 does not hold on a node" in made.verdict
    page = (tmp_path / "html" / report.PAGE).read_text()
    assert all(f'href="index.html#{one["id"]}"' in page for one in seen)
    assert "**failed**" in (tmp_path / "html" / report.MARKDOWN).read_text()


def test_the_gate_is_open_when_everything_held(plan: Plan, ran: Writer, tmp_path: Path, allure: report.Allure) -> None:
    ran()

    made = merged(plan, tmp_path, allure)

    assert made.open
    assert made.verdict == "gate open: 4 of 4 legs with results; 10 passed, 0 failed, 0 broken, 2 skipped"


def test_a_missing_leg_shuts_both_gates(plan: Plan, ran: Writer, tmp_path: Path, allure: report.Allure) -> None:
    ran(plan.legs[:-1])

    made = merged(plan, tmp_path, allure)
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
    made = merged(plan, tmp_path, allure)

    assert not made.open
    assert "0 of 4 legs" in (tmp_path / "html" / "index.html").read_text()


def test_the_history_has_a_line_for_each_run_and_leg(
    plan: Plan, ran: Writer, tmp_path: Path, allure: report.Allure
) -> None:
    for run in range(1, 4):
        shutil.rmtree(tmp_path / "results", ignore_errors=True)
        ran(failed=((plan.legs[0], "C02"),) if run == 2 else (), at=run)
        merged(plan, tmp_path, allure)
        merged(plan, tmp_path, allure)  # the report of the same run once more

    lines = [json.loads(line)["testResults"] for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [len(line) for line in lines] == [12, 12, 12]
    of_leg = [
        next(one for one in line.values() if one["environment"] == plan.legs[0].name and one["name"].startswith("C02"))
        for line in lines
    ]
    assert [one["status"] for one in of_leg] == ["passed", "failed", "passed"]


def test_the_report_of_a_run_that_is_there_is_made_and_served(
    plan: Plan, ran: Writer, tmp_path: Path, allure: report.Allure, capsys: pytest.CaptureFixture[str]
) -> None:
    del allure  # installed is enough
    ran(plan.legs[:1])
    html = tmp_path / "html"

    code = main(["report", str(tmp_path / "results"), "--output", str(html), "--history", str(tmp_path / "h.jsonl")])

    assert code == 0
    assert f"{html}/index.html" in capsys.readouterr().out
    with report.server_of(html) as server:
        import threading

        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/") as answer:
                assert b"Session affinity conformance" in answer.read()
        finally:
            server.shutdown()
            thread.join()
