"""What kube-proxy programs for a Service, on every node, in iptables mode and in nftables mode.

All claims look at the same Services: they are made once, and the nodes are read until their rules are right or the
deadline is over. Each claim then reads the nodes anew, so rules that go wrong later are seen as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import BOTH_MODES, IPTABLES, KUBE_PROXY, NFTABLES, sources
from session_affinity.dataplane.differences import Aspect
from session_affinity.plugin.claims import claim
from session_affinity.verdicts.rules import judge_aspects, judge_no_memory, judge_same_everywhere, judge_timeouts

if TYPE_CHECKING:
    from fixtures.rules import RuleReading
    from session_affinity.plugin.check import Check

pytestmark = [pytest.mark.affinity, pytest.mark.rules]


@claim(
    "C05",
    "The Service's own timeout is programmed",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_the_services_own_timeout_is_programmed(rules: RuleReading, check: Check) -> None:
    """The Service's own timeout is programmed.

    Preconditions: Services with ClientIP and timeouts of 1, 30 and 86400 seconds.
    Steps: read the rules and sets of every node.
    Expected: each rcheck rule of a Service says --seconds with its timeout, or each of its sets has it, on every node.
    """
    verdict = judge_timeouts(rules.backend, rules.timed, rules.states)

    check(verdict)


@claim(
    "C14",
    "Chains have the computed names, and there are no others for the Service",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_chains_have_the_computed_names(rules: RuleReading, check: Check) -> None:
    """Chains have the computed names, and there are no others for the Service.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: compute the names of its chains from the API objects; read the rules of every node.
    Expected: every node has one KUBE-SVC and three KUBE-SEP chains of these names, or one service-, three endpoint-
        chains and three affinity- sets, and no other of the Service.
    """
    verdict = judge_aspects(
        rules.sticky, rules.differences, rules.sync.waited, Aspect.CHAIN_NAMES, Aspect.LEFTOVER, Aspect.UNEXPECTED_RULE
    )

    check(verdict)


@claim(
    "C15",
    "One affinity rule an endpoint, in order, before any balancing rule",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_every_endpoint_is_asked_for_before_balancing(rules: RuleReading, check: Check) -> None:
    """One affinity rule an endpoint, in order, before any balancing rule.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: the Service's chain has three rules that ask for the client, in the order of the endpoints, then what
        balances.
    """
    verdict = judge_aspects(
        rules.sticky,
        rules.differences,
        rules.sync.waited,
        Aspect.CHAIN_NAMES,
        Aspect.AFFINITY_PRESENCE,
        Aspect.AFFINITY_ORDER,
    )

    check(verdict)


@claim(
    "C16",
    "Each rcheck rule has seconds, reap, its own list, the full mask and the source",
    promised_by=KUBE_PROXY,
    source=sources.WRITE_RULES,
    modes=IPTABLES,
)
def test_rcheck_rules_have_the_right_arguments(rules: RuleReading, check: Check) -> None:
    """Each rcheck rule has seconds, reap, its own list, the full mask and the source.

    Preconditions: a Service with ClientIP and the default timeout over three ready endpoints.
    Steps: read the rules of every node.
    Expected: --rcheck --seconds 10800 --reap --name KUBE-SEP-... --mask 255.255.255.255 --rsource, to that chain.
    """
    verdict = judge_aspects(
        rules.sticky, rules.differences, rules.sync.waited, Aspect.CHAIN_NAMES, Aspect.AFFINITY_ARGUMENTS
    )

    check(verdict)


@claim(
    "C16n",
    "Each affinity rule asks its endpoint's own set, which has the Service's timeout",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_NFTABLES,
    modes=NFTABLES,
)
def test_affinity_rules_ask_sets_with_the_right_timeout(rules: RuleReading, check: Check) -> None:
    """Each affinity rule asks its endpoint's own set, which has the Service's timeout.

    Preconditions: a Service with ClientIP and the default timeout over three ready endpoints.
    Steps: read the rules and sets of every node.
    Expected: each affinity rule looks for the source in the set of an endpoint and goes to the chain of that endpoint;
        the set holds addresses and has a timeout of 10800 s.
    """
    verdict = judge_aspects(
        rules.sticky,
        rules.differences,
        rules.sync.waited,
        Aspect.CHAIN_NAMES,
        Aspect.AFFINITY_ARGUMENTS,
        Aspect.AFFINITY_STORE,
    )

    check(verdict)


@claim(
    "C17",
    "Balancing gives each of n endpoints the chance 1/n",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_balancing_gives_each_endpoint_the_same_chance(rules: RuleReading, check: Check) -> None:
    """Balancing gives each of n endpoints the chance 1/n.

    Preconditions: a Service over three ready endpoints.
    Steps: read the rules of every node.
    Expected: three rules with probabilities of 1/3 and 1/2 to within 1e-6, the last without one; or one rule that draws
        a random number below 3, each of which leads to another endpoint.
    """
    verdict = judge_aspects(
        rules.sticky, rules.differences, rules.sync.waited, Aspect.CHAIN_NAMES, Aspect.BALANCING, Aspect.PROBABILITY
    )

    check(verdict)


@claim(
    "C18",
    "Each endpoint chain remembers the client and translates in one rule",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_RULES,
    modes=IPTABLES,
)
def test_endpoint_chains_remember_and_translate_in_one_rule(rules: RuleReading, check: Check) -> None:
    """Each endpoint chain remembers the client and translates in one rule.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: each KUBE-SEP chain has one DNAT rule, to its endpoint, that also has --set on the list of its own name.
    """
    verdict = judge_aspects(rules.sticky, rules.differences, rules.sync.waited, Aspect.CHAIN_NAMES, Aspect.TRANSLATION)

    check(verdict)


@claim(
    "C18n",
    "Each endpoint chain renews the client in its own set, then translates",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_NFTABLES,
    modes=NFTABLES,
)
def test_endpoint_chains_renew_the_client_then_translate(rules: RuleReading, check: Check) -> None:
    """Each endpoint chain renews the client in its own set, then translates.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: each endpoint- chain has a rule that updates the set of its own endpoint with the source, and after it one
        that translates to that endpoint.
    """
    verdict = judge_aspects(rules.sticky, rules.differences, rules.sync.waited, Aspect.CHAIN_NAMES, Aspect.TRANSLATION)

    check(verdict)


@claim(
    "C19",
    "Without affinity no rule of the Service remembers clients",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_without_affinity_nothing_is_remembered(rules: RuleReading, check: Check) -> None:
    """Without affinity no rule of the Service remembers clients.

    Preconditions: a Service without affinity over the same endpoints: the control for the claims about affinity rules.
    Steps: read the rules and sets of every node.
    Expected: the Service has rules on every node, and none of them matches with recent, or asks or updates a set.
    """
    verdict = judge_no_memory(rules.backend, rules.plain, rules.states)

    check(verdict)


@claim(
    "C20",
    "All nodes hold the same rules for the Service",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_all_nodes_hold_the_same_rules(rules: RuleReading, check: Check) -> None:
    """All nodes hold the same rules for the Service.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: no node's rules for the Service differ from another's, counters aside.
    """
    verdict = judge_same_everywhere(rules.backend, rules.sticky, rules.states)

    check(verdict)


@claim(
    "C51",
    "The cluster IP leads to the Service's chain",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_the_cluster_ip_leads_to_the_services_chain(rules: RuleReading, check: Check) -> None:
    """The cluster IP leads to the Service's chain.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: one rule of KUBE-SERVICES, or one element of service-ips, has cluster IP, protocol and port and leads to
        the Service's chain; what comes from outside the pod network is marked for masquerading.
    """
    verdict = judge_aspects(rules.sticky, rules.differences, rules.sync.waited, Aspect.ENTRY, Aspect.MASQUERADE)

    check(verdict)
