"""Every claim fails with some defect, or is listed with the reason why none violates it."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from ci.claims_page import collect_claims
from tests.defects.catalogue import DEFECTS, WITHOUT

if TYPE_CHECKING:
    from tests.defects.defect import Defect

FAILING = {claim for defect in DEFECTS for claim in defect.fails}


@pytest.fixture(scope="session")
def claim_ids() -> set[str]:
    return {claim["id"] for claim in collect_claims()}


def test_every_claim_has_a_defect(claim_ids: set[str]) -> None:
    assert claim_ids - FAILING == set(WITHOUT)


def test_names_are_unique() -> None:
    assert not [name for name, count in Counter(defect.name for defect in DEFECTS).items() if count > 1]


@pytest.mark.parametrize("defect", [pytest.param(defect, id=defect.name) for defect in DEFECTS])
def test_a_defect_names_existing_claims(defect: Defect, claim_ids: set[str]) -> None:
    assert set(defect.claims) <= claim_ids
    assert not set(defect.fails) & set(defect.passes)
    assert defect.fails
    for pattern in defect.fails.values():
        re.compile(pattern)
