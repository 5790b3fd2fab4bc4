"""Rules that kube-proxy programs for a Service on every node, in iptables mode and in nftables mode.

All claims use the same Services, which are created once; the nodes are then read until their rules are right or the
deadline has passed. Each claim reads the nodes again, so that rules that go wrong later are noticed as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import BOTH_MODES, IPTABLES, KUBE_PROXY, NFTABLES, sources
from session_affinity.dataplane.differences import Aspect
from session_affinity.plugin.claims import claim
from session_affinity.verdicts.rules import judge_aspects, judge_no_affinity_rules, judge_same_rules, judge_timeouts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fixtures.rules import RuleReading
    from session_affinity.plugin.check import Check

pytestmark = [pytest.mark.affinity, pytest.mark.rules]


@claim(
    "C05",
    "The Service's timeoutSeconds is programmed on every node",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_the_services_timeout_is_programmed(rules: RuleReading, check: Check) -> None:
    """Clients lose their endpoint too early, or keep it too long, on every node that uses another timeout.

    Preconditions: Services with ClientIP and timeouts of 1, 30 and 86400 seconds.
    Steps: read the rules and sets of every node.
    Expected: every rcheck rule of a Service has --seconds with its timeout, or every set of it has that timeout, on
        every node.
    """
    verdict = judge_timeouts(rules.backend, rules.timed, rules.states)

    check(verdict)


@claim(
    "C14",
    "Chains and sets of the Service have their computed names, and there are no others",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_chains_and_sets_have_their_computed_names(rules: RuleReading, check: Check) -> None:
    """Recent lists and sets follow these names: another name loses all affinity entries; an extra chain is a leftover.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: compute the names of its chains and sets from the API objects; read the rules of every node.
    Expected: every node has one KUBE-SVC and three KUBE-SEP chains with these names, or one service- chain, three
        endpoint- chains and three affinity- sets, and no other of the Service.
    """
    verdict = judge_aspects(
        rules.sticky, rules.differences, rules.sync.waited, Aspect.CHAIN_NAMES, Aspect.LEFTOVER, Aspect.UNEXPECTED_RULE
    )

    check(verdict)


@claim(
    "C15",
    "One affinity rule per endpoint, in endpoint order, precedes all balancing rules",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_one_affinity_rule_per_endpoint_precedes_balancing(rules: RuleReading, check: Check) -> None:
    """A missing or late affinity rule lets bound clients fall through to random choice and change their endpoint.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: the Service's chain begins with three affinity rules, one for each endpoint and in endpoint order,
        followed by the balancing rules.
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
    "Each rcheck rule has --seconds, --reap, its own list, the full mask and --rsource",
    promised_by=KUBE_PROXY,
    source=sources.WRITE_RULES,
    modes=IPTABLES,
)
def test_rcheck_rules_have_the_right_arguments(rules: RuleReading, check: Check) -> None:
    """One wrong argument binds by the wrong address, for the wrong time, or to another endpoint's clients.

    Preconditions: a Service with ClientIP and the default timeout over three ready endpoints.
    Steps: read the rules of every node.
    Expected: every rcheck rule has --rcheck --seconds 10800 --reap --name KUBE-SEP-... --mask 255.255.255.255 --rsource
        and jumps to the chain of that name.
    """
    verdict = judge_aspects(
        rules.sticky, rules.differences, rules.sync.waited, Aspect.CHAIN_NAMES, Aspect.AFFINITY_ARGUMENTS
    )

    check(verdict)


