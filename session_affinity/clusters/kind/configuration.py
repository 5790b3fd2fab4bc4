"""Builds kind's configuration from ``manifests/kind.yaml`` and the options of a run."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final

import yaml

from session_affinity import bundle
from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY, ranges_of
from session_affinity.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST: Final = bundle.MANIFESTS / "kind.yaml"
PATCHES: Final = bundle.MANIFESTS / "kubeadm"
"""Files with kubeadm's patches of the control plane's pods, which nothing depends on."""
_PATCHES_ON_NODE: Final = "/kind/kubeadm-patches"
_PODS: Final = ("webpods.yaml", "net-pod.yaml")
_ANY_ADDRESS: Final = str(ipaddress.IPv4Address(0))
_TAG: Final = re.compile(r":v(?P<version>\d+\.\d+\.\d+)(?:@|$)")


def render(name: str, image: str, proxy_mode: str | None, ip_family: str | None = None) -> dict[str, Any]:
    """Return kind's configuration of a cluster; None leaves the value of the manifest.

    Every node gets the image: ``kind create cluster --image`` does not override the image of a node in the
    configuration. Raises SuiteError when the manifest cannot be read.
    """
    try:
        manifest: dict[str, Any] = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
        nodes = [{**node, "image": image} for node in manifest["nodes"]]
        networking = {
            **(manifest.get("networking") or {}),
            **({"kubeProxyMode": proxy_mode} if proxy_mode else {}),
            **(_family_settings(ip_family) if ip_family else {}),
        }
    except (OSError, yaml.YAMLError, TypeError, LookupError) as error:
        raise SuiteError(
            f"{MANIFEST} is not a configuration of a kind cluster: {error}",
            next_step="restore it: git checkout manifests",
        ) from error
    return {**manifest, "name": name, "networking": networking, "nodes": nodes}


def with_patches(configuration: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Return a configuration with which kubeadm uses the patches in a directory that the engine can mount."""
    mount = {"hostPath": str(directory), "containerPath": _PATCHES_ON_NODE, "readOnly": True}
    nodes = [
        {**node, "extraMounts": [*(node.get("extraMounts") or ()), mount]} if _role(node) == "control-plane" else node
        for node in configuration["nodes"]
    ]
    use = yaml.safe_dump({"kind": "InitConfiguration", "patches": {"directory": _PATCHES_ON_NODE}})
    patches = [*(configuration.get("kubeadmConfigPatches") or ()), use]
    return {**configuration, "nodes": nodes, "kubeadmConfigPatches": patches}


def _role(node: Mapping[str, Any]) -> str:
    return str(node.get("role", "control-plane"))


def _family_settings(ip_family: str) -> dict[str, str]:
    ranges = ranges_of(ip_family)
    return {
        "ipFamily": ip_family,
        "podSubnet": ",".join(family_ranges.pods for family_ranges in ranges),
        "serviceSubnet": ",".join(family_ranges.services for family_ranges in ranges),
    }


def ip_family_of(configuration: dict[str, Any]) -> str:
    """Return the IP family of the cluster as a value of ``--ip-family``; kind's default is IPv4."""
    return str(configuration["networking"].get("ipFamily") or DEFAULT_IP_FAMILY)


def proxy_mode_of(configuration: dict[str, Any]) -> str:
    """Return the proxy mode of the cluster; kind's default is iptables."""
    return str(configuration["networking"].get("kubeProxyMode") or "iptables")


def node_names(configuration: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the containers that kind creates; several control planes add a load balancer."""
    counts: dict[str, int] = {}
    names = []
    for node in configuration["nodes"]:
        role = _role(node)
        counts[role] = counts.get(role, 0) + 1
        names.append(f"{configuration['name']}-{role}{counts[role] if counts[role] > 1 else ''}")
    if counts.get("control-plane", 0) > 1:
        names.append(f"{configuration['name']}-external-load-balancer")
    return tuple(names)


def ports(configuration: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    """Return the fixed addresses and ports that the nodes use on this machine; by default kind takes a free port."""
    networking = configuration["networking"]
    mapped = [mapping for node in configuration["nodes"] for mapping in node.get("extraPortMappings") or ()]
    fixed = [(networking.get("apiServerAddress", "127.0.0.1"), networking.get("apiServerPort", 0))]
    fixed += [(mapping.get("listenAddress", _ANY_ADDRESS), mapping.get("hostPort", 0)) for mapping in mapped]
    return tuple((str(address), int(port)) for address, port in fixed if int(port) > 0)


def version_in(image: str) -> str | None:
    """Return the Kubernetes version in the tag of a node image; None where the tag has no version."""
    tag = _TAG.search(image)
    return tag["version"] if tag else None


def sample_images() -> tuple[str, ...]:
    """Return the images of the sample pods by their names in the manifests."""
    texts = ((bundle.MANIFESTS / name).read_text(encoding="utf-8") for name in _PODS)
    pods = [pod for text in texts for pod in yaml.safe_load_all(text)]
    return tuple(dict.fromkeys(str(container["image"]) for pod in pods for container in pod["spec"]["containers"]))
