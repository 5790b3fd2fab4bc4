"""The ways that lead to a Service, and who a client is on each of them."""

from typing import Final

from session_affinity.claims.claim import API, BOTH, FIELD, KUBE_PROXY, REMEMBERS, SYNC_BOTH, Claim

NODE_PORT: Final = "Service.spec.ports[].nodePort"
EXTERNAL_POLICY: Final = "Service.spec.externalTrafficPolicy"
INTERNAL_POLICY: Final = "Service.spec.internalTrafficPolicy"
EXTERNAL_IPS: Final = "Service.spec.externalIPs"
BALANCER: Final = "Service.status.loadBalancer.ingress"
DISTRIBUTION: Final = "Service.spec.trafficDistribution"
CATEGORIZE: Final = "kube-proxy pkg/proxy/topology.go, CategorizeEndpoints"
CONNTRACK: Final = "Linux net/netfilter/nf_nat_core.c: the nat table sees the first packet of a flow"

PORTS: Final = 18
"""Ports of one Service that are compared: pins of two that were made apart are the same with chance 1/3."""

CLAIMS: Final = (
    Claim("C31", "Through every node's port a client keeps to one endpoint", API, NODE_PORT),
    Claim("C31b", "The node that a client enters by remembers it, and no other does", KUBE_PROXY, REMEMBERS, BOTH),
    Claim("C65", "Every node leads its node port to the Service's endpoints", KUBE_PROXY, SYNC_BOTH, BOTH),
    Claim("C32", "Under externalTrafficPolicy Local a node answers from its own endpoint", API, EXTERNAL_POLICY),
    Claim("C32b", "Under externalTrafficPolicy Local a node without an endpoint drops", API, EXTERNAL_POLICY),
    Claim(
        "C32c",
        "Under externalTrafficPolicy Local a node asks for its own endpoints alone",
        KUBE_PROXY,
        SYNC_BOTH,
        BOTH,
    ),
    Claim("C33", "Clients behind one translated address are one client", KUBE_PROXY, SYNC_BOTH, BOTH),
    Claim("C66", "At an external address a client keeps to one endpoint", API, EXTERNAL_IPS),
    Claim("C66b", "Every node leads the external address to the Service's endpoints", KUBE_PROXY, SYNC_BOTH, BOTH),
    Claim("C67", "At a load balancer's address a client keeps to one endpoint", API, BALANCER),
    Claim("C67b", "Every node leads a load balancer's address to the Service's endpoints", KUBE_PROXY, SYNC_BOTH, BOTH),
    Claim("C42", "A client on a node's network is remembered under the node's address", KUBE_PROXY, REMEMBERS, BOTH),
    Claim("C43", "A pod reaches itself through the Service", KUBE_PROXY, SYNC_BOTH),
    Claim("C43b", "A pod that reaches itself is remembered under its own address", KUBE_PROXY, REMEMBERS, BOTH),
    Claim("C46", "Under internalTrafficPolicy Local a client reaches its node's endpoint alone", API, INTERNAL_POLICY),
    Claim("C46b", "Under internalTrafficPolicy Local a node without an endpoint drops", API, INTERNAL_POLICY),
    Claim(
        "C46c",
        "Under internalTrafficPolicy Local a node asks for its own endpoints alone",
        KUBE_PROXY,
        SYNC_BOTH,
        BOTH,
    ),
    Claim("C47", "With trafficDistribution a client keeps to the endpoints of its zone", API, DISTRIBUTION),
    Claim(
        "C47b",
        "With trafficDistribution a node asks for the endpoints of its zone alone",
        KUBE_PROXY,
        CATEGORIZE,
        BOTH,
    ),
    Claim(
        "C36",
        "Each port of a Service binds a client on its own",
        KUBE_PROXY,
        SYNC_BOTH,
        false_alarm=3.0 ** -(PORTS - 1),
    ),
    Claim("C36b", "TCP and UDP of one port bind a client on their own", KUBE_PROXY, SYNC_BOTH, false_alarm=3.0**-PORTS),
    Claim("C44", "Datagrams of new flows keep to one endpoint", API, FIELD),
    Claim(
        "C44b",
        "Datagrams of one flow stay where it began, and do not renew the timeout",
        KUBE_PROXY,
        CONNTRACK,
        false_alarm=3.0**-PORTS,
    ),
)
