"""All defects, and the claims that nothing has been injected for yet."""

from __future__ import annotations

from tests.defects import distribution, expiry, lists, rules

_SUBJECTS = (distribution, rules, lists, expiry)

DEFECTS = tuple(defect for subject in _SUBJECTS for defect in subject.DEFECTS)

_TO_COME = "nothing has been injected for it yet"
WITHOUT: dict[str, str] = dict.fromkeys(("C02", "C03", "C10", "C13", "C24", "C24b", "C24c", "C25"), _TO_COME)
WITHOUT |= dict.fromkeys(("C04", "C06", "C07", "C08", "C54", "C55", "C56", "C57"), _TO_COME)
WITHOUT |= dict.fromkeys(("C11", "C12", "C58", "C59"), _TO_COME)
WITHOUT |= dict.fromkeys(("C49", "C50", "C52", "C53"), _TO_COME)
"""Claims that no defect makes fail, and why. It is to become empty."""
