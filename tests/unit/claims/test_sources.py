"""Web addresses of the sources that claims cite."""

from __future__ import annotations

import pytest

from session_affinity.claims import sources


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("Service.spec.sessionAffinity", "service-resources/service-v1/#ServiceSpec"),
        ("EndpointSlice.endpoints.conditions.ready", "service-resources/endpoint-slice-v1/"),
        ("kube-proxy pkg/proxy/iptables/proxier.go, syncProxyRules", "master/pkg/proxy/iptables/proxier.go"),
        ("Linux net/netfilter/xt_recent.c", "linux/blob/master/net/netfilter/xt_recent.c"),
        ("KEP-1860", "https://kep.k8s.io/1860"),
        ("kubernetes #103000", "https://github.com/kubernetes/kubernetes/issues/103000"),
        ("see https://example.org/x", "https://example.org/x"),
    ],
)
def test_a_source_has_an_address(source: str, address: str) -> None:
    assert sources.link(source).endswith(address)


def test_prose_has_none() -> None:
    assert sources.link("common sense") == ""


def test_a_source_that_names_two_links_the_first_form() -> None:
    assert sources.link(sources.TERMINATING_ENDPOINTS) == "https://kep.k8s.io/1669"
