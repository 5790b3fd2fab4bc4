"""Every shape can be compared: a node printed from the expected state of all of them has no difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.cluster_objects import handmade
from session_affinity.dataplane import backends
from session_affinity.dataplane.model import FAMILIES, family_of
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.shapes import arrays
from session_affinity.shapes.objects import Site, SiteNode, objects
from tests import rendered_nodes

if TYPE_CHECKING:
    from session_affinity.dataplane.model import Family, ServiceState

NODES = (
    SiteNode("a", "east", ("172.30.0.2", "fd00::2")),
    SiteNode("b", "west", ("172.30.0.3", "fd00::3")),
    SiteNode("c", "east", ("172.30.0.4", "fd00::4")),
    SiteNode("d", "", ("172.30.0.5", "fd00::5")),
)
SITE = Site(NODES, ("IPv4", "IPv6"))
RANGES: dict[Family, str] = {"IPv4": "10.10.0.0/16", "IPv6": "fd00:1::/48"}


def stored(service: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a Service as the API stores it, with cluster IPs and node ports."""
    spec = service["spec"]
    given = {"IPv4": f"10.200.{number // 250}.{number % 250 + 1}", "IPv6": f"fd00:2::{number + 1:x}"}
    ports = [dict(port) for port in spec["ports"]]
    has_node_ports = (
        spec.get("type") in ("NodePort", "LoadBalancer") and spec.get("allocateLoadBalancerNodePorts") is not False
    )
    for place, port in enumerate(ports if has_node_ports else ()):
        port["nodePort"] = 30000 + number * 3 + place
    addresses = [spec["clusterIP"]] if "clusterIP" in spec else [given[family] for family in spec.get("ipFamilies", ())]
    return {**service, "spec": {**spec, "ports": ports, "clusterIPs": addresses, "healthCheckNodePort": 32700 - number}}


def states(name: str, family: Family) -> list[ServiceState]:
    made = [objects(row, number, SITE, "run") for number, row in enumerate(arrays.array(name).rows)]
    services = [stored(shape.service, number) for number, shape in enumerate(made)]
    return handmade.states(services, [piece for shape in made for piece in shape.slices], family=family)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", backends.BACKENDS)
def test_a_node_with_the_expected_rules_of_every_shape_has_no_difference(mode: str, family: Family) -> None:
    proxy = ProxyConfig(
        mode,
        RANGES[family],
        zones={node.name: node.zone for node in NODES},
        node_addresses={node.name: node.addresses for node in NODES},
    )
    # In the given order of the slices; what another order makes of them is right too.
    services = states(arrays.COMPACT, family)
    if mode == "iptables":
        snapshot = rendered_nodes.iptables_node(services, proxy, "b")
    else:
        snapshot = rendered_nodes.nftables_node(services, proxy, "b", family=family)

    backend = backends.of_mode(mode)
    assert not {key.name: found for key, found in backend.compare_many(snapshot, services, proxy).items() if found}
    assert not backend.leftovers(snapshot, services, proxy).differences
    programmed = [service for service in services if service.cluster_ips]
    assert len(programmed) > len(services) / 3
    assert all(family_of(address) == family for service in programmed for address in service.cluster_ips)
