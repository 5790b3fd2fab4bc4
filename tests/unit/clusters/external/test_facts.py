"""The facts of an external cluster name the reason when no claim about nodes can be judged."""

from __future__ import annotations

from session_affinity.clusters.external.discovery import NO_ACCESS, NONE, Proxy
from session_affinity.clusters.external.placement import Placement
from session_affinity.clusters.external.provider import facts_of


def test_facts_have_the_reason_why_claims_about_nodes_are_not_judged() -> None:
    iptables = Proxy("iptables", "here", "10.0.0.0/8")
    node = {"a": None}

    assert facts_of(iptables, {}, Placement({}))["rules not judged"] == NO_ACCESS
    assert "rules not judged" not in facts_of(iptables, node, Placement({}))
    assert "no kube-proxy" in facts_of(Proxy(NONE, "looked"), node, Placement({}))["rules not judged"]
    assert facts_of(iptables, node, Placement({}))["cluster CIDR"] == "10.0.0.0/8"
