"""Services as the API takes or refuses them: nothing here waits for endpoints or nodes."""

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
    """Asks the API of one cluster for Services in one namespace; what it grants is removed by ``delete_all``."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._made: list[str] = []

    def create(self, what: str, wish: ServiceRequest) -> ApiAnswer:
        """Ask for a Service; ``what`` is what is asked in a few words."""
        return ApiAnswer(
            what, self._keep(self._api.try_create(manifest(unique_name(wish.purpose), self._namespace, wish)))
        )

    def patch(self, what: str, service: str, change: Change, kind: PatchType = PatchType.MERGE) -> ApiAnswer:
        """Ask for a change of a Service."""
        return ApiAnswer(what, self._api.try_patch(SERVICES, service, self._namespace, change, kind))

    def apply(
        self, what: str, service: str, spec: Mapping[str, Any], manager: str = FIELD_MANAGER, *, force: bool = False
    ) -> ApiAnswer:
        """Ask, as a field manager, for a Service by server-side apply."""
        metadata = {"name": service, "namespace": self._namespace, "labels": dict(LABELS)}
        wanted = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
        return ApiAnswer(what, self._keep(self._api.try_apply(wanted, manager, force=force)))

    def read(self, what: str, service: str) -> ApiAnswer:
        """Ask for a Service as stored."""
        return ApiAnswer(what, self._api.try_get(SERVICES, service, self._namespace))

    def delete_all(self) -> None:
        """Remove every Service that was granted."""
        for name in self._made:
            self._api.delete(SERVICES, name, self._namespace)
        self._made.clear()

    def _keep(self, reply: Reply) -> Reply:
        if reply.ok:
            self._made.append(reply.body["metadata"]["name"])
        return reply
