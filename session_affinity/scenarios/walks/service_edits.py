"""Edits of Services: affinity, timeout, type, policies, addresses, ranges, ports, and Services that come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from session_affinity.cluster_objects.services import NO_PROVIDER
from session_affinity.dataplane.model import CLIENT_IP, PROXY_NAME_LABEL
from session_affinity.scenarios.walks.objects import PREFIX, Manifest
from session_affinity.scenarios.walks.steps import Edit, Kind, Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from session_affinity.scenarios.walks.objects import Objects
    from session_affinity.scenarios.walks.steps import Choose

SERVICES: Final = tuple(f"{PREFIX}{letter}" for letter in "abcdef")
"""The names of Services; two walks never have the same, see ``objects.placed``."""
TIMEOUTS: Final = (10800, 3600, 600, 86400)
"""In seconds, all longer than a walk: no affinity entry ends by itself."""
EXTERNAL_IPS: Final = ("198.51.100.81", "198.51.100.82")
BALANCER_IPS: Final = ("198.51.100.91", "198.51.100.92")
"""Addresses for documentation (RFC 5737). Services may have the same: then any of them may get the traffic."""
SOURCE_RANGES: Final = (
    ("192.0.2.0/24",),
    (" 192.0.2.0/24", "203.0.113.0/25"),
    ("192.0.2.0/24", "0.0.0.0/0"),
    ("fd00::/8",),
)
PORTS: Final[Mapping[str, tuple[str, int]]] = {
    "web": ("TCP", 80),
    "": ("TCP", 80),
    "www": ("TCP", 80),
    "dns": ("UDP", 53),
    "dns-tcp": ("TCP", 53),
    "sctp": ("SCTP", 9),
}
"""Protocol and number by name; an unnamed port must be the only one of its Service."""
RENAMED: Final = {"web": "www", "www": "web", "": "web"}
OTHER_NUMBERS: Final = {80: 8080, 8080: 80, 53: 5353, 5353: 53, 9: 19, 19: 9}
_POLICIES: Final = {"Local": "Cluster", "Cluster": "Local"}


def service(name: str, ports: Sequence[str], **spec: Any) -> Manifest:
    """Return a Service without selector, with ports by their names of ``PORTS``."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"type": "ClusterIP", "ports": [port(name) for name in ports], **spec},
    }


def port(name: str) -> dict[str, Any]:
    """Return a port of ``PORTS``."""
    protocol, number = PORTS[name]
    return {**({"name": name} if name else {}), "port": number, "protocol": protocol}


def edit(title: str, name: str, change: Callable[[Manifest], Manifest | None]) -> Edit:
    """Return the edit that changes one Service; it does not apply where there is none, or where nothing changes."""

    def changed(objects: Objects) -> Sequence[Objects]:
        before = objects.services.get(name)
        after = before and change(before)
        if not after or (after := valid(after)) == before:
            return ()
        return (objects.with_service(name, after),)

    return Edit(f"{title} of Service {name}", changed)


def valid(manifest: Manifest) -> Manifest:
    """Return a Service without the fields that its type does not have; the API clears what it has filled in itself."""
    spec = dict(manifest["spec"])
    status = manifest.get("status")
    if spec["type"] != "LoadBalancer":
        status = None
        for name in ("loadBalancerSourceRanges", "loadBalancerClass", "allocateLoadBalancerNodePorts"):
            spec.pop(name, None)
    if spec["type"] == "ExternalName":
        spec.pop("externalIPs", None)
        spec.pop("internalTrafficPolicy", None)
    else:
        spec.pop("externalName", None)
    if spec["type"] in ("ClusterIP", "ExternalName") and not spec.get("externalIPs"):
        spec.pop("externalTrafficPolicy", None)
    rest = {name: value for name, value in manifest.items() if name != "status"}
    return {**rest, "spec": spec, **({"status": status} if status else {})}


