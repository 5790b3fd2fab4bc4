"""The objects of shapes, and the states that follow from them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from session_affinity.cluster_objects import handmade
from session_affinity.shapes import arrays
from session_affinity.shapes import dimensions as of
from session_affinity.shapes.dimensions import DEFAULTS, SPACES
from session_affinity.shapes.objects import Site, SiteNode, SitePod, objects
from session_affinity.shapes.text import as_yaml

if TYPE_CHECKING:
    from session_affinity.dataplane.model import ServiceState

SITE = Site(
    (
        SiteNode("a", "east", ("172.30.0.2", "fd00::2")),
        SiteNode("b", "west", ("172.30.0.3", "fd00::3")),
        SiteNode("c", "east", ("172.30.0.4", "fd00::4")),
    ),
    ("IPv4", "IPv6"),
    "work",
)
SINGLE = Site(SITE.nodes, ("IPv4",))


def state(number: int = 7, site: Site = SITE, **values: str) -> ServiceState:
    """Return the state of a shape: defaults but for some values, of dimensions named with underscores."""
    shape = objects(row(**values), number, site, "run")
    spec = {**shape.service["spec"], "clusterIP": shape.service["spec"].get("clusterIP", "10.200.1.1")}
    return handmade.states([{**shape.service, "spec": spec}], shape.slices)[0]


def row(**values: str) -> dict[str, str]:
    return {**DEFAULTS, **{name.replace("_", " "): value for name, value in values.items()}}


def shape(**values: str) -> Any:
    return objects(row(**values), 7, SITE, "run")


def addresses(service: ServiceState) -> list[str]:
    return [endpoint.at for endpoint in service.ports[0].endpoints]


@pytest.mark.parametrize("name", SPACES)
def test_no_two_shapes_share_an_address_or_a_name(name: str) -> None:
    made = [objects(each, number, SITE, "run") for number, each in enumerate(arrays.array(name).rows)]
    outside = Counter(
        address
        for each in made
        for address in (
            *each.service["spec"].get("externalIPs", ()),
            *(ingress["ip"] for ingress in each.service.get("status", {}).get("loadBalancer", {}).get("ingress", ())),
        )
    )
    endpoints = {
        (address, each.name)
        for each in made
        for piece in each.slices
        for endpoint in piece["endpoints"]
        for address in endpoint["addresses"]
    }
    of_nodes = {address for node in SITE.nodes for address in node.addresses}
    shared = Counter(address for address, _ in endpoints if address not in of_nodes)

    assert max(outside.values(), default=1) == 1
    assert max(shared.values()) == 1
    assert len({each.name for each in made}) == len(made)
    assert all(len(each.name) <= 63 for each in made)


def test_the_default_is_a_service_with_one_port_and_one_endpoint() -> None:
    service = state()

    assert (service.has_affinity, len(service.ports), service.ports[0].name) == (False, 1, "")
    assert [endpoint.node for endpoint in service.endpoints] == [""]


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({"endpoints": "0"}, 0),
        ({"endpoints": "9", "slices": of.SEVERAL_SLICES}, 9),
        ({"endpoints": "9", "slices": of.OVERLAP}, 9),
        ({"endpoints": "2", "slices": of.TARGET_PORTS}, 2),
        ({"endpoints": "2", "addresses": of.TWICE}, 2),
        ({"endpoints": "2", "addresses": of.TWO_PORTS}, 3),
        ({"endpoints": "120"}, 120),
        ({"endpoints": "3", "conditions": of.SOME_NOT_READY}, 2),
        ({"endpoints": "3", "conditions": of.SOME_TERMINATING}, 2),
        ({"endpoints": "3", "conditions": of.TERMINATING_LEFT_OUT}, 3),
        ({"endpoints": "3", "conditions": of.NONE_READY}, 0),
        ({"endpoints": "3", "conditions": of.NOT_SERVING}, 0),
        ({"endpoints": "3", "conditions": of.LEFT_OUT}, 3),
        ({"endpoints": "3", "labels": of.SLICES_HEADLESS}, 0),
    ],
)
def test_endpoints_of_a_port(values: dict[str, str], count: int) -> None:
    assert len(state(**values).ports[0].endpoints) == count


def test_an_endpoint_whose_slices_disagree_is_undefined() -> None:
    assert state(endpoints="2", addresses=of.NOT_ALIKE).undefined_endpoints == (addresses(state(endpoints="2"))[1],)
    of_two_ports = state(endpoints="2", addresses=of.NOT_ALIKE, slices=of.TARGET_PORTS)
    assert len(of_two_ports.undefined_endpoints) == 1


def test_endpoints_are_where_the_row_says() -> None:
    assert [each.node for each in state(endpoints="3", placement=of.EVERY_NODE).endpoints] == ["a", "b", "c"]
    assert {each.node for each in state(endpoints="3", placement=of.ONE_NODE).endpoints} == {"a"}
    on_network = state(endpoints="9", placement=of.NODE_NETWORK)
    assert {each.address for each in on_network.endpoints} >= {"172.30.0.2", "172.30.0.3", "172.30.0.4"}
    assert len(on_network.endpoints) == 9


def test_ports_have_names_and_protocols() -> None:
    both = shape(ports="3", protocol=of.TCP_AND_UDP, port_name=of.LONG).service["spec"]["ports"]

    assert [(port["port"], port["protocol"]) for port in both] == [(8000, "TCP"), (8000, "UDP"), (8002, "TCP")]
    assert {len(port["name"]) for port in both} == {63}
    assert "name" not in shape().service["spec"]["ports"][0]


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("namespace", ["default", "session-affinity-k3x9qa", "n" * 63])
def test_names_keep_the_limit_of_old_kube_proxies(name: str, namespace: str) -> None:
    site = replace(SITE, namespace=namespace, longest_comment=128)
    made = [objects(each, number, site, "k3x9q") for number, each in enumerate(arrays.array(name).rows)]

    lengths = [
        len(f"{namespace}/{each.name}:{port.get('name', '')}")
        for each in made
        for port in each.service["spec"]["ports"]
    ]

    assert max(lengths) <= 128


def test_hints_are_for_zones_and_nodes_of_the_cluster() -> None:
    zones = {zone for each in state(endpoints="3", hints=of.ZONES).endpoints for zone in each.for_zones}
    nodes = {node for each in state(endpoints="3", hints=of.NODES).endpoints for node in each.for_nodes}

    assert (zones, nodes) == ({"east", "west"}, {"a", "b", "c"})


@pytest.mark.parametrize(
    ("families", "site", "expected"),
    [
        (of.FIRST, SITE, ["IPv4"]),
        (of.SECOND, SITE, ["IPv6"]),
        (of.BOTH, SITE, ["IPv4", "IPv6"]),
        (of.REVERSED, SITE, ["IPv6", "IPv4"]),
        (of.REVERSED, SINGLE, ["IPv4"]),
        (of.SECOND, SINGLE, ["IPv4"]),
    ],
)
def test_families_are_those_that_the_cluster_has(families: str, site: Site, expected: list[str]) -> None:
    made = objects(row(families=families), 7, site, "run")

    assert made.service["spec"]["ipFamilies"] == expected
    assert [piece["addressType"] for piece in made.slices] == expected


def test_no_cloud_makes_a_load_balancer() -> None:
    assert shape(type=of.LOAD_BALANCER).service["spec"]["loadBalancerClass"] == "session-affinity-conformance/none"


def test_yaml_is_what_kubectl_applies() -> None:
    made = shape(type=of.LOAD_BALANCER, load_balancer=of.TWO, affinity="ClientIP 1 s")

    text = as_yaml(made)
    service, piece = yaml.safe_load_all(text)

    assert text.splitlines()[0].startswith(f"# kubectl patch service {made.name} --namespace work --subresource status")
    assert "status" not in service
    assert service["spec"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 1}}
    assert piece["metadata"]["labels"] == {"kubernetes.io/service-name": made.name}


def test_endpoints_that_answer_are_pods() -> None:
    pods = (SitePod("webpod1", "a", ("10.10.1.2",)), SitePod("webpod2", "b", ("10.10.2.2",)))
    site = replace(SINGLE, pods=pods)

    (endpoint, other) = state(site=site, endpoints="3", placement=of.EVERY_NODE).endpoints
    assert (endpoint.pod, endpoint.node, endpoint.at) == ("webpod1", "a", "10.10.1.2:80")
    assert other.pod == "webpod2"
    assert {each.node for each in state(site=site, endpoints="3").endpoints} == {""}


def test_a_site_is_read_from_nodes() -> None:
    node = {
        "metadata": {"name": "a", "labels": {"topology.kubernetes.io/zone": "east"}},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "172.30.0.2"}, {"type": "Hostname", "address": "a"}]
        },
    }

    assert Site.of([node], ["IPv4"], "work").nodes == (SiteNode("a", "east", ("172.30.0.2",)),)


def test_a_node_without_a_readable_address_has_none() -> None:
    addresses = [{"type": "InternalIP", "address": text} for text in ("", "pending", "2001:DB8:0::1")]
    node = {"metadata": {"name": "virtual"}, "status": {"addresses": addresses}}

    (found,) = Site.of([node], ["IPv4"], "work").nodes

    assert (found.address("IPv4"), found.address("IPv6")) == ("", "2001:db8::1")
