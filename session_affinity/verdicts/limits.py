"""What iptables mode does at its limits: a full list, and an expired entry that a raised timeout makes valid again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from session_affinity.text import listed
from session_affinity.verdicts.verdict import Finding, Verdict, require_observed

if TYPE_CHECKING:
    from collections.abc import Collection

    from session_affinity.scenarios.limits.full_list import FullList, ReturningClient

_SHOWN = 3


def judge_full_list(full: FullList) -> Verdict:
    """Judge that a full list has the clients set most recently, and dropped the one set least recently."""
    require_observed(full.reads, f"reads of a full list on {full.node}")
    for read in full.reads:
        require_observed(read.expected, f"clients set in a list on {full.node}")
    findings = [
        Finding(
            full.node,
            f"{len(read.expected)} clients, among them {_addresses(read.expected - read.seen) or 'the same'}",
            f"{len(read.seen)} clients, among them {_addresses(read.seen - read.expected) or 'no others'}",
            read.step,
        )
        for read in full.reads
        if read.seen != read.expected
    ]
    outcome = ", ".join("kept" if full.client in read.seen else "evicted" for read in full.reads)
    return Verdict(f"list of {full.size}: the client {outcome}", tuple(findings), full.service)


def judge_return(seen: ReturningClient) -> Verdict:
    """Judge that a client went back to the endpoint it had left once its old entry there was valid again.

    Raises NothingObservedError without requests before and after, and when both endpoints are the same.
    """
    require_observed(seen.bound, "requests before the timeout was raised")
    require_observed(seen.raised, "requests after the timeout was raised")
    require_observed({seen.earlier, seen.later} - {seen.earlier}, "a second endpoint of the Service")
    findings = [
        Finding("the client", f"{when}: answered by {endpoint.pod}", answers.summary())
        for when, endpoint, answers in (
            ("bound anew, its time at another endpoint being over", seen.later, seen.bound),
            ("the timeout raised", seen.earlier, seen.raised),
        )
        if answers.only_endpoint != endpoint.pod
    ]
    headline = f"{seen.later.pod}, then {seen.raised.only_endpoint or 'several'} as the timeout was raised"
    return Verdict(headline, tuple(findings), seen.service)


def _addresses(addresses: Collection[str]) -> str:
    return listed(sorted(addresses), _SHOWN)
