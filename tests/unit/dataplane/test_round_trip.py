"""Random Services and slices: a node printed from the expected state has no differences, a damaged one has some."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from session_affinity.dataplane.backends import IPTABLES, NFTABLES
from session_affinity.dataplane.iptables import save
from session_affinity.dataplane.model import SERVICE_NAME_LABEL, ServiceState
from session_affinity.dataplane.nftables import table
from session_affinity.dataplane.nftables.layout import NO_ENDPOINT_NODE_PORTS, SERVICE_NODE_PORTS, TableLayout
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.dataplane.snapshot import NodeSnapshot
from tests import rendered_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from session_affinity.dataplane.backend import Backend
    from session_affinity.dataplane.differences import Difference

NODES = ("a", "b", "c")
RANGES = (
    " 192.0.2.0/24",
    "192.0.2.128/25",
    "172.30.0.0/30",
    "198.51.100.1/32",
    "fd00::/8",
    "0.0.0.0/0",
    "10.10.0.0/16",
)
OUTSIDE = tuple(f"198.51.100.{number}" for number in (1, 2, 3))
CONDITIONS: tuple[dict[str, bool], ...] = (
    {},
    {"ready": True},
    {"ready": True},
    {"ready": False},
    {"ready": False, "serving": True, "terminating": True},
    {"ready": False, "terminating": True},
    {"ready": False, "serving": False, "terminating": True},
)
PROXY = ProxyConfig(
    "any",
    "10.10.0.0/16",
    zones={"a": "east", "b": "west"},
    node_addresses={"a": ("172.30.0.2",), "b": ("10.9.9.9",)},
)
NODE_PORT_MAPS = (SERVICE_NODE_PORTS, NO_ENDPOINT_NODE_PORTS)
"""The maps whose rules matter only where a Service has a node port."""
RANDOM = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def endpoints(draw: st.DrawFn) -> dict[str, Any]:
    listed = {
        "addresses": [f"10.10.{draw(st.integers(1, 2))}.{draw(st.integers(2, 5))}"],
        "conditions": draw(st.sampled_from(CONDITIONS)),
        "nodeName": draw(st.sampled_from((*NODES, ""))),
    }
    hints = draw(st.sampled_from(("", "", "forZones", "forNodes")))
    names = ("east", "west") if hints == "forZones" else NODES
    return {**listed, "hints": {hints: [{"name": draw(st.sampled_from(names))}]}} if hints else listed


@st.composite
def services(draw: st.DrawFn, number: int, node_ports: count[int]) -> ServiceState:
    kind = draw(st.sampled_from(("ClusterIP", "NodePort", "LoadBalancer")))
    names = draw(st.sampled_from((("",), ("web",), ("web", "dns"))))
    ports = [
        {
            "name": name,
            "port": 9000 + place,
            "protocol": draw(st.sampled_from(("TCP", "UDP", "SCTP"))),
            "nodePort": next(node_ports) if kind == "NodePort" or (kind != "ClusterIP" and draw(st.booleans())) else 0,
        }
        for place, name in enumerate(names)
    ]
    spec: dict[str, Any] = {
        "type": kind,
        "clusterIP": f"10.200.1.{number + 1}",
        "ports": ports,
        "sessionAffinity": draw(st.sampled_from(("ClientIP", "None"))),
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": draw(st.sampled_from((1, 30, 86400)))}},
        "internalTrafficPolicy": draw(st.sampled_from(("Cluster", "Local"))),
        "externalTrafficPolicy": draw(st.sampled_from(("Cluster", "Local"))),
        "externalIPs": draw(st.lists(st.sampled_from(OUTSIDE), max_size=2, unique=True)),
        "healthCheckNodePort": next(node_ports),
    }
    ingress = []
    if kind == "LoadBalancer":
        spec["loadBalancerSourceRanges"] = draw(st.lists(st.sampled_from(RANGES), max_size=3, unique=True))
        addresses = draw(st.lists(st.sampled_from(OUTSIDE), max_size=2, unique=True))
        ingress = [{"ip": address, "ipMode": draw(st.sampled_from(("VIP", "VIP", "Proxy")))} for address in addresses]
    service = {
        "metadata": {"namespace": "default", "name": f"svc-{number}"},
        "spec": spec,
        "status": {"loadBalancer": {"ingress": ingress}},
    }
    slices = [
        {
            "metadata": {"namespace": "default", "labels": {SERVICE_NAME_LABEL: f"svc-{number}"}},
            "addressType": "IPv4",
            "ports": [{**port, "port": draw(st.sampled_from((80, 80, 8080)))} for port in ports],
            "endpoints": draw(st.lists(endpoints(), max_size=4)),
        }
        for _ in range(draw(st.integers(0, 3)))
    ]
    return ServiceState.from_objects(service, slices)


@dataclass(frozen=True)
class Cluster:
    """Services, and the states of them that kube-proxy happens to have on a node."""

    services: tuple[ServiceState, ...]
    states: tuple[ServiceState, ...]
    node: str


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    node_ports = count(30001)
    node = draw(st.sampled_from(NODES))
    states = tuple(draw(services(number, node_ports)) for number in range(draw(st.integers(1, 3))))
    seen = tuple(draw(st.sampled_from(list(state.alternatives(node)))) for state in states)
    return Cluster(states, seen, node)


def differences_of(backend: Backend, state: NodeSnapshot, cluster: Cluster) -> list[Difference]:
    by_service = backend.compare_many(state, cluster.services, PROXY)
    return [difference for differences in by_service.values() for difference in differences]


@RANDOM
@given(clusters())
def test_a_node_that_has_the_services_has_no_differences_in_iptables_mode(cluster: Cluster) -> None:
    state = rendered_nodes.iptables_node(cluster.states, PROXY, cluster.node)

    assert differences_of(IPTABLES, state, cluster) == []
    assert IPTABLES.leftovers(state, cluster.services, PROXY).differences == ()


@RANDOM
@given(clusters(), st.sampled_from(TableLayout))
def test_a_node_that_has_the_services_has_no_differences_in_nftables_mode(
    cluster: Cluster, layout: TableLayout
) -> None:
    state = rendered_nodes.nftables_node(cluster.states, PROXY, cluster.node, layout=layout)

    assert differences_of(NFTABLES, state, cluster) == []
    assert NFTABLES.leftovers(state, cluster.services, PROXY).differences == ()


def _returns(line: str) -> str:
    """Return a rule that leads back, or nothing for one that does so already."""
    rule = re.sub(r" -j .*", "", line)
    return f"{rule} -j RETURN" if " -j RETURN" not in line else ""


def _counts_on(line: str) -> str:
    """Return a rule with the last number in it raised by one, probabilities by a tenth."""
    return re.sub(r"(0\.\d+|\d+)(?!.*\d)", lambda number: str(_more(number[1])), line)


def _more(number: str) -> object:
    return float(number) + 0.1 if number.startswith("0.") else int(number) + 1


@RANDOM
@given(clusters(), st.data(), st.sampled_from((lambda _: "", _returns)))
def test_a_rule_that_is_missing_or_leads_nowhere_is_a_difference_in_iptables_mode(
    cluster: Cluster, data: st.DataObject, change: Callable[[str], str]
) -> None:
    lines = rendered_nodes.iptables_text(cluster.states, PROXY, cluster.node).splitlines()
    rules = [place for place, line in enumerate(lines) if line.startswith("-A") and not _may_be_missing(line, cluster)]
    place = data.draw(st.sampled_from(rules))
    assume(_is_unique(lines, place))

    lines[place] = change(lines[place])

    state = NodeSnapshot(cluster.node, save.parse("\n".join(lines)))
    assert differences_of(IPTABLES, state, cluster), lines[place]


def _is_unique(lines: list[str], place: int) -> bool:
    """Whether no other Service has the same rule: of two that are alike one does what both do."""
    rules = [re.sub(' -m comment --comment "[^"]*"', "", line) for line in lines]
    return rules.count(rules[place]) == 1


def _may_be_missing(line: str, cluster: Cluster) -> bool:
    """Whether kube-proxy may leave a rule out, or no Service needs it."""
    has_node_ports = any(port.node_port for service in cluster.services for port in service.ports)
    is_of_unknown_node = cluster.node not in PROXY.node_addresses and "-A KUBE-FW-" in line and "/32" in line
    return "INVALID" in line or ("-j KUBE-NODEPORTS" in line and not has_node_ports) or is_of_unknown_node


@RANDOM
@given(clusters(), st.data())
def test_a_number_that_is_wrong_is_a_difference_in_iptables_mode(cluster: Cluster, data: st.DataObject) -> None:
    lines = rendered_nodes.iptables_text(cluster.states, PROXY, cluster.node).splitlines()
    numbered = ("--dport", "--seconds", "--probability", "--to-destination", "--set-xmark")
    places = [place for place, line in enumerate(lines) if line.startswith("-A") and any(n in line for n in numbered)]
    place = data.draw(st.sampled_from(places))
    assume(_is_unique(lines, place))
    option = next(option for option in reversed(numbered) if option in lines[place])
    changed = re.sub(rf"({option} )(\S+)", lambda match: match[1] + _counts_on(match[2]), lines[place])
    assume(changed != lines[place])

    lines[place] = changed

    state = NodeSnapshot(cluster.node, save.parse("\n".join(lines)))
    differs = differences_of(IPTABLES, state, cluster) or IPTABLES.leftovers(state, cluster.services, PROXY).differences
    assert differs, lines[place]


@RANDOM
@given(clusters(), st.sampled_from(TableLayout), st.data())
def test_an_object_that_is_missing_is_a_difference_in_nftables_mode(
    cluster: Cluster, layout: TableLayout, data: st.DataObject
) -> None:
    printed = rendered_nodes.nftables_json(cluster.states, PROXY, cluster.node, layout=layout)
    has_node_ports = any(port.node_port for service in cluster.services for port in service.ports)
    removals: list[tuple[int, str, int | None]] = []
    for place, item in enumerate(printed["nftables"]):
        ((kind, fields),) = item.items()
        is_lookup = kind == "rule" and any(f"@{name}" in str(fields) for name in NODE_PORT_MAPS)
        if (kind == "rule" and (has_node_ports or not is_lookup)) or (kind == "set" and "/" in fields["name"]):
            removals.append((place, kind, None))
        removals += [(place, kind, element) for element in range(len(fields.get("elem") or ()))]
    place, kind, element = data.draw(st.sampled_from(removals))

    if element is None:
        del printed["nftables"][place]
    else:
        del printed["nftables"][place][kind]["elem"][element]

    assert differences_of(NFTABLES, NodeSnapshot(cluster.node, nftables=table.parse(printed)), cluster) != []


@RANDOM
@given(
    clusters(), st.data(), st.sampled_from([{"size": 20}, {"timeout": 7}, {"flags": ["constant"]}, {"type": "mark"}])
)
def test_an_affinity_set_of_another_kind_is_a_difference(
    cluster: Cluster, data: st.DataObject, change: Mapping[str, object]
) -> None:
    printed = rendered_nodes.nftables_json(cluster.states, PROXY, cluster.node)
    sets = [item["set"] for item in printed["nftables"] if "set" in item and "/" in item["set"]["name"]]
    assume(sets)

    data.draw(st.sampled_from(sets)).update(change)

    assert differences_of(NFTABLES, NodeSnapshot(cluster.node, nftables=table.parse(printed)), cluster) != []


@RANDOM
@given(clusters())
@pytest.mark.parametrize("backend", [IPTABLES, NFTABLES], ids=lambda backend: backend.mode)
def test_what_a_deleted_service_leaves_is_found_without_its_name(backend: Backend, cluster: Cluster) -> None:
    render = rendered_nodes.iptables_node if backend is IPTABLES else rendered_nodes.nftables_node
    state = render(cluster.states, PROXY, cluster.node)

    assert backend.leftovers(state, cluster.services[1:], PROXY).differences != ()
