"""Services of every shape: generated, so that every feasible pair of values of their dimensions occurs in one of them.

They have no selector and hand-made EndpointSlices: no pods are needed, and no traffic. All are made, compared on all
nodes and deleted in the background while other claims are judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import IPTABLES, KUBE_PROXY, NFTABLES, sources
from session_affinity.plugin.claims import claim
from session_affinity.verdicts.answered_shapes import judge_answered_shapes
from session_affinity.verdicts.shapes import judge_shapes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.dataplane.model import Family
    from session_affinity.plugin.check import Check
    from session_affinity.scenarios.answered_shapes import AnsweredShapes
    from session_affinity.scenarios.shapes import ShapesSeen

pytestmark = [pytest.mark.affinity, pytest.mark.shapes]


@claim(
    "C90",
    "Services of every shape have their computed iptables rules on every node",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_RULES,
    modes=IPTABLES,
)
def test_services_of_every_shape_have_their_iptables_rules(
    shapes: ShapesSeen, families: Sequence[Family], check: Check
) -> None:
    """A rule that is wrong for nine endpoints, a second slice or SCTP shows in no Service with three endpoints.

    Preconditions: Services without selector with hand-made EndpointSlices, in which every feasible pair of values of
        affinity, ports, protocols, endpoints, slices, conditions, hints, addresses, types, policies, source ranges and
        labels occurs (docs/shapes.md).
    Steps: create all of them, and one more; once a node has the rules of that, read the node; delete them and read
        again.
    Expected: every node has the computed rules of every Service in the tables nat and filter, no others of theirs, and
        none after they are deleted.
    """
    check(judge_shapes(shapes, families[0]))


@claim(
    "C90n",
    "Services of every shape have their computed nftables rules on every node",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_NFTABLES,
    modes=NFTABLES,
)
def test_services_of_every_shape_have_their_nftables_rules(
    shapes: ShapesSeen, families: Sequence[Family], check: Check
) -> None:
    """A chain, set or element that is wrong for nine endpoints or SCTP shows in no Service with three endpoints.

    Preconditions: Services without selector with hand-made EndpointSlices, in which every feasible pair of values of
        affinity, ports, protocols, endpoints, slices, conditions, hints, addresses, types, policies, source ranges and
        labels occurs (docs/shapes.md).
    Steps: create all of them, and one more; once a node has the chains of that, read the node; delete them and read
        again.
    Expected: every node has the computed chains, sets and elements of every Service, no others of theirs, and none
        after they are deleted.
    """
    check(judge_shapes(shapes, families[0]))


@pytest.mark.dual_stack
@claim(
    "C91",
    "Services of every shape have their computed iptables rules in the second IP family too",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_RULES,
    modes=IPTABLES,
)
def test_services_of_every_shape_have_their_iptables_rules_in_the_second_family(
    shapes: ShapesSeen, families: Sequence[Family], check: Check
) -> None:
    """kube-proxy writes each family's rules by itself, from addresses and slices of that family alone.

    Preconditions: the Services of C90, of which a part has addresses of the second family, or of both.
    Steps: create all of them, and one more; once a node has the rules of that, read the node; delete them and read
        again.
    Expected: every node has the computed rules of every Service in that family, no others of theirs, and none after
        they are deleted.
    """
    check(judge_shapes(shapes, families[1]))


@pytest.mark.dual_stack
@claim(
    "C91n",
    "Services of every shape have their computed nftables rules in the second IP family too",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_NFTABLES,
    modes=NFTABLES,
)
def test_services_of_every_shape_have_their_nftables_rules_in_the_second_family(
    shapes: ShapesSeen, families: Sequence[Family], check: Check
) -> None:
    """kube-proxy writes each family's table by itself, from addresses and slices of that family alone.

    Preconditions: the Services of C90n, of which a part has addresses of the second family, or of both.
    Steps: create all of them, and one more; once a node has the chains of that, read the node; delete them and read
        again.
    Expected: every node has the computed chains, sets and elements of every Service in that family, no others of
        theirs, and none after they are deleted.
    """
    check(judge_shapes(shapes, families[1]))


@claim(
    "C96",
    "Services of every shape are answered by endpoints that they may use, under ClientIP by one that is remembered",
    promised_by=KUBE_PROXY,
    source=sources.CATEGORIZE_ENDPOINTS,
)
def test_services_of_every_shape_are_answered_by_their_endpoints(answered_shapes: AnsweredShapes, check: Check) -> None:
    """Right rules are half of it: what is not ready, elsewhere or hinted away must not answer, and affinity must hold.

    Preconditions: Services without selector whose hand-made EndpointSlices have the sample pods as endpoints; every
        feasible pair of values of affinity, endpoints, slices, conditions, hints, placement and type occurs.
    Steps: send six requests to each that has an endpoint for the client's node, one to each other; read the client's
        affinity entries on its node.
    Expected: pods that the Service may use answer, under ClientIP one of them, for which alone the node has an entry;
        nobody answers for a Service without such a pod.
    """
    check(judge_answered_shapes(answered_shapes))
