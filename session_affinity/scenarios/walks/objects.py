"""The state of a walk: Services, EndpointSlices, zones and faults of kube-proxy; and the requests that change it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from session_affinity.dataplane.model import SERVICE_NAME_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from session_affinity.dataplane.model import Family

Manifest = dict[str, Any]

PREFIX: Final = "walk-"
"""What the names of a walk's objects begin with; ``placed`` gives those of one run a prefix of their own."""


_ADDRESS: Final = re.compile(r"\d+\.\d+\.(\d+)\.(\d+)(?:/(\d+))?")
_OTHER_RANGES: Final = {"0.0.0.0/0": "::/0", "fd00::/8": "10.0.0.0/8"}


class Fault(StrEnum):
    """What is wrong with a node's kube-proxy for a while."""

    PAUSED = "paused"
    """Stopped by SIGSTOP: changes wait."""
    FAILING = "failing"
    """Without file descriptors: it starts no program, so that every sync fails."""


class Verb(StrEnum):
    """What a request does."""

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"
    LABEL_ZONE = "label zone"
    BEGIN_FAULT = "begin fault"
    END_FAULT = "end fault"


@dataclass(frozen=True)
class Request:
    """One request to the API, or one thing done to a node.

    ``manifest`` is the object as it is to be, or as it was for a deletion; ``before`` what a change begins with.
    ``value`` is the zone (empty: none) or the fault of ``node``.
    """

    verb: Verb
    manifest: Manifest = field(default_factory=dict)
    before: Manifest = field(default_factory=dict)
    node: str = ""
    value: str = ""


@dataclass(frozen=True)
class Objects:
    """Services and slices as manifests by name, the zones of nodes that were labelled, and nodes with a fault.

    ``nodes`` are the names of the cluster's nodes. Manifests are never changed in place.
    """

    nodes: tuple[str, ...]
    services: Mapping[str, Manifest] = field(default_factory=dict)
    slices: Mapping[str, Manifest] = field(default_factory=dict)
    zones: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, Fault] = field(default_factory=dict)

    def node(self, number: int) -> str:
        """Return the name of a node by number; numbers beyond the last begin again."""
        return self.nodes[number % len(self.nodes)]

    def with_service(self, name: str, manifest: Manifest | None) -> Objects:
        """Return the state with a Service as it is to be; without it for None."""
        return replace(self, services=_with(self.services, name, manifest))

    def with_slice(self, name: str, manifest: Manifest | None) -> Objects:
        """Return the state with an EndpointSlice as it is to be; without it for None."""
        return replace(self, slices=_with(self.slices, name, manifest))

    def with_zone(self, node: str, zone: str) -> Objects:
        """Return the state with a node in a zone."""
        return replace(self, zones={**self.zones, node: zone})

    def with_fault(self, node: str, fault: Fault) -> Objects:
        """Return the state with a fault of a node's kube-proxy."""
        return replace(self, faults={**self.faults, node: fault})

    def without_faults(self) -> Objects:
        """Return the state in which every kube-proxy works."""
        return replace(self, faults={})


def requests(before: Objects, after: Objects) -> Iterator[Request]:
    """Yield what turns one state into another: faults that end, deletions, changes, creations, zones, new faults."""
    yield from (
        Request(Verb.END_FAULT, node=node, value=fault)
        for node, fault in before.faults.items()
        if after.faults.get(node) != fault
    )
    pairs = [(before.slices, after.slices), (before.services, after.services)]
    for old, new in pairs:
        yield from (Request(Verb.DELETE, manifest) for name, manifest in old.items() if name not in new)
    for old, new in reversed(pairs):
        yield from (
            Request(Verb.CHANGE, manifest, old[name])
            for name, manifest in new.items()
            if name in old and manifest != old[name]
        )
        yield from (Request(Verb.CREATE, manifest) for name, manifest in new.items() if name not in old)
    yield from (
        Request(Verb.LABEL_ZONE, node=node, value=zone)
        for node, zone in after.zones.items()
        if before.zones.get(node) != zone
    )
    yield from (
        Request(Verb.BEGIN_FAULT, node=node, value=fault)
        for node, fault in after.faults.items()
        if before.faults.get(node) != fault
    )


def placed(request: Request, prefix: str, family: Family = "IPv4") -> Request:
    """Return a request for objects of one run: with another prefix than ``PREFIX``, with addresses of a family."""
    return replace(
        request,
        manifest=_placed(request.manifest, prefix, family),
        before=_placed(request.before, prefix, family),
    )


def in_family(text: str, family: Family) -> str:
    """Return a text with its IPv4 addresses and ranges, if the family is IPv6, as addresses for documentation of it."""
    if family == "IPv4":
        return text
    if text in _OTHER_RANGES:
        return _OTHER_RANGES[text]
    return _ADDRESS.sub(
        lambda found: f"2001:db8::{found[1]}:{found[2]}" + (f"/{int(found[3]) + 88}" if found[3] else ""), text
    )


def service_name(manifest: Mapping[str, Any]) -> str:
    """Return the name of the Service that a slice is labelled for."""
    return str(manifest["metadata"]["labels"].get(SERVICE_NAME_LABEL, ""))


def _placed(manifest: Manifest, prefix: str, family: Family) -> Manifest:
    if not manifest:
        return manifest
    own: Manifest = _translated(manifest, family)
    metadata = own["metadata"]
    metadata["name"] = prefix + metadata["name"].removeprefix(PREFIX)
    labels = metadata.get("labels", {})
    if SERVICE_NAME_LABEL in labels:
        labels[SERVICE_NAME_LABEL] = prefix + labels[SERVICE_NAME_LABEL].removeprefix(PREFIX)
    if "addressType" in own:
        own["addressType"] = family
    return own


def _translated(value: Any, family: Family) -> Any:
    """Return a copy of a part of a manifest with addresses of a family."""
    if isinstance(value, dict):
        return {name: _translated(part, family) for name, part in value.items()}
    if isinstance(value, list):
        return [_translated(part, family) for part in value]
    return in_family(value, family) if isinstance(value, str) else value


def _with(mapping: Mapping[str, Any], name: str, value: Any | None) -> dict[str, Any]:
    rest = {key: kept for key, kept in mapping.items() if key != name}
    if value is None:
        return rest
    # In its old place: the order of requests does not depend on what was changed last.
    return {**mapping, name: value}
