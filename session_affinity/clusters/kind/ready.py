"""When a kind cluster can be judged: its nodes are Ready and kube-proxy has programmed every one of them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import yaml

from session_affinity.dataplane import chain_names, snapshot
from session_affinity.dataplane.proxy_config import ProxyConfig
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError, NodeError
from session_affinity.kube.resources import CONFIG_MAPS, NODES, Resource
from session_affinity.waiting import SLOW_MACHINE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from session_affinity.dataplane.model import Family
    from session_affinity.kube.api import Api
    from session_affinity.nodes.node import Node
    from session_affinity.progress import ProgressStep

_SERVICE_ACCOUNTS: Final = Resource("v1", "serviceaccounts")
_PAUSE_SECONDS: Final = 0.2
_SHOWN: Final = 100
_PROGRAMMED: Final = {
    "iptables": chain_names.iptables_service_chain("default/kubernetes:https", "TCP"),
    "nftables": chain_names.nftables_service_chain("default", "kubernetes", "https", "TCP"),
}
"""By proxy mode, what a node has of the Service that every cluster has, once kube-proxy has synced."""


def kube_proxy_config(api: Api) -> ProxyConfig:
    """Return the settings of all nodes' kube-proxies, as kubeadm's ConfigMap has them; raises ClusterError."""
    stored = api.get(CONFIG_MAPS, "kube-proxy", "kube-system")
    try:
        configuration = yaml.safe_load(stored["data"]["config.conf"])
        return ProxyConfig.from_configuration(configuration, "ConfigMap kube-system/kube-proxy")
    except (yaml.YAMLError, TypeError, LookupError, ValueError) as error:
        raise ClusterError(f"the ConfigMap kube-system/kube-proxy is not as kubeadm writes it: {error}") from error


def wait(
    api: Api, nodes: Mapping[str, Node], *, seconds: float, step: ProgressStep, family: Family = "IPv4"
) -> ProxyConfig:
    """Wait until the cluster can be judged and return kube-proxy's settings; ``family`` is its primary one.

    Raises NotReadyError after ``seconds``, with what was seen last.
    """
    deadline = time.monotonic() + seconds
    _wait(deadline, "the nodes to be Ready", lambda: _not_ready(api, nodes), step)
    _wait(deadline, "the default service account", lambda: _no_account(api), step)
    config = kube_proxy_config(api)
    _wait(deadline, "kube-proxy to have synced", lambda: _not_synced(nodes, config.mode, family), step)
    return config


def not_ready(api: Api, nodes: Mapping[str, Node]) -> str:
    """Return in words which nodes are not Ready; empty when all are. What keeps the API from answering is said too."""
    return _said(lambda: _not_ready(api, nodes))


def _wait(deadline: float, what: str, lacking: Callable[[], str], step: ProgressStep) -> None:
    last = ""

    def nothing_lacks() -> bool:
        nonlocal last
        if last := _said(lacking):
            step.update(last if len(last) <= _SHOWN else f"{last[:_SHOWN]}...")
        return not last

    wait_until(
        nothing_lacks,
        deadline - time.monotonic(),
        what=what,
        last_state=lambda: last,
        next_step=f"read the logs of the nodes; {SLOW_MACHINE}",
        pause=_PAUSE_SECONDS,
    )


def _said(lacking: Callable[[], str]) -> str:
    try:
        return lacking()
    except ClusterError as error:
        return error.what


def _not_ready(api: Api, nodes: Mapping[str, Node]) -> str:
    states = {node["metadata"]["name"]: _state(node) for node in api.objects(NODES)}
    states = {**dict.fromkeys(nodes, "not registered"), **states}
    return "; ".join(f"{name}: {state}" for name, state in states.items() if state)


def _state(node: Mapping[str, Any]) -> str:
    conditions = node.get("status", {}).get("conditions") or ()
    ready = next((one for one in conditions if one["type"] == "Ready"), None)
    if ready is None:
        return "no kubelet yet"
    return "" if ready["status"] == "True" else str(ready.get("message") or "not Ready")


def _no_account(api: Api) -> str:
    api.get(_SERVICE_ACCOUNTS, "default", "default")
    return ""


def _not_synced(nodes: Mapping[str, Node], mode: str, family: Family) -> str:
    if mode not in _PROGRAMMED:
        return ""
    with ThreadPoolExecutor(len(nodes), thread_name_prefix="synced") as pool:
        lacking = list(pool.map(lambda node: _lacks(node, mode, family), nodes.values()))
    return "; ".join(one for one in lacking if one)


def _lacks(node: Node, mode: str, family: Family) -> str:
    try:
        said = node.run(snapshot.READ_ARGV[family], timeout=DEFAULTS.node_read).check().stdout
    except NodeError as error:
        return error.what
    return "" if _PROGRAMMED[mode] in said else f"{node.name}: no rules of Service default/kubernetes"
