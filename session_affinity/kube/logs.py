"""Logs of containers, read through the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from session_affinity.errors import ClusterError
from session_affinity.kube.resources import PODS
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from session_affinity.kube.api import Api

LINES: Final = 200
"""How many lines from the end of a log are read."""
STATUS_SECONDS: Final = 2.0
"""How long the end of a container's output may come before its status says that it has ended."""
PROXY_NAMESPACE: Final = "kube-system"
PROXY_LABELS: Final = "k8s-app=kube-proxy"
"""Where kubeadm, and kind with it, runs kube-proxy."""


def follow(api: Api, namespace: str, pod: str, container: str, has_ended: Callable[[], object]) -> Iterator[str]:
    """Yield the lines of a container's log as they come, until the container has ended.

    ``has_ended`` returns whether it has. A connection that is lost before is opened again, after the last line that
    came. Raises ApiError when it cannot be opened.
    """
    path = PODS.path(namespace, pod, "log")
    last, is_last_reading = "", False
    while not is_last_reading:
        is_last_reading = bool(has_ended())
        query = {"container": container, "follow": "true", "timestamps": "true"}
        # sinceTime has seconds only and is inclusive: what came already is left out below.
        for line in api.lines(path, query={**query, **({"sinceTime": last} if last else {})}):
            stamp, _, text = line.partition(" ")
            if stamp > last:
                last = stamp
                yield text
        # The status follows the end of the output after a moment.
        poll(has_ended, 0 if is_last_reading else STATUS_SECONDS, pause=0.1)


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
