"""The suite notices defects: each makes the claims about it fail, and no others.

The defects are in the modules beside this one, one for each subject; ``catalogue`` lists them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.defects.defect import IPTABLES
from tests.defects.run_outcome import RunOutcome, contradictions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.defects.behaviour_table import BehaviourTable
    from tests.defects.defect import Defect
    from tests.defects.defective_cluster import DefectiveCluster


@pytest.mark.fast
@pytest.mark.parametrize("defective", [IPTABLES], ids=str, indirect=True, scope="session")
def test_a_healthy_cluster_passes(defective: DefectiveCluster) -> None:
    """The control for all defects: the wrapped programs break nothing by themselves."""
    run = defective.check(["rules", "lists", "C10"])

    assert run.outcomes
    assert not run.failed + run.undetermined, run.output


def test_a_defect_fails_the_claims_about_it(defect: Defect, defective: DefectiveCluster) -> None:
    """The claims about a defect fail with node and reason, others pass; afterwards the cluster is healthy again."""
    with defect.injected(defective):
        run = defective.check(defect.claims)
    defective.require_healthy()

    wrong = contradictions(defect, run, defective.nodes)
    assert not wrong, "\n\n".join((*wrong, run.output))


@pytest.mark.behaviour
def test_behaviour_notices_a_defect_or_not(
    defect: Defect,
    defective: DefectiveCluster,
    claims: Mapping[str, Mapping[str, Any]],
    behaviour_table: BehaviourTable,
) -> None:
    """Record which claims about behaviour fail without access to the nodes, for docs/claims.md.

    The claims about the defect are checked first; all other claims about behaviour only if none of them fails.
    """
    about_behaviour = [claim for claim in defect.fails if not claims[claim]["modes"]]
    expiry = any(claims[claim]["subject"] == "expiry" for claim in defect.fails)
    with defect.injected(defective):
        run = defective.check_behaviour(about_behaviour) if about_behaviour else RunOutcome({}, "")
        if not run.failed:
            run = defective.check_all_behaviour(expiry=expiry)
    defective.require_healthy()

    behaviour_table.record(defect, run)
    assert run.outcomes, run.output
