"""Where promises are written, as links."""

from __future__ import annotations

import pytest

from session_affinity import claims
from session_affinity.claims import sources


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("Service.spec.sessionAffinity", "service-resources/service-v1/#ServiceSpec"),
        ("kube-proxy pkg/proxy/iptables/proxier.go, syncProxyRules", "master/pkg/proxy/iptables/proxier.go"),
        ("Linux net/netfilter/xt_recent.c", "linux/blob/master/net/netfilter/xt_recent.c"),
        ("KEP-1860", "https://kep.k8s.io/1860"),
        ("see https://example.org/x", "https://example.org/x"),
    ],
)  # fmt: skip
def test_a_source_has_an_address(source: str, address: str) -> None:
    assert sources.link(source).endswith(address)


def test_words_have_none() -> None:
    assert sources.link("common sense") == ""


def test_every_claim_has_a_subject() -> None:
    assert all(claims.subject_of(claim) for claim in claims.CATALOGUE.values())
    assert claims.subject_of(claims.find("C10")) == "Which endpoints answer a client"
