"""The dimensions in which Services differ, their values, and which values go together.

The first value of a dimension is its default: the smallest shape has as many defaults as it can.
"""

from __future__ import annotations

from typing import Final

from session_affinity.shapes.covering import Constraint, Mask, Space

NONE: Final = "none"
LONG: Final = "63 characters"

AFFINITY: Final = "affinity"
PORTS: Final = "ports"
PORT_NAME: Final = "port name"
PROTOCOL: Final = "protocol"
ENDPOINTS: Final = "endpoints"
SLICES: Final = "slices"
PLACEMENT: Final = "placement"
CONDITIONS: Final = "conditions"
ADDRESSES: Final = "addresses"
HINTS: Final = "hints"
TYPE: Final = "type"
EXTERNAL_IPS: Final = "external IPs"
BALANCER: Final = "load balancer"
INTERNAL_POLICY: Final = "internal policy"
EXTERNAL_POLICY: Final = "external policy"
RANGES: Final = "source ranges"
LABELS: Final = "labels"
NOT_READY: Final = "publishNotReadyAddresses"
NAME: Final = "name"
FAMILIES: Final = "families"

NO_AFFINITY: Final = "None"
CLIENT_IP: Final = "ClientIP"
TIMEOUTS: Final = {CLIENT_IP: None, "ClientIP 1 s": 1, "ClientIP 86400 s": 86400}
"""The timeout of each value with session affinity, in seconds; None leaves it to the API."""

TCP_AND_UDP: Final = "TCP and UDP"

ONE_SLICE: Final = "one"
SEVERAL_SLICES: Final = "several"
EMPTY_SLICE: Final = "an empty one"
OVERLAP: Final = "an endpoint in two"
TARGET_PORTS: Final = "two target ports"

NO_NODE: Final = "no node"
EVERY_NODE: Final = "every node"
ONE_NODE: Final = "one node"
NODE_NETWORK: Final = "the node's network"
ABSENT_NODE: Final = "an absent node"

READY: Final = "ready"
LEFT_OUT: Final = "left out"
SOME_NOT_READY: Final = "some not ready"
SOME_TERMINATING: Final = "some terminating"
TERMINATING: Final = "terminating"
TERMINATING_LEFT_OUT: Final = "terminating, serving left out"
NONE_READY: Final = "none ready"
NOT_SERVING: Final = "terminating, not serving"

DISTINCT: Final = "distinct"
TWICE: Final = "one twice"
TWO_PORTS: Final = "one on two ports"
NOT_ALIKE: Final = "one twice, not alike"

ZONES: Final = "zones"
SOME_ZONES: Final = "some zones"
NODES: Final = "nodes"
NODES_AND_ZONES: Final = "nodes and zones"
ON_NOT_READY: Final = "not ready ones"

CLUSTER_IP: Final = "ClusterIP"
NODE_PORT: Final = "NodePort"
LOAD_BALANCER: Final = "LoadBalancer"
WITHOUT_NODE_PORTS: Final = "LoadBalancer without node ports"
HEADLESS: Final = "headless"
EXTERNAL_NAME: Final = "ExternalName"
LOAD_BALANCERS: Final = (LOAD_BALANCER, WITHOUT_NODE_PORTS)

ONE: Final = "one"
TWO: Final = "two"
PROXY: Final = "ipMode Proxy"

CLUSTER: Final = "Cluster"
LOCAL: Final = "Local"

BLANKS: Final = "with blanks"
ANY: Final = "any"
OTHER_FAMILY: Final = "other family"
OF_NODES: Final = "of the nodes"

OTHER_PROXY: Final = "another proxy's"
HEADLESS_LABEL: Final = "headless"
SLICES_OTHER_PROXY: Final = "slices another proxy's"
SLICES_HEADLESS: Final = "slices headless"

NO: Final = "no"
YES: Final = "yes"
SHORT: Final = "short"

FIRST: Final = "first"
SECOND: Final = "second"
BOTH: Final = "both"
REVERSED: Final = "both, second first"

