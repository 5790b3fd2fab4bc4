"""What containers said, as far as the API tells it to this user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.errors import ClusterError
from session_affinity.kube.resources import PODS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from session_affinity.kube.api import Api

LINES: Final = 200
"""How many lines of a log are asked for, from its end."""
PROXY_NAMESPACE: Final = "kube-system"
PROXY_LABELS: Final = "k8s-app=kube-proxy"
"""Where kubeadm, and kind with it, runs kube-proxy."""


def of_pod(api: Api, pod: Mapping[str, Any], *, lines: int = LINES) -> str:
    """Return the end of the logs of a pod's containers, each under its name; raises ApiError."""
    metadata = pod["metadata"]
    told = []
    for container in pod["spec"]["containers"]:
        query = {"container": container["name"], "tailLines": str(lines), "timestamps": "true"}
        text = api.text(PODS.path(metadata["namespace"], metadata["name"], "log"), query=query)
        told.append(f"== {metadata['name']}, container {container['name']}\n{text.rstrip() or '(it said nothing)'}\n")
    return "\n".join(told)


def of_kube_proxy(api: Api, node: str, *, lines: int = LINES) -> str:
    """Return the end of the log of the kube-proxy pod on a node; raises ClusterError where there is none to be seen."""
    pods = api.objects(PODS, PROXY_NAMESPACE, labels=PROXY_LABELS)
    here = [pod for pod in pods if pod["spec"].get("nodeName") == node]
    if not here:
        raise ClusterError(
            f"no pod with label {PROXY_LABELS} in namespace {PROXY_NAMESPACE} is on {node}: it is not known where "
            "kube-proxy logs there"
        )
    return of_pod(api, here[0], lines=lines)
