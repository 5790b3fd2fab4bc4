"""The suite notices what is wrong: every defect makes the claims about it fail, and no others.

The defects are in the modules beside this one, one a subject; ``catalogue`` has them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import CATALOGUE
from tests.defects.defect import IPTABLES
from tests.defects.judged import Judged, contradictions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.defects.comfort import Comfort
    from tests.defects.defect import Defect
    from tests.defects.sick import SickCluster


@pytest.mark.fast
@pytest.mark.parametrize("sick", [IPTABLES], ids=str, indirect=True, scope="session")
def test_a_healthy_cluster_passes(sick: SickCluster) -> None:
    """The control for all defects: the stand-ins by themselves break nothing."""
    judged = sick.judge(["rules", "lists", "C10"])

    assert judged.outcomes
    assert not judged.failed + judged.broken, judged.said


def test_a_defect_fails_the_claims_about_it(defect: Defect, sick: SickCluster) -> None:
    """Its claims fail, say where and what, and others pass; afterwards the cluster is healthy again."""
    with defect.injected(sick):
        judged = sick.judge(defect.claims)
    sick.require_healthy()

    wrong = contradictions(defect, judged, sick.nodes)
    assert not wrong, "\n\n".join((*wrong, judged.said))


@pytest.mark.behaviour
def test_behaviour_notices_a_defect_or_not(
    defect: Defect, sick: SickCluster, about: Mapping[str, Sequence[str]], comfort: Comfort
) -> None:
    """What the claims about behaviour make of it where nobody looks at the nodes: kept for docs/claims.md.

    Those that are known to be about it come first; only where none of them fails, all others are asked.
    """
    own = [claim for claim in defect.fails if not CATALOGUE[claim].dataplanes]
    waiting = any("expiry" in about[claim] for claim in defect.fails)
    with defect.injected(sick):
        judged = sick.judge_behaviour(own) if own else Judged({}, "")
        if not judged.failed:
            judged = sick.judge_all_behaviour(waiting=waiting)
    sick.require_healthy()

    comfort.record(defect, judged)
    assert judged.outcomes, judged.said
