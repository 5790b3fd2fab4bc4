"""What kube-proxy programs for a Service, on every node, in iptables mode and in nftables mode.

All claims look at the same Services: they are made once, and the nodes are read until their rules are right or the
deadline is over. Each claim then reads the nodes anew, so rules that go wrong later are seen as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.plugin.claims import claim
from session_affinity.verdicts.rules import judge_aspects, judge_no_memory, judge_same_everywhere, judge_timeouts

if TYPE_CHECKING:
    from fixtures.rules import RuleReading
    from session_affinity.plugin.evidence import Evidence

pytestmark = [pytest.mark.affinity, pytest.mark.rules]


@claim("C05")
def test_the_services_own_timeout_is_programmed(rules: RuleReading, evidence: Evidence) -> None:
    """The Service's own timeout is programmed.

    Preconditions: Services with ClientIP and timeouts of 1, 30 and 86400 seconds.
    Steps: read the rules and sets of every node.
    Expected: each rcheck rule of a Service says --seconds with its timeout, or each of its sets has it, on every node.
    """
    verdict = judge_timeouts("C05", rules.dataplane, rules.timed, rules.states)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C14")
def test_chains_have_the_computed_names(rules: RuleReading, evidence: Evidence) -> None:
    """Chains have the computed names, and there are no others for the Service.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: compute the names of its chains from the API objects; read the rules of every node.
    Expected: every node has one KUBE-SVC and three KUBE-SEP chains of these names, or one service-, three endpoint-
        chains and three affinity- sets, and no other of the Service.
    """
    evidence.objects(rules.sticky)
    evidence.text("differences", rules.explain())
    evidence.text("latency", rules.settled.latency())

    verdict = judge_aspects("C14", rules.sticky, rules.differences, rules.settled.waited)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C15")
def test_every_endpoint_is_asked_for_before_balancing(rules: RuleReading, evidence: Evidence) -> None:
    """One affinity rule an endpoint, in order, before any balancing rule.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: the Service's chain has three rules that ask for the client, in the order of the endpoints, then what
        balances.
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


@claim("C16n")
def test_affinity_rules_ask_sets_with_the_right_timeout(rules: RuleReading, evidence: Evidence) -> None:
    """Each affinity rule asks its endpoint's own set, which has the Service's timeout.

    Preconditions: a Service with ClientIP and the default timeout over three ready endpoints.
    Steps: read the rules and sets of every node.
    Expected: each affinity rule looks for the source in the set of an endpoint and goes to the chain of that endpoint;
        the set holds addresses and has a timeout of 10800 s.
    """
    verdict = judge_aspects("C16n", rules.sticky, rules.differences, rules.settled.waited)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C17")
def test_balancing_gives_each_endpoint_the_same_chance(rules: RuleReading, evidence: Evidence) -> None:
    """Balancing gives each of n endpoints the chance 1/n.

    Preconditions: a Service over three ready endpoints.
    Steps: read the rules of every node.
    Expected: three rules with probabilities of 1/3 and 1/2 to within 1e-6, the last without one; or one rule that draws
        a random number below 3, each of which leads to another endpoint.
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


@claim("C18n")
def test_endpoint_chains_renew_the_client_then_translate(rules: RuleReading, evidence: Evidence) -> None:
    """Each endpoint chain renews the client in its own set, then translates.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: each endpoint- chain has a rule that updates the set of its own endpoint with the source, and after it one
        that translates to that endpoint.
    """
    verdict = judge_aspects("C18n", rules.sticky, rules.differences, rules.settled.waited)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C19")
def test_without_affinity_nothing_is_remembered(rules: RuleReading, evidence: Evidence) -> None:
    """Without affinity no rule of the Service remembers clients.

    Preconditions: a Service without affinity over the same endpoints: the control for the claims about affinity rules.
    Steps: read the rules and sets of every node.
    Expected: the Service has rules on every node, and none of them matches with recent, or asks or updates a set.
    """
    verdict = judge_no_memory(rules.dataplane, rules.plain, rules.states)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C20")
def test_all_nodes_hold_the_same_rules(rules: RuleReading, evidence: Evidence) -> None:
    """All nodes hold the same rules for the Service.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: no node's rules for the Service differ from another's, counters aside.
    """
    verdict = judge_same_everywhere(rules.dataplane, rules.sticky, rules.states)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()


@claim("C51")
def test_the_cluster_ip_leads_to_the_services_chain(rules: RuleReading, evidence: Evidence) -> None:
    """The cluster IP leads to the Service's chain.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: one rule of KUBE-SERVICES, or one element of service-ips, has cluster IP, protocol and port and leads to
        the Service's chain; what comes from outside the pod network is marked for masquerading.
    """
    verdict = judge_aspects("C51", rules.sticky, rules.differences, rules.settled.waited)

    evidence.verdict(verdict)
    assert verdict.ok, verdict.explain()
