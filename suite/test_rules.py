"""What kube-proxy in iptables mode programs for a Service, on every node.

All claims look at the same Services: they are made once, and the nodes are read until their rules are right or the
deadline is over. Each claim then reads the nodes anew, so rules that go wrong later are seen as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from affinity.verdicts.programmed import (
    judge_aspects,
    judge_no_memory,
    judge_same_everywhere,
    judge_timeouts,
)
from fixtures.claims import claim

if TYPE_CHECKING:
    from fixtures.evidence import Evidence
    from fixtures.rules import RuleReading

pytestmark = [pytest.mark.affinity, pytest.mark.rules]


@claim("C05")
def test_rules_carry_the_services_own_timeout(rules: RuleReading, evidence: Evidence) -> None:
    """The rules carry the Service's own timeout.

    Preconditions: Services with ClientIP and timeouts of 1, 30 and 86400 seconds.
    Steps: read the rules of every node.
    Expected: each rcheck rule of a Service says --seconds with its timeout, on every node.
    """
    verdict = judge_timeouts("C05", rules.timed, rules.states)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C14")
def test_chains_have_the_computed_names(rules: RuleReading, evidence: Evidence) -> None:
    """Chains have the computed names, and there are no others for the Service.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: compute the names of its chains from the API objects; read the rules of every node.
    Expected: every node has one KUBE-SVC and three KUBE-SEP chains of these names, and no other of the Service.
    """
    evidence.objects(rules.sticky)
    evidence.text("differences", rules.explain())
    evidence.text("latency", rules.settled.latency())

    verdict = judge_aspects("C14", rules.sticky, rules.differences, rules.settled.waited)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C15")
def test_every_endpoint_is_asked_for_before_balancing(rules: RuleReading, evidence: Evidence) -> None:
    """One rcheck rule an endpoint, in order, before any balancing rule.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: the Service's chain has three rcheck rules in the order of the endpoints, then the balancing rules.
    """
    verdict = judge_aspects("C15", rules.sticky, rules.differences, rules.settled.waited)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C16")
def test_rcheck_rules_have_the_right_arguments(rules: RuleReading, evidence: Evidence) -> None:
    """Each rcheck rule has seconds, reap, its own list, the full mask and the source.

    Preconditions: a Service with ClientIP and the default timeout over three ready endpoints.
    Steps: read the rules of every node.
    Expected: --rcheck --seconds 10800 --reap --name KUBE-SEP-... --mask 255.255.255.255 --rsource, to that chain.
    """
    verdict = judge_aspects("C16", rules.sticky, rules.differences, rules.settled.waited)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C17")
def test_balancing_probabilities_are_even(rules: RuleReading, evidence: Evidence) -> None:
    """Balancing probabilities are 1/n, 1/(n-1), ... and none for the last.

    Preconditions: a Service over three ready endpoints.
    Steps: read the rules of every node.
    Expected: probabilities of 1/3 and 1/2 to within 1e-6, then a rule without one.
    """
    verdict = judge_aspects("C17", rules.sticky, rules.differences, rules.settled.waited)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C18")
def test_endpoint_chains_remember_and_translate_in_one_rule(rules: RuleReading, evidence: Evidence) -> None:
    """Each endpoint chain remembers the client and translates in one rule.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: each KUBE-SEP chain has one DNAT rule, to its endpoint, that also has --set on the list of its own name.
    """
    verdict = judge_aspects("C18", rules.sticky, rules.differences, rules.settled.waited)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C19")
def test_without_affinity_nothing_is_remembered(rules: RuleReading, evidence: Evidence) -> None:
    """Without affinity no rule of the Service remembers clients.

    Preconditions: a Service without affinity over the same endpoints: the control for the claims about rcheck rules.
    Steps: read the rules of every node.
    Expected: the Service has rules on every node, and none of them matches with recent.
    """
    verdict = judge_no_memory(rules.plain, rules.states)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C20")
def test_all_nodes_hold_the_same_rules(rules: RuleReading, evidence: Evidence) -> None:
    """All nodes hold the same rules for the Service.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: no node's rules for the Service differ from another's, counters aside.
    """
    verdict = judge_same_everywhere(rules.sticky, rules.states)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C51")
def test_the_cluster_ip_leads_to_the_services_chain(rules: RuleReading, evidence: Evidence) -> None:
    """The cluster IP leads to the Service's chain.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: one rule of KUBE-SERVICES matches cluster IP, protocol and port and leads to the Service's chain, which
        marks what comes from outside the pod network.
    """
    verdict = judge_aspects("C51", rules.sticky, rules.differences, rules.settled.waited)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()
