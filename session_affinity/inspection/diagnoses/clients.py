"""The clients that are bound: whether they have addresses of their own, and to how many endpoints they are bound."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from session_affinity.inspection.diagnosis import Diagnosis, Severity
from session_affinity.inspection.mesh import mesh_proxies
from session_affinity.inspection.observation import ClientKind
from session_affinity.text import first_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from session_affinity.inspection.observation import BoundClient, Observation

MANY_CONNECTIONS: Final = 10
"""From so many connections on, one address from outside is unlikely to be one user who tries the Service out."""


def shared_address(observation: Observation) -> Iterator[Diagnosis]:
    """Yield that clients seem to share an address, because something replaces theirs before the node.

    That is so for a node's address on another node, since nobody else translates to it, unless a program of that node
    is the client; and for the only address from outside when it has many connections.
    """
    bindings = [
        binding
        for binding in observation.live_bindings
        if (client := observation.client(binding.client)).kind is ClientKind.NODE and client.name != binding.node
    ]
    outside = [
        binding
        for binding in observation.live_bindings
        if observation.client(binding.client).kind is ClientKind.OUTSIDE
    ]
    if len({binding.client for binding in outside}) == 1 and _may_be_many(outside):
        bindings += outside
    if not bindings:
        return
    addresses = list(dict.fromkeys(binding.client for binding in bindings))
    policy = observation.objects.spec.get("externalTrafficPolicy")
    yield Diagnosis(
        "shared-address",
        Severity.POSSIBLE,
        f"All clients behind {'one address' if len(addresses) == 1 else f'each of {len(addresses)} addresses'} count as"
        f" one client and share one endpoint: {', '.join(addresses[:3])} looks like a translated address (SNAT).",
        (
            "see what translates before the node: another node's port, a load balancer, an egress gateway;"
            " externalTrafficPolicy Local behind a load balancer that keeps client addresses avoids it"
            if policy == "Cluster"
            else "see what translates before the node: a load balancer, a gateway, masquerading of the pod network"
        ),
        ("C33",),
        tuple(first_lines([_shared(observation, binding) for binding in bindings])),
    )


def bound_per_node(observation: Observation) -> Iterator[Diagnosis]:
    """Yield which clients different nodes bind to different endpoints."""
    places: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for binding in observation.live_bindings:
        places[binding.client, binding.port][binding.node].add(binding.endpoint.at)
    clients = {
        client: nodes
        for (client, _), nodes in places.items()
        if len(nodes) > 1 and len({at for endpoints in nodes.values() for at in endpoints}) > 1
    }
    if clients:
        yield Diagnosis(
            "bound-per-node",
            Severity.POSSIBLE,
            f"{len(clients)} client{'s enter' if len(clients) > 1 else ' enters'} through several nodes and"
            f" {'have' if len(clients) > 1 else 'has'} another endpoint on each: every node binds clients by itself.",
            "let the load balancer keep a client on one node (source IP affinity), or give clients one node's address",
            ("C31", "C31b"),
            tuple(
                first_lines(
                    [
                        f"{client}: " + ", ".join(f"{'/'.join(sorted(to))} on {node}" for node, to in nodes.items())
                        for client, nodes in clients.items()
                    ]
                )
            ),
        )


def in_several_stores(observation: Observation) -> Iterator[Diagnosis]:
    """Yield which clients one node binds to several endpoints of one port."""
    stores: dict[tuple[str, str, str], list[BoundClient]] = defaultdict(list)
    for binding in observation.live_bindings:
        if binding.seconds_left is not None:
            stores[binding.node, binding.client, binding.port].append(binding)
    several = {place: bindings for place, bindings in stores.items() if len(bindings) > 1}
    if several:
        yield Diagnosis(
            "several-entries",
            Severity.POSSIBLE,
            f"{len(several)} client{'s have' if len(several) > 1 else ' has'} entries for several endpoints on one"
            " node: the first in the order of the rules wins, so that the client may move.",
            "it happens when timeoutSeconds is raised, and where both traffic policies are in use with one of them"
            " Local; otherwise report it with the output of -o json",
            ("C21", "C21s", "C38"),
            tuple(
                first_lines(
                    [
                        f"{client} on {node}: " + ", ".join(binding.endpoint.at for binding in bindings)
                        for (node, client, _), bindings in several.items()
                    ]
                )
            ),
        )


def changed_timeout(observation: Observation) -> Iterator[Diagnosis]:
    """Yield that sets still have elements with a longer timeout than the Service's.

    An element keeps the expiry that it was given (nf_tables); recent lists have none, there the rules have it.
    """
    timeout = observation.objects.timeout_seconds
    if timeout is None:
        return
    longer = [
        binding
        for binding in observation.live_bindings
        if binding.connections is None and binding.seconds_left is not None and binding.seconds_left > timeout
    ]
    if longer:
        latest = max(binding.seconds_left or 0 for binding in longer)
        yield Diagnosis(
            "timeout-changed",
            Severity.POSSIBLE,
            f"{len(longer)} client{'s stay' if len(longer) > 1 else ' stays'} bound for up to {latest:.0f} s more,"
            f" although timeoutSeconds is {timeout}: in nftables mode an entry from before a change keeps its expiry.",
            "wait for the next connection of these clients, or switch sessionAffinity to None and back, which clears"
            " all entries",
            ("C22n", "C26"),
        )


def mesh(observation: Observation) -> Iterator[Diagnosis]:
    """Yield that pods of the Service, or its clients, have a mesh's proxy.

    A mesh's client chooses the endpoint itself. Certain is that only where no client came by the nodes' rules.
    """
    pods = {
        f"endpoint {pod['metadata']['name']}": proxies
        for pod in observation.objects.endpoint_pods
        if (proxies := mesh_proxies(pod))
    }
    clients = {
        f"client {identity.name}": proxies
        for identity in observation.clients.values()
        if identity.pod is not None and (proxies := mesh_proxies(identity.pod))
    }
    if not (pods or clients) or not observation.objects.has_affinity:
        return
    names = sorted({proxy for proxies in (*pods.values(), *clients.values()) for proxy in proxies})
    unused = observation.reads_nodes and not observation.live_bindings
    where = " and ".join(
        f"{len(some)} {kind}{'s' if len(some) > 1 else ''}"
        for kind, some in (("endpoint", pods), ("client", clients))
        if some
    )
    yield Diagnosis(
        "mesh",
        Severity.BROKEN if unused else Severity.POSSIBLE,
        f"{where} with a mesh's proxy ({', '.join(names)}): a client in the mesh chooses pods by itself and ignores"
        f" ClientIP{'; no node has an affinity entry of this Service' if unused else ''}.",
        "configure affinity in the mesh (Istio: DestinationRule with consistentHash.useSourceIp), or leave these"
        " clients out of the mesh",
        ("C10", "C12"),
        tuple(first_lines([f"{pod}: {', '.join(proxies)}" for pod, proxies in {**pods, **clients}.items()])),
    )


DIAGNOSES = (mesh, shared_address, bound_per_node, in_several_stores, changed_timeout)


def _may_be_many(bindings: list[BoundClient]) -> bool:
    """Whether the connections may be those of several clients; in nftables mode they are not counted."""
    counts = [binding.connections for binding in bindings]
    return any(count is None for count in counts) or sum(count or 0 for count in counts) >= MANY_CONNECTIONS


def _shared(observation: Observation, binding: BoundClient) -> str:
    client = observation.client(binding.client)
    whose = f"address of node {client.name}" if client.kind is ClientKind.NODE else "the only address from outside"
    count = binding.connections
    connections = "" if count is None else f", {'at least ' if count >= 32 else ''}{count} connections"
    return f"{binding.client} ({whose}) on {binding.node}: {binding.endpoint.pod or binding.endpoint.at}{connections}"
