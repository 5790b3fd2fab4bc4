"""A clock for nodes whose agent cannot read /proc/timer_list, as without privileges: the stamps of a recent list.

The list is that of a Service made for this in the agents' own namespace; its endpoint has an address for documentation,
and no client. The Service is removed with the namespace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from session_affinity.dataplane.backends import BACKENDS
from session_affinity.dataplane.model import CLIENT_IP, SERVICE_NAME_LABEL, ServiceState
from session_affinity.kube.resources import ENDPOINT_SLICES, SERVICES
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from session_affinity.dataplane.proxy_config import ProxyConfigs
    from session_affinity.deadlines import Deadlines
    from session_affinity.kube.api import Api
    from session_affinity.nodes.nodes import Nodes

NAME: Final = "clock"
ADDRESS: Final = "192.0.2.2"


def provide_clock(api: Api, namespace: str, nodes: Nodes, configs: ProxyConfigs, deadlines: Deadlines) -> None:
    """Make the nodes' clocks readable where entries are kept in ticks and no other clock is readable.

    Raises ApiError when the cluster refuses the Service, NodeError when a node cannot be read. A node that does not
    program the Service in time stays without a clock.
    """
    backend = BACKENDS.get(configs.mode)
    if backend is None or not backend.counts_connections:
        return
    if all(snapshot.jiffies is not None for snapshot in nodes.read().readable.values()):
        return
    service = api.create(_service(namespace), SERVICES)
    endpoint_slice = api.create(_slice(namespace), ENDPOINT_SLICES)
    lists = tuple(backend.affinity_stores(ServiceState.from_objects(service, [endpoint_slice])))
    poll(
        lambda: all(set(lists) <= snapshot.lists.keys() for snapshot in nodes.read().readable.values()),
        deadlines.sync,
        pause=0.1,
    )
    nodes.use_as_clock(lists)


def _service(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {"sessionAffinity": CLIENT_IP, "ports": [{"name": NAME, "port": 9}]},
    }


def _slice(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": NAME, "namespace": namespace, "labels": {SERVICE_NAME_LABEL: NAME}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": True}}],
        "ports": [{"name": NAME, "protocol": "TCP", "port": 9}],
    }
