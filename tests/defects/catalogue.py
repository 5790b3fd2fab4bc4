"""All defects, and the claims that no defect violates."""

from __future__ import annotations

from tests.defects import (
    api_fields,
    disruption,
    distribution,
    dual_stack,
    endpoint_changes,
    expiry,
    limits,
    lists,
    nftables,
    paths,
    rules,
    shapes,
)

_SUBJECTS = (
    api_fields,
    distribution,
    rules,
    lists,
    dual_stack,
    paths,
    limits,
    endpoint_changes,
    shapes,
    expiry,
    disruption,
    nftables,
)

DEFECTS = tuple(defect for subject in _SUBJECTS for defect in subject.DEFECTS)

WITHOUT: dict[str, str] = {}
"""Claims that no defect violates, each with the reason; there are none."""
