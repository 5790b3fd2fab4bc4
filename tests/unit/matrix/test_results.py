"""Results are read as allure-pytest writes them; what cannot be told apart is refused."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from ci.matrix import results
from ci.matrix.legs import Leg

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

LABELS = {"k8s": "1.37", "proxy": "iptables", "provider": "kind", "claim": "C10"}


def written(directory: Path, uuid: str = "a-b", *, labels: dict[str, str] | None = None, **fields: Any) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    listed = [{"name": name, "value": value} for name, value in (LABELS if labels is None else labels).items()]
    file = directory / f"file-of-{uuid}-result.json"  # as allure-pytest does: the name is not the UUID's
    file.write_text(json.dumps({"uuid": uuid, "status": "passed", "start": 7, "labels": listed, **fields}))
    return file


def test_a_result_knows_its_leg_and_its_place_in_the_report(tmp_path: Path) -> None:
    # This pair was seen in a report of Allure 3.18.
    uuid, seen = "62a53d31-ecc9-4a16-bf53-b57bf9e731f0", "76ca7b4b751723277d0659e8146bda2e"
    written(tmp_path, uuid, status="failed", statusDetails={"message": "\nC10 does not hold\nat length"})

    (found,) = results.read([tmp_path])

    assert found.leg == Leg("1.37", "iptables", "kind")
    assert (found.claim, found.status, found.started) == ("C10", "failed", 7)
    assert found.message == "C10 does not hold\nat length"
    assert found.id == seen
    assert results.report_ids([tmp_path]) == {seen}


def test_the_key_number_is_read_where_there_is_one(tmp_path: Path) -> None:
    told = [{"name": "kubernetes", "value": "1.37"}, {"name": "key number", "value": "100 of 100"}]
    written(tmp_path, parameters=told)

    assert [one.headline for one in results.read([tmp_path])] == ["100 of 100"]


def test_tests_that_check_no_claim_are_left_out(tmp_path: Path) -> None:
    written(tmp_path, labels={"suite": "unit"})

    assert results.read([tmp_path]) == ()


@pytest.mark.parametrize("label", ["k8s", "proxy", "provider"])
def test_a_result_of_no_leg_is_refused(tmp_path: Path, label: str) -> None:
    file = written(tmp_path, labels={name: value for name, value in LABELS.items() if name != label})

    with pytest.raises(results.ResultsError, match=rf"{file.name} has no '{label}'"):
        results.read([tmp_path])


@pytest.mark.parametrize("content", ["", "[]", '{"uuid": "u", "labels": 3}', "null", "{}"])
def test_what_is_no_result_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x-result.json").write_text(content)

    with pytest.raises(results.ResultsError, match=r"x-result\.json is not a result"):
        results.read([tmp_path])


def test_an_unknown_status_is_refused(tmp_path: Path) -> None:
    written(tmp_path, status="green")

    with pytest.raises(results.ResultsError, match="green"):
        results.read([tmp_path])


def test_results_are_found_at_any_depth_and_missed_with_a_next_step(tmp_path: Path) -> None:
    written(tmp_path / "b" / "allure-results")
    written(tmp_path / "a")

    assert results.directories(tmp_path) == (tmp_path / "a", tmp_path / "b" / "allure-results")
    with pytest.raises(results.ResultsError, match="make affinity"):
        results.directories(tmp_path / "none")


def test_the_last_run_is_the_one_whose_results_are_the_newest(tmp_path: Path) -> None:
    for age, file in enumerate((written(tmp_path / "new"), written(tmp_path / "matrix" / "leg" / "allure-results"))):
        os.utime(file, (1000 - age, 1000 - age))

    assert results.newest(tmp_path) == tmp_path / "new"
    os.utime(tmp_path / "matrix" / "leg" / "allure-results" / "file-of-a-b-result.json", (2000, 2000))
    assert results.newest(tmp_path) == tmp_path / "matrix"
