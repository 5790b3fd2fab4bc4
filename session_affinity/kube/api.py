"""The Kubernetes API of one cluster: objects are read and written as JSON."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import urllib3

from session_affinity.deadlines import DEFAULTS
from session_affinity.kube import in_cluster, pod_exec
from session_affinity.kube.pod_channel import PodChannel
from session_affinity.kube.pod_shell import PodShell
from session_affinity.kube.pod_shells import PodShells
from session_affinity.kube.pod_stream import PodStream
from session_affinity.kube.reply import ApiError, Object, Reply, read_reply
from session_affinity.kube.resources import ENDPOINT_SLICES, SERVICES, Resource, resource_of
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kubernetes.client.api_client import ApiClient

    from session_affinity.kube.pod_shell import ShellResult

__all__ = ["FIELD_MANAGER", "Api", "ApiError", "Change", "Object", "PatchType"]

Change = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""The body of a patch."""

FIELD_MANAGER: Final = "session-affinity-conformance"
RETRIED_STATUSES: Final = (429, 503, 504)
"""Sent by an API server that is overloaded, starting, or out of time; so is 500 in one case, see ``_may_retry``."""
_PAUSE_SECONDS: Final = 0.5
_RETRIES: Final = 1
"""How many times urllib3 opens a broken connection again."""

_CONNECTIONS: Final = 32
"""How many connections are kept open for threads: opening one takes longer than a request."""


class PatchType(StrEnum):
    """The kind of a patch; the value is the media type of its body."""

    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    JSON = "application/json-patch+json"
    APPLY = "application/apply-patch+yaml"


