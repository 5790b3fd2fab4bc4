"""The claims of the suite, as pytest collects them: texts, sources, chances, and the page made of them."""

from __future__ import annotations

import ast
import math
import tomllib
from typing import Any

import pytest

from ci.claims_page import PAGE, ROOT, collect_claims, read_behaviour, render
from session_affinity.claims import sources
from session_affinity.claims.catalogue import SUBJECTS
from session_affinity.experiment import BUDGET

NUMBER_OF_CLAIMS = 129
LINE = 113
"""The longest first line of a docstring, and the longest title."""


@pytest.fixture(scope="module")
def collected() -> list[dict[str, Any]]:
    """Every claim; collecting refuses two claims of one id, and docstrings that are not complete."""
    return collect_claims()


def test_the_page_is_current(collected: list[dict[str, Any]]) -> None:
    assert PAGE.read_text() == render(collected, read_behaviour()), "run: make docs"


def test_no_claim_is_lost(collected: list[dict[str, Any]]) -> None:
    assert len(collected) == NUMBER_OF_CLAIMS
    assert len({claim["title"] for claim in collected}) == NUMBER_OF_CLAIMS
    assert "C01" not in {claim["id"] for claim in collected}


def test_titles_are_sentences_and_reasons_say_something_else(collected: list[dict[str, Any]]) -> None:
    for claim in collected:
        assert len(claim["title"]) <= LINE, claim["id"]
        assert not claim["title"].endswith("."), claim["id"]
        assert claim["why"].endswith("."), claim["id"]
        assert not claim["why"].startswith(claim["title"]), claim["id"]
        assert all(claim[section].rstrip(")").endswith(".") for section in ("preconditions", "steps", "expected"))


def test_every_claim_has_a_linked_source(collected: list[dict[str, Any]]) -> None:
    assert [claim["id"] for claim in collected if not sources.link(claim["source"])] == []


def test_every_promise_of_the_api_is_cited(collected: list[dict[str, Any]]) -> None:
    """Who promises it, in which words, to which clients; without words it is no promise of the API."""
    promised = {claim["id"] for claim in collected if claim["promised_by"] == "api"}

    assert promised == set(sources.PROMISES)
    for citation in sources.PROMISES.values():
        assert sources.link(citation.document), citation
        assert len(citation.words.split()) > 4, citation
        assert citation.client in (sources.ANY_CLIENT, sources.PODS, sources.OUTSIDE, sources.USERS)


def test_false_alarms_stay_within_the_budget(collected: list[dict[str, Any]]) -> None:
    assert math.fsum(claim["false_alarm"] for claim in collected) < BUDGET


def test_every_subject_has_claims_and_is_a_marker(collected: list[dict[str, Any]]) -> None:
    settings = tomllib.loads((ROOT / "pytest.toml").read_text())["pytest"]

    assert {claim["subject"] for claim in collected} == set(SUBJECTS)
    assert {marker.partition(":")[0] for marker in settings["markers"]} >= set(SUBJECTS)


def test_every_test_ends_with_its_one_check() -> None:
    for module in (ROOT / "suite").glob("test_*.py"):
        for test in ast.parse(module.read_text()).body:
            if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
                calls = [node for node in ast.walk(test) if isinstance(node, ast.Call)]
                checks = [call for call in calls if ast.unparse(call.func) == "check"]
                assert len(checks) == 1, test.name
                assert isinstance(test.body[-1], ast.Expr), test.name
                assert test.body[-1].value is checks[0], test.name