@claim(
    "C16n",
    "Each affinity rule matches its endpoint's own set, which has the Service's timeout",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_NFTABLES,
    modes=NFTABLES,
)
def test_affinity_rules_match_their_own_sets(rules: RuleReading, check: Check) -> None:
    """A rule on another endpoint's set sends clients to the wrong pod; another timeout frees them early or late.

    Preconditions: a Service with ClientIP and the default timeout over three ready endpoints.
    Steps: read the rules and sets of every node.
    Expected: each affinity rule looks up the source address in the set of one endpoint and goes to that endpoint's
        chain; the set contains addresses and has a timeout of 10800 s.
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
    "Balancing gives each of n endpoints the probability 1/n",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_balancing_gives_each_endpoint_the_same_probability(rules: RuleReading, check: Check) -> None:
    """Wrong probabilities overload some pods and starve others; requests show it only in large numbers.

    Preconditions: a Service over three ready endpoints.
    Steps: read the rules of every node.
    Expected: three rules, to three endpoints, with the probabilities 1/3 and 1/2 to within 1e-6 and none for the last;
        or one rule that draws a random number below 3, each value of which leads to another endpoint.
    """
    verdict = judge_aspects(
        rules.sticky, rules.differences, rules.sync.waited, Aspect.CHAIN_NAMES, Aspect.BALANCING, Aspect.PROBABILITY
    )

    check(verdict)


@claim(
    "C18",
    "Each endpoint chain has one DNAT rule, which also sets the client in the endpoint's list",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_RULES,
    modes=IPTABLES,
)
def test_endpoint_chains_set_the_client_in_their_dnat_rule(rules: RuleReading, check: Check) -> None:
    """The --set in this rule is what binds the client; without it every connection is balanced again.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: each KUBE-SEP chain has one DNAT rule, to its endpoint, with --set on the list of the chain's own name.
    """
    verdict = judge_aspects(rules.sticky, rules.differences, rules.sync.waited, Aspect.CHAIN_NAMES, Aspect.TRANSLATION)

    check(verdict)


@claim(
    "C18n",
    "Each endpoint chain updates the client in its own set, then translates",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_NFTABLES,
    modes=NFTABLES,
)
def test_endpoint_chains_update_their_set_then_translate(rules: RuleReading, check: Check) -> None:
    """Without the update clients are never bound, or lose their endpoint in the middle of a session.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: each endpoint- chain has a rule that updates the set of its own endpoint with the source address, followed
        by one that translates to that endpoint.
    """
    verdict = judge_aspects(rules.sticky, rules.differences, rules.sync.waited, Aspect.CHAIN_NAMES, Aspect.TRANSLATION)

    check(verdict)


@claim(
    "C19",
    "A Service without affinity has no affinity rules, lists or sets",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_a_service_without_affinity_has_no_affinity_rules(rules: RuleReading, check: Check) -> None:
    """Control for the claims about affinity rules: those must appear because of ClientIP, and only then.

    Preconditions: a Service without affinity over three ready endpoints, which Services with ClientIP share.
    Steps: read the rules and sets of every node.
    Expected: the Service has rules on every node, none of which matches with recent or looks up or updates a set.
    """
    verdict = judge_no_affinity_rules(rules.backend, rules.plain, rules.states)

    check(verdict)


@claim(
    "C20",
    "All nodes have the same rules for the Service",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_all_nodes_have_the_same_rules(rules: RuleReading, nodes_alike: Sequence[Sequence[str]], check: Check) -> None:
    """Rules are the same on all nodes under the Cluster policies; a node that differs has missed or broken a sync.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: no node's rules for the Service differ from those of another, counters aside; of nodes whose kube-proxies
        have other settings, such as another masquerade bit, only those are compared that have the same.
    """
    verdict = judge_same_rules(rules.backend, rules.sticky, rules.states, nodes_alike)

    check(verdict)


@claim(
    "C51",
    "The cluster IP leads to the Service's chain, with masquerading for outside traffic",
    promised_by=KUBE_PROXY,
    source=sources.SYNC_BOTH,
    modes=BOTH_MODES,
)
def test_the_cluster_ip_leads_to_the_services_chain(rules: RuleReading, check: Check) -> None:
    """Without this rule nothing reaches the Service; without the mark, answers to outside clients take a wrong path.

    Preconditions: a Service with ClientIP over three ready endpoints.
    Steps: read the rules of every node.
    Expected: one rule of KUBE-SERVICES, or one element of service-ips, matches cluster IP, protocol and port and leads
        to the Service's chain; traffic from outside the pod network is marked for masquerading; marked packets are
        forwarded and masqueraded; no rule refuses traffic to the Service.
    """
    verdict = judge_aspects(
        rules.sticky,
        rules.differences,
        rules.sync.waited,
        Aspect.ENTRY,
        Aspect.MASQUERADE,
        Aspect.FORWARDING,
        Aspect.REFUSAL,
    )

    check(verdict)
