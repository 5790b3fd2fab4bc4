"""The catalogue of claims, and the suite that checks them."""

from __future__ import annotations

import ast
import math
import tomllib
from pathlib import Path

import pytest

from session_affinity import claims
from session_affinity.claims.told import EVERY_CLAIM, claim_ids
from session_affinity.claims.told import read_suite as read_told
from session_affinity.errors import UsageError
from session_affinity.verdicts.spread import all_on_one, none_moved

SUITE = Path(__file__).parents[3] / "suite"


def read_suite() -> list[tuple[str, ast.FunctionDef]]:
    """Return every test of the suite with the id of its claim, empty without one."""
    found = []
    for module in sorted(SUITE.glob("test_*.py")):
        for test in ast.parse(module.read_text()).body:
            if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
                ids = claim_ids(test)
                found.append((ids[0] if ids else "", test))
    return found


TESTS = read_suite()


def test_every_claim_has_one_test() -> None:
    assert sorted(claim_id for claim_id, _ in TESTS) == sorted(claims.CATALOGUE)


@pytest.mark.parametrize(("claim_id", "test"), [pytest.param(*one, id=one[0]) for one in TESTS])
def test_a_test_says_what_it_checks(claim_id: str, test: ast.FunctionDef) -> None:
    said = ast.get_docstring(test) or ""

    sections = [said.find(f"\n{section}: ") for section in ("Preconditions", "Steps", "Expected")]
    assert -1 not in sections
    assert sections == sorted(sections)
    assert said.splitlines()[0].startswith(claims.find(claim_id).title)


@pytest.mark.parametrize(("claim_id", "test"), [pytest.param(*one, id=one[0]) for one in TESTS])
def test_a_test_asserts_once(claim_id: str, test: ast.FunctionDef) -> None:
    asserted = [one for one in ast.walk(test) if isinstance(one, ast.Assert)]

    assert len(asserted) == 1, claim_id
    assert ast.unparse(asserted[0]) == "assert verdict.ok, verdict.explain()"


def test_false_alarms_stay_within_the_budget() -> None:
    assert math.fsum(claim.false_alarm for claim in claims.CATALOGUE.values()) < claims.BUDGET


def test_the_chance_that_all_stay_is_that_of_the_trials() -> None:
    assert none_moved(3, claims.FREE_TRIALS) == pytest.approx(claims.ALL_STAY)


def test_the_chance_that_two_of_a_clientele_agree_is_that_of_its_services() -> None:
    pairs = math.comb(claims.MANY_CLIENTS, 2)
    expected = pairs * all_on_one(3, 2) ** claims.MANY_CLIENTS_SERVICES + claims.MANY_CLIENTS_SPREAD

    assert pytest.approx(expected) == claims.MANY_CLIENTS_FALSE_ALARM


def test_every_claim_has_a_subject_and_every_subject_is_a_marker() -> None:
    settings = tomllib.loads((SUITE.parent / "pyproject.toml").read_text())["tool"]["pytest"]
    registered = {marker.partition(":")[0] for marker in settings["markers"]}

    for told in read_told():
        assert told.subjects, told.test
        assert registered.issuperset({EVERY_CLAIM, *told.subjects}), told.test


def test_an_unknown_claim_is_refused() -> None:
    with pytest.raises(UsageError, match="no claim C99"):
        claims.find("C99")
