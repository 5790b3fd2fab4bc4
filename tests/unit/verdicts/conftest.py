"""A Service, its client and the state of nodes, as observations for verdicts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from session_affinity.claims import KUBE_PROXY, Claim
from session_affinity.dataplane.backends import NFTABLES
from session_affinity.dataplane.iptables import expected as iptables_expected
from session_affinity.dataplane.iptables import save as iptables_save
from session_affinity.dataplane.model import CLIENT_IP, Endpoint, ServicePort, ServiceState
from session_affinity.dataplane.nftables.table import Element, NftSet, Table
from session_affinity.dataplane.proxy_config import ProxyConfig, ProxyConfigs
from session_affinity.dataplane.snapshot import NodeSnapshot
from session_affinity.dataplane.xt_recent import Entry, RecentList
from session_affinity.traffic.answers import Answer, Answers, Target
from session_affinity.traffic.client import ClientId
from tests import rendered_nodes

if TYPE_CHECKING:
    from session_affinity.verdicts.verdict import Verdict

CLIENT = "10.10.0.6"
HOME = "myk8s-control-plane"
CLIENT_ID = ClientId("net-pod", CLIENT, HOME)
CLAIM = Claim("C16", "Each rcheck rule has the right arguments", KUBE_PROXY, "pkg/proxy/iptables/proxier.go")
HZ = 250
NOW = 4295540812
PROXY = ProxyConfig("iptables", "10.10.0.0/16")
PROXIES = ProxyConfigs(default=PROXY)


def explained(verdict: Verdict) -> str:
    """Return a verdict in words, on a claim that stands for any."""
    return verdict.explain(CLAIM)


@dataclass(frozen=True)
class World:
    """Makes observations of one Service over three endpoints."""

    service: ServiceState

    @property
    def chains(self) -> list[str]:
        return list(iptables_expected.endpoint_chains(self.service))

    def answers(self, *endpoints: str | None, port: int = 40000) -> Answers:
        target = Target(self.service.cluster_ips[0], 9000)
        return Answers(
            tuple(
                Answer(target, name, 200 if name else 0, port + place, 1, 0.001, "" if name else "curl 28: timed out")
                for place, name in enumerate(endpoints)
            )
        )

    def stream(self, *endpoints: str | None, pause: float) -> Answers:
        """Return the answers of a stream that sent each request a pause after the one before, in seconds."""
        answers = enumerate(self.answers(*endpoints))
        return Answers(tuple(dataclasses.replace(answer, not_before=pause * place) for place, answer in answers))

    def contact(self, endpoint: str | None, at: float) -> Answer:
        """Return the answer to a request that went out within 20 ms around a moment of the client's clock."""
        error = "" if endpoint else "curl 28: timed out"
        target = Target(self.service.cluster_ips[0], 9000)
        return Answer(target, endpoint, 200, 40000, 1, 0.001, error, not_before=at - 0.01, not_after=at + 0.01)

    def node(
        self, name: str, entries: dict[int, dict[str, tuple[int, ...]]] | None = None, **changes: object
    ) -> NodeSnapshot:
        """Return a node with the Service's lists; entries by endpoint number and client, as seconds ago."""
        lists = {
            chain: RecentList(
                chain,
                tuple(
                    Entry(address, 64, NOW - min(ago) * HZ, len(ago), tuple(NOW - seconds * HZ for seconds in ago))
                    for address, ago in (entries or {}).get(place, {}).items()
                ),
            )
            for place, chain in enumerate(self.chains)
        }
        return NodeSnapshot(**{"node": name, "lists": lists, "jiffies": NOW, "uptime": 1000.0, **changes})

    def node_with_sets(
        self, name: str, elements: dict[int, dict[str, float]] | None = None, **changes: object
    ) -> NodeSnapshot:
        """Return a node with the Service's sets; elements by endpoint number and client, as seconds left."""
        sets = {
            store: NftSet(
                store,
                ("ipv4_addr",),
                30,
                {(client,): Element((client,), None, left) for client, left in (elements or {}).get(place, {}).items()},
            )
            for place, store in enumerate(NFTABLES.affinity_stores(self.service))
        }
        return NodeSnapshot(**{"node": name, "nftables": Table(sets), "uptime": 1000.0, **changes})

    def programmed(self, name: str, without: str = "", replace: tuple[str, str] = ("", "")) -> NodeSnapshot:
        """Return a node with the right rules, without the lines that contain a text, or with a text replaced."""
        lines = rendered_nodes.iptables_text([self.service], PROXY).splitlines()
        lines = [line.replace(*replace) if replace[0] else line for line in lines if not without or without not in line]
        return NodeSnapshot(name, iptables_save.parse("\n".join(lines)))


@pytest.fixture
def world() -> World:
    endpoints = tuple(
        Endpoint(f"10.10.{number}.2", 80, f"webpod{number}", f"myk8s-worker{number if number > 1 else ''}")
        for number in (1, 2, 3)
    )
    port = ServicePort("web", "TCP", 9000, endpoints)
    return World(ServiceState("default", "affinity-sticky-x7k2p", ("10.200.1.17",), CLIENT_IP, 30, (port,)))
