"""Node ports as targets: the addresses of the nodes, and which of them answer a client."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.cluster_objects.services import ServiceRequest
from session_affinity.dataplane.model import family_of
from session_affinity.errors import NotReadyError
from session_affinity.traffic.answers import Target
from session_affinity.waiting import SLOW_MACHINE, poll

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from session_affinity.dataplane.model import Family, ServiceState
    from session_affinity.testbed.testbed import Testbed
    from session_affinity.traffic.client import Requester

NODE_PORT: Final = {"type": "NodePort"}


@dataclass(frozen=True)
class NodePortTargets:
    """The addresses, by name, of the nodes whose node ports can be reached."""

    addresses: Mapping[str, str]

    def labelled_targets(self, service: ServiceState, *nodes: str) -> dict[Target, str]:
        """Return the node port of a Service's first port on all nodes, or some, with a label of each target."""
        return {at: f"through {node}" for at, node in self.target_to_node(service, *nodes).items()}

    def target_to_node(self, service: ServiceState, *nodes: str) -> dict[Target, str]:
        """Return the same targets, each with its node."""
        port = service.ports[0].node_port
        return {Target(self.addresses[node], port): node for node in nodes or self.addresses}

    def others(self, *nodes: str) -> tuple[str, ...]:
        """Return the nodes other than these."""
        return tuple(node for node in self.addresses if node not in nodes)


def internal_addresses(nodes: Iterable[Mapping[str, Any]], family: Family) -> dict[str, str]:
    """Return the first internal address of each node in an IP family, by name; nodes without one are left out."""
    return {node["metadata"]["name"]: address for node in nodes for address in list(_addresses(node, family))[:1]}


def external_addresses(nodes: Iterable[Mapping[str, Any]], family: Family) -> dict[str, str]:
    """Return the first external address of each node in an IP family, by name; nodes without one are left out."""
    kind = "ExternalIP"
    return {node["metadata"]["name"]: address for node in nodes for address in list(_addresses(node, family, kind))[:1]}


@dataclass(frozen=True)
class Entrance:
    """A Service of type NodePort without affinity, whose node ports a client asks nodes at for at most ``seconds``."""

    service: ServiceState
    client: Requester
    seconds: float

    def answering(self, addresses: Mapping[str, str]) -> tuple[str, ...]:
        """Return the nodes that answer; waits for all of them."""
        targets = NodePortTargets(addresses).target_to_node(self.service)
        answered: set[Target] = set()

        def all_answer() -> bool:
            silent = [target for target in targets if target not in answered]
            answered.update(answer.target for answer in self.client.request(*silent) if answer.ok)
            return len(answered) == len(targets)

        poll(all_answer, self.seconds)
        return tuple(node for target, node in targets.items() if target in answered)

    def require(self, node_port_targets: NodePortTargets) -> None:
        """Wait until all nodes answer; raises NotReadyError."""
        if late := node_port_targets.others(*self.answering(node_port_targets.addresses)):
            raise NotReadyError(
                f"{', '.join(late)}: no answer to {self.client.id.pod} at the node port of Service {self.service.key} "
                f"within {self.seconds:.0f} s",
                next_step=f"see whether kube-proxy runs there; {SLOW_MACHINE}",
            )


@contextlib.contextmanager
def new_entrance(testbed: Testbed, client: Requester | None = None) -> Iterator[Entrance]:
    """Yield node ports for a client, the testbed's by default, of a sentinel Service, which is deleted at the end.

    kube-proxy applies changes in order: a node that answers has synced every Service created before.
    """
    sentinel = testbed.services.create(ServiceRequest("entrance", spec=NODE_PORT))
    try:
        yield Entrance(sentinel, client or testbed.client, testbed.sync_seconds)
    finally:
        testbed.services.delete(sentinel)


def _addresses(node: Mapping[str, Any], family: Family, kind: str = "InternalIP") -> Iterator[str]:
    for address in (node.get("status") or {}).get("addresses") or ():
        if address["type"] == kind and family_of(address["address"]) == family:
            yield address["address"]
