"""Each diagnosis with a Service that has the trouble, and none with a healthy one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from session_affinity.dataplane.differences import Aspect, Difference
from session_affinity.inspection.diagnoses import nodes as nodes_module
from session_affinity.inspection.diagnosis import Severity
from session_affinity.inspection.observation import ClientIdentity, ClientKind, Observation
from tests.unit.inspection.conftest import (
    OUTSIDE,
    POD,
    WORKERS,
    binding,
    broken,
    diagnosed,
    endpoint_slice,
    objects,
    observation,
    pod,
    reading,
    service,
    store,
)

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
BALANCED = {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}
REFUSED = {
    "reason": "SyncLoadBalancerFailed",
    "message": "Error syncing load balancer: unsupported load balancer affinity: ClientIP",
}
DIFFERENCE = Difference(
    "worker2", "KUBE-SVC-X", 2, Aspect.AFFINITY_ARGUMENTS, "10800", "--seconds 5", "Service shop/cart"
)


def of_node(name: str) -> ClientIdentity:
    return ClientIdentity(ClientKind.NODE, name)


def balanced(**annotations: str) -> dict[str, Any]:
    named = {f"service.beta.kubernetes.io/{name.replace('_', '-')}": value for name, value in annotations.items()}
    return service({"annotations": named}, BALANCED, type="LoadBalancer", externalTrafficPolicy="Cluster")


def ingress(name: str) -> dict[str, Any]:
    backend = {"service": {"name": name, "port": {"number": 80}}}
    return {
        "kind": "Ingress",
        "metadata": {"name": "shop"},
        "spec": {"rules": [{"http": {"paths": [{"backend": backend}]}}]},
    }


def http_route(name: str) -> dict[str, Any]:
    rules = [{"backendRefs": [{"name": name, "port": 80}]}]
    return {"kind": "HTTPRoute", "metadata": {"name": "shop", "namespace": "shop"}, "spec": {"rules": rules}}


LONGER = binding(connections=None, seconds_left=9000.0)
SHORT = service(sessionAffinityConfig={"clientIP": {"timeoutSeconds": 30}})
CASES: dict[str, tuple[str, Severity, Observation]] = {
    "None": ("affinity-not-requested", Severity.BROKEN, observation(objects(service(sessionAffinity="None")))),
    "headless": ("headless", Severity.BROKEN, observation(objects(service(clusterIP="None", clusterIPs=["None"])))),
    "ExternalName": (
        "external-name",
        Severity.BROKEN,
        observation(
            objects(
                service(
                    type="ExternalName", externalName="db.example.com", clusterIP=None, clusterIPs=None, selector=None
                ),
                slices=(),
            )
        ),
    ),
    "another proxy": (
        "other-proxy",
        Severity.POSSIBLE,
        observation(objects(service({"labels": {"service.kubernetes.io/service-proxy-name": "lb"}}))),
    ),
    "two ports": (
        "separate-ports",
        Severity.NOTE,
        observation(
            objects(
                service(ports=[{"name": "web", "port": 80}, {"name": "tls", "port": 443}]),
                slices=(endpoint_slice(), endpoint_slice(port="tls")),
            )
        ),
    ),
    "selector": (
        "selector-matches-nothing",
        Severity.BROKEN,
        observation(objects(service(selector={"app": "other"}))),
    ),
    "no endpoints": ("no-endpoints", Severity.BROKEN, observation(objects(slices=()))),
    "unready endpoints": ("no-endpoints", Severity.BROKEN, observation(objects(slices=(endpoint_slice(ready=False),)))),
    "a port without endpoints": (
        "port-without-endpoints",
        Severity.BROKEN,
        observation(objects(service(ports=[{"name": "web", "port": 80}, {"name": "tls", "port": 443}]))),
    ),
    "a family without endpoints": (
        "family-without-endpoints",
        Severity.BROKEN,
        observation(objects(service(clusterIPs=["10.96.0.7", "fd00::7"], ipFamilies=["IPv4", "IPv6"]))),
    ),
    "two families": (
        "separate-families",
        Severity.NOTE,
        observation(objects(service(clusterIPs=["10.96.0.7", "fd00::7"], ipFamilies=["IPv4", "IPv6"]))),
    ),
    "internal policy": (
        "internal-policy-local",
        Severity.POSSIBLE,
        observation(objects(service(internalTrafficPolicy="Local"), slices=(endpoint_slice(nodes=WORKERS[:1]),))),
    ),
    "external policy": (
        "external-policy-local",
        Severity.NOTE,
        observation(
            objects(
                service(type="NodePort", externalTrafficPolicy="Local"), slices=(endpoint_slice(nodes=WORKERS[:1]),)
            )
        ),
    ),
    "rules": (
        "rules-differ",
        Severity.BROKEN,
        observation(None, reading("worker1"), reading("worker2", differences=(DIFFERENCE,))),
    ),
    "failing syncs": (
        "syncs-fail",
        Severity.BROKEN,
        observation(None, reading("worker1", mode="nftables", differences=(DIFFERENCE,), failed_syncs=7)),
    ),
    "ipvs": ("other-dataplane", Severity.POSSIBLE, observation(None, reading(mode="ipvs", not_compared="ipvs mode"))),
    "no kube-proxy": (
        "other-dataplane",
        Severity.POSSIBLE,
        observation(None, reading(mode="none", not_compared="none")),
    ),
    "an unknown mode": (
        "other-dataplane",
        Severity.POSSIBLE,
        observation(None, reading(mode="unknown", not_compared="unknown")),
    ),
    "ipvs in the ConfigMap": ("other-dataplane", Severity.POSSIBLE, Observation(objects(), modes=("ipvs",))),
    "a full list": ("store-full", Severity.BROKEN, observation(None, reading(stores=(store(100),)))),
    "a full set": ("store-full", Severity.BROKEN, observation(None, reading(stores=(store(65535, 65535, "set"),)))),
    "a nearly full list": ("store-nearly-full", Severity.POSSIBLE, observation(None, reading(stores=(store(80),)))),
    "a node's address on another node": (
        "shared-address",
        Severity.POSSIBLE,
        observation(None, reading("worker1", binding("172.30.0.2")), clients={"172.30.0.2": of_node("worker2")}),
    ),
    "one address from outside": (
        "shared-address",
        Severity.POSSIBLE,
        observation(None, reading("worker1", binding("192.0.2.1", connections=32)), clients={"192.0.2.1": OUTSIDE}),
    ),
    "one client on two nodes": (
        "bound-per-node",
        Severity.POSSIBLE,
        observation(
            None,
            reading("worker1", binding("192.0.2.1", "worker1", 0)),
            reading("worker2", binding("192.0.2.1", "worker2", 1)),
        ),
    ),
    "one client in two lists": (
        "several-entries",
        Severity.POSSIBLE,
        observation(None, reading("worker1", binding(to=0), binding(to=1))),
    ),
    "a shortened timeout": (
        "timeout-changed",
        Severity.POSSIBLE,
        observation(objects(SHORT), reading("worker1", LONGER, mode="nftables")),
    ),
    "a sidecar at an endpoint": (
        "mesh",
        Severity.BROKEN,
        observation(objects(pods=(pod("cart-1", "istio-proxy"), pod("cart-2")))),
    ),
    "a sidecar at a client": (
        "mesh",
        Severity.POSSIBLE,
        observation(
            None,
            reading("worker1", binding()),
            clients={"10.10.9.9": ClientIdentity(ClientKind.POD, "shop/client", pod("client", "linkerd-proxy"))},
        ),
    ),
    "a refusing load balancer": (
        "load-balancer-refuses-client-ip",
        Severity.BROKEN,
        observation(objects(service(type="LoadBalancer"), events=(REFUSED,))),
    ),
    "a failing load balancer": (
        "load-balancer-failed",
        Severity.POSSIBLE,
        observation(objects(service(type="LoadBalancer"), events=({**REFUSED, "message": "quota exceeded"},))),
    ),
    "a load balancer": ("load-balancer-chooses-node", Severity.POSSIBLE, observation(objects(balanced()))),
    "AWS": (
        "load-balancer-chooses-node",
        Severity.POSSIBLE,
        observation(objects(balanced(aws_load_balancer_type="external"))),
    ),
    "AWS to pods": (
        "load-balancer-chooses-node",
        Severity.BROKEN,
        observation(objects(balanced(aws_load_balancer_nlb_target_type="ip"))),
    ),
    "Azure": (
        "load-balancer-chooses-node",
        Severity.POSSIBLE,
        observation(objects(balanced(azure_load_balancer_internal="true"))),
    ),
    "an Ingress": ("route-in-front", Severity.POSSIBLE, observation(objects(routes=(ingress("cart"),)))),
    "an HTTPRoute": ("route-in-front", Severity.POSSIBLE, observation(objects(routes=(http_route("cart"),)))),
}


@pytest.mark.parametrize(("id_", "severity", "seen"), CASES.values(), ids=CASES)
def test_the_trouble_is_diagnosed(id_: str, severity: Severity, seen: Observation) -> None:
    diagnosis = diagnosed(seen)[id_]

    assert diagnosis.severity is severity
    assert diagnosis.what.endswith(".")
    assert "\n" not in diagnosis.what + diagnosis.next_step
    assert diagnosis.next_step


def test_claims_are_those_of_the_catalogue() -> None:
    known = set(re.findall(r"^\| (C\w+) \|", (ROOT / "docs" / "claims.md").read_text(), re.MULTILINE))
    named = {
        claim for _, _, seen in CASES.values() for diagnosis in diagnosed(seen).values() for claim in diagnosis.claims
    }

    assert named | {claim for claims in nodes_module.CLAIMS_OF_ASPECT.values() for claim in claims} <= known


def test_the_page_has_every_diagnosis() -> None:
    page = (ROOT / "docs" / "why-is-my-affinity-not-working.md").read_text()

    for id_ in {case[0] for case in CASES.values()}:
        assert f"`{id_}`" in page, id_


HEALTHY: dict[str, Observation] = {
    "no clients": observation(),
    "three clients": observation(
        None,
        *(reading(name, binding(f"10.10.9.{number}", name, number)) for number, name in enumerate(WORKERS)),
        clients={f"10.10.9.{number}": POD for number in range(3)},
    ),
    "a client on the host's network": observation(
        None, reading("worker1", binding("172.30.0.1")), clients={"172.30.0.1": of_node("worker1")}
    ),
    "one user outside who tries it out": observation(
        None, reading("worker1", binding("192.0.2.1", connections=9)), clients={"192.0.2.1": OUTSIDE}
    ),
    "two addresses from outside": observation(
        None,
        reading("worker1", binding("192.0.2.1", connections=32), binding("192.0.2.2", connections=32)),
        clients={"192.0.2.1": OUTSIDE, "192.0.2.2": OUTSIDE},
    ),
    "a client with one endpoint on two nodes": observation(
        None, reading("worker1", binding()), reading("worker2", binding(on="worker2"))
    ),
    "an expired entry beside a live one": observation(
        None, reading("worker1", binding(to=0, seconds_left=-3.0), binding(to=1))
    ),
    "a list with many expired entries": observation(None, reading(stores=(store(79),))),
    "a store of unknown capacity": observation(None, reading(stores=(store(100, None),))),
    "a new timeout in lists": observation(objects(SHORT), reading("worker1", binding(seconds_left=20.0))),
    "a proxy that is the application": observation(
        objects(pods=({**pod("cart-1"), "spec": {"containers": [{"name": "envoy"}]}},))
    ),
    "sticky AWS": observation(
        objects(balanced(aws_load_balancer_target_group_attributes="stickiness.enabled=true,stickiness.type=source_ip"))
    ),
    "a load balancer that is being made": observation(
        objects(service(type="LoadBalancer", externalTrafficPolicy="Cluster"))
    ),
    "an Ingress for another Service": observation(objects(routes=(ingress("other"), http_route("other")))),
    "local policies with endpoints everywhere": observation(
        objects(service(type="NodePort", internalTrafficPolicy="Local", externalTrafficPolicy="Local"))
    ),
    "an unknown mode because no node was read": Observation(objects(), modes=("unknown",)),
}


@pytest.mark.parametrize("seen", HEALTHY.values(), ids=HEALTHY)
def test_nothing_is_diagnosed_without_trouble(seen: Observation) -> None:
    assert diagnosed(seen) == {}


def test_what_could_not_be_read_is_not_diagnosed() -> None:
    assert diagnosed(observation(objects(slices=None, pods=None, nodes=None, events=None, routes=None))) == {}


def test_the_most_severe_comes_first() -> None:
    seen = observation(
        objects(service(ports=[{"name": "web", "port": 80}, {"name": "x", "port": 81}]), routes=(ingress("cart"),))
    )

    assert [diagnosis.severity for diagnosis in diagnosed(seen).values()] == [
        Severity.BROKEN,
        Severity.POSSIBLE,
        Severity.NOTE,
    ]


def test_rules_name_the_claims_of_the_nodes_mode_and_the_differences() -> None:
    found = diagnosed(observation(None, reading("worker1"), reading("worker2", differences=(DIFFERENCE,))))

    assert found["rules-differ"].claims == ("C16",)
    assert found["rules-differ"].evidence == (str(DIFFERENCE),)
    assert "1 of 2 nodes: worker2" in found["rules-differ"].what


@pytest.mark.parametrize(("mode", "is_named"), [("iptables", False), ("nftables", True)])
def test_an_nft_that_cannot_read_newer_sets_is_named_in_its_mode(mode: str, *, is_named: bool) -> None:
    seen = observation(None, reading("worker1", mode=mode, differences=(DIFFERENCE,), failed_syncs=7))

    diagnosis = diagnosed(seen)["syncs-fail"]

    assert "failed on worker1: 7 since" in diagnosis.what
    assert ("#136786" in diagnosis.next_step) is is_named


def test_syncs_that_did_not_fail_are_not_diagnosed() -> None:
    seen = observation(None, reading("worker1", differences=(DIFFERENCE,), failed_syncs=0))

    assert "syncs-fail" not in diagnosed(seen)


def test_every_aspect_of_rules_has_claims() -> None:
    assert set(nodes_module.CLAIMS_OF_ASPECT) == set(Aspect)


def test_unready_endpoints_say_why() -> None:
    waiting = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "name": "app"}
    pods = (
        {**pod("cart-1"), "status": {"containerStatuses": [waiting]}},
        {**pod("cart-2"), "status": {"conditions": [{"type": "Ready", "status": "False", "message": "no probe"}]}},
        pod("cart-3", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
    )

    evidence = diagnosed(observation(objects(slices=(endpoint_slice(ready=False),), pods=pods)))[
        "no-endpoints"
    ].evidence

    assert evidence == (
        "10.10.1.2 (pod cart-1): container app waits: CrashLoopBackOff",
        "10.10.2.2 (pod cart-2): no probe",
        "10.10.3.2 (pod cart-3): terminating",
    )


@pytest.mark.parametrize(
    ("changed", "proxies"),
    [
        ({"initContainers": [{"name": "istio-proxy", "restartPolicy": "Always"}]}, "istio-proxy (Istio)"),
        ({"initContainers": [{"name": "linkerd-init"}]}, "linkerd-init (Linkerd)"),
    ],
)
def test_proxies_in_init_containers_are_found(changed: dict[str, Any], proxies: str) -> None:
    found = diagnosed(observation(objects(pods=(pod("cart-1", **changed),))))

    assert found["mesh"].evidence == (f"endpoint cart-1: {proxies}",)


def test_ambient_mode_is_found_by_its_annotation() -> None:
    meshed = pod("cart-1", metadata={"annotations": {"ambient.istio.io/redirection": "enabled"}})

    assert "ztunnel" in diagnosed(observation(objects(pods=(meshed,))))["mesh"].evidence[0]


def test_a_mesh_is_only_possible_where_clients_are_bound_or_nodes_were_not_read() -> None:
    meshed = objects(pods=(pod("cart-1", "istio-proxy"),))
    bound = observation(meshed, reading("worker1", binding()))

    assert broken(bound) == broken(Observation(meshed, modes=("iptables",))) == []
    assert diagnosed(bound)["mesh"].severity is Severity.POSSIBLE


def test_a_refusal_quotes_the_event() -> None:
    found = diagnosed(CASES["a refusing load balancer"][2])["load-balancer-refuses-client-ip"]

    assert found.evidence == (REFUSED["message"],)
    assert found.claims == ("C67",)
