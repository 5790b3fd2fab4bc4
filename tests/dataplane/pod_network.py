"""The pod network of a node: the CNI configuration of its pods, and routes to the pods of the other nodes."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def write_configuration(directory: Path, pod_ranges: Sequence[str]) -> None:
    """Rename the configuration into its directory, so that nobody reads a part of it."""
    defaults = {4: "0.0.0.0/0", 6: "::/0"}
    addresses = {
        "type": "host-local",
        "dataDir": "/run/example-addresses",
        "routes": [{"dst": defaults[ipaddress.ip_network(pods).version]} for pods in pod_ranges],
        "ranges": [[{"subnet": pods}] for pods in pod_ranges],
    }
    plugins = [{"type": "ptp", "ipMasq": False, "ipam": addresses}]
    configuration = {"cniVersion": "1.0.0", "name": "example", "plugins": plugins}
    with tempfile.TemporaryDirectory(dir=directory.parent) as drafts:
        draft = Path(drafts, "draft")
        draft.write_text(json.dumps(configuration))
        draft.rename(directory / "10-example.conflist")


def routes(nodes: Iterable[Mapping[str, Any]], this_node: str) -> frozenset[tuple[str, str]]:
    """Return the range of pods and the address of each other node, by IP family."""
    found: set[tuple[str, str]] = set()
    for node in nodes:
        if node["metadata"]["name"] == this_node:
            continue
        addresses = [a["address"] for a in node.get("status", {}).get("addresses", ()) if a["type"] == "InternalIP"]
        for pods in node.get("spec", {}).get("podCIDRs", ()):
            version = ipaddress.ip_network(pods).version
            gateway = next((a for a in addresses if ipaddress.ip_address(a).version == version), None)
            if gateway is not None:
                found.add((pods, gateway))
    return frozenset(found)


def add(new_routes: Iterable[tuple[str, str]]) -> None:
    """Route ranges of pods by the addresses of their nodes."""
    for pods, gateway in new_routes:
        family = f"-{ipaddress.ip_network(pods).version}"
        subprocess.run(("ip", family, "route", "replace", pods, "via", gateway), check=True)
