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
    walks,
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
    walks,
    expiry,
    disruption,
    nftables,
)

DEFECTS = tuple(defect for subject in _SUBJECTS for defect in subject.DEFECTS)

_KNOWN = "every supported kube-proxy violates it, so that it is seen to differ in every run"
WITHOUT: dict[str, str] = {"C48b": _KNOWN, "C48d": _KNOWN, "C94e": _KNOWN, "C92b": _KNOWN}
"""Claims that no defect violates, each with the reason."""
