"""Connections as conntrack-tools and the kernel print them."""

from __future__ import annotations

import pytest

from session_affinity.dataplane import conntrack

pytestmark = pytest.mark.unit

GOLDEN = """\
tcp      6 119 TIME_WAIT src=10.10.0.6 dst=10.200.1.201 sport=43643 dport=9000 src=10.10.2.2 dst=10.10.0.6 sport=80 \
dport=43643 [ASSURED] mark=0 use=1
tcp      6 431999 ESTABLISHED src=10.10.0.6 dst=10.200.1.201 sport=44717 dport=9000 src=10.10.3.3 dst=10.10.0.6 \
sport=80 dport=44717 [ASSURED] mark=0 use=1
udp      17 29 src=10.10.1.2 dst=10.10.1.2 sport=53883 dport=53 [UNREPLIED] src=10.10.1.2 dst=10.10.1.2 sport=53 \
dport=53883 mark=0 use=1
icmp     1 29 src=10.10.1.2 dst=10.10.1.3 type=8 code=0 id=1 src=10.10.1.3 dst=10.10.1.2 type=0 code=0 id=1 use=1
conntrack v1.4.7 (conntrack-tools): 4 flow entries have been shown.
"""


def test_tcp_and_udp_flows_are_read() -> None:
    first, second, third = conntrack.parse(GOLDEN)

    assert (first.protocol, first.src, first.dst) == ("tcp", "10.10.0.6", "10.200.1.201")
    assert (first.sport, first.dport, first.reply_sport) == (43643, 9000, 80)
    assert second.translated_to == "10.10.3.3:80"
    assert (third.protocol, third.translated_to) == ("udp", None)


def test_the_kernels_own_table_reads_the_same() -> None:
    line = "ipv4     2 " + GOLDEN.splitlines()[0].replace("mark=0", "mark=0 zone=0")

    assert conntrack.parse(line) == conntrack.parse(GOLDEN)[:1]


def test_an_ipv6_flow_is_read_in_the_spelling_of_the_api() -> None:
    (flow,) = conntrack.parse(
        "ipv6 10 tcp 6 9 CLOSE src=fd00:0:0:0:0:0:0:6 dst=fd00:200::c9 sport=1024 dport=9000 "
        "src=fd00:10:1::2 dst=fd00::6 sport=80 dport=1024 mark=0 use=1"
    )

    assert (flow.src, flow.translated_to) == ("fd00::6", "[fd00:10:1::2]:80")


def test_endpoints_by_the_clients_port() -> None:
    flows = conntrack.parse(GOLDEN)

    endpoints = conntrack.endpoint_by_local_port(flows, client="10.10.0.6", cluster_ip="10.200.1.201", port=9000)

    assert endpoints == {43643: "10.10.2.2:80", 44717: "10.10.3.3:80"}
    assert not conntrack.endpoint_by_local_port(flows, client="10.10.0.6", cluster_ip="10.200.1.201", port=9001)
    assert not conntrack.endpoint_by_local_port(
        flows, client="10.10.0.6", cluster_ip="10.200.1.201", port=9000, protocol="UDP"
    )
