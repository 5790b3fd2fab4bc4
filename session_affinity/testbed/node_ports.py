"""Ways into a cluster from outside: the addresses of its nodes, where node ports are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.cluster_objects.services import ServiceRequest
from session_affinity.dataplane.model import family_of
from session_affinity.errors import NotReadyError
from session_affinity.traffic.answers import Target
from session_affinity.waiting import SLOW_MACHINE, poll

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from session_affinity.cluster_objects.services import Services
    from session_affinity.dataplane.model import Family, ServiceState
    from session_affinity.traffic.client import Client

NODE_PORT: Final = {"type": "NodePort"}


@dataclass(frozen=True)
class NodePortTargets:
    """Addresses of nodes by name, as far as their node ports can be reached."""

    addresses: Mapping[str, str]

    def labelled_targets(self, service: ServiceState, *nodes: str) -> dict[Target, str]:
        """Return the node ports of a Service's first port, on all nodes or some, with what each way is called."""
        return {at: f"through {node}" for at, node in self.target_to_node(service, *nodes).items()}

    def target_to_node(self, service: ServiceState, *nodes: str) -> dict[Target, str]:
        """Return the same ways with the node that each enters by."""
        port = service.ports[0].node_port
        return {Target(self.addresses[node], port): node for node in nodes or self.addresses}

    def others(self, *nodes: str) -> tuple[str, ...]:
        """Return the nodes other than these."""
        return tuple(node for node in self.addresses if node not in nodes)


def internal_addresses(nodes: Iterable[Mapping[str, Any]], family: Family) -> dict[str, str]:
    """Return the first internal address of each node in an IP family, by name; nodes without one are left out."""
    return {node["metadata"]["name"]: address for node in nodes for address in list(_addresses(node, family))[:1]}


def answering(services: Services, client: Client, addresses: Mapping[str, str]) -> tuple[str, ...]:
    """Return the nodes that answer a client at the node port of a Service made for this, after waiting for all.

    A node that answers has learnt of every Service made before.
    """
    probe = services.create(ServiceRequest("entrance", spec=NODE_PORT))
    targets = {Target(address, probe.ports[0].node_port): node for node, address in addresses.items()}
    open_ones: dict[Target, str] = {}

    def all_answer() -> bool:
        closed = [at for at in targets if at not in open_ones]
        open_ones.update({one.target: targets[one.target] for one in client.request(*closed) if one.ok})
        return len(open_ones) == len(targets)

    try:
        poll(all_answer, client.deadlines.node_ports)
    finally:
        services.delete(probe)
    return tuple(node for at, node in targets.items() if at in open_ones)


def require_answers(services: Services, client: Client, node_port_targets: NodePortTargets) -> None:
    """Wait until every entrance answers at the node port of a Service made now; raises NotReadyError."""
    found = answering(services, client, node_port_targets.addresses)
    if late := node_port_targets.others(*found):
        raise NotReadyError(
            f"{', '.join(late)}: no answer to {client.pod} at the node port of a Service made "
            f"{client.deadlines.node_ports:.0f} s ago",
            next_step=f"see whether kube-proxy runs there; {SLOW_MACHINE}",
        )


def _addresses(node: Mapping[str, Any], family: Family) -> Iterator[str]:
    for one in (node.get("status") or {}).get("addresses") or ():
        if one["type"] == "InternalIP" and family_of(one["address"]) == family:
            yield one["address"]
