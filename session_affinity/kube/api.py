"""Objects of the API, read and written as JSON."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import urllib3
from kubernetes import config
from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException

from session_affinity.deadlines import DEFAULTS
from session_affinity.kube import pod_exec, reply
from session_affinity.kube.pod_shell import PodShell
from session_affinity.kube.pod_stream import PodStream
from session_affinity.kube.reply import ApiError, Object, Reply
from session_affinity.kube.resources import ENDPOINT_SLICES, SERVICES, Resource, resource_of
from session_affinity.waiting import poll

if TYPE_CHECKING:
    from pathlib import Path

    from kubernetes.client.api_client import ApiClient

__all__ = ["FIELD_MANAGER", "Api", "ApiError", "Change", "Object", "PatchType"]

Change = Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""The body of a patch."""

FIELD_MANAGER: Final = "session-affinity-conformance"
NOT_NOW: Final = (429, 503, 504)
"""An API server that is overloaded, starting, or did not come to an end in time; 500 may mean that too."""
NO_ANSWER: Final = (urllib3.exceptions.HTTPError, ApiException, OSError)
"""What the client raises when no answer comes; ApiException is what it makes of a TLS error."""
_PAUSE_SECONDS: Final = 0.5
_RETRIES: Final = 1
"""How often a connection that broke is tried again."""

# The client declares no types for this one.
_load: Any = config.new_client_from_config


class PatchType(StrEnum):
    """How the body of a PATCH is meant; the value is its media type."""

    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    JSON = "application/json-patch+json"
    APPLY = "application/apply-patch+yaml"


