"""Advice is about claims and subjects that exist, and the document has it all."""

from __future__ import annotations

import re

import pytest

from session_affinity import bundle
from session_affinity.claims.advice import ADVICE, SUBJECT_ADVICE, advice_for, table
from session_affinity.claims.catalogue import SUBJECTS

pytestmark = pytest.mark.unit

CLAIM = re.compile(r'^@claim\(\s*"(C\w+)"', re.MULTILINE)
IDS = {found for file in bundle.SUITE.glob("*.py") for found in CLAIM.findall(file.read_text())}


def test_advice_names_claims_that_exist() -> None:
    for advice in ADVICE:
        named = set(re.findall(r"C\d+[a-z]*", f"{advice.fails} {advice.passes} {advice.look_at}"))
        assert named <= IDS, advice
        assert advice.claims


def test_every_subject_has_advice() -> None:
    assert SUBJECT_ADVICE.keys() == SUBJECTS.keys()


def test_advice_is_found_by_the_claim_that_fails() -> None:
    assert [advice.fails for advice in advice_for("C28")] == ["C27, C28, C34 or C81 on one node", "C28"]
    assert advice_for("C02") == ()


def test_the_document_has_the_table() -> None:
    assert table() in (bundle.ROOT / "docs" / "reading-a-failure.md").read_text()
