"""The coordinator of the agents on a cluster: its pod, the secret that it shares with them, and the wait for them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import yaml

from session_affinity import bundle
from session_affinity.agents.coordinator import PORT
from session_affinity.agents.fleet import Fleet
from session_affinity.agents.node_agent import NODE, POD
from session_affinity.agents.session import Secret
from session_affinity.cluster_objects.labels import PART_OF, SUITE
from session_affinity.clusters.external.pod_settings import settings_of
from session_affinity.clusters.images import rename_images
from session_affinity.errors import ClusterError
from session_affinity.kube.pod_state import is_ready, trouble
from session_affinity.kube.resources import PODS
from session_affinity.waiting import poll, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from session_affinity.clusters.external.pod_settings import PodSettings
    from session_affinity.clusters.options import ClusterOptions
    from session_affinity.deadlines import Deadlines
    from session_affinity.kube.api import Api
    from session_affinity.progress import Progress

MANIFEST: Final = bundle.MANIFESTS / "agent-coordinator.yaml"
NAME: Final = "agent-coordinator"
"""The name of the pod, and of the Secret."""
_DIRECTORY: Final = "/run/session-affinity-agent"
_FILE: Final = "run.json"
_MEMORY: Final = "48Mi"
_COMMAND: Final = ("python3", "-m", "session_affinity.agents.coordinator")
# An image without the suite is an agent all the same: one that runs commands, and does not judge.
_SCRIPT: Final = f"""
command -v session-affinity >/dev/null && exec python3 -m session_affinity.agents.node_agent {_DIRECTORY}/{_FILE}
exec tail -f /dev/null
"""


@contextlib.contextmanager
def coordinating(
    api: Api, namespace: str, image: str | None, options: ClusterOptions, progress: Progress
) -> Iterator[Fleet | None]:
    """Yield access to agents that judge, once they run; None where their image is not the suite's, or it is refused.

    The pod and the Secret go with the objects of the run.
    """
    if image is None:
        yield None
        return
    with contextlib.ExitStack() as at_end:
        try:
            with progress.step("the coordinator of the node agents"):
                pod = api.apply(_pod(namespace, image, settings_of(options)))
                at_end.callback(_remove, api, namespace)
                host = wait_until(
                    lambda: _address(api, namespace),
                    options.deadlines.pods_ready,
                    what=f"pod {namespace}/{NAME} to be Ready",
                    pause=0.1,
                )
                secret = Secret.new(host, PORT)
                api.create(_secret(namespace, secret, pod["metadata"]["uid"]))
                fleet = Fleet(secret, lambda: api.channel(namespace, NAME, _COMMAND), listen="")
                at_end.callback(fleet.close)
                fleet.connected(options.deadlines.node_read)
        except ClusterError as error:
            progress.note(f"external: the agents do not judge, their nodes are read one by one: {error.what}")
            yield None
            return
        yield fleet


def wait_for_agents(fleet: Fleet, nodes: Iterable[str], deadlines: Deadlines) -> dict[str, str]:
    """Wait until the agents of these nodes are connected; return the nodes whose agents are not, with the reason.

    Raises ClusterError when the coordinator does not answer.
    """
    wanted = set(nodes)
    absent: set[str] = set()

    def all_connected() -> bool:
        absent.clear()
        absent.update(wanted - fleet.connected(deadlines.node_read).keys())
        return not absent

    poll(all_connected, deadlines.node_read, pause=0.1)
    reason = (
        f"its agent did not reach the coordinator within {deadlines.node_read:g} s: see the log of the agent's pod, and"
        " whether a policy or firewall keeps nodes from pods"
    )
    return dict.fromkeys(sorted(absent), reason)


def judging(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pod template of the agents with what they need to judge: the coordinator's address and the secret."""
    spec = template["spec"]
    (agent,) = spec["containers"]
    names = {NODE: "spec.nodeName", POD: "metadata.name"}
    judge = {
        **agent,
        "command": ["sh", "-c"],
        "args": [_SCRIPT],
        "env": [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in names.items()],
        "volumeMounts": [{"name": "run", "mountPath": _DIRECTORY, "readOnly": True}],
        "resources": {**agent["resources"], "requests": {**agent["resources"]["requests"], "memory": _MEMORY}},
    }
    volume = {"name": "run", "secret": {"secretName": NAME, "defaultMode": 0o400}}
    return {**template, "spec": {**spec, "containers": [judge], "volumes": [volume]}}


def _pod(namespace: str, image: str, settings: PodSettings) -> dict[str, Any]:
    pod = settings.applied_to(yaml.safe_load(MANIFEST.read_text()))
    spec = {**rename_images(pod["spec"], lambda _: image), **settings.selection.fields()}
    return {**pod, "metadata": {**pod["metadata"], "namespace": namespace}, "spec": spec}


def _secret(namespace: str, secret: Secret, owner: str) -> dict[str, Any]:
    """Return the Secret, which goes with the pod."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "labels": {PART_OF: SUITE},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": NAME, "uid": owner}],
        },
        "stringData": {_FILE: secret.text()},
    }


def _address(api: Api, namespace: str) -> str:
    (pod,) = api.objects(PODS, namespace, fields=f"metadata.name={NAME}")
    if what := trouble(pod):
        raise ClusterError(what)
    return str(pod["status"]["podIP"]) if is_ready(pod) else ""


def _remove(api: Api, namespace: str) -> None:
    api.delete(PODS, NAME, namespace, grace_seconds=0)
