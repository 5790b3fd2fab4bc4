"""Walks: random edits of Services and EndpointSlices, one after another and several at once.

A longer one, which also restarts and disturbs kube-proxies: `session-affinity walk --minutes 30`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import BOTH_MODES, KUBE_PROXY, sources
from session_affinity.plugin.claims import claim
from session_affinity.verdicts.walks import judge_walk

if TYPE_CHECKING:
    from session_affinity.plugin.check import Check
    from session_affinity.scenarios.walks.result import WalkResult

pytestmark = [pytest.mark.affinity, pytest.mark.walks]


@claim(
    "C95",
    "Nodes have the computed rules and affinity entries after every batch of random edits of Services",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_nodes_follow_random_edits(walk: WalkResult, check: Check) -> None:
    """kube-proxy writes what has changed: an edit that it overlooks, or takes for another, stays wrong until the next.

    Preconditions: none; Services without selector, with hand-made EndpointSlices, are created by the walk itself.
    Steps: edit them at random from a fixed seed: create, delete and make again; switch affinity, timeout, type,
        policies, addresses, source ranges, ports and labels; add, remove, move and change endpoints and slices; put
        clients into affinity entries; after each batch wait for the nodes and read them; delete everything at the end.
    Expected: every node has the computed rules after each batch; each client is bound as it was, unless its endpoint or
        the affinity was taken away meanwhile; nothing is left at the end.
    """
    check(judge_walk(walk))
