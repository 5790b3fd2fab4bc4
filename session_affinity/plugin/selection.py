"""Which tests run, and in which order: one rule for what a dataplane cannot be judged by, waiting tests last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import CATALOGUE
from session_affinity.clusters.addresses import families_of
from session_affinity.clusters.external.provider import is_asked_for, no_node_access
from session_affinity.dataplane.model import Family
from session_affinity.plugin.claims import claim_of
from session_affinity.plugin.options import ONLY_BEHAVIOUR, cluster_options_of

if TYPE_CHECKING:
    from collections.abc import Collection

PROXY_MODE = pytest.StashKey[str]()
"""The proxy mode as far as it is known: as asked for, then as found."""
NOT_JUDGED = pytest.StashKey[str]()
"""Why no claim about nodes can be judged, whatever the mode; empty when that is not so, or not known yet."""
FOREIGN = pytest.StashKey[bool]()
"""Whether the cluster is known to have no kube-proxy."""
FAMILIES = pytest.StashKey[tuple[Family, ...]]()
"""The IP families of the cluster as far as they are known: as asked for, then as found; empty before."""
NOT_TO_BE_DISTURBED = (
    "the cluster is not the suite's own: what flushes rules, stops kube-proxy or takes a thousand addresses "
    "is judged on embedded and kind clusters"
)
NO_KUBE_PROXY = "none"
"""The proxy mode of such a cluster."""
DUAL_STACK = "dual_stack"
"""The marker of claims about two IP families."""
_ORDER = {claim_id: place for place, claim_id in enumerate(CATALOGUE)}


def skip_reason(dataplanes: Collection[str], mode: str | None) -> str | None:
    """Return why a claim about some dataplanes is not judged in a proxy mode; None when it is, or nothing is known."""
    if not dataplanes or mode is None or mode in dataplanes:
        return None
    return f"kube-proxy runs in {mode} mode: claims about {' and '.join(dataplanes)} rules cannot be judged here"


def why_not_judged(config: pytest.Config, dataplanes: Collection[str]) -> str | None:
    """Return why a claim about some dataplanes is not judged in this run; None when it is, or nothing is known yet."""
    if dataplanes and (reason := config.stash.get(NOT_JUDGED, "")):
        return reason
    return skip_reason(dataplanes, config.stash.get(PROXY_MODE, "") or None)


def why_single_stack(families: tuple[Family, ...]) -> str | None:
    """Return why a claim about two IP families is not judged; None when it is, or nothing is known yet."""
    if len(families) != 1:
        return None
    return f"the cluster has {families[0]} only: claims about two IP families need --ip-family dual"


def needs_the_wait(item: pytest.Item) -> bool:
    """Whether a test is judged by the shared wait."""
    return "expiry" in getattr(item, "fixturenames", ())


def disturbs(item: pytest.Item) -> bool:
    """Whether a test does to the cluster what other tests would notice."""
    return item.get_closest_marker("disturbs") is not None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put tests of the shared wait last and after them those that disturb, and skip what cannot be judged.

    Each of these is in the order of the catalogue.
    """
    config.stash.setdefault(PROXY_MODE, config.getoption("--proxy-mode", default=None) or "")
    unasked = ONLY_BEHAVIOUR if config.getoption("--only-behaviour", default=False) else ""
    config.stash.setdefault(NOT_JUDGED, unasked or no_node_access(cluster_options_of(config)))
    asked = config.getoption("--ip-family", default=None)
    config.stash.setdefault(FAMILIES, families_of(asked) if asked else ())
    claimed = [item for item in items if claim_of(item)]
    claimed.sort(key=_place)
    places = iter(claimed)
    items[:] = [next(places) if claim_of(item) else item for item in items]
    for item in claimed:
        if reason := _reason(item):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip by the same rule once the cluster has told its proxy mode."""
    if reason := _reason(item):
        pytest.skip(reason)


def _reason(item: pytest.Item) -> str | None:
    if disturbs(item) and is_asked_for(cluster_options_of(item.config)):
        return NOT_TO_BE_DISTURBED
    if item.get_closest_marker(DUAL_STACK) and (reason := why_single_stack(item.config.stash[FAMILIES])):
        return reason
    marker = item.get_closest_marker("dataplane")
    return why_not_judged(item.config, marker.args) if marker else None


def _place(item: pytest.Item) -> tuple[bool, bool, int]:
    claim = claim_of(item)
    return disturbs(item), needs_the_wait(item), _ORDER[claim.id] if claim else 0
