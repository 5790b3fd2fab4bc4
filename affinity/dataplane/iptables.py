"""kube-proxy's iptables mode: read a node's nat rules, say what they should be, and how the two differ."""

from affinity.dataplane.alignment import ExpectedRule, Kind
from affinity.dataplane.differences import Aspect, Difference, explain, of_aspect
from affinity.dataplane.iptables_compare import compare
from affinity.dataplane.iptables_expected import Expected, endpoint_chains, expected, port_chains
from affinity.dataplane.iptables_questions import affinity_timeouts, belonging, normalised
from affinity.dataplane.iptables_save import Chain, Match, Option, Rule, Ruleset, parse

__all__ = [
    "Aspect",
    "Chain",
    "Difference",
    "Expected",
    "ExpectedRule",
    "Kind",
    "Match",
    "Option",
    "Rule",
    "Ruleset",
    "affinity_timeouts",
    "belonging",
    "compare",
    "endpoint_chains",
    "expected",
    "explain",
    "normalised",
    "of_aspect",
    "parse",
    "port_chains",
]