def _with_spec(manifest: Manifest, **fields: Any) -> Manifest:
    """Return a Service with other fields of its specification; those that are None are removed."""
    spec = {**manifest["spec"], **fields}
    return {**manifest, "spec": {name: value for name, value in spec.items() if value is not None}}


def _affinity(timeout: int) -> dict[str, Any]:
    return {"sessionAffinity": CLIENT_IP, "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": timeout}}}


def _switch_affinity(choose: Choose) -> Edit:
    name, timeout = choose(SERVICES), choose(TIMEOUTS)

    def change(manifest: Manifest) -> Manifest:
        if manifest["spec"].get("sessionAffinity") == CLIENT_IP:
            return _with_spec(manifest, sessionAffinity=None, sessionAffinityConfig=None)
        return _with_spec(manifest, **_affinity(timeout))

    return edit("switch the affinity", name, change)


def _change_timeout(choose: Choose) -> Edit:
    name, timeout = choose(SERVICES), choose(TIMEOUTS)

    def change(manifest: Manifest) -> Manifest | None:
        has_affinity = manifest["spec"].get("sessionAffinity") == CLIENT_IP
        return _with_spec(manifest, **_affinity(timeout)) if has_affinity else None

    return edit("change the timeout", name, change)


def _change_type(choose: Choose) -> Edit:
    name = choose(SERVICES)
    service_type = choose(("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"))
    node_ports = choose((True, False))

    def change(manifest: Manifest) -> Manifest | None:
        if manifest["spec"]["type"] == service_type:
            return None
        fields: dict[str, Any] = {"type": service_type}
        if service_type == "LoadBalancer":
            fields["loadBalancerClass"] = NO_PROVIDER
            if not node_ports:
                fields["allocateLoadBalancerNodePorts"] = False
        if service_type == "ExternalName":
            fields["externalName"] = "walk.example.com"
        return _with_spec(manifest, **fields)

    return edit("change the type", name, change)


def _switch_internal_policy(choose: Choose) -> Edit:
    name = choose(SERVICES)

    def change(manifest: Manifest) -> Manifest | None:
        policy = manifest["spec"].get("internalTrafficPolicy", "Cluster")
        return _with_spec(manifest, internalTrafficPolicy=_POLICIES[policy])

    return edit("switch the internal policy", name, change)


def _switch_external_policy(choose: Choose) -> Edit:
    name = choose(SERVICES)

    def change(manifest: Manifest) -> Manifest | None:
        policy = manifest["spec"].get("externalTrafficPolicy", "Cluster")
        return _with_spec(manifest, externalTrafficPolicy=_POLICIES[policy])

    return edit("switch the external policy", name, change)


def _change_external_ips(choose: Choose) -> Edit:
    name = choose(SERVICES)
    addresses = choose((None, EXTERNAL_IPS[:1], EXTERNAL_IPS[1:], EXTERNAL_IPS))
    return edit(
        "change the external IPs",
        name,
        lambda manifest: _with_spec(manifest, externalIPs=list(addresses) if addresses else None),
    )


def _change_balancer(choose: Choose) -> Edit:
    name = choose(SERVICES)
    addresses = choose(((), BALANCER_IPS[:1], BALANCER_IPS[1:], BALANCER_IPS))
    mode = choose(("VIP", "Proxy"))

    def change(manifest: Manifest) -> Manifest | None:
        if manifest["spec"]["type"] != "LoadBalancer":
            return None
        ingress = [{"ip": address, "ipMode": mode} for address in addresses]
        rest = {key: value for key, value in manifest.items() if key != "status"}
        return {**rest, **({"status": {"loadBalancer": {"ingress": ingress}}} if ingress else {})}

    return edit("change the load balancer's addresses", name, change)


def _change_source_ranges(choose: Choose) -> Edit:
    name, ranges = choose(SERVICES), choose((None, *SOURCE_RANGES))

    def change(manifest: Manifest) -> Manifest | None:
        if manifest["spec"]["type"] != "LoadBalancer":
            return None
        return _with_spec(manifest, loadBalancerSourceRanges=list(ranges) if ranges else None)

    return edit("change the source ranges", name, change)


