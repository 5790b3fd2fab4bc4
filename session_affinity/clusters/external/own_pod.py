"""The pod that the suite runs in, where it runs in one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from session_affinity.kube import in_cluster
from session_affinity.kube.api import ApiError
from session_affinity.kube.resources import PODS

if TYPE_CHECKING:
    from pathlib import Path

    from session_affinity.kube.api import Api

CONTAINER: Final = "check"
"""The container of the suite in its pod."""
SUITE_IMAGE: Final = "suite image"
"""The fact that names the image of the suite, with the digest that the node's runtime has."""


def facts(api: Api, kubeconfig: Path) -> dict[str, str]:
    """Return the image that the suite runs from; nothing outside of a pod, and where the pod may not be listed."""
    name = os.environ.get(in_cluster.POD)
    if kubeconfig != in_cluster.SERVICE_ACCOUNT or not name:
        return {}
    try:
        pods = api.objects(PODS, in_cluster.namespace(), fields=f"metadata.name={name}")
    except ApiError as error:
        if error.status != 403:
            raise
        return {}
    statuses = [status for pod in pods for status in (pod.get("status") or {}).get("containerStatuses") or ()]
    image = next((image_of(status) for status in statuses if status["name"] == CONTAINER), "")
    return {SUITE_IMAGE: image} if image else {}


def image_of(status: dict[str, str]) -> str:
    """Return the image of a container's status with its digest.

    Runtimes write ``imageID`` as ``NAME@DIGEST``, with a scheme before it, or as a digest alone where the image was not
    pulled from a registry.
    """
    image_id = status.get("imageID", "").rpartition("://")[2]
    return image_id if "@" in image_id or not image_id else f"{status['image'].partition('@')[0]}@{image_id}"
