"""What iptables mode does at its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from session_affinity.text import listed
from session_affinity.verdicts.verdict import Finding, Verdict

if TYPE_CHECKING:
    from session_affinity.scenarios.limits.full_list import FullList, Return

_SHOWN = 3


def judge_full_list(full: FullList) -> Verdict:
    """Judge that a full list holds the clients set most recently, and gave up the one set least recently."""
    findings = [
        Finding(
            full.node,
            f"{len(one.expected)} clients, among them {listed(sorted(one.expected - one.seen), _SHOWN) or 'the same'}",
            f"{len(one.seen)} clients, among them {listed(sorted(one.seen - one.expected), _SHOWN) or 'none else'}",
            one.did,
        )
        for one in full.fillings
        if one.seen != one.expected
    ]
    held = ", ".join("kept" if full.client in one.seen else "evicted" for one in full.fillings)
    return Verdict(f"list of {full.size}: the client {held}", tuple(findings), full.service)


def judge_return(seen: Return) -> Verdict:
    """Judge that a client went back to the endpoint it had left as its old entry there was valid again."""
    findings = [
        Finding("the client", f"{what}: answered by {endpoint.pod}", answers.summary())
        for what, endpoint, answers in (
            ("bound anew, its time at another endpoint being over", seen.later, seen.bound),
            ("the timeout raised", seen.earlier, seen.raised),
        )
        if answers.only_endpoint != endpoint.pod
    ]
    headline = f"{seen.later.pod}, then {seen.raised.only_endpoint or 'several'} as the timeout was raised"
    return Verdict(headline, tuple(findings), seen.service)
