"""Readiness of a kind cluster: all nodes are Ready and kube-proxy has programmed each of them."""

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
_SHOWN_CHARACTERS: Final = 100
_API_SERVICE_CHAINS: Final = {
    "iptables": chain_names.iptables_service_chain("default/kubernetes:https", "TCP"),
    "nftables": chain_names.nftables_service_chain("default", "kubernetes", "https", "TCP"),
}
"""By proxy mode, the chain of Service default/kubernetes, which every node has once kube-proxy has synced."""


def kube_proxy_config(api: Api) -> ProxyConfig:
    """Return the kube-proxy settings of all nodes, from kubeadm's ConfigMap; raises ClusterError."""
    config_map = api.get(CONFIG_MAPS, "kube-proxy", "kube-system")
    try:
        configuration = yaml.safe_load(config_map["data"]["config.conf"])
        return ProxyConfig.from_configuration(configuration, "ConfigMap kube-system/kube-proxy")
    except (yaml.YAMLError, TypeError, LookupError, ValueError) as error:
        raise ClusterError(
            f"ConfigMap kube-system/kube-proxy does not have the form that kubeadm writes: {error}",
            next_step="use a node image of kind, whose cluster kubeadm sets up",
        ) from error


def wait(
    api: Api, nodes: Mapping[str, Node], *, seconds: float, step: ProgressStep, family: Family = "IPv4"
) -> ProxyConfig:
    """Wait until claims can be checked on the cluster, and return kube-proxy's settings.

    ``family`` is the cluster's primary address family. Raises NotReadyError after ``seconds``, with the last state.
    """
    deadline = time.monotonic() + seconds
    _wait(deadline, "the nodes to be Ready", lambda: _not_ready(api, nodes), step)
    _wait(deadline, "the default service account", lambda: _no_account(api), step)
    config = kube_proxy_config(api)
    _wait(deadline, "kube-proxy to have synced", lambda: _not_synced(nodes, config.mode, family), step)
    return config


def not_ready(api: Api, nodes: Mapping[str, Node]) -> str:
    """Return which nodes are not Ready and why, or the error of an API that does not answer; empty if all are Ready."""
    return _reason_or_error(lambda: _not_ready(api, nodes))


def _wait(deadline: float, what: str, reason: Callable[[], str], step: ProgressStep) -> None:
    """Wait until ``reason`` returns nothing, and show on the step what it returns until then."""
    last = ""

    def is_ready() -> bool:
        nonlocal last
        if last := _reason_or_error(reason):
            step.update(last if len(last) <= _SHOWN_CHARACTERS else f"{last[:_SHOWN_CHARACTERS]}...")
        return not last

    wait_until(
        is_ready,
        deadline - time.monotonic(),
        what=what,
        last_state=lambda: last,
        next_step=f"read the logs of the nodes; {SLOW_MACHINE}",
        pause=_PAUSE_SECONDS,
    )


def _reason_or_error(reason: Callable[[], str]) -> str:
    try:
        return reason()
    except ClusterError as error:
        return error.what


def _not_ready(api: Api, nodes: Mapping[str, Node]) -> str:
    reasons = {node["metadata"]["name"]: _not_ready_reason(node) for node in api.objects(NODES)}
    reasons = {**dict.fromkeys(nodes, "not registered"), **reasons}
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items() if reason)


def _not_ready_reason(node: Mapping[str, Any]) -> str:
    conditions = node.get("status", {}).get("conditions") or ()
    ready = next((condition for condition in conditions if condition["type"] == "Ready"), None)
    if ready is None:
        return "no kubelet yet"
    return "" if ready["status"] == "True" else str(ready.get("message") or "not Ready")


def _no_account(api: Api) -> str:
    api.get(_SERVICE_ACCOUNTS, "default", "default")
    return ""


def _not_synced(nodes: Mapping[str, Node], mode: str, family: Family) -> str:
    if mode not in _API_SERVICE_CHAINS:
        return ""
    with ThreadPoolExecutor(len(nodes), thread_name_prefix="synced") as pool:
        reasons = list(pool.map(lambda node: _not_synced_reason(node, mode, family), nodes.values()))
    return "; ".join(filter(None, reasons))


def _not_synced_reason(node: Node, mode: str, family: Family) -> str:
    try:
        rules = node.run(snapshot.READ_ARGV[family], timeout=DEFAULTS.node_read).check().stdout
    except NodeError as error:
        return error.what
    return "" if _API_SERVICE_CHAINS[mode] in rules else f"{node.name}: no rules of Service default/kubernetes"
