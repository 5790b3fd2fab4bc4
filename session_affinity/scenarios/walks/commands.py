"""The requests of a walk as commands that a reader can repeat with kubectl and on a node."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any, Final

import yaml

from session_affinity.cluster_objects.handmade import merge_patch
from session_affinity.dataplane.proxy_config import ZONE_LABEL
from session_affinity.scenarios.walks.objects import Fault, Manifest, Request, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROCESS: Final = '"$(pgrep -o -x kube-proxy)"'
_MOST_FILES: Final = f'"$(prlimit --pid {_PROCESS} --nofile --output=HARD --noheadings)"'
_FAULTS: Final = {
    (Verb.BEGIN_FAULT, Fault.PAUSED): "pkill -STOP -o -x kube-proxy",
    (Verb.END_FAULT, Fault.PAUSED): "pkill -CONT -o -x kube-proxy",
    (Verb.BEGIN_FAULT, Fault.FAILING): f"prlimit --pid {_PROCESS} --nofile=0:",
    (Verb.END_FAULT, Fault.FAILING): f"prlimit --pid {_PROCESS} --nofile={_MOST_FILES}:",
}
"""What ``KubeProxies`` does, as a reader would."""


def commands(request: Request) -> Iterator[str]:
    """Yield the commands that do the same as a request."""
    if request.node:
        yield _node_command(request)
        return
    manifest, name = request.manifest, request.manifest["metadata"]["name"]
    kind = manifest["kind"].lower()
    if request.verb is Verb.DELETE:
        yield f"kubectl delete {kind} {name}"
        return
    if request.verb is Verb.CREATE:
        text = yaml.safe_dump(_without_status(manifest), sort_keys=False, default_flow_style=None, width=140)
        yield f"kubectl apply -f - <<'EOF'\n{text}EOF"
    elif patch := merge_patch(_without_status(request.before), _without_status(manifest)):
        yield f"kubectl patch {kind} {name} --type merge -p {_quoted(patch)}"
    if manifest.get("status") != request.before.get("status"):
        status = {"status": manifest.get("status") or {"loadBalancer": None}}
        yield f"kubectl patch {kind} {name} --subresource status --type merge -p {_quoted(status)}"


def on_node(node: str, command: tuple[str, ...]) -> str:
    """Return a command that is run on a node, as text."""
    return _at(node, shlex.join(command))


def _at(node: str, command: str) -> str:
    return f"{command}   # as root on {node}"


def _node_command(request: Request) -> str:
    if request.verb is Verb.LABEL_ZONE:
        change = f"{ZONE_LABEL}={request.value} --overwrite" if request.value else f"{ZONE_LABEL}-"
        return f"kubectl label node {request.node} {change}"
    return _at(request.node, _FAULTS[request.verb, Fault(request.value)])


def _without_status(manifest: Manifest) -> Manifest:
    return {name: value for name, value in manifest.items() if name != "status"}


def _quoted(patch: dict[str, Any]) -> str:
    return shlex.quote(json.dumps(patch))