def _add_port(choose: Choose) -> Edit:
    name, added = choose(SERVICES), choose(tuple(name for name in PORTS if name))

    def change(manifest: Manifest) -> Manifest | None:
        ports = manifest["spec"]["ports"]
        return _with_ports(manifest, [*ports, port(added)])

    return edit(f"add port {added}", name, change)


def _remove_port(choose: Choose) -> Edit:
    name, number = choose(SERVICES), choose(range(3))

    def change(manifest: Manifest) -> Manifest | None:
        ports = manifest["spec"]["ports"]
        removed = number % len(ports)
        return _with_ports(manifest, [*ports[:removed], *ports[removed + 1 :]])

    return edit("remove a port", name, change)


def _rename_port(choose: Choose) -> Edit:
    name = choose(SERVICES)

    def change(manifest: Manifest) -> Manifest | None:
        ports = manifest["spec"]["ports"]
        names = [RENAMED.get(listed.get("name", ""), listed.get("name", "")) for listed in ports]
        return _with_ports(manifest, [{**listed, "name": new} for listed, new in zip(ports, names, strict=True)])

    return edit("rename a port", name, change)


def _renumber_port(choose: Choose) -> Edit:
    name, number = choose(SERVICES), choose(range(3))

    def change(manifest: Manifest) -> Manifest | None:
        ports = list(manifest["spec"]["ports"])
        changed = ports[number % len(ports)]
        ports[number % len(ports)] = {**changed, "port": OTHER_NUMBERS[changed["port"]]}
        return _with_ports(manifest, ports)

    return edit("renumber a port", name, change)


def _with_ports(manifest: Manifest, ports: Sequence[Mapping[str, Any]]) -> Manifest | None:
    """Return a Service with other ports; None when the API would refuse them."""
    names = [listed.get("name", "") for listed in ports]
    numbers = [(listed["port"], listed["protocol"]) for listed in ports]
    unique = len(set(names)) == len(names) and len(set(numbers)) == len(numbers)
    if not ports or not unique or ("" in names and len(names) > 1):
        return None
    return _with_spec(manifest, ports=list(ports))


def _switch_proxy_label(choose: Choose) -> Edit:
    name = choose(SERVICES)

    def change(manifest: Manifest) -> Manifest:
        metadata = dict(manifest["metadata"])
        if metadata.pop("labels", None) is None:
            metadata["labels"] = {PROXY_NAME_LABEL: "walk"}
        return {**manifest, "metadata": metadata}

    return edit("switch the label for another proxy", name, change)


def _delete(choose: Choose) -> Edit:
    name = choose(SERVICES)

    def change(objects: Objects) -> Sequence[Objects]:
        return (objects.with_service(name, None),) if name in objects.services else ()

    return Edit(f"delete Service {name}", change)


def _make_again(choose: Choose) -> Edit:
    name = choose(SERVICES)

    def change(objects: Objects) -> Sequence[Objects]:
        return (objects.with_service(name, None), objects) if name in objects.services else ()

    return Edit(f"delete Service {name} and make it again", change)


KINDS: Final = (
    Kind("switch affinity", _switch_affinity, weight=3),
    Kind("change timeout", _change_timeout),
    Kind("change type", _change_type, weight=2),
    Kind("switch internal policy", _switch_internal_policy),
    Kind("switch external policy", _switch_external_policy, weight=2),
    Kind("change external IPs", _change_external_ips, weight=2, scope=Scope.ADDRESSES),
    Kind("change load balancer addresses", _change_balancer, weight=2, scope=Scope.ADDRESSES),
    Kind("change source ranges", _change_source_ranges, weight=2),
    Kind("add port", _add_port, weight=2),
    Kind("remove port", _remove_port),
    Kind("rename port", _rename_port),
    Kind("renumber port", _renumber_port),
    Kind("switch proxy label", _switch_proxy_label),
    Kind("delete Service", _delete),
    Kind("make Service again", _make_again),
)
