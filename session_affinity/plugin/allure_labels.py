"""What an Allure report shows of a claim's test beside its result. Without allure-pytest there is none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from session_affinity import extras
from session_affinity.claims import Promise, sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from session_affinity.claims import Claim

EPIC: Final = "Session affinity"
SEVERITIES: Final = {Promise.API: "critical", Promise.KUBE_PROXY: "normal"}
"""Allure's severity of a broken promise, by who promises it: every user may rely on the API."""
PLUGINS: Final = (
    () if extras.missing(extras.ALLURE) else ("session_affinity.plugin.results", "session_affinity.plugin.run_files")
)
"""The plugins that write an Allure report."""
_OPTION: Final = "allure_report_dir"
"""Where allure-pytest keeps the value of its option."""


def of_claim(claim: Claim, description: str) -> tuple[Callable[..., Any], ...]:
    """Return the decorators that label a claim's test; none without allure-pytest. ``description`` is Markdown."""
    if not PLUGINS:
        return ()
    import allure

    labels: Any = allure  # Allure declares no types
    address = sources.link(claim.source)
    return (
        labels.epic(EPIC),
        labels.story(claim.title),
        labels.severity(SEVERITIES[claim.promised_by]),
        labels.title(f"{claim.id} {claim.title}"),
        labels.label("claim", claim.id),
        *((labels.link(address, name=claim.source),) if address else ()),
        labels.description(description),
    )


def add_feature(item: pytest.Item, feature: str) -> None:
    """Label a collected test with its feature; without the plugin of allure-pytest nothing is done."""
    if hasattr(item.config.option, _OPTION):
        item.add_marker(pytest.mark.allure_label(feature, label_type="feature"))