class Api:
    """The API of one cluster. May be shared by threads, which share its connections too.

    ``request_seconds`` bounds each attempt of a request, and also the time for which a request is repeated while the
    API server is overloaded or starting. Every method raises ApiError when there is no answer. The ``try_`` methods
    return a refusal as a Reply; the other methods raise ApiError for it. ``annotations`` are added to every object that
    is created or applied. ``kubeconfig`` may be ``in_cluster.SERVICE_ACCOUNT``.
    """

    def __init__(
        self,
        kubeconfig: Path,
        *,
        context: str | None = None,
        request_seconds: float = DEFAULTS.api_request,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._request_seconds = request_seconds
        self._annotations = dict(annotations or {})
        self._lock = threading.Lock()
        self._shared_client: ApiClient | None = None
        self._shells = PodShells(lambda command: pod_exec.connect(self._client(), command, self._request_seconds))

    def with_annotations(self, annotations: Mapping[str, str]) -> Api:
        """Return the same API, with these annotations on everything that it creates."""
        return Api(
            self._kubeconfig,
            context=self._context,
            request_seconds=self._request_seconds,
            annotations=annotations,
        )

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """Return an object; raises ApiError, with status 404 if it does not exist."""
        return self.try_get(resource, name, namespace).granted(f"GET {resource.path(namespace, name)}")

    def try_get(self, resource: Resource, name: str, namespace: str = "") -> Reply:
        """Return the reply to a request for an object."""
        return self._send("GET", resource.path(namespace, name))

    def objects(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        """Return the objects of a namespace, or of all namespaces, that match a label and a field selector."""
        query = {
            name: selector for name, selector in (("labelSelector", labels), ("fieldSelector", fields)) if selector
        }
        return list(self._request("GET", resource.path(namespace), query=query).get("items") or ())

    def count(self, resource: Resource) -> int | None:
        """Return how many objects of a kind there are in all, without reading them; None when the API does not say.

        From the ``remainingItemCount`` of a list of at most one object, which the API server may leave out.
        """
        found = self._request("GET", resource.path(), query={"limit": "1"})
        metadata, items = found.get("metadata") or {}, found.get("items") or ()
        if not metadata.get("continue"):
            return len(items)
        remaining = metadata.get("remainingItemCount")
        return None if remaining is None else len(items) + int(remaining)

    def create(self, manifest: Mapping[str, Any], resource: Resource | None = None) -> Object:
        """Create an object and return it as stored; raises ApiError, with status 409 if it exists already.

        ``resource`` is needed for kinds that ``resource_of`` does not know.
        """
        resource = resource or resource_of(manifest)
        return self.try_create(manifest, resource).granted(f"POST {resource.path(_namespace(manifest))}")

    def try_create(
        self, manifest: Mapping[str, Any], resource: Resource | None = None, *, dry_run: bool = False
    ) -> Reply:
        """Request the creation of an object and return the reply; with ``dry_run`` the object is not stored."""
        resource = resource or resource_of(manifest)
        manifest = self._annotated(manifest)
        query = {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})}
        reply = self._send("POST", resource.path(_namespace(manifest)), query=query, body=manifest)
        if reply.status == 409 and reply.is_retry:
            # The first attempt may have stored the object although the server ran out of time.
            return self.try_get(resource, manifest["metadata"]["name"], _namespace(manifest))
        return reply

    def apply(self, manifest: Mapping[str, Any]) -> Object:
        """Create or change an object by server-side apply and return it as stored."""
        path = resource_of(manifest).path(_namespace(manifest), manifest["metadata"]["name"])
        return self.try_apply(manifest, FIELD_MANAGER, force=True).granted(f"PATCH {path}")

    def try_apply(self, manifest: Mapping[str, Any], manager: str, *, force: bool = False) -> Reply:
        """Request server-side apply of an object as a field manager and return the reply."""
        path = resource_of(manifest).path(_namespace(manifest), manifest["metadata"]["name"])
        manifest = self._annotated(manifest)
        query = {"fieldManager": manager, **({"force": "true"} if force else {})}
        return self._send("PATCH", path, query=query, body=manifest, content_type=PatchType.APPLY)

    def patch(
        self, resource: Resource, name: str, namespace: str, change: Change, kind: PatchType = PatchType.MERGE
    ) -> Object:
        """Patch an object and return it as stored; a JSON patch is a list of operations."""
        reply = self.try_patch(resource, name, namespace, change, kind)
        return reply.granted(f"PATCH {resource.path(namespace, name)}")

    def try_patch(
        self, resource: Resource, name: str, namespace: str, change: Change, kind: PatchType = PatchType.MERGE
    ) -> Reply:
        """Request a patch of an object and return the reply."""
        query = {"fieldManager": FIELD_MANAGER}
        return self._send("PATCH", resource.path(namespace, name), query=query, body=change, content_type=kind)

    def patch_status(self, resource: Resource, name: str, namespace: str, status: Mapping[str, Any]) -> Object:
        """Patch an object's status by a strategic merge patch, which keeps conditions of other types; return it."""
        path, query = resource.path(namespace, name, "status"), {"fieldManager": FIELD_MANAGER}
        reply = self._send("PATCH", path, query=query, body={"status": status}, content_type=PatchType.STRATEGIC)
        return reply.granted(f"PATCH {path}")

    def delete(self, resource: Resource, name: str, namespace: str = "", *, grace_seconds: int | None = None) -> None:
        """Delete an object; it is no error if the object does not exist."""
        try:
            self._request("DELETE", resource.path(namespace, name), query=_grace(grace_seconds))
        except ApiError as error:
            if error.status != 404:
                raise

    def delete_all(self, resource: Resource, namespace: str, *, labels: str, grace_seconds: int | None = None) -> None:
        """Delete all objects of a namespace that match a label selector."""
        self._request("DELETE", resource.path(namespace), query={"labelSelector": labels, **_grace(grace_seconds)})

    def service_with_slices(self, namespace: str, name: str) -> tuple[Object, list[Object]]:
        """Return a Service and its EndpointSlices."""
        service = self.get(SERVICES, name, namespace)
        return service, self.objects(ENDPOINT_SLICES, namespace, labels=f"kubernetes.io/service-name={name}")

    def server_version(self) -> str:
        """Return the API server's version, such as ``v1.37.0``."""
        return str(self._request("GET", "/version")["gitVersion"])

    def text(self, path: str, *, query: Mapping[str, str] | None = None) -> str:
        """Return the text at a path that has no object, such as a log or metrics; raises ApiError."""
        reply = self._send("GET", path, query=query)
        reply.granted(f"GET {path}")
        return reply.text

    def lines(self, path: str, *, query: Mapping[str, str] | None = None) -> Iterator[str]:
        """Yield the lines of a text that grows, such as a log that is followed, until the server ends it.

        A connection that breaks ends it too. Raises ApiError when it cannot be opened.
        """
        client = self._client()
        request = client.param_serialize(
            "GET", path, query_params=list((query or {}).items()), auth_settings=["BearerToken"]
        )
        try:
            # No time limit for reading: a run may say nothing for half a minute.
            response = client.call_api(*request, _request_timeout=(self._request_seconds, None)).response
        except _connection_errors() as error:
            raise ApiError(f"GET {path}: no answer from the API: {error}") from error
        try:
            if response.status >= 400:
                read_reply(response.status, response.read(), (), is_retry=False).granted(f"GET {path}")
            rest = b""
            for chunk in response.stream(1024):
                *complete, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in complete)
            if rest:
                yield rest.decode(errors="replace")
        except _connection_errors():
            return
        finally:
            response.close()

    def exec(
        self, namespace: str, pod: str, argv: Sequence[str], *, timeout: float, container: str = ""
    ) -> pod_exec.ExecResult:
        """Run a command in a pod and wait for its end, at most ``timeout`` seconds.

        Raises ExecError if it could not be started or did not end in time. A non-zero exit code is no error.
        """
        command = pod_exec.PodCommand(namespace, pod, tuple(argv), container)
        return pod_exec.run(self._client(), command, timeout, self._request_seconds)

    def run(self, namespace: str, pod: str, argv: Sequence[str], *, timeout: float, container: str = "") -> ShellResult:
        """Run a command as ``exec`` does, in a shell that stays open in the pod; raises ExecError."""
        return self._shells.run((namespace, pod, container), argv, timeout=timeout)

    def close(self) -> None:
        """End the shells that stay open in pods."""
        self._shells.close()

    def start(self, namespace: str, pod: str, argv: Sequence[str], *, container: str = "") -> PodStream:
        """Start a command in a pod that runs until ``PodStream.end``; raises ExecError."""
        command = pod_exec.PodCommand(namespace, pod, tuple(argv), container, stdin=True)
        return PodStream(f"{namespace}/{pod}", pod_exec.connect(self._client(), command, self._request_seconds))

    def channel(self, namespace: str, pod: str, argv: Sequence[str], *, container: str = "") -> PodChannel:
        """Start a command in a pod that is sent lines and prints lines; raises ExecError."""
        command = pod_exec.PodCommand(namespace, pod, tuple(argv), container, stdin=True)
        return PodChannel(f"{namespace}/{pod}", pod_exec.connect(self._client(), command, self._request_seconds))

    def shell(self, namespace: str, pod: str) -> PodShell:
        """Return a shell in a pod that stays open between commands; it connects when the first command is run."""
        command = pod_exec.PodCommand(namespace, pod, ("sh",), stdin=True)
        return PodShell(f"{namespace}/{pod}", lambda: pod_exec.connect(self._client(), command, self._request_seconds))

    def _annotated(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._annotations:
            return manifest
        metadata = manifest["metadata"]
        annotations = {**(metadata.get("annotations") or {}), **self._annotations}
        return {**manifest, "metadata": {**metadata, "annotations": annotations}}

    def _request(self, method: str, path: str, *, query: Mapping[str, str] | None = None) -> Object:
        return self._send(method, path, query=query).granted(f"{method} {path}")

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Change | None = None,
        content_type: str = "application/json",
    ) -> Reply:
        client = self._client()
        headers = {"Accept": "application/json, */*"}
        if body is not None:
            headers["Content-Type"] = str(content_type)
        request = client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        replies: list[Reply] = []

        def is_final() -> bool:
            try:
                response = client.call_api(*request, _request_timeout=self._request_seconds)
                content = response.response.data or b""
            except _connection_errors() as error:
                raise ApiError(
                    f"{method} {path}: no answer from the API: {error}",
                    next_step="check that the API server runs and that its address in the kubeconfig is right",
                ) from error
            warnings = response.response.headers.getlist("Warning")
            replies.append(read_reply(response.status, content, warnings, is_retry=bool(replies)))
            return not _may_retry(replies[-1])

        if not poll(is_final, self._request_seconds, pause=_PAUSE_SECONDS):
            raise replies[-1].error(f"{method} {path}")
        return replies[-1]

    def _client(self) -> ApiClient:
        with self._lock:
            if self._shared_client is None:
                self._shared_client = self._new_client()
            return self._shared_client

    def _new_client(self) -> ApiClient:
        from session_affinity.kube import client_library, kubeconfig_client

        # By default urllib3 makes four attempts: a server that hangs would take four times request_seconds.
        configuration = client_library.Configuration(retries=_RETRIES)
        configuration.connection_pool_maxsize = _CONNECTIONS
        if self._kubeconfig == in_cluster.SERVICE_ACCOUNT:
            return in_cluster.new_client(configuration)
        return kubeconfig_client.new_client(self._kubeconfig, self._context, configuration)


def _connection_errors() -> tuple[type[Exception], ...]:
    """Return what the client raises when there is no answer; ApiException is for a TLS error."""
    from session_affinity.kube.client_library import ApiException

    return urllib3.exceptions.HTTPError, ApiException, OSError


def _grace(seconds: int | None) -> dict[str, str]:
    return {} if seconds is None else {"gracePeriodSeconds": str(seconds)}


def _namespace(manifest: Mapping[str, Any]) -> str:
    return str(manifest["metadata"].get("namespace", "default"))


def _may_retry(reply: Reply) -> bool:
    """Whether the same request may succeed later; a slow etcd causes status 500 with a message about a timeout."""
    return reply.status in RETRIED_STATUSES or (reply.status == 500 and "timed out" in reply.message)
