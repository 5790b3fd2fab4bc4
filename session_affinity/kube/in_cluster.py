"""The credentials that Kubernetes puts into a pod: the token of its ServiceAccount, which is renewed while it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from session_affinity.errors import UsageError

if TYPE_CHECKING:
    from kubernetes.client.api_client import ApiClient
    from kubernetes.client.configuration import Configuration

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the pod has them; stands for a kubeconfig wherever one is named."""
HOST: Final = "KUBERNETES_SERVICE_HOST"
PORT: Final = "KUBERNETES_SERVICE_PORT"
POD: Final = "SESSION_AFFINITY_POD"
"""The variable with the name of the pod that the suite runs in (the manifests set it)."""


def require_pod() -> None:
    """Raise UsageError unless this process has the credentials of a pod."""
    missing = [name for name in (HOST, PORT) if not os.environ.get(name)]
    missing += [str(file) for file in (SERVICE_ACCOUNT / "token",) if not file.is_file()]
    if missing:
        raise UsageError(
            f"--in-cluster-credentials: this is no pod with a ServiceAccount: there is no {' and no '.join(missing)}",
            next_step="use --kubeconfig FILE here; in a pod, check that automountServiceAccountToken is not false",
        )


def server() -> str:
    """Return the address of the API server; an IPv6 address in brackets."""
    host = os.environ.get(HOST, "")
    return f"https://{f'[{host}]' if ':' in host else host}:{os.environ.get(PORT, '')}"


def namespace() -> str:
    """Return the namespace of the pod; empty where this is none."""
    try:
        return (SERVICE_ACCOUNT / "namespace").read_text().strip()
    except OSError:
        return ""


def new_client(configuration: Configuration) -> ApiClient:
    """Return a client with the pod's credentials, which reads the token again before it expires."""
    from kubernetes import config
    from kubernetes.client.api_client import ApiClient

    # The client declares no types for this function.
    load: Any = config.load_incluster_config
    load(client_configuration=configuration)
    return ApiClient(configuration)
