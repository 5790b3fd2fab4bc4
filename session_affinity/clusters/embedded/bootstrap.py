"""Creates the Node objects of a new cluster through its API and waits until pods can run.

Uses urllib3 directly because importing the official client takes longer than this module's work.
"""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Any

import urllib3

from session_affinity.clusters.embedded import bootstrap_policy
from session_affinity.clusters.embedded.node_program import ROLE_BINDING
from session_affinity.errors import ClusterError
from session_affinity.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from session_affinity.clusters.embedded.layout import Layout, NodeLayout
    from session_affinity.clusters.embedded.state import StateDirectory

_RETRIES = 4
_NOT_IN_TIME = (504,)
"""The answers of an API server that a slow machine gives too little time."""
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
    """The steps from started processes to a cluster that runs pods.

    ``require_alive`` is called while waiting; it raises when a process of the cluster has ended, so that a wait for a
    dead cluster does not last until its deadline.
    """

    def __init__(self, layout: Layout, state: StateDirectory, port: int, require_alive: Callable[[], None]) -> None:
        self._layout = layout
        self._deadlines = layout.deadlines
        self._state = state
        self._require_alive = require_alive
        context = ssl.create_default_context(cafile=str(state.pki / "ca.crt"))
        context.load_cert_chain(state.pki / "admin.crt", state.pki / "admin.key")
        self._http = urllib3.HTTPSConnectionPool("127.0.0.1", port, ssl_context=context, retries=False)

    def wait_for_api(self) -> None:
        """Wait until the API server serves the cluster's programs."""
        self._wait("the API server to be ready", self._deadlines.embedded_api, self._api_state)

    def _api_state(self) -> str:
        path = bootstrap_policy.readiness_path(self._layout)
        response = self._http.request("GET", path, timeout=self._deadlines.embedded_api_call)
        return "" if response.status == 200 else response.data.decode(errors="replace")[-300:]

    def create_nodes(self) -> None:
        """Create the Node objects with pod CIDRs and labels, and the RBAC rules of API server and node programs."""
        bindings = [_KUBELET_CLIENT_BINDING, *([ROLE_BINDING] if self._layout.node_programs else [])]
        for binding in bindings:
            self._create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
        for node in self._layout.nodes:
            self._create_node(node)
        self._state.objects_created.touch()

    def _create_node(self, node: NodeLayout) -> None:
        role = {"node-role.kubernetes.io/control-plane": ""} if node.control_plane else {}
        metadata = {
            "name": node.name,
            "labels": {"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux", **role},
        }
        spec: dict[str, Any] = {"podCIDR": node.pod_cidrs[0], "podCIDRs": list(node.pod_cidrs)}
        # The address is set here because kube-proxy waits 30 s for it and exits when it is set later
        # (pkg/proxy/node.go); on a slow machine kubelet sets it too late.
        addresses = [
            *({"type": "InternalIP", "address": address} for address in node.addresses),
            {"type": "Hostname", "address": node.name},
        ]  # fmt: skip
        body = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}
        self._create("/api/v1/nodes", {**body, "status": {"addresses": addresses}})

    def _create(self, path: str, body: dict[str, Any]) -> None:
        """Create an object, or patch it when it exists: a kubelet may have registered its Node first."""
        status, text = self._send("POST", path, body, "application/json")
        if status == 409:
            name = body["metadata"]["name"]
            status, text = self._send("PATCH", f"{path}/{name}", body, "application/merge-patch+json")
        if status >= 300:
            raise ClusterError(
                f"cluster {self._layout.name}: the API server refused {body['kind']} {body['metadata']['name']}:"
                f" {status} {text}",
                next_step=f"read {self._state.log(self._layout.control_plane.name, 'kube-apiserver')}",
            )

    def _send(self, method: str, path: str, body: dict[str, Any], content_type: str) -> tuple[int, str]:
        """Send a request and return the status and the end of the body; retries, as creating twice is harmless."""
        try:
            response = self._http.request(
                method,
                path,
                body=json.dumps(body),
                headers={"Content-Type": content_type},
                timeout=self._deadlines.embedded_api_call,
                retries=urllib3.Retry(_RETRIES, allowed_methods=None, status_forcelist=_NOT_IN_TIME),
            )
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(
                f"cluster {self._layout.name}: no answer from the API server to {method} {path}: {error}",
                next_step=f"read {self._state.log(self._layout.control_plane.name, 'kube-apiserver')}",
            ) from error
        return response.status, response.data.decode(errors="replace")[-500:]

    def wait_for_nodes(self) -> None:
        """Wait until every node is Ready, and create the default service account, without which no pod is admitted.

        kube-controller-manager would create it, a second later: it waits until the API server has compared the RBAC
        rules.
        """
        self._wait("all nodes to be Ready", self._deadlines.embedded_nodes, self._nodes_state)
        self._wait("the default service account", self._deadlines.embedded_nodes, self._account_state)

    def _nodes_state(self) -> str:
        response = self._http.request("GET", "/api/v1/nodes", timeout=self._deadlines.embedded_api_call)
        if response.status != 200:
            return f"status {response.status}"
        not_ready = []
        for item in response.json()["items"]:
            conditions = item.get("status", {}).get("conditions", [])
            ready = next((c for c in conditions if c["type"] == "Ready"), None)
            if ready is None or ready["status"] != "True":
                not_ready.append(f"{item['metadata']['name']}: {ready['message'] if ready else 'no kubelet yet'}")
        return "; ".join(not_ready)

    def _account_state(self) -> str:
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        status, text = self._send("POST", "/api/v1/namespaces/default/serviceaccounts", body, "application/json")
        return "" if status in (201, 409) else f"status {status} {text}"

    def _wait(self, what: str, seconds: float, state: Callable[[], str]) -> None:
        last_state = ""

        def is_complete() -> bool:
            nonlocal last_state
            if last_state := _state_or_error(state):
                self._require_alive()
            return not last_state

        wait_until(
            is_complete,
            seconds,
            what=f"{what} in cluster {self._layout.name}",
            last_state=lambda: last_state,
            next_step=f"read the logs below {self._state.root / 'logs'}",
            growing=True,
        )


def _state_or_error(state: Callable[[], str]) -> str:
    """Return what is still missing, or the connection error: the API server may answer later."""
    try:
        return state()
    except urllib3.exceptions.HTTPError as error:
        return f"no answer: {error}"
