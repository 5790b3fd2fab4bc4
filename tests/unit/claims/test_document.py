"""The claims as a list and as a document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity import claims
from session_affinity.claims import __main__ as command
from session_affinity.claims import costs, document, told
from session_affinity.claims.study import NOT_CHECKED, STUDY
from session_affinity.errors import UsageError
from session_affinity.plugin.listing import listing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CLAIM = claims.Claim("C90", "It stays", claims.Promise.API, "a field", ("iptables",), 1e-8)
MODULE = '''
import pytest
from fixtures.claims import claim

pytestmark = [pytest.mark.affinity, pytest.mark.lists]

def helper():
    pass

@claim("C90")
@pytest.mark.expiry
def test_it(thing):
    """It stays: the control.

    Preconditions: a Service.
    Steps: ask it,
        twice.
    Expected: an answer.
    """
'''
TOLD = told.Told(
    "C90",
    "suite/test_x.py",
    "test_it",
    ("lists", "expiry"),
    "It stays: the control.",
    "a Service.",
    "ask it, twice.",
    "an answer.",
)


def test_a_test_is_read_without_being_run(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(MODULE)

    assert told.read_suite(tmp_path) == (TOLD,)
    assert told.subjects([TOLD, TOLD]) == ("lists", "expiry")


def test_a_docstring_without_sections_is_told(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(MODULE.replace("Steps:", "Stops:"))

    with pytest.raises(UsageError, match=r"test_x\.py::test_it: its docstring has sections Preconditions, Expected"):
        told.read_suite(tmp_path)


def rendered(*, behaviour: tuple[Mapping[str, object], ...] = (), on: str = "two cores") -> str:
    kept = {"C90": {"nftables": 0.5, "iptables": 1.25}}
    return document.render([CLAIM], [TOLD], kept, measured_on=on, behaviour=behaviour)


def test_a_claim_is_told_with_all_there_is_to_it() -> None:
    text = rendered()

    assert "| C90 | It stays | api | lists, expiry | iptables | iptables 1.2, nftables 0.5 |" in text
    assert "## Lists\n\n### C90 It stays\n" in text
    assert "Promised by the Service API: a field. Judged in iptables mode. False alarm: at most 1.0e-08.\n" in text
    assert "(The control.)" in text
    assert "* Steps: ask it, twice.\n* Expected: an answer.\n\n`suite/test_x.py::test_it`" in text
    assert "medians, measured on two cores." in text
    assert "medians.\n" in rendered(on="")


def test_ids_without_a_claim_are_told_with_the_reason() -> None:
    text = rendered()

    assert f"* C01: {NOT_CHECKED['C01']}" in text
    assert f"* C02: {document.NO_TEST_YET}" in text


def test_defects_are_told_with_what_behaviour_noticed() -> None:
    row = {"cluster": "iptables", "found by": ["C21"], "could not tell": []}
    noticed = {**row, "defect": "no list", "noticed by": ["C10", "C12"]}
    missed = {**row, "defect": "another name", "noticed by": []}
    untold = {**missed, "defect": "a third name", "could not tell": ["C11"]}

    text = rendered(behaviour=(noticed, missed, untold))

    assert "1 of 3 defects were noticed" in text
    assert "| a third name | iptables | C21 | **not noticed**; C11 could not be judged |" in text
    assert "| no list | iptables | C21 | C10, C12 |" in text
    assert "| another name | iptables | C21 | **not noticed** |" in text
    assert "Not measured yet." in rendered()


def test_the_document_is_current() -> None:
    assert command.DOCUMENT.read_text() == command.current(), "run: make docs"


def test_every_id_of_the_study_is_checked_or_has_a_reason_not_to_be() -> None:
    assert len(STUDY) == 52
    assert set(NOT_CHECKED) == set(STUDY) - set(claims.CATALOGUE)


def junit(*cases: str) -> str:
    return f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>"


def case(claim: str, seconds: float, inner: str = "") -> str:
    named = f'<properties><property name="claim" value="{claim}"/></properties>'
    return f'<testcase time="{seconds}">{named}{inner}</testcase>'


def test_costs_are_medians_of_what_passed(tmp_path: Path) -> None:
    files = [junit(case("C10", 1.0)), junit(case("C10", 9.0)), junit(case("C10", 2.0), case("C11", 3.0, "<failure/>"))]

    found = costs.measured({"iptables": files, "nftables": [junit(case("C10", 0.5), "<testcase time='4'/>")]})

    assert found == {"C10": {"iptables": 2.0, "nftables": 0.5}}
    kept = costs.updated({"C10": {"iptables": 7.0, "ipvs": 1.0}, "C12": {"iptables": 1.0}}, found)
    assert kept == {"C10": {"iptables": 2.0, "nftables": 0.5, "ipvs": 1.0}, "C12": {"iptables": 1.0}}
    costs.write(kept, "two cores", tmp_path / "costs.json")
    assert costs.read(tmp_path / "costs.json") == kept
    assert costs.measured_on(tmp_path / "costs.json") == "two cores"
    assert (costs.read(tmp_path / "none"), costs.measured_on(tmp_path / "none")) == ({}, "")


def test_what_is_no_junit_file_is_told() -> None:
    with pytest.raises(UsageError, match="no JUnit file"):
        costs.measured({"iptables": ["{}"]})


def test_costs_are_of_claims_that_there_are() -> None:
    assert set(costs.read()) <= set(claims.CATALOGUE)


def test_claims_are_listed_in_columns() -> None:
    lines = list(listing([CLAIM], {"C90": ("lists", "expiry")}, {"C90": {"nftables": 0.5, "iptables": 1.25}}))

    assert lines[0] == "id   promised by  judged on  seconds  subjects       claim     source"
    assert lines[1] == "C90  api          iptables   1.2      lists, expiry  It stays  a field"
    assert lines[2].startswith(f"1 of {len(claims.CATALOGUE)} claims; false alarm of a run at most 1.0e-08")


def test_what_was_never_measured_has_no_seconds() -> None:
    assert list(listing([CLAIM], {}, {}))[1].split()[:4] == ["C90", "api", "iptables", "-"]
