"""All defects, and the claims that nothing has been injected for yet."""

from __future__ import annotations

from tests.defects import (
    distribution,
    expiry,
    families,
    fields,
    lifecycle,
    limits,
    lists,
    nftables,
    paths,
    rules,
    upkeep,
)

_SUBJECTS = (fields, distribution, rules, lists, families, paths, limits, lifecycle, expiry, upkeep, nftables)

DEFECTS = tuple(defect for subject in _SUBJECTS for defect in subject.DEFECTS)

WITHOUT: dict[str, str] = {}
"""Claims that no defect makes fail, and why. None is left."""