_FULL: Final = {
    AFFINITY: (NO_AFFINITY, *TIMEOUTS),
    PORTS: ("1", "2", "3"),
    PORT_NAME: (NONE, "one character", LONG),
    PROTOCOL: ("TCP", "UDP", "SCTP", TCP_AND_UDP),
    ENDPOINTS: ("1", "0", "2", "3", "9", "12", "120"),
    SLICES: (ONE_SLICE, SEVERAL_SLICES, EMPTY_SLICE, OVERLAP, TARGET_PORTS),
    PLACEMENT: (NO_NODE, EVERY_NODE, ONE_NODE, NODE_NETWORK, ABSENT_NODE),
    CONDITIONS: (
        READY,
        LEFT_OUT,
        SOME_NOT_READY,
        SOME_TERMINATING,
        TERMINATING,
        TERMINATING_LEFT_OUT,
        NONE_READY,
        NOT_SERVING,
    ),
    ADDRESSES: (DISTINCT, TWICE, TWO_PORTS, NOT_ALIKE),
    HINTS: (NONE, ZONES, SOME_ZONES, NODES, NODES_AND_ZONES, ON_NOT_READY),
    TYPE: (CLUSTER_IP, NODE_PORT, *LOAD_BALANCERS, HEADLESS, EXTERNAL_NAME),
    EXTERNAL_IPS: (NONE, ONE, TWO),
    BALANCER: (NONE, ONE, TWO, PROXY),
    INTERNAL_POLICY: (CLUSTER, LOCAL),
    EXTERNAL_POLICY: (CLUSTER, LOCAL),
    RANGES: (NONE, ONE, TWO, BLANKS, ANY, OTHER_FAMILY, OF_NODES),
    LABELS: (NONE, OTHER_PROXY, HEADLESS_LABEL, SLICES_OTHER_PROXY, SLICES_HEADLESS),
    NOT_READY: (NO, YES),
    NAME: (SHORT, LONG),
    FAMILIES: (FIRST, BOTH, SECOND, REVERSED),
}
_COMPACT: Final = {
    **_FULL,
    AFFINITY: (NO_AFFINITY, CLIENT_IP, "ClientIP 1 s"),
    PORTS: ("1", "2"),
    ENDPOINTS: ("1", "0", "2", "9"),
    HINTS: (NONE, ZONES, SOME_ZONES, NODES, ON_NOT_READY),
    FAMILIES: (FIRST, BOTH, SECOND),
}


def _requires(dimension: str, values: tuple[str, ...], other: str, allowed: tuple[str, ...]) -> Constraint:
    """Return the constraint that any of ``values`` goes with the ``allowed`` values of another dimension only."""
    return Constraint(
        f"{dimension} {', '.join(values)} only with {other} {', '.join(allowed)}",
        (dimension, other),
        lambda value, other_value: value not in values or other_value in allowed,
    )


def _requires_endpoints(dimension: str, values: tuple[str, ...], least: int) -> Constraint:
    """Return the constraint that any of ``values`` goes with so many endpoints or more only."""
    return Constraint(
        f"{dimension} {', '.join(values)} only with {least} endpoints or more",
        (dimension, ENDPOINTS),
        lambda value, count: value not in values or int(count) >= least,
    )


_SOME_ARE_NOT_READY: Final = (
    SOME_NOT_READY,
    SOME_TERMINATING,
    TERMINATING,
    TERMINATING_LEFT_OUT,
    NONE_READY,
    NOT_SERVING,
)

CONSTRAINTS: Final = (
    # What the API demands (pkg/apis/core/validation, ValidateService).
    _requires(PORT_NAME, (NONE,), PORTS, ("1",)),
    _requires(BALANCER, (ONE, TWO, PROXY), TYPE, LOAD_BALANCERS),
    _requires(RANGES, (ONE, TWO, BLANKS, ANY, OTHER_FAMILY, OF_NODES), TYPE, LOAD_BALANCERS),
    Constraint(
        "externalTrafficPolicy Local only with a way from outside the cluster",
        (EXTERNAL_POLICY, TYPE, EXTERNAL_IPS),
        lambda policy, kind, ips: policy == CLUSTER or kind in (NODE_PORT, *LOAD_BALANCERS) or ips != NONE,
    ),
    _requires(TYPE, (HEADLESS, EXTERNAL_NAME), EXTERNAL_IPS, (NONE,)),
    _requires(TYPE, (EXTERNAL_NAME,), INTERNAL_POLICY, (CLUSTER,)),
    _requires(TYPE, (EXTERNAL_NAME,), FAMILIES, (FIRST,)),
    # What has a meaning.
    _requires(PROTOCOL, (TCP_AND_UDP,), PORTS, ("2", "3")),
    _requires_endpoints(SLICES, (SEVERAL_SLICES, TARGET_PORTS), 2),
    _requires_endpoints(SLICES, (OVERLAP,), 1),
    _requires_endpoints(PLACEMENT, (EVERY_NODE, ONE_NODE, NODE_NETWORK, ABSENT_NODE), 1),
    _requires_endpoints(CONDITIONS, (SOME_NOT_READY, SOME_TERMINATING), 2),
    _requires_endpoints(CONDITIONS, (LEFT_OUT, TERMINATING, TERMINATING_LEFT_OUT, NONE_READY, NOT_SERVING), 1),
    _requires_endpoints(ADDRESSES, (TWICE, TWO_PORTS, NOT_ALIKE), 1),
    _requires_endpoints(HINTS, (ZONES, SOME_ZONES, NODES, NODES_AND_ZONES, ON_NOT_READY), 1),
    _requires_endpoints(HINTS, (SOME_ZONES,), 2),
    _requires(HINTS, (ON_NOT_READY,), CONDITIONS, _SOME_ARE_NOT_READY),
)

