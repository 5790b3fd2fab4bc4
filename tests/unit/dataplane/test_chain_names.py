"""Computed names against published ones: a real cluster's, kube-proxy's own tests, and dumps in issues."""

from __future__ import annotations

import pytest

from session_affinity.dataplane import chain_names

pytestmark = pytest.mark.unit

WEB = "default/svc-clusterip:svc-webport"


@pytest.mark.parametrize(
    ("port_name", "protocol", "chain"),
    [
        (WEB, "TCP", "KUBE-SVC-KBDEBIL6IU6WL7RF"),
        ("default/kubernetes:https", "tcp", "KUBE-SVC-NPX46M4PTMTKRN6Y"),
        ("kube-system/kube-dns:dns", "UDP", "KUBE-SVC-TCOU7JCQXEZGVUNU"),
        ("ns1/svc1:p80", "TCP", "KUBE-SVC-XPGD46QRK7WJZT7O"),
    ],
)
def test_service_chains(port_name: str, protocol: str, chain: str) -> None:
    assert chain_names.iptables_service_chain(port_name, protocol) == chain
    for kind, prefix in (("SVL", chain_names.LOCAL_CHAIN), ("EXT", chain_names.EXTERNAL_CHAIN)):
        assert chain_names.iptables_service_chain(port_name, protocol, prefix) == chain.replace("SVC", kind)


@pytest.mark.parametrize(
    ("port_name", "at", "chain"),
    [
        (WEB, "10.10.1.2:80", "KUBE-SEP-TBW2IYJKUCAC7GB3"),
        (WEB, "10.10.2.2:80", "KUBE-SEP-DOIEFYKPESCDTYCH"),
        (WEB, "10.10.3.3:80", "KUBE-SEP-K7ALM6KJRBAYOHKX"),
        ("default/kubernetes:https", "172.31.14.42:443", "KUBE-SEP-A7FK4LHINPNK7Q5J"),
        ("ns1/svc1:p80", "10.180.0.1:80", "KUBE-SEP-SXIVWICOYRO3J4NJ"),
    ],
)
def test_endpoint_chains(port_name: str, at: str, chain: str) -> None:
    assert chain_names.iptables_endpoint_chain(port_name, "TCP", at) == chain


def test_nftables_names() -> None:
    port = ("ns1", "svc1", "p80", "TCP")

    assert chain_names.nftables_service_chain(*port) == "service-ULMVA6XW-ns1/svc1/tcp/p80"
    assert chain_names.nftables_endpoint_chain(*port, "10.180.0.1:80") == (
        "endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80"
    )
    assert (
        chain_names.nftables_affinity_set(*port, "10.180.0.1:80") == "affinity-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80"
    )


def test_nftables_names_write_ipv6_with_dots() -> None:
    name = chain_names.nftables_affinity_set("ns1", "svc1", "p80", "TCP", "[fd00:10::1]:80")

    assert name.endswith("-ns1/svc1/tcp/p80__fd00.10..1/80")


def test_nftables_names_are_truncated_to_the_length_that_kube_proxy_allows() -> None:
    long = "x" * 63

    name = chain_names.nftables_endpoint_chain(
        long, long, long, "TCP", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"
    )

    assert len(name) == len("endpoint-") + 240
    assert name.endswith("...")
