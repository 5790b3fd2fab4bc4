"""A client outside an external cluster: a pod of another cluster, which a kubeconfig names.

The pod is the suite's client pod in a namespace made for the run, and removed with it at the end of the run.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from session_affinity import bundle
from session_affinity.cluster_objects.pods import pod_refusal, wait_for_ready
from session_affinity.clusters.external import access, namespace
from session_affinity.clusters.outside import OwnRoutes
from session_affinity.errors import NodeError, UsageError
from session_affinity.kube.api import Api, ApiError
from session_affinity.kube.pod_exec import ExecError
from session_affinity.nodes.node import Completed, shown_command
from session_affinity.progress import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from session_affinity.deadlines import Deadlines

POD: Final = "net-pod"
_MANIFEST: Final = "net-pod.yaml"
_SYSTEM: Final = "kube-system"
_UNREADABLE: Final = (403, 404)


@dataclass(frozen=True)
class PodHost(OwnRoutes):
    """A pod of another cluster (see ``clusters.outside.OutsideHost``)."""

    api: Api
    namespace: str
    pod: str = POD
    name: str = "outside"
    place: str = "a pod of another cluster"

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        """Run a command there (see ``clusters.outside.OutsideHost``)."""
        if stdin is not None:
            raise NodeError(f"{self.place}: {shown_command(argv)}: commands there have no standard input")
        try:
            done = self.api.exec(self.namespace, self.pod, argv, timeout=timeout)
        except ExecError as error:
            raise NodeError(f"{self.place}: {shown_command(argv)}: {error.what}", next_step=error.next_step) from error
        return Completed(self.name, tuple(argv), done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def pod_of(
    kubeconfig: Path,
    tested: Api,
    adapted: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    annotations: Mapping[str, str],
    deadlines: Deadlines,
) -> Iterator[PodHost]:
    """Yield a client pod in the cluster of a kubeconfig's current context, which is not the one that is tested.

    ``adapted`` gives the pod the names that images have there, and the settings of all pods. Raises UsageError,
    ClusterError.
    """
    route = access.read(kubeconfig, None)
    access.require_answer(route, deadlines=deadlines)
    api = Api(route.kubeconfig, context=route.context, request_seconds=deadlines.api_request, annotations=annotations)
    _require_another(api, tested, kubeconfig)
    name = namespace.new_name()
    with namespace.made(api, namespace.manifest(name, namespace.RESTRICTED), quiet(), deadlines=deadlines):
        pod = adapted(_client_pod(name))
        try:
            api.create(pod)
        except ApiError as error:
            raise pod_refusal(pod, error) from error
        wait_for_ready(api, name, (POD,), deadlines.pods_ready)
        yield PodHost(api, name)


def _client_pod(name: str) -> dict[str, Any]:
    """Return the client pod for a namespace, placed by the scheduler."""
    pod: dict[str, Any] = yaml.safe_load((bundle.MANIFESTS / _MANIFEST).read_text())
    pod["metadata"]["namespace"] = name
    pod["spec"].pop("nodeName", None)
    return pod


def _require_another(api: Api, tested: Api, kubeconfig: Path) -> None:
    """Raise UsageError for the tested cluster itself, as far as both users may read what identifies a cluster."""
    identity = _identity(api)
    if identity and identity == _identity(tested):
        raise UsageError(
            f"--outside-client: the cluster of {kubeconfig} is the one that is tested, so a pod there is inside",
            next_step="name the kubeconfig of another cluster, whose pods reach the nodes of this one",
        )


def _identity(api: Api) -> str:
    try:
        return namespace.uid(api, _SYSTEM)
    except ApiError as error:
        if error.status in _UNREADABLE:
            return ""
        raise
