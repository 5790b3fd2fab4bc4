"""Find the chains, sets and elements of a node's table that no Service calls for, such as those of deleted Services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.dataplane.differences import Aspect, Difference
from session_affinity.dataplane.nftables.expected import expected
from session_affinity.dataplane.nftables.layout import (
    AFFINITY_SET,
    CLUSTER_IPS,
    FIREWALL_IPS,
    HAIRPINS,
    NO_ENDPOINT_NODE_PORTS,
    NO_ENDPOINTS,
    SERVICE_IPS,
    SERVICE_NODE_PORTS,
    layout_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from session_affinity.dataplane.model import ServiceState
    from session_affinity.dataplane.nftables.table import Key, Table
    from session_affinity.dataplane.proxy_config import ProxyConfig

_MAPS: Final = (SERVICE_IPS, SERVICE_NODE_PORTS, NO_ENDPOINTS, NO_ENDPOINT_NODE_PORTS, FIREWALL_IPS)
_SETS: Final = (CLUSTER_IPS, HAIRPINS)
_REASON: Final = "no Service calls for it"


def leftovers(node: str, services: Iterable[ServiceState], proxy: ProxyConfig, table: Table) -> Iterator[Difference]:
    """Yield the chains, affinity sets and elements that none of the Services calls for.

    The Services must be all of the cluster. An empty chain is not one: kube-proxy flushes a stale chain at once and
    deletes it in a later sync (proxier.go, staleChains).
    """
    names: set[str] = set()
    elements: set[tuple[str, Key]] = set()
    for service in services:
        for state in service.alternatives(node):
            wanted = expected(state, proxy, node, layout_of(table))
            names.update(wanted.names)
            elements.update((element.container, element.key) for element in wanted.elements)
    for chain, rules in table.printed_rules.items():
        if "/" in chain and rules and chain not in names:
            seen = f"a chain with {len(rules)} rules"
            yield Difference(node, chain, None, Aspect.LEFTOVER, "no such chain", seen, _REASON)
    for name in table.sets:
        if name.startswith(AFFINITY_SET) and name not in names:
            yield Difference(node, name, None, Aspect.LEFTOVER, "no such set", "a set", _REASON)
    for container, key, text in _elements(table):
        if (container, key) not in elements:
            yield Difference(node, container, None, Aspect.LEFTOVER, "no such element", text, _REASON)


def _elements(table: Table) -> Iterator[tuple[str, Key, str]]:
    """Yield container, key and text of the elements of Services in shared maps and sets."""
    for container in _MAPS:
        for key, verdict in table.maps.get(container, {}).items():
            yield container, key, f"{' . '.join(key)} : {verdict}"
    for container in _SETS:
        for key in table.sets[container].elements if container in table.sets else ():
            yield container, key, " . ".join(key)
