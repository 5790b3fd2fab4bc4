"""A healthy cluster violates no claim, however its kube-proxies are set up, and what cannot be judged is known."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.defects.run_outcome import SKIPPED
from tests.settings.settings import FAST_CLAIMS, NOT_AT_LOCALHOST, OF_OTHERS_CLUSTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

    from tests.defects.run_outcome import RunOutcome
    from tests.settings.cluster import SetUp

Catalogue = dict[str, dict[str, Any]]
SECOND_FAMILY = ("C91", "C91n")
"""The claims of other subjects that need a second IP family."""


def reason_to_skip(claim: Mapping[str, Any], set_up: SetUp) -> str:
    """Return the reason, as a pattern, for which a claim has to be skipped; empty when it has to be judged."""
    if claim["disruptive"]:
        return "the cluster was not created by this run"
    if claim["subject"] == "dual_stack" or claim["id"] in SECOND_FAMILY:
        return "the cluster has IPv4 only|kube-proxy runs in"
    if claim["modes"] and set_up.mode not in claim["modes"]:
        return f"kube-proxy runs in {set_up.mode} mode"
    if claim["id"] == "C31c" and set_up.mode not in set_up.setting.localhost_modes:
        return NOT_AT_LOCALHOST
    return set_up.setting.skipped.get(claim["id"], OF_OTHERS_CLUSTERS.get(claim["id"], ""))


def skipped(run: RunOutcome) -> dict[str, str]:
    """Return the claims that were skipped, each with the reason."""
    return {claim: outcome.message for claim, outcome in run.outcomes.items() if outcome.outcome == SKIPPED}


def test_a_healthy_cluster_is_judged(set_up: SetUp, claims: Catalogue, request: pytest.FixtureRequest) -> None:
    is_fast = "fast" in (request.config.getoption("-m") or "")

    run = set_up.check(f"affinity and ({FAST_CLAIMS})" if is_fast else "affinity")

    assert (run.failed, run.undetermined) == ((), ()), run.output
    unknown = [claim for claim in run.differing if not claims[claim]["known"]]
    assert unknown == [], run.output
    expected = {claim: reason for claim in run.outcomes if (reason := reason_to_skip(claims[claim], set_up))}
    found = skipped(run)
    assert found.keys() == expected.keys(), run.output
    unlike = {claim: found[claim] for claim, reason in expected.items() if not re.search(reason, found[claim])}
    assert unlike == {}
    assert len(found) < len(run.outcomes), run.output
    if noted := set_up.setting.noted:
        older = set_up.older.release if set_up.older else ""
        said = noted.format(mode=set_up.mode, other=set_up.setting.other(set_up.mode), older=older)
        assert said in run.output
