"""Edits of EndpointSlices and their endpoints; a new Service comes with a slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from session_affinity.dataplane.model import CLIENT_IP, HEADLESS_LABEL, SERVICE_NAME_LABEL
from session_affinity.scenarios.walks import service_edits
from session_affinity.scenarios.walks.objects import Manifest, service_name
from session_affinity.scenarios.walks.service_edits import PORTS, SERVICES, TIMEOUTS
from session_affinity.scenarios.walks.steps import Edit, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from session_affinity.scenarios.walks.objects import Objects
    from session_affinity.scenarios.walks.steps import Choose

Endpoint = dict[str, Any]

SLICES: Final = tuple(f"{name}-{number}" for number in (1, 2) for name in SERVICES)
ADDRESSES: Final = tuple(f"192.0.2.{number}" for number in range(71, 77))
"""Addresses of endpoints, from a range for documentation (RFC 5737): nothing is sent to them."""
ZONES: Final = ("walk-zone-1", "walk-zone-2")
CONDITIONS: Final[tuple[Mapping[str, bool], ...]] = (
    {"ready": True},
    {"ready": False, "serving": False, "terminating": False},
    {"ready": False, "serving": True, "terminating": True},
    {"ready": False, "serving": False, "terminating": True},
    {"ready": False, "terminating": True},
    {},
)
TARGET_PORTS: Final = (8000, 8001)
NOWHERE: Final = -1
"""The number of a node for an endpoint without nodeName."""
PLACES: Final = (1, 0, 2, 3, NOWHERE)


def endpoint_slice(name: str, service: str, endpoints: Sequence[Endpoint]) -> Manifest:
    """Return a slice of a Service with all ports that a Service may have."""
    ports = [{"name": port, "port": TARGET_PORTS[0], "protocol": protocol} for port, (protocol, _) in PORTS.items()]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {SERVICE_NAME_LABEL: service}},
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": list(endpoints),
    }


def slice_edit(title: str, name: str, change: Callable[[Manifest, Objects], Manifest | None]) -> Edit:
    """Return the edit that changes one slice; it does not apply where there is none, or where nothing changes."""

    def changed(objects: Objects) -> Sequence[Objects]:
        before = objects.slices.get(name)
        after = before and change(before, objects)
        return (objects.with_slice(name, after),) if after and after != before else ()

    return Edit(f"{title} of EndpointSlice {name}", changed)


def _create_service(choose: Choose) -> Edit:
    name, ports = choose(SERVICES), choose((("web",), ("",), ("web", "dns"), ("dns", "dns-tcp"), ("sctp",)))
    timeout, count, first = choose((*TIMEOUTS, 0)), choose((1, 2, 3)), choose(range(len(ADDRESSES)))
    affinity = {"sessionAffinity": CLIENT_IP, "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": timeout}}}
    manifest = service_edits.service(name, ports, **(affinity if timeout else {}))
    slice_name = f"{name}-1"

    def change(objects: Objects) -> Sequence[Objects]:
        if name in objects.services:
            return ()
        created = objects.with_service(name, manifest)
        if slice_name in objects.slices:
            return (created,)
        endpoints = [_endpoint(objects, first + number, PLACES[number]) for number in range(count)]
        return (created.with_slice(slice_name, endpoint_slice(slice_name, name, endpoints)),)

    return Edit(f"create Service {name}", change)


def _endpoint(objects: Objects, address: int, node: int) -> Endpoint:
    return _placed({"addresses": [ADDRESSES[address % len(ADDRESSES)]], "conditions": {"ready": True}}, objects, node)


def _placed(endpoint: Endpoint, objects: Objects, node: int) -> Endpoint:
    rest = {name: value for name, value in endpoint.items() if name != "nodeName"}
    return rest if node == NOWHERE else {**rest, "nodeName": objects.node(node)}


def _add_slice(choose: Choose) -> Edit:
    name, service, address, node = choose(SLICES), choose(SERVICES), choose(range(len(ADDRESSES))), choose(PLACES)

    def change(objects: Objects) -> Sequence[Objects]:
        if name in objects.slices:
            return ()
        return (objects.with_slice(name, endpoint_slice(name, service, [_endpoint(objects, address, node)])),)

    return Edit(f"create EndpointSlice {name} of Service {service}", change)


def _delete_slice(choose: Choose) -> Edit:
    name = choose(SLICES)

    def change(objects: Objects) -> Sequence[Objects]:
        return (objects.with_slice(name, None),) if name in objects.slices else ()

    return Edit(f"delete EndpointSlice {name}", change)


def _make_slice_again(choose: Choose) -> Edit:
    name = choose(SLICES)

    def change(objects: Objects) -> Sequence[Objects]:
        return (objects.with_slice(name, None), objects) if name in objects.slices else ()

    return Edit(f"delete EndpointSlice {name} and make it again", change)


def _relabel_slice(choose: Choose) -> Edit:
    name, service = choose(SLICES), choose(SERVICES)

    def change(manifest: Manifest, _: Objects) -> Manifest | None:
        if service_name(manifest) == service:
            return None
        return _with_labels(manifest, {**manifest["metadata"]["labels"], SERVICE_NAME_LABEL: service})

    return slice_edit("change the Service", name, change)


def _switch_headless_label(choose: Choose) -> Edit:
    name = choose(SLICES)

    def change(manifest: Manifest, _: Objects) -> Manifest:
        labels = dict(manifest["metadata"]["labels"])
        if labels.pop(HEADLESS_LABEL, None) is None:
            labels[HEADLESS_LABEL] = ""
        return _with_labels(manifest, labels)

    return slice_edit("switch the headless label", name, change)


def _with_labels(manifest: Manifest, labels: Mapping[str, str]) -> Manifest:
    return {**manifest, "metadata": {**manifest["metadata"], "labels": dict(labels)}}


def _switch_slice_port(choose: Choose) -> Edit:
    name, port = choose(SLICES), choose(tuple(PORTS))

    def change(manifest: Manifest, _: Objects) -> Manifest:
        rest = [listed for listed in manifest["ports"] if listed["name"] != port]
        if len(rest) == len(manifest["ports"]):
            rest.append({"name": port, "port": TARGET_PORTS[0], "protocol": PORTS[port][0]})
        return {**manifest, "ports": rest}

    return slice_edit(f"remove or add port {port or 'without name'}", name, change)


def _change_target_port(choose: Choose) -> Edit:
    name, port, target = choose(SLICES), choose(tuple(PORTS)), choose(TARGET_PORTS)

    def change(manifest: Manifest, _: Objects) -> Manifest:
        ports = [{**listed, "port": target} if listed["name"] == port else listed for listed in manifest["ports"]]
        return {**manifest, "ports": ports}

    return slice_edit(f"change target port {port or 'without name'}", name, change)


def _add_endpoint(choose: Choose) -> Edit:
    name, address, node = choose(SLICES), choose(range(len(ADDRESSES))), choose(PLACES)

    def change(manifest: Manifest, objects: Objects) -> Manifest:
        return {**manifest, "endpoints": [*manifest["endpoints"], _endpoint(objects, address, node)]}

    return slice_edit("add an endpoint", name, change)


def endpoint_edit(choose: Choose, title: str, change: Callable[[Endpoint, Objects], Endpoint]) -> Edit:
    """Return the edit that changes one endpoint of a slice."""
    name, number = choose(SLICES), choose(range(3))

    def change_slice(manifest: Manifest, objects: Objects) -> Manifest | None:
        endpoints = list(manifest["endpoints"])
        if not endpoints:
            return None
        endpoints[number % len(endpoints)] = change(endpoints[number % len(endpoints)], objects)
        return {**manifest, "endpoints": endpoints}

    return slice_edit(title, name, change_slice)


def _remove_endpoint(choose: Choose) -> Edit:
    name, number = choose(SLICES), choose(range(3))

    def change(manifest: Manifest, _: Objects) -> Manifest | None:
        endpoints = list(manifest["endpoints"])
        if not endpoints:
            return None
        del endpoints[number % len(endpoints)]
        return {**manifest, "endpoints": endpoints}

    return slice_edit("remove an endpoint", name, change)


def _move_endpoint(choose: Choose) -> Edit:
    name, other, number = choose(SLICES), choose(SLICES), choose(range(3))

    def change(objects: Objects) -> Sequence[Objects]:
        source, target = objects.slices.get(name), objects.slices.get(other)
        if name == other or not source or not target or not source["endpoints"]:
            return ()
        endpoints = list(source["endpoints"])
        moved = endpoints.pop(number % len(endpoints))
        there = objects.with_slice(other, {**target, "endpoints": [*target["endpoints"], moved]})
        return (there, there.with_slice(name, {**source, "endpoints": endpoints}))

    return Edit(f"move an endpoint of EndpointSlice {name} to {other}", change)


def _change_conditions(choose: Choose) -> Edit:
    conditions = choose(CONDITIONS)
    return endpoint_edit(
        choose, "change the conditions of an endpoint", lambda endpoint, _: {**endpoint, "conditions": dict(conditions)}
    )


def _change_hints(choose: Choose) -> Edit:
    zones, node = choose(((), ZONES[:1], ZONES[1:], ZONES)), choose((None, 0, 1))

    def change(endpoint: Endpoint, objects: Objects) -> Endpoint:
        hints: dict[str, Any] = {}
        if zones:
            hints["forZones"] = [{"name": zone} for zone in zones]
        if node is not None:
            hints["forNodes"] = [{"name": objects.node(node)}]
        rest = {name: value for name, value in endpoint.items() if name != "hints"}
        return {**rest, **({"hints": hints} if hints else {})}

    return endpoint_edit(choose, "change the hints of an endpoint", change)


def _change_node(choose: Choose) -> Edit:
    node = choose(PLACES)
    return endpoint_edit(
        choose, "change the node of an endpoint", lambda endpoint, objects: _placed(endpoint, objects, node)
    )


KINDS: Final = (
    Kind("create Service", _create_service, weight=10),
    Kind("create slice", _add_slice, weight=2),
    Kind("delete slice", _delete_slice),
    Kind("make slice again", _make_slice_again),
    Kind("relabel slice", _relabel_slice),
    Kind("switch headless label", _switch_headless_label),
    Kind("switch slice port", _switch_slice_port),
    Kind("change target port", _change_target_port, weight=2),
    Kind("add endpoint", _add_endpoint, weight=3),
    Kind("remove endpoint", _remove_endpoint, weight=2),
    Kind("move endpoint", _move_endpoint, weight=2),
    Kind("change conditions", _change_conditions, weight=3),
    Kind("change hints", _change_hints, weight=2),
    Kind("change node", _change_node),
)
