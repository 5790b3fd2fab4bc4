"""On which nodes of a cluster that is not ours the sample pods run.

The scheduler has the last word: a pod asks for its node by affinity, so that taints, cordons and quotas hold for it as
for any other pod.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

KEEPS_OFF: Final = ("NoSchedule", "NoExecute")
_HOST: Final = "kubernetes.io/hostname"


@dataclass(frozen=True)
class Candidate:
    """A node, and why no pod can be put on it; empty when one can."""

    name: str
    obstacle: str = ""
    is_ready: bool = True
    is_linux: bool = True


@dataclass(frozen=True)
class Placement:
    """The node of each pod, empty where the nodes may not be seen; ``statements`` say what follows for the claims."""

    nodes: Mapping[str, str]
    statements: tuple[str, ...] = ()


def survey(nodes: Iterable[Mapping[str, Any]]) -> tuple[Candidate, ...]:
    """Return what the API says of each node."""
    return tuple(_candidate(node) for node in nodes)


def place(endpoints: Sequence[str], client: str, candidates: Sequence[Candidate]) -> Placement:
    """Return where the pods go: each endpoint on a node of its own and the client on another, as far as there are.

    Raises ClusterError when there is no node at all that takes pods.
    """
    free = [one.name for one in candidates if not one.obstacle]
    if not free:
        reasons = "; ".join(f"{one.name}: {one.obstacle}" for one in candidates) or "there are no nodes"
        raise ClusterError(
            f"no node of the cluster takes pods: {reasons}", next_step="kubectl describe nodes says more"
        )
    names = (*endpoints, client)
    nodes = {name: free[place % len(free)] for place, name in enumerate(names)}
    return Placement(nodes, tuple(_statements(endpoints, client, nodes, candidates)))


def unseen(reason: str) -> Placement:
    """Return the placement where nodes cannot be listed: the scheduler spreads the pods as well as it can."""
    return Placement({}, (f"{reason}: the scheduler chooses the nodes of the sample pods",))


def on_node(pod: Mapping[str, Any], placement: Placement) -> dict[str, Any]:
    """Return a pod asking for its node of the placement in place of the pin it has.

    A sample pod's pin is a node of the cluster that the manifests were written for. A pod that is not of the placement
    was pinned to one of this cluster's.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(pod))
    spec = changed["spec"]
    pinned = spec.pop("nodeName", None)
    node = placement.nodes.get(pod["metadata"]["name"], pinned if placement.nodes else None)
    if node is None:
        spec["topologySpreadConstraints"] = [_spread(pod["metadata"].get("labels") or {})]
    else:
        term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
        spec["affinity"] = {"nodeAffinity": required}
    return changed


def _spread(labels: Mapping[str, str]) -> dict[str, Any]:
    selector = {"app.kubernetes.io/part-of": labels.get("app.kubernetes.io/part-of", "")}
    return {
        "maxSkew": 1,
        "topologyKey": _HOST,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector},
    }


def _candidate(node: Mapping[str, Any]) -> Candidate:
    spec, meta = node.get("spec") or {}, node["metadata"]
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = next((one for one in conditions if one["type"] == "Ready"), {"status": "Unknown"})
    taints = [taint for taint in spec.get("taints") or () if taint["effect"] in KEEPS_OFF]
    system = (meta.get("labels") or {}).get("kubernetes.io/os", "linux")
    obstacles = [
        "" if ready["status"] == "True" else f"NotReady ({ready.get('message') or ready['status']})",
        "cordoned" if spec.get("unschedulable") else "",
        # A cordon and a lost node are taints too, and were said already.
        *(
            f"tainted {one['key']}:{one['effect']}"
            for one in taints
            if not one["key"].startswith("node.kubernetes.io/")
        ),
        "" if system == "linux" else f"runs {system}",
    ]
    return Candidate(
        str(meta["name"]), ", ".join(filter(None, obstacles)), ready["status"] == "True", system == "linux"
    )


def _statements(
    endpoints: Sequence[str], client: str, nodes: Mapping[str, str], candidates: Sequence[Candidate]
) -> Iterable[str]:
    own = [nodes[name] for name in endpoints]
    distinct = list(dict.fromkeys(own))
    beside = [name for name in endpoints if nodes[name] == nodes[client]]
    yield f"endpoints on {', '.join(distinct)}; the client on {nodes[client]}"
    if len(distinct) < len(endpoints):
        yield (
            f"{len(endpoints)} endpoints share {len(distinct)} node{'s' if len(distinct) > 1 else ''} that take pods: "
            "that an endpoint on a node of its own is found is not judged"
        )
    if beside:
        yield (
            f"no node is left for the client, it runs beside {', '.join(beside)}: "
            "that all its requests cross nodes is not judged"
        )
    passed_over = [f"{one.name} ({one.obstacle})" for one in candidates if one.obstacle]
    if passed_over:
        yield f"without sample pods: {', '.join(passed_over)}"
