"""Choose the nodes of the sample pods on an external cluster.

Pods require their node by node affinity and are scheduled like any other pod: taints, cordons and quotas hold for them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.cluster_objects.labels import PART_OF
from session_affinity.clusters.external.scheduling import ALL_NODES, NodeSelection, Toleration, affinity_to
from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

KEEPS_OFF: Final = ("NoSchedule", "NoExecute")
"""The effects of taints that keep pods off a node."""
NOT_SELECTED: Final = "not selected"
_HOST: Final = "kubernetes.io/hostname"


@dataclass(frozen=True)
class Candidate:
    """A node, and why no sample pod can run on it; ``reason`` is empty when one can."""

    name: str
    reason: str = ""
    is_ready: bool = True
    is_linux: bool = True
    is_selected: bool = True


@dataclass(frozen=True)
class Placement:
    """The node of each sample pod; empty where the nodes cannot be listed.

    ``statements`` say where the pods run, and what cannot be judged because of it.
    """

    nodes: Mapping[str, str]
    statements: tuple[str, ...] = ()


def survey(
    nodes: Iterable[Mapping[str, Any]],
    tolerations: Sequence[Toleration] = (),
    selection: NodeSelection = ALL_NODES,
) -> tuple[Candidate, ...]:
    """Return what the API has about each node, for pods with these tolerations."""
    return tuple(_candidate(node, tolerations, selection) for node in nodes)


def place(endpoints: Sequence[str], client: str, candidates: Sequence[Candidate]) -> Placement:
    """Return the node of each sample pod: each endpoint on another node, and the client on one without an endpoint.

    Pods share nodes when there are too few. Raises ClusterError when no node takes pods.
    """
    free = [node.name for node in candidates if not node.reason]
    if not free:
        reasons = "; ".join(f"{node.name}: {node.reason}" for node in candidates) or "there are no nodes"
        raise ClusterError(
            f"no node of the cluster takes pods: {reasons}",
            next_step="--toleration lets them on tainted nodes, --nodes and --node-selector select nodes; "
            "kubectl describe nodes says more",
        )
    names = (*endpoints, client)
    nodes = {name: free[place % len(free)] for place, name in enumerate(names)}
    return Placement(nodes, tuple(_statements(endpoints, client, nodes, candidates)))


def by_scheduler(reason: str) -> Placement:
    """Return the placement of a user who cannot list nodes: the scheduler spreads the pods as well as it can."""
    return Placement({}, (f"{reason}: the scheduler chooses the nodes of the sample pods",))


def on_node(
    pod: Mapping[str, Any],
    placement: Placement,
    selection: NodeSelection = ALL_NODES,
) -> dict[str, Any]:
    """Return a pod that requires its node by affinity instead of ``spec.nodeName``.

    The ``nodeName`` of a sample pod is a node of the cluster that the manifests were written for, and is ignored. That
    of any other pod is a node of this cluster. Without a node the pod is spread over the selected nodes.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(pod))
    spec = changed["spec"]
    pinned = spec.pop("nodeName", None)
    node = placement.nodes.get(pod["metadata"]["name"], pinned if placement.nodes else None)
    if node is None:
        spec["topologySpreadConstraints"] = [_spread(pod["metadata"].get("labels") or {})]
        spec.update(selection.fields())
    else:
        spec["affinity"] = affinity_to([node])
    return changed


def _spread(labels: Mapping[str, str]) -> dict[str, Any]:
    selector = {PART_OF: labels.get(PART_OF, "")}
    return {
        "maxSkew": 1,
        "topologyKey": _HOST,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector},
    }


def _candidate(node: Mapping[str, Any], tolerations: Sequence[Toleration], selection: NodeSelection) -> Candidate:
    spec, metadata = node.get("spec") or {}, node["metadata"]
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = next((each for each in conditions if each["type"] == "Ready"), {"status": "Unknown"})
    taints = [taint for taint in spec.get("taints") or () if taint["effect"] in KEEPS_OFF]
    system = (metadata.get("labels") or {}).get("kubernetes.io/os", "linux")
    selected = selection.includes(node)
    reasons = [
        "" if selected else NOT_SELECTED,
        "" if ready["status"] == "True" else f"NotReady ({ready.get('message') or ready['status']})",
        "cordoned" if spec.get("unschedulable") else "",
        *(
            f"tainted {taint['key']}:{taint['effect']}"
            for taint in taints
            # Those that Kubernetes sets repeat a reason above.
            if not taint["key"].startswith("node.kubernetes.io/")
            and not any(toleration.matches(taint) for toleration in tolerations)
        ),
        "" if system == "linux" else f"runs {system}",
    ]
    return Candidate(
        str(metadata["name"]),
        ", ".join(filter(None, reasons)),
        is_ready=ready["status"] == "True",
        is_linux=system == "linux",
        is_selected=selected,
    )


def _statements(
    endpoints: Sequence[str], client: str, nodes: Mapping[str, str], candidates: Sequence[Candidate]
) -> Iterable[str]:
    distinct = list(dict.fromkeys(nodes[name] for name in endpoints))
    beside = [name for name in endpoints if nodes[name] == nodes[client]]
    yield f"endpoints on {', '.join(distinct)}; the client on {nodes[client]}"
    if len(distinct) < len(endpoints):
        yield (
            f"{len(endpoints)} endpoints share {len(distinct)} node{'s' if len(distinct) > 1 else ''} that take pods: "
            "affinity to an endpoint on a node of its own is not judged"
        )
    if beside:
        yield (
            f"no node is left for the client, it runs beside {', '.join(beside)}: "
            "requests that all cross nodes are not judged"
        )
    if without := [f"{node.name} ({node.reason})" for node in candidates if node.reason]:
        yield f"without sample pods: {', '.join(without)}"
