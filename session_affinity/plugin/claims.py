"""Tests that check a claim: the marker that says which, who promises it, and how the report tells of it."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, TypeVar

import allure
import pytest

from session_affinity import claims
from session_affinity.claims import sources

if TYPE_CHECKING:
    from collections.abc import Callable

Test = TypeVar("Test", bound="Callable[..., None]")

EPIC = "Session affinity"
SEVERITIES = {
    claims.Promise.API: allure.severity_level.CRITICAL,
    claims.Promise.KUBE_PROXY: allure.severity_level.NORMAL,
}
"""How much a broken promise matters, by who promises it: any user may rely on the API."""
_PROMISED_BY = {
    claims.Promise.API: "the Service API, on any dataplane",
    claims.Promise.KUBE_PROXY: "what kube-proxy does where no document says; other dataplanes may differ",
}
_SECTION = re.compile(r"^(Preconditions|Steps|Expected): ", re.MULTILINE)
_allure: Any = allure


def pytest_configure(config: pytest.Config) -> None:
    """Register the id of every claim as a marker, so that ``-m C10`` selects its test."""
    for one in claims.CATALOGUE.values():
        config.addinivalue_line("markers", f"{one.id}: {one.title}.")


def claim(claim_id: str) -> Callable[[Test], Test]:
    """Say that a test checks a claim of the catalogue; raises UsageError when there is none of that id."""
    known = claims.find(claim_id)
    marks = (
        pytest.mark.claim(id=known.id),
        getattr(pytest.mark, known.id),
        getattr(pytest.mark, str(known.promised_by)),
        _allure.epic(EPIC),
        _allure.feature(claims.subject_of(known)),
        _allure.story(known.title),
        _allure.severity(SEVERITIES[known.promised_by]),
        _allure.title(f"{known.id} {known.title}"),
        _allure.label("claim", known.id),
        *((_allure.link(address, name=known.source),) if (address := sources.link(known.source)) else ()),
        *((pytest.mark.dataplane(*known.dataplanes),) if known.dataplanes else ()),
    )

    def mark(test: Test) -> Test:
        for one in (*marks, _allure.description(description(known, test.__doc__ or ""))):
            test = one(test)
        return test

    return mark


def description(claim: claims.Claim, text: str) -> str:
    """Return what the report says of a claim, as Markdown: the docstring of its test, and where the promise is made."""
    said = _SECTION.sub(r"\n**\1:** ", inspect.cleandoc(text))
    address = sources.link(claim.source)
    source = f"[{claim.source}]({address})" if address else claim.source
    chance = f"\n\n**False alarm:** at most {claim.false_alarm:.0e} a run" if claim.false_alarm else ""
    return f"{said}\n\n**Promised by:** {_PROMISED_BY[claim.promised_by]}\n\n**Source:** {source}{chance}"


def claim_of(item: pytest.Item) -> claims.Claim | None:
    """Return the claim that a test checks; None for a test that checks none."""
    marker = item.get_closest_marker("claim")
    return claims.find(marker.kwargs["id"]) if marker else None
