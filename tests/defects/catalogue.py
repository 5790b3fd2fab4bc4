"""All defects, and the claims that nothing has been injected for yet."""

from __future__ import annotations

from tests.defects import distribution, expiry, fields, lists, nftables, rules

_SUBJECTS = (fields, distribution, rules, lists, expiry, nftables)

DEFECTS = tuple(defect for subject in _SUBJECTS for defect in subject.DEFECTS)

WITHOUT: dict[str, str] = {}
"""Claims that no defect makes fail, and why. It is to stay empty."""
