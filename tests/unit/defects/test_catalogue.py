"""Every claim has been seen to fail: each has a defect, or is listed with the reason why not."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from session_affinity import claims
from tests.defects.catalogue import DEFECTS, WITHOUT

if TYPE_CHECKING:
    from tests.defects.defect import Defect

SEEN_FAILING = {claim for defect in DEFECTS for claim in defect.fails}


def test_every_claim_has_a_defect() -> None:
    assert set(claims.CATALOGUE) - SEEN_FAILING == set(WITHOUT)


def test_names_are_unique() -> None:
    assert not [name for name, count in Counter(defect.name for defect in DEFECTS).items() if count > 1]


@pytest.mark.parametrize("defect", [pytest.param(one, id=one.name) for one in DEFECTS])
def test_a_defect_speaks_of_claims_that_there_are(defect: Defect) -> None:
    assert set(defect.claims) <= set(claims.CATALOGUE)
    assert not set(defect.fails) & set(defect.passes)
    assert defect.fails
    for pattern in defect.fails.values():
        re.compile(pattern)
