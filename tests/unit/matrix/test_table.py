"""The table claim by leg, for a terminal, a step summary and a browser."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ci.matrix import table
from session_affinity.legs import Leg

if TYPE_CHECKING:
    from ci.matrix.expectations import Plan
    from ci.matrix.results import Result

pytestmark = pytest.mark.unit


def words(made: table.LegTable) -> dict[str, list[str]]:
    return {row.claim: [cell.text for cell in row.cells] for row in made.rows}


def test_each_claim_has_a_row_and_each_leg_a_column(plan: Plan, conforming: tuple[Result, ...]) -> None:
    made = table.claim_by_leg(plan, conforming)

    assert [leg.name for leg in made.legs] == ["1.36 iptables embedded", "1.37 nftables embedded"]
    assert words(made) == {"C10": ["passed", "passed"], "C16": ["passed", "skipped"]}
    assert made.counts() == ("2 of 2", "1 of 1")


def test_a_claim_without_results_did_not_run(plan: Plan, conforming: tuple[Result, ...]) -> None:
    assert words(table.claim_by_leg(plan, conforming[1:2])) == {"C10": ["not run"] * 2, "C16": ["passed", "not run"]}


def test_the_worst_of_several_results_is_shown_with_how_many(plan: Plan, conforming: tuple[Result, ...]) -> None:
    failed = replace(conforming[0], status="failed", message="C10 does not hold\nat length")
    made = table.claim_by_leg(plan, (failed, *conforming))

    assert words(made)["C10"] == ["failed 1 of 2", "passed"]
    assert made.rows[0].cells[0].detail == "C10 does not hold"


def test_a_passed_claim_has_its_headline(plan: Plan, conforming: tuple[Result, ...]) -> None:
    measured = replace(conforming[0], headline="100 of 100 from webpod2")

    assert table.claim_by_leg(plan, (measured,)).rows[0].cells[0].detail == "100 of 100 from webpod2"


def test_legs_and_claims_outside_the_plan_are_shown_too(plan: Plan, conforming: tuple[Result, ...]) -> None:
    other = replace(conforming[0], leg=Leg("1.9", "iptables", "kind"), claim="C99")
    made = table.claim_by_leg(plan, (*conforming, other))

    assert made.legs[0].name == "1.9 iptables kind"
    assert words(made)["C99"] == ["passed", "-", "-"]
    assert words(made)["C10"] == ["-", "passed", "passed"]


def test_the_text_has_stacked_headings_and_faults_in_capitals(plan: Plan, conforming: tuple[Result, ...]) -> None:
    broken = replace(conforming[0], status="broken", message="no API")

    lines = table.text(table.claim_by_leg(plan, (broken, *conforming[1:]))).splitlines()

    assert [line.split() for line in lines[:4]] == [
        ["1.36", "1.37"],
        ["iptables", "nftables"],
        ["embedded"] * 2,
        ["ipv4"] * 2,
    ]
    assert lines[4].split()[0] == "C10"
    assert lines[4].endswith("BROKEN    passed")
    assert lines[-1].endswith("1 of 2    1 of 1")


def test_the_markdown_is_a_table(plan: Plan, conforming: tuple[Result, ...]) -> None:
    lines = table.markdown(table.claim_by_leg(plan, conforming[:2])).splitlines()

    assert lines[0] == "| claim |  | 1.36 iptables embedded | 1.37 nftables embedded |"
    assert lines[2].startswith("| C10 | All requests of a client reach one endpoint | passed | **not run** |")
    assert {line.count("|") for line in lines} == {5}


def test_a_page_links_each_result_to_its_evidence(plan: Plan, conforming: tuple[Result, ...]) -> None:
    failed = replace(conforming[0], status="failed", message='not <b>"one"</b>')

    page = table.html(table.claim_by_leg(plan, (failed, *conforming[1:])), "gate shut", linked=True)

    assert f'<a href="index.html#{failed.id}">failed</a>' in page
    assert "not &lt;b&gt;&#34;one&#34;&lt;/b&gt;" in page
    assert "gate shut" in page


def test_a_page_without_a_report_has_no_links(plan: Plan) -> None:
    page = table.html(table.claim_by_leg(plan, ()), "gate shut", linked=False)

    assert "<a href" not in page
    assert page.count('class="word not-run"') == 4
