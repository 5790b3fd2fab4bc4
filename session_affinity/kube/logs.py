"""Logs of containers, read through the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.errors import ClusterError
from session_affinity.kube.resources import PODS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from session_affinity.kube.api import Api

LINES: Final = 200
"""How many lines from the end of a log are read."""
PROXY_NAMESPACE: Final = "kube-system"
PROXY_LABELS: Final = "k8s-app=kube-proxy"
"""Where kubeadm, and kind with it, runs kube-proxy."""


def of_pod(api: Api, pod: Mapping[str, Any], *, lines: int = LINES) -> str:
    """Return the end of the logs of a pod's containers, each with a heading; raises ApiError."""
    metadata = pod["metadata"]
    logs = []
    for container in pod["spec"]["containers"]:
        query = {"container": container["name"], "tailLines": str(lines), "timestamps": "true"}
        text = api.text(PODS.path(metadata["namespace"], metadata["name"], "log"), query=query)
        logs.append(f"== {metadata['name']}, container {container['name']}\n{text.rstrip() or '(empty log)'}\n")
    return "\n".join(logs)


def of_kube_proxy(api: Api, node: str, *, lines: int = LINES) -> str:
    """Return the end of the log of a node's kube-proxy pod; raises ClusterError if no such pod is visible."""
    pods = api.objects(PODS, PROXY_NAMESPACE, labels=PROXY_LABELS)
    on_node = [pod for pod in pods if pod["spec"].get("nodeName") == node]
    if not on_node:
        raise ClusterError(
            f"cannot read kube-proxy's log on {node}: no pod with label {PROXY_LABELS} in namespace {PROXY_NAMESPACE} "
            "runs there",
            next_step="if kube-proxy runs there without a pod, read its log on the node itself",
        )
    return of_pod(api, on_node[0], lines=lines)