_OF_ENDPOINTS: Final = frozenset((ENDPOINTS, SLICES, PLACEMENT, CONDITIONS, ADDRESSES, HINTS))


def _masks(reason: str, masked: frozenset[str], by: str, values: tuple[str, ...]) -> Mask:
    """Return the mask of some values of one dimension."""
    return Mask(reason, masked - {by}, (by,), lambda value: value in values)


MASKS: Final = (
    _masks("kube-proxy leaves the Service out", frozenset(_FULL), LABELS, (OTHER_PROXY, HEADLESS_LABEL)),
    _masks("the Service has no rules", frozenset(_FULL), TYPE, (HEADLESS, EXTERNAL_NAME)),
    _masks(
        "kube-proxy leaves the slices out",
        _OF_ENDPOINTS | {AFFINITY, NOT_READY, INTERNAL_POLICY, EXTERNAL_POLICY},
        LABELS,
        (SLICES_OTHER_PROXY, SLICES_HEADLESS),
    ),
    _masks(
        "there is no endpoint",
        _OF_ENDPOINTS | {AFFINITY, NOT_READY, INTERNAL_POLICY, EXTERNAL_POLICY},
        ENDPOINTS,
        ("0",),
    ),
    Mask(
        "no endpoint is used",
        (_OF_ENDPOINTS - {CONDITIONS}) | {AFFINITY, INTERNAL_POLICY, EXTERNAL_POLICY},
        (CONDITIONS, NOT_READY),
        lambda conditions, published: conditions in (NONE_READY, NOT_SERVING) and published == NO,
    ),
    _masks(
        "hints count among ready endpoints only",
        frozenset((HINTS,)),
        CONDITIONS,
        (TERMINATING, TERMINATING_LEFT_OUT, NOT_SERVING),
    ),
    _masks("hints count with policy Cluster only", frozenset((HINTS,)), INTERNAL_POLICY, (LOCAL,)),
    Mask(
        "no node has an endpoint of its own",
        frozenset((AFFINITY, PROTOCOL, PORT_NAME, ENDPOINTS)),
        (INTERNAL_POLICY, PLACEMENT),
        lambda policy, placement: policy == LOCAL and placement in (NO_NODE, ABSENT_NODE),
    ),
)
"""What hides values, so that a pair in such a row shows nothing."""

TRIPLES: Final = (AFFINITY, PORT_NAME, PROTOCOL, ENDPOINTS, PLACEMENT, INTERNAL_POLICY)
"""The dimensions that decide which affinity rules there are, and for which endpoints."""

_ANSWERED: Final = {
    **{name: values[:1] for name, values in _FULL.items()},
    AFFINITY: (NO_AFFINITY, CLIENT_IP),
    PORT_NAME: (NONE, LONG),
    ENDPOINTS: ("1", "2", "3"),
    SLICES: (ONE_SLICE, SEVERAL_SLICES, EMPTY_SLICE, OVERLAP),
    PLACEMENT: (NO_NODE, EVERY_NODE),
    CONDITIONS: _FULL[CONDITIONS],
    ADDRESSES: (DISTINCT, TWICE),
    HINTS: (NONE, ZONES, SOME_ZONES, NODES, ON_NOT_READY),
    TYPE: (CLUSTER_IP, NODE_PORT, LOAD_BALANCER),
}
"""What decides which of three pods answer a client in the cluster; all else is at its default.

internalTrafficPolicy Local is left out: the client's node has no endpoint, so nobody would answer.
"""

_FEW_ENDPOINTS: Final = _requires(ENDPOINTS, ("9",), PORTS, ("1",))
"""Above a thousand endpoints kube-proxy puts off cleaning up, which claims about other Services would notice."""

FULL: Final = Space(_FULL, CONSTRAINTS, TRIPLES, MASKS)
COMPACT: Final = Space(_COMPACT, (*CONSTRAINTS, _FEW_ENDPOINTS), TRIPLES, MASKS)
ANSWERED: Final = Space(_ANSWERED, CONSTRAINTS, masks=MASKS)
SPACES: Final = {"compact": COMPACT, "full": FULL, "answered": ANSWERED}
DEFAULTS: Final = {name: values[0] for name, values in _FULL.items()}
