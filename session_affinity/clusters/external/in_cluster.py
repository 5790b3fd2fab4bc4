"""A run in the cluster that is started from outside: the Job, its output, its exit code, and its files brought back.

Everything is in one namespace made for the run. What has to be elsewhere, such as a ClusterRole, is owned by that
namespace, so that it goes with it, also after this process was killed (see ``lease`` and ``leftovers``).
"""

from __future__ import annotations

import base64
import contextlib
import io
import tarfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from session_affinity.clusters.external import access, job, lease, namespace
from session_affinity.clusters.external.own_pod import CONTAINER
from session_affinity.clusters.interrupts import sigterm_as_interrupt
from session_affinity.errors import ClusterError
from session_affinity.kube import logs
from session_affinity.kube.api import Api, ApiError
from session_affinity.kube.pod_state import trouble
from session_affinity.kube.resources import PODS
from session_affinity.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from session_affinity.clusters.external.job import JobSettings
    from session_affinity.clusters.options import ClusterOptions
    from session_affinity.progress import Progress

_SELECTOR: Final = f"job-name={job.NAME}"
_IMAGES_NEXT: Final = "name an image that the nodes can pull: --image IMAGE"


@dataclass(frozen=True)
class InClusterRun:
    """A run that has ended: the exit code of its container, and the last line that it left."""

    exit_code: int
    verdict: str


def run(
    settings: JobSettings,
    options: ClusterOptions,
    progress: Progress,
    *,
    write: Callable[[str], None],
    files: Path | None,
) -> InClusterRun:
    """Run the suite as a Job, pass each line of its output to ``write``, and remove all that was made.

    Its files are unpacked below ``files``. Raises ClusterError when the Job does not come to its end, and what
    ``access`` raises.
    """
    route = access.read(options.kubeconfig, options.context)
    access.require_answer(route, deadlines=options.deadlines)
    name = namespace.new_name()
    api = Api(
        route.kubeconfig,
        context=route.context,
        request_seconds=options.deadlines.api_request,
        annotations=lease.run_annotations(name, options.deadlines),
    )
    options = replace(options, namespace=name)
    settings = replace(settings, name=job.NAME, keeps_results=True)
    with lease.lease(name), sigterm_as_interrupt(), _namespace(api, name, options, progress) as owner:
        for manifest in job.objects(settings, options):
            api.apply(_owned(manifest, name, owner))
        with progress.step("the Job's pod") as step:
            pod = _started(api, name, options, settings)
            step.update(f"on {pod['spec'].get('nodeName')}")
        pod_name = pod["metadata"]["name"]
        for line in logs.follow(api, name, pod_name, CONTAINER, lambda: _ended(api, name, pod_name)):
            write(line)
        ended = wait_until(
            lambda: _ended(api, name, pod_name),
            options.deadlines.pods_ready,
            what=f"the end of container {CONTAINER} of pod {name}/{pod_name}, whose output has ended",
            pause=0.2,
        )
        if files is not None:
            with progress.step("files of the run"):
                _fetch(api, name, pod_name, files, options)
        return InClusterRun(int(ended["exitCode"]), str(ended.get("message") or "").strip().partition("\n")[0])


@contextlib.contextmanager
def _namespace(api: Api, name: str, options: ClusterOptions, progress: Progress) -> Iterator[str]:
    """Yield the uid of a namespace made for the run, which is removed whatever happens."""
    has_agents = options.node_access == "agent" and not options.agent_namespace
    manifest = namespace.manifest(name, namespace.PRIVILEGED if has_agents else namespace.RESTRICTED)
    with namespace.made(api, manifest, progress, deadlines=options.deadlines):
        yield namespace.uid(api, name)


def _owned(manifest: Mapping[str, Any], name: str, uid: str) -> dict[str, Any]:
    """Return an object that goes with the namespace, also where it is not in it."""
    metadata = dict(manifest["metadata"])
    if metadata.get("namespace") != name:
        metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Namespace", "name": name, "uid": uid}]
    return {**manifest, "metadata": metadata}


def _started(api: Api, name: str, options: ClusterOptions, settings: JobSettings) -> Mapping[str, Any]:
    """Return the Job's pod once its container runs or has ended; raises ClusterError for one that never will."""

    def found() -> Mapping[str, Any] | None:
        for pod in api.objects(PODS, name, labels=_SELECTOR):
            state = _state(pod)
            if "running" in state or "terminated" in state:
                return pod
            if what := trouble(pod):
                raise ClusterError(what, next_step=_IMAGES_NEXT)
        return None

    return wait_until(
        found,
        options.deadlines.agents_ready,
        what=f"the pod of Job {name}/{settings.name}",
        last_state=lambda: _events(api, name),
        pause=0.2,
        next_step=_IMAGES_NEXT,
    )


def _events(api: Api, name: str) -> str:
    from session_affinity.kube.resources import EVENTS

    try:
        messages = [str(event.get("message")) for event in api.objects(EVENTS, name)]
    except ApiError as error:
        return error.what
    return "; ".join(messages[-3:]) or "no event"


def _ended(api: Api, name: str, pod_name: str) -> Mapping[str, Any] | None:
    terminated: Mapping[str, Any] | None = _state(api.get(PODS, pod_name, name)).get("terminated")
    return terminated


def _state(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((dict(status.get("state") or {}) for status in statuses if status["name"] == CONTAINER), {})


def _fetch(api: Api, name: str, pod_name: str, files: Path, options: ClusterOptions) -> None:
    """Unpack the files of the run, and let the container end that keeps them."""
    command = ("sh", "-c", f"tar -C {job.RESULTS} -cz . | base64 && touch {job.FETCHED}")
    done = api.exec(name, pod_name, command, timeout=options.deadlines.pods_ready, container=job.COLLECTOR)
    if done.returncode:
        raise ClusterError(f"the files of the run cannot be fetched from pod {name}/{pod_name}: {done.stderr.strip()}")
    files.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(done.stdout))) as archive:
        archive.extractall(files, filter="data")
