"""Requests for Services whose reply is the observation: granted or refused, without waiting for endpoints or nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from session_affinity.cluster_objects.labels import unique_name
from session_affinity.cluster_objects.services import LABELS, ServiceRequest, manifest
from session_affinity.kube.api import FIELD_MANAGER, PatchType
from session_affinity.kube.reply import ApiAnswer
from session_affinity.kube.resources import SERVICES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.kube.api import Api, Change
    from session_affinity.kube.reply import Reply


class RawServiceApi:
    """Sends requests for Services in one namespace; ``delete_all`` deletes the Services that were created."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._created: list[str] = []

    def create(self, what: str, request: ServiceRequest) -> ApiAnswer:
        """Request the creation of a Service; ``what`` describes the request in a few words."""
        service = manifest(unique_name(request.purpose), self._namespace, request)
        return ApiAnswer(what, self._keep(self._api.try_create(service)))

    def patch(self, what: str, service: str, change: Change, kind: PatchType = PatchType.MERGE) -> ApiAnswer:
        """Request a patch of a Service."""
        return ApiAnswer(what, self._api.try_patch(SERVICES, service, self._namespace, change, kind))

    def apply(
        self, what: str, service: str, spec: Mapping[str, Any], manager: str = FIELD_MANAGER, *, force: bool = False
    ) -> ApiAnswer:
        """Request server-side apply of a Service as a field manager."""
        metadata = {"name": service, "namespace": self._namespace, "labels": dict(LABELS)}
        configuration = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
        return ApiAnswer(what, self._keep(self._api.try_apply(configuration, manager, force=force)))

    def read(self, what: str, service: str) -> ApiAnswer:
        """Request a Service as stored."""
        return ApiAnswer(what, self._api.try_get(SERVICES, service, self._namespace))

    def delete_all(self) -> None:
        """Delete every Service that was created."""
        for name in self._created:
            self._api.delete(SERVICES, name, self._namespace)
        self._created.clear()

    def _keep(self, reply: Reply) -> Reply:
        if reply.ok:
            self._created.append(reply.body["metadata"]["name"])
        return reply
