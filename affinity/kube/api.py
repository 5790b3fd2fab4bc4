"""Objects of the API, read and written as JSON."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from kubernetes import config

from affinity.errors import ClusterError
from affinity.kube import podexec
from affinity.kube.podshell import PodShell
from affinity.kube.podstream import PodStream
from affinity.kube.resources import ENDPOINT_SLICES, SERVICES, Resource, resource_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kubernetes.client.api_client import ApiClient

FIELD_MANAGER: Final = "session-affinity-conformance"
REQUEST_SECONDS: Final = 15.0
NOT_NOW: Final = (429, 503, 504)
"""An API server that is overloaded, starting, or did not come to an end in time; 500 may mean that too."""
_PAUSE_SECONDS: Final = 0.5
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"

Object = dict[str, Any]

# The client declares no types for this one.
_load: Any = config.new_client_from_config


class ApiError(ClusterError):
    """The API refused a request or did not answer it; ``status`` is the HTTP status, 0 when there was no answer.

    ``asked_before`` says that the server had left open what became of the same request.
    """

    def __init__(self, what: str, *, status: int = 0, asked_before: bool = False, next_step: str = "") -> None:
        self.status = status
        self.asked_before = asked_before
        super().__init__(what, next_step=next_step)


class Api:
    """The API of one cluster. May be shared by threads: each has its own connection.

    ``request_seconds`` bounds every request, and for as long a server that cannot answer now is asked again.
    """

    def __init__(
        self, kubeconfig: Path, *, context: str | None = None, request_seconds: float = REQUEST_SECONDS
    ) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._request_seconds = request_seconds
        self._local = threading.local()

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """Return an object; raises ApiError, with status 404 when there is none."""
        return self._request("GET", resource.path(namespace, name))

    def objects(self, resource: Resource, namespace: str = "", *, labels: str = "") -> list[Object]:
        """Return the objects of a namespace, or of all, that a label selector selects."""
        query = {"labelSelector": labels} if labels else {}
        return list(self._request("GET", resource.path(namespace), query=query).get("items") or ())

    def create(self, manifest: Mapping[str, Any]) -> Object:
        """Create an object and return it as stored; raises ApiError, with status 409 when there is one already."""
        resource, query = resource_of(manifest), {"fieldManager": FIELD_MANAGER}
        path = resource.path(_namespace(manifest))
        try:
            return self._request("POST", path, query=query, body=manifest)
        except ApiError as error:
            # A server that ran out of time may have stored it all the same: then it is this very one that is there.
            if error.status != 409 or not error.asked_before:
                raise
            return self.get(resource, manifest["metadata"]["name"], _namespace(manifest))

    def apply(self, manifest: Mapping[str, Any]) -> Object:
        """Create or change an object by server-side apply and return it as stored."""
        path = resource_of(manifest).path(_namespace(manifest), manifest["metadata"]["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return self._request("PATCH", path, query=query, body=manifest, content_type=APPLY_PATCH)

    def patch(self, resource: Resource, name: str, namespace: str, change: Mapping[str, Any]) -> Object:
        """Change an object in place by a merge patch and return it as stored."""
        query = {"fieldManager": FIELD_MANAGER}
        return self._request(
            "PATCH", resource.path(namespace, name), query=query, body=change, content_type=MERGE_PATCH
        )

    def patch_status(self, resource: Resource, name: str, namespace: str, status: Mapping[str, Any]) -> None:
        """Change an object's status by a strategic merge patch: conditions of other types stay."""
        path, query = resource.path(namespace, name, "status"), {"fieldManager": FIELD_MANAGER}
        self._request("PATCH", path, query=query, body={"status": status}, content_type=STRATEGIC_PATCH)

    def delete(self, resource: Resource, name: str, namespace: str = "", *, grace_seconds: int | None = None) -> None:
        """Delete an object; one that is gone already is no error."""
        query = {} if grace_seconds is None else {"gracePeriodSeconds": str(grace_seconds)}
        try:
            self._request("DELETE", resource.path(namespace, name), query=query)
        except ApiError as error:
            if error.status != 404:
                raise

    def delete_all(self, resource: Resource, namespace: str, *, labels: str) -> None:
        """Delete every object of a namespace that a label selector selects."""
        self._request("DELETE", resource.path(namespace), query={"labelSelector": labels})

    def service_with_slices(self, namespace: str, name: str) -> tuple[Object, list[Object]]:
        """Return a Service and its EndpointSlices."""
        service = self.get(SERVICES, name, namespace)
        return service, self.objects(ENDPOINT_SLICES, namespace, labels=f"kubernetes.io/service-name={name}")

    def server_version(self) -> str:
        """Return the version that the API server tells, ``v1.37.0``."""
        return str(self._request("GET", "/version")["gitVersion"])

    def text(self, path: str, *, query: Mapping[str, str] | None = None) -> str:
        """Return what the API has at a path that is no object: a log, metrics; raises ApiError."""
        return self._content("GET", path, query=query).decode(errors="replace")

    def exec(
        self, namespace: str, pod: str, argv: Sequence[str], *, timeout: float, container: str = ""
    ) -> podexec.Executed:
        """Run a command in a pod and wait for its end, at most ``timeout`` seconds.

        Raises ExecError when it could not be run or did not end in time; an exit code other than zero is no error.
        """
        command = podexec.PodCommand(namespace, pod, tuple(argv), container)
        return podexec.run(self._client(), command, timeout, self._request_seconds)

    def start(self, namespace: str, pod: str, argv: Sequence[str], *, container: str = "") -> PodStream:
        """Start a command in a pod that ends when it is told to; raises ExecError."""
        command = podexec.PodCommand(namespace, pod, tuple(argv), container, stdin=True)
        return PodStream(f"{namespace}/{pod}", podexec.connect(self._client(), command, self._request_seconds))

    def shell(self, namespace: str, pod: str) -> PodShell:
        """Return a shell in a pod that stays open between commands; connected when the first one is run."""
        command = podexec.PodCommand(namespace, pod, ("sh",), stdin=True)
        return PodShell(f"{namespace}/{pod}", lambda: podexec.connect(self._client(), command, self._request_seconds))

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        content = self._content(method, path, query=query, body=body, content_type=content_type)
        answer: Object = json.loads(content or b"{}")
        return answer

    def _content(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        client = self._client()
        headers = {"Accept": "application/json, */*"}
        if body is not None:
            headers["Content-Type"] = content_type
        request = client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        deadline = time.monotonic() + self._request_seconds
        asked_before = False
        while True:
            try:
                response = client.call_api(*request, _request_timeout=self._request_seconds)
                content: bytes = response.response.data or b""
            except Exception as error:
                raise ApiError(
                    f"{method} {path}: no answer from the API: {error}", next_step="see whether the API server runs"
                ) from error
            if 200 <= response.status <= 299:
                return content
            reason = _reason(content)
            if not _not_now(response.status, reason) or time.monotonic() + _PAUSE_SECONDS > deadline:
                raise ApiError(
                    f"{method} {path}: {response.status}: {reason}", status=response.status, asked_before=asked_before
                )
            asked_before = True
            time.sleep(_PAUSE_SECONDS)

    def _client(self) -> ApiClient:
        client: ApiClient | None = getattr(self._local, "client", None)
        if client is None:
            client = _load(config_file=str(self._kubeconfig), context=self._context, persist_config=False)
            self._local.client = client
        return client


def _namespace(manifest: Mapping[str, Any]) -> str:
    return str(manifest["metadata"].get("namespace", "default"))


def _not_now(status: int, reason: str) -> bool:
    """Whether an answer says that the same request may be answered later: 500 is also what a slow etcd makes of it."""
    return status in NOT_NOW or (status == 500 and "timed out" in reason)


def _reason(content: bytes) -> str:
    text = content.decode(errors="replace")
    try:
        return str(json.loads(text).get("message") or text)
    except (ValueError, AttributeError):
        return text[:500]
