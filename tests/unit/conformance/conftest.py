"""A small catalogue, and results of its claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import API, BOTH_MODES, IPTABLES, KUBE_PROXY, Claim, sources
from session_affinity.claims.catalogue import ClaimTest
from session_affinity.conformance.implementation import Implementation
from session_affinity.conformance.report import RunAccess, RunDescription
from session_affinity.conformance.result import ClaimResult, Outcome, RunResult, SkipReason

if TYPE_CHECKING:
    from collections.abc import Mapping

CLAIMS = (
    (Claim("C10", "One endpoint answers", API, sources.FIELD), "distribution", False),
    (Claim("C24", "A client expires", API, sources.TIMEOUT_FIELD, false_alarm=1e-8), "expiry", False),
    (Claim("C61", "The same in IPv6", API, sources.FIELD), "dual_stack", False),
    (Claim("C67", "At a load balancer's address", API, sources.LOAD_BALANCER_FIELD), "paths", False),
    (Claim("C16", "Rules have arguments", KUBE_PROXY, sources.WRITE_RULES, IPTABLES), "rules", False),
    (Claim("C40", "A restart loses nothing", KUBE_PROXY, sources.SYNC_AFTER_START, BOTH_MODES), "disruption", True),
)
CATALOGUE = {
    claim.id: ClaimTest(claim, subject, f"suite/x.py::{claim.id}", "why", "p", "s", "e", disruptive=disruptive)
    for claim, subject, disruptive in CLAIMS
}


def run_of(**outcomes: Outcome | SkipReason) -> RunResult:
    """Return a run in which all claims passed but those named, by id; a reason is that of a skipped claim."""
    results = []
    for claim, _, _ in CLAIMS:
        outcome = outcomes.get(claim.id, Outcome.PASSED)
        if isinstance(outcome, SkipReason):
            results.append(ClaimResult(claim, Outcome.SKIPPED, message="a rule", skip_reason=outcome))
        else:
            message = "" if outcome is Outcome.PASSED else "what was seen"
            results.append(ClaimResult(claim, outcome, "a number", message, 0.5))
    return RunResult(tuple(results), {}, 12.34)


@pytest.fixture
def catalogue() -> Mapping[str, ClaimTest]:
    return CATALOGUE


@pytest.fixture
def description() -> RunDescription:
    cluster = {
        "kubernetes": "v1.37.2",
        "provider": "embedded",
        "nodes": {"total": 4, "judged": 4},
        "ipFamilies": ["IPv4"],
    }
    return RunDescription(
        date="2026-11-26T04:00:00+00:00",
        suite_version="0.2.0",
        suite_commit="abc1234",
        implementation=Implementation("kubernetes", "kube-proxy", "https://kubernetes.io", "v1.37.2", ("sig-network",)),
        access=RunAccess("own"),
        cluster=cluster,
        proxy_mode="iptables",
    )
