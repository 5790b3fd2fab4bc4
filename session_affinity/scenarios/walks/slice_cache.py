"""What kube-proxy makes of an EndpointSlice whose label for its Service changes: a known behaviour.

Its cache files slices by that label, and an update gets the new object alone (``OnEndpointSliceUpdate``): the slice
stays where it was under the old label, as it was then, also when the slice or the old Service is deleted. A restart of
kube-proxy ends that. docs/findings.md has the reproduction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from session_affinity.claims import KnownBehaviour
from session_affinity.dataplane.model import HEADLESS_LABEL
from session_affinity.scenarios.walks.objects import service_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    StoredSlice = dict[str, Any]
    Key = tuple[str, str]


RELABELLED: Final = KnownBehaviour(
    "keeps the endpoints of an EndpointSlice whose label kubernetes.io/service-name changes with the old Service",
    "docs/findings.md",
)


class SliceCaches:
    """The slices that the kube-proxy of each node has, by the Service that it takes them for."""

    def __init__(self, nodes: Iterable[str]) -> None:
        self._current: dict[str, StoredSlice] = {}
        self._by_node: dict[str, dict[Key, StoredSlice]] = {node: {} for node in nodes}

    def store(self, endpoint_slice: StoredSlice) -> None:
        """Note a slice that was created or changed, as stored.

        kube-proxy does not watch slices labelled headless: to it, such a slice is deleted when it gets that label.
        """
        name = endpoint_slice["metadata"]["name"]
        if HEADLESS_LABEL in endpoint_slice["metadata"]["labels"]:
            self.delete(name)
            return
        self._current[name] = endpoint_slice
        for cache in self._by_node.values():
            cache[service_name(endpoint_slice), name] = endpoint_slice

    def delete(self, name: str) -> None:
        """Note that a slice was deleted: kube-proxy looks for it under its last label."""
        last = self._current.pop(name, None)
        if last is not None:
            for cache in self._by_node.values():
                cache.pop((service_name(last), name), None)

    def restart(self, node: str) -> None:
        """Note that a kube-proxy was started again: it has the slices as they are."""
        self._by_node[node] = {(service_name(kept), name): kept for name, kept in self._current.items()}

    def stale(self, node: str) -> tuple[StoredSlice, ...]:
        """Return the slices that a node's kube-proxy has although they are gone or belong to another Service."""
        return tuple(
            kept
            for (service, name), kept in self._by_node[node].items()
            if name not in self._current or service_name(self._current[name]) != service
        )
