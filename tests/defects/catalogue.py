"""All defects, and the claims that nothing has been injected for yet."""

from __future__ import annotations

from tests.defects import distribution, expiry, families, fields, lists, nftables, paths, rules

_SUBJECTS = (fields, distribution, rules, lists, families, paths, expiry, nftables)


DEFECTS = tuple(defect for subject in _SUBJECTS for defect in subject.DEFECTS)

_TO_COME = "nothing has been injected for it yet"
WITHOUT: dict[str, str] = dict.fromkeys(
    (
        "C24d",
        "C24e",
        "C24f",
        "C37",
        "C38",
        "C27",
        "C80",
        "C28",
        "C39",
        "C29",
        "C30",
        "C81",
        "C82",
        "C34",
        "C34b",
        "C34c",
        "C83",
        "C83b",
        "C84",
        "C35",
        "C41b",
        "C40",
        "C40b",
        "C40c",
        "C41",
        "C48",
        "C86",
    ),
    _TO_COME,
)
"""Claims that no defect makes fail, and why. It is to become empty."""