class Api:
    """The API of one cluster. May be shared by threads: each has its own connection.

    ``request_seconds`` bounds every request, and for as long a server that cannot answer now is asked again. What
    ``try_...`` return is the API's word on the request, granted or refused; without one they raise ApiError as all do.
    """

    def __init__(
        self, kubeconfig: Path, *, context: str | None = None, request_seconds: float = DEFAULTS.api_request
    ) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._request_seconds = request_seconds
        self._local = threading.local()

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        """Return an object; raises ApiError, with status 404 when there is none."""
        return self.try_get(resource, name, namespace).granted(f"GET {resource.path(namespace, name)}")

    def try_get(self, resource: Resource, name: str, namespace: str = "") -> Reply:
        """Ask for an object and return what the API said."""
        return self._ask("GET", resource.path(namespace, name))

    def objects(self, resource: Resource, namespace: str = "", *, labels: str = "") -> list[Object]:
        """Return the objects of a namespace, or of all, that a label selector selects."""
        query = {"labelSelector": labels} if labels else {}
        return list(self._request("GET", resource.path(namespace), query=query).get("items") or ())

    def create(self, manifest: Mapping[str, Any], resource: Resource | None = None) -> Object:
        """Create an object, of a kind the suite knows unless its resource is named, and return it as stored.

        Raises ApiError, with status 409 when there is one already.
        """
        resource = resource or resource_of(manifest)
        return self.try_create(manifest, resource).granted(f"POST {resource.path(_namespace(manifest))}")

    def try_create(
        self, manifest: Mapping[str, Any], resource: Resource | None = None, *, dry_run: bool = False
    ) -> Reply:
        """Ask to create an object, on request without storing it, and return what the API said, granted or not."""
        resource = resource or resource_of(manifest)
        query = {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})}
        said = self._ask("POST", resource.path(_namespace(manifest)), query=query, body=manifest)
        if said.status == 409 and said.asked_before:
            # A server that ran out of time may have stored it all the same: then it is this very one that is there.
            return self.try_get(resource, manifest["metadata"]["name"], _namespace(manifest))
        return said

    def apply(self, manifest: Mapping[str, Any]) -> Object:
        """Create or change an object by server-side apply and return it as stored."""
        path = resource_of(manifest).path(_namespace(manifest), manifest["metadata"]["name"])
        return self.try_apply(manifest, FIELD_MANAGER, force=True).granted(f"PATCH {path}")

    def try_apply(self, manifest: Mapping[str, Any], manager: str, *, force: bool = False) -> Reply:
        """Ask to apply an object as a field manager, and return what the API said, granted or not."""
        path = resource_of(manifest).path(_namespace(manifest), manifest["metadata"]["name"])
        query = {"fieldManager": manager, **({"force": "true"} if force else {})}
        return self._ask("PATCH", path, query=query, body=manifest, content_type=PatchType.APPLY)

    def patch(
        self, resource: Resource, name: str, namespace: str, change: Change, kind: PatchType = PatchType.MERGE
    ) -> Object:
        """Change an object in place and return it as stored; a JSON patch is a list of operations."""
        said = self.try_patch(resource, name, namespace, change, kind)
        return said.granted(f"PATCH {resource.path(namespace, name)}")

    def try_patch(
        self, resource: Resource, name: str, namespace: str, change: Change, kind: PatchType = PatchType.MERGE
    ) -> Reply:
        """Ask to change an object in place, and return what the API said, granted or not."""
        query = {"fieldManager": FIELD_MANAGER}
        return self._ask("PATCH", resource.path(namespace, name), query=query, body=change, content_type=kind)

    def patch_status(self, resource: Resource, name: str, namespace: str, status: Mapping[str, Any]) -> None:
        """Change an object's status by a strategic merge patch: conditions of other types stay."""
        path, query = resource.path(namespace, name, "status"), {"fieldManager": FIELD_MANAGER}
        said = self._ask("PATCH", path, query=query, body={"status": status}, content_type=PatchType.STRATEGIC)
        said.granted(f"PATCH {path}")

    def delete(self, resource: Resource, name: str, namespace: str = "", *, grace_seconds: int | None = None) -> None:
        """Delete an object; one that is gone already is no error."""
        try:
            self._request("DELETE", resource.path(namespace, name), query=_grace(grace_seconds))
        except ApiError as error:
            if error.status != 404:
                raise

    def delete_all(self, resource: Resource, namespace: str, *, labels: str, grace_seconds: int | None = None) -> None:
        """Delete every object of a namespace that a label selector selects."""
        self._request("DELETE", resource.path(namespace), query={"labelSelector": labels, **_grace(grace_seconds)})

    def service_with_slices(self, namespace: str, name: str) -> tuple[Object, list[Object]]:
        """Return a Service and its EndpointSlices."""
        service = self.get(SERVICES, name, namespace)
        return service, self.objects(ENDPOINT_SLICES, namespace, labels=f"kubernetes.io/service-name={name}")

    def server_version(self) -> str:
        """Return the version that the API server tells, ``v1.37.0``."""
        return str(self._request("GET", "/version")["gitVersion"])

    def text(self, path: str, *, query: Mapping[str, str] | None = None) -> str:
        """Return what the API has at a path that is no object: a log, metrics; raises ApiError."""
        said = self._ask("GET", path, query=query)
        said.granted(f"GET {path}")
        return said.text

    def exec(
        self, namespace: str, pod: str, argv: Sequence[str], *, timeout: float, container: str = ""
    ) -> pod_exec.Executed:
        """Run a command in a pod and wait for its end, at most ``timeout`` seconds.

        Raises ExecError when it could not be run or did not end in time; an exit code other than zero is no error.
        """
        command = pod_exec.PodCommand(namespace, pod, tuple(argv), container)
        return pod_exec.run(self._client(), command, timeout, self._request_seconds)

    def start(self, namespace: str, pod: str, argv: Sequence[str], *, container: str = "") -> PodStream:
        """Start a command in a pod that ends when it is told to; raises ExecError."""
        command = pod_exec.PodCommand(namespace, pod, tuple(argv), container, stdin=True)
        return PodStream(f"{namespace}/{pod}", pod_exec.connect(self._client(), command, self._request_seconds))

    def shell(self, namespace: str, pod: str) -> PodShell:
        """Return a shell in a pod that stays open between commands; connected when the first one is run."""
        command = pod_exec.PodCommand(namespace, pod, ("sh",), stdin=True)
        return PodShell(f"{namespace}/{pod}", lambda: pod_exec.connect(self._client(), command, self._request_seconds))

    def _request(self, method: str, path: str, *, query: Mapping[str, str] | None = None) -> Object:
        return self._ask(method, path, query=query).granted(f"{method} {path}")

    def _ask(
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
            except NO_ANSWER as error:
                raise ApiError(
                    f"{method} {path}: no answer from the API: {error}", next_step="see whether the API server runs"
                ) from error
            warnings = response.response.headers.getlist("Warning")
            replies.append(reply.read(response.status, content, warnings, asked_before=bool(replies)))
            return not _not_now(replies[-1])

        if not poll(is_final, self._request_seconds, pause=_PAUSE_SECONDS):
            raise replies[-1].error(f"{method} {path}")
        return replies[-1]

    def _client(self) -> ApiClient:
        client: ApiClient | None = getattr(self._local, "client", None)
        if client is None:
            # urllib3 would try four times, and so wait four times as long for a server that hangs.
            own = Configuration(retries=_RETRIES)
            client = _load(
                config_file=str(self._kubeconfig),
                context=self._context,
                persist_config=False,
                client_configuration=own,
            )
            self._local.client = client
        return client


def _grace(seconds: int | None) -> dict[str, str]:
    return {} if seconds is None else {"gracePeriodSeconds": str(seconds)}


def _namespace(manifest: Mapping[str, Any]) -> str:
    return str(manifest["metadata"].get("namespace", "default"))


def _not_now(said: Reply) -> bool:
    """Whether an answer says that the same request may be answered later: 500 is also what a slow etcd makes of it."""
    return said.status in NOT_NOW or (said.status == 500 and "timed out" in said.message)
