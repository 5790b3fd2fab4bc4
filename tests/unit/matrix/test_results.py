"""Results are read as allure-pytest writes them; a result without the labels of its leg is an error."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from ci.matrix import results
from session_affinity.legs import Leg

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

LABELS = {"k8s": "1.37", "proxy": "iptables", "provider": "kind", "claim": "C10"}


def write_result(directory: Path, uuid: str = "a-b", *, labels: dict[str, str] | None = None, **fields: Any) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    label_list = [{"name": name, "value": value} for name, value in (LABELS if labels is None else labels).items()]
    file = directory / f"file-of-{uuid}-result.json"  # as allure-pytest does: named by another UUID
    file.write_text(json.dumps({"uuid": uuid, "status": "passed", "start": 7, "labels": label_list, **fields}))
    return file


def test_a_result_has_its_leg_and_its_id_in_the_report(tmp_path: Path) -> None:
    # A pair from a report of Allure 3.18.
    uuid, report_id = "62a53d31-ecc9-4a16-bf53-b57bf9e731f0", "76ca7b4b751723277d0659e8146bda2e"
    write_result(tmp_path, uuid, status="failed", statusDetails={"message": "\nC10 does not hold\nat length"})

    (result,) = results.read([tmp_path])

    assert result.leg == Leg("1.37", "iptables", "kind")
    assert (result.claim, result.status, result.started) == ("C10", "failed", 7)
    assert result.message == "C10 does not hold\nat length"
    assert result.id == report_id
    assert results.report_ids([tmp_path]) == {report_id}


def test_the_family_of_the_leg_is_read_from_its_label(tmp_path: Path) -> None:
    write_result(tmp_path, labels={**LABELS, "family": "dual"})

    assert [result.leg.family for result in results.read([tmp_path])] == ["dual"]


def test_the_headline_is_read_from_its_parameter(tmp_path: Path) -> None:
    parameters = [{"name": "kubernetes", "value": "1.37"}, {"name": "headline", "value": "100 of 100"}]
    write_result(tmp_path, parameters=parameters)

    assert [result.headline for result in results.read([tmp_path])] == ["100 of 100"]


@pytest.mark.parametrize(("status", "read"), [("skipped", "differs"), ("broken", "broken")])
def test_a_claim_that_differs_as_known_is_no_skipped_one_unless_its_clean_up_failed(
    tmp_path: Path, status: str, read: str
) -> None:
    write_result(tmp_path, status=status, parameters=[{"name": "differs", "value": "a known behaviour"}])

    assert [result.status for result in results.read([tmp_path])] == [read]


def test_tests_that_check_no_claim_are_left_out(tmp_path: Path) -> None:
    write_result(tmp_path, labels={"suite": "unit"})

    assert results.read([tmp_path]) == ()


@pytest.mark.parametrize("label", ["k8s", "proxy", "provider"])
def test_a_result_without_a_label_of_its_leg_is_an_error(tmp_path: Path, label: str) -> None:
    file = write_result(tmp_path, labels={name: value for name, value in LABELS.items() if name != label})

    with pytest.raises(results.ResultsError, match=rf"{file.name} has no '{label}'"):
        results.read([tmp_path])


@pytest.mark.parametrize("content", ["", "[]", '{"uuid": "u", "labels": 3}', "null", "{}"])
def test_another_file_is_not_a_result(tmp_path: Path, content: str) -> None:
    (tmp_path / "x-result.json").write_text(content)

    with pytest.raises(results.ResultsError, match=r"x-result\.json is not a result"):
        results.read([tmp_path])


def test_an_unknown_status_is_an_error(tmp_path: Path) -> None:
    write_result(tmp_path, status="green")

    with pytest.raises(results.ResultsError, match="green"):
        results.read([tmp_path])


def test_results_are_found_at_any_depth_and_missing_ones_are_an_error(tmp_path: Path) -> None:
    write_result(tmp_path / "b" / "allure-results")
    write_result(tmp_path / "a")

    assert results.directories(tmp_path) == (tmp_path / "a", tmp_path / "b" / "allure-results")
    with pytest.raises(results.ResultsError, match="make affinity"):
        results.directories(tmp_path / "none")


def test_the_last_run_is_the_one_with_the_newest_result(tmp_path: Path) -> None:
    for age, file in enumerate(
        (write_result(tmp_path / "new"), write_result(tmp_path / "matrix" / "leg" / "allure-results"))
    ):
        os.utime(file, (1000 - age, 1000 - age))

    assert results.newest(tmp_path) == tmp_path / "new"
    os.utime(tmp_path / "matrix" / "leg" / "allure-results" / "file-of-a-b-result.json", (2000, 2000))
    assert results.newest(tmp_path) == tmp_path / "matrix"
