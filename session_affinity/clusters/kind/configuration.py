"""The cluster that kind is asked for: ``manifests/kind.yaml`` with a name, an image and a proxy mode put in."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final

import yaml

from session_affinity import bundle
from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY, ranges_of
from session_affinity.errors import SuiteError

MANIFEST: Final = bundle.MANIFESTS / "kind.yaml"
_PODS: Final = ("webpods.yaml", "net-pod.yaml")
_ANY_ADDRESS: Final = str(ipaddress.IPv4Address(0))
_TAG: Final = re.compile(r":v(?P<version>\d+\.\d+\.\d+)(?:@|$)")


def render(name: str, image: str, proxy_mode: str | None, ip_family: str | None = None) -> dict[str, Any]:
    """Return kind's configuration of a cluster; what is None stays as the manifest has it.

    The image stands on every node, because one given to kind beside a configuration would not count for a node that
    names its own. Raises SuiteError when the manifest cannot be read.
    """
    try:
        found: dict[str, Any] = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
        nodes = [{**node, "image": image} for node in found["nodes"]]
        networking = {
            **(found.get("networking") or {}),
            **({"kubeProxyMode": proxy_mode} if proxy_mode else {}),
            **(_of_family(ip_family) if ip_family else {}),
        }
    except (OSError, yaml.YAMLError, TypeError, LookupError) as error:
        raise SuiteError(
            f"{MANIFEST}: no configuration of a kind cluster: {error}", next_step="restore it: git checkout manifests"
        ) from error
    return {**found, "name": name, "networking": networking, "nodes": nodes}


def _of_family(ip_family: str) -> dict[str, str]:
    ranges = ranges_of(ip_family)
    return {
        "ipFamily": ip_family,
        "podSubnet": ",".join(one.pods for one in ranges),
        "serviceSubnet": ",".join(one.services for one in ranges),
    }


def ip_family_of(configuration: dict[str, Any]) -> str:
    """Return the addresses the cluster will have, as ``--ip-family`` names them; kind's default is IPv4."""
    return str(configuration["networking"].get("ipFamily") or DEFAULT_IP_FAMILY)


def proxy_mode_of(configuration: dict[str, Any]) -> str:
    """Return the mode kube-proxy will have; kind's default is iptables."""
    return str(configuration["networking"].get("kubeProxyMode") or "iptables")


def node_names(configuration: dict[str, Any]) -> tuple[str, ...]:
    """Return the names that kind gives the containers of the nodes."""
    seen: dict[str, int] = {}
    names = []
    for node in configuration["nodes"]:
        role = str(node.get("role", "control-plane"))
        seen[role] = seen.get(role, 0) + 1
        names.append(f"{configuration['name']}-{role}{seen[role] if seen[role] > 1 else ''}")
    if seen.get("control-plane", 0) > 1:
        names.append(f"{configuration['name']}-external-load-balancer")
    return tuple(names)


def ports(configuration: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    """Return the addresses of this machine that the configuration asks for; by default kind takes a free port."""
    networking = configuration["networking"]
    mapped = [mapping for node in configuration["nodes"] for mapping in node.get("extraPortMappings") or ()]
    wanted = [(networking.get("apiServerAddress", "127.0.0.1"), networking.get("apiServerPort", 0))]
    wanted += [(one.get("listenAddress", _ANY_ADDRESS), one.get("hostPort", 0)) for one in mapped]
    return tuple((str(address), int(port)) for address, port in wanted if int(port) > 0)


def version_in(image: str) -> str | None:
    """Return the Kubernetes version that the tag of a node image tells, if it tells one."""
    found = _TAG.search(image)
    return found["version"] if found else None


def sample_images() -> tuple[str, ...]:
    """Return the images of the sample pods, as the manifests name them."""
    texts = ((bundle.MANIFESTS / name).read_text(encoding="utf-8") for name in _PODS)
    pods = [pod for text in texts for pod in yaml.safe_load_all(text)]
    return tuple(dict.fromkeys(str(one["image"]) for pod in pods for one in pod["spec"]["containers"]))
