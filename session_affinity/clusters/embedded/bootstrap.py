"""What a new cluster is told through its API before anybody uses it, and the wait until it is usable.

Uses urllib3 directly: the official client takes longer to import than this takes to run.
"""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any

import urllib3

from session_affinity.errors import ClusterError
from session_affinity.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from session_affinity.clusters.embedded.layout import Layout, NodeLayout
    from session_affinity.clusters.embedded.state import StateDirectory

_RETRIES = 4
_KUBELET_CLIENT_BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "session-affinity:kube-apiserver-to-kubelet"},
    "roleRef": {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "system:kubelet-api-admin",
    },
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "kube-apiserver-kubelet-client"}],
}


class Bootstrap:
    """Brings a cluster whose processes were started to the point where pods can run.

    ``alive`` raises when the cluster has died meanwhile, so that no deadline is waited out for a dead one.
    """

    def __init__(self, layout: Layout, state: StateDirectory, port: int, alive: Callable[[], None]) -> None:
        self._layout = layout
        self._deadlines = layout.deadlines
        self._state = state
        self._alive = alive
        context = ssl.create_default_context(cafile=str(state.pki / "ca.crt"))
        context.load_cert_chain(state.pki / "admin.crt", state.pki / "admin.key")
        self._http = urllib3.HTTPSConnectionPool("127.0.0.1", port, ssl_context=context, retries=False)

    def wait_for_api(self) -> None:
        """Wait until the API server is ready."""
        self._wait("the API server to be ready", self._deadlines.embedded_api, self._api_state)

    def _api_state(self) -> str:
        answer = self._http.request("GET", "/readyz", timeout=self._deadlines.embedded_api_call)
        return "" if answer.status == 200 else answer.data.decode(errors="replace")[-300:]

    def declare(self) -> None:
        """Create the Node objects with their pod ranges and labels, and let the API server use the kubelets."""
        self._create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", _KUBELET_CLIENT_BINDING)
        for node in self._layout.nodes:
            self._declare_node(node)

    def _declare_node(self, node: NodeLayout) -> None:
        role = {"node-role.kubernetes.io/control-plane": ""} if node.control_plane else {}
        metadata = {
            "name": node.name,
            "labels": {"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux", **role},
        }
        spec: dict[str, Any] = {"podCIDR": node.pod_cidrs[0], "podCIDRs": list(node.pod_cidrs)}
        # kube-proxy waits 30 s for its node's address, and ends when one comes later (pkg/proxy/node.go): on a slow
        # machine that is before kubelet tells it.
        addresses = [
            *({"type": "InternalIP", "address": address} for address in node.addresses),
            {"type": "Hostname", "address": node.name},
        ]  # fmt: skip
        body = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}
        self._create("/api/v1/nodes", {**body, "status": {"addresses": addresses}})

    def _create(self, path: str, body: dict[str, Any]) -> None:
        """Create an object, or make an existing one like it (a kubelet may have registered its node before)."""
        status, text = self._send("POST", path, body, "application/json")
        if status == 409:
            name = body["metadata"]["name"]
            status, text = self._send("PATCH", f"{path}/{name}", body, "application/merge-patch+json")
        if status >= 300:
            raise ClusterError(f"the API server refused {body['kind']} {body['metadata']['name']}: {status} {text}")

    def _send(self, method: str, path: str, body: dict[str, Any], kind: str) -> tuple[int, str]:
        """Send a request, again where no answer came: to make the same object twice does no harm."""
        try:
            answer = self._http.request(
                method,
                path,
                body=json.dumps(body),
                headers={"Content-Type": kind},
                timeout=self._deadlines.embedded_api_call,
                retries=urllib3.Retry(_RETRIES, allowed_methods=None),
            )
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(f"the API server does not answer {method} {path}: {error}") from error
        return answer.status, answer.data.decode(errors="replace")[-500:]

    def wait_for_nodes(self) -> None:
        """Wait until every node is Ready and the service account that pods need exists."""
        self._wait("all nodes to be Ready", self._deadlines.embedded_nodes, self._nodes_state)
        self._wait("the default service account", self._deadlines.embedded_nodes, self._account_state)

    def _nodes_state(self) -> str:
        answer = self._http.request("GET", "/api/v1/nodes", timeout=self._deadlines.embedded_api_call)
        if answer.status != 200:
            return f"status {answer.status}"
        waiting = []
        for item in answer.json()["items"]:
            conditions = item.get("status", {}).get("conditions", [])
            ready = next((c for c in conditions if c["type"] == "Ready"), None)
            if ready is None or ready["status"] != "True":
                waiting.append(f"{item['metadata']['name']}: {ready['message'] if ready else 'no kubelet yet'}")
        return "; ".join(waiting)

    def _account_state(self) -> str:
        path = "/api/v1/namespaces/default/serviceaccounts/default"
        answer = self._http.request("GET", path, timeout=self._deadlines.embedded_api_call)
        return "" if answer.status == 200 else f"status {answer.status}"

    def _wait(self, what: str, seconds: float, state: Callable[[], str]) -> None:
        lacking = ""

        def nothing_lacks() -> bool:
            nonlocal lacking
            if lacking := _asked(state):
                self._alive()
            return not lacking

        wait_until(
            nothing_lacks,
            seconds,
            what=f"{what} in cluster {self._layout.name}",
            last_state=lambda: lacking,
            next_step=f"read the logs below {self._state.root / 'logs'}",
            growing=True,
        )


def _asked(state: Callable[[], str]) -> str:
    """Return what is still missing; an API server that does not answer may do so later."""
    try:
        return state()
    except urllib3.exceptions.HTTPError as error:
        return f"no answer: {error}"
