"""kube-proxy's iptables mode: read a node's nat rules, say what they should be, and how the two differ."""

from affinity.dataplane.iptables_compare import Aspect, Difference, compare, explain, of_aspect
from affinity.dataplane.iptables_expected import Expected, ExpectedRule, Kind, endpoint_chains, expected
from affinity.dataplane.iptables_questions import affinity_timeouts, normalised
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
    "compare",
    "endpoint_chains",
    "expected",
    "explain",
    "normalised",
    "of_aspect",
    "parse",
]
