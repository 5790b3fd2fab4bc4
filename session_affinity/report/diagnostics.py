"""Diagnostics of a cluster after a failure: events, pod logs, rules, connections, and kube-proxy's log and metrics."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from session_affinity.dataplane.pages import METRICS_ARGV
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import SuiteError
from session_affinity.kube import logs
from session_affinity.kube.api import ApiError
from session_affinity.kube.events import last_seen
from session_affinity.kube.resources import EVENTS, PODS
from session_affinity.nodes.kube_proxy import METRICS
from session_affinity.report.attachment import Attachment, MediaType, shortened
from session_affinity.report.tables import table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from session_affinity.clusters.cluster import Cluster
    from session_affinity.kube.api import Api
    from session_affinity.nodes.node import Node

MOST_OF_A_RULESET: Final = 150_000
MOST_OF_A_TABLE: Final = 40_000
MOST_OF_A_LOG: Final = 30_000
"""The number of characters that are kept."""

_RULES: Final[Mapping[str, Sequence[tuple[str, ...]]]] = {
    "iptables": (("iptables-save",), ("ip6tables-save",)),
    "nftables": (("nft", "list", "ruleset"),),
}
_METRICS_URL: Final = f"{METRICS}/metrics"
_EVENTS: Final = ("last seen", "type", "reason", "object", "message", "count")


@dataclass(frozen=True)
class Diagnostics:
    """Attachments of a cluster by their source, which is the API or a node; ``began`` is in seconds since the epoch.

    ``omitted`` says why nothing was collected; empty when something was.
    """

    attachments: Mapping[str, Sequence[Attachment]] = field(default_factory=dict)
    omitted: str = ""
    began: float = field(default_factory=time.time)


def collect(cluster: Cluster, api: Api) -> Diagnostics:
    """Return the diagnostics of a cluster.

    A source that does not answer has an attachment with the reason, or none at all.
    """
    began = time.time()
    attachments: dict[str, Sequence[Attachment]] = {}
    with contextlib.suppress(SuiteError):
        attachments["events and pods"] = of_api(api, cluster.namespace)
    attachments |= of_nodes(cluster, list(cluster.nodes))
    return Diagnostics(attachments, began=began)


def of_api(api: Api, namespace: str) -> list[Attachment]:
    """Return the events of the run's namespace and the logs of its pods, as far as the API answers."""
    try:
        events, pods = api.objects(EVENTS, namespace), api.objects(PODS, namespace)
    except ApiError as error:
        return [Attachment("events and pod logs", f"not available: {error}")]
    texts = [_text_or_reason(partial(logs.of_pod, api, pod, lines=40)) for pod in pods]
    return [
        Attachment(f"events of namespace {namespace}", _events(events), MediaType.CSV),
        Attachment("pod logs", shortened("\n".join(texts), MOST_OF_A_LOG) or f"no pods in namespace {namespace}"),
    ]


def of_nodes(cluster: Cluster, names: Sequence[str]) -> dict[str, list[Attachment]]:
    """Return rules, connections, kube-proxy's log and its metrics by node; the nodes are read concurrently."""
    if not names:
        return {}
    with ThreadPoolExecutor(len(names), thread_name_prefix="diagnostics") as pool:
        return dict(zip(names, pool.map(lambda name: _of_node(cluster, name), names), strict=True))


def _of_node(cluster: Cluster, name: str) -> list[Attachment]:
    node = cluster.nodes.get(name)
    mode = cluster.proxy_configs.of(name).mode
    log = _text_or_reason(lambda: cluster.dataplane_log(name))
    return [
        *(_output(node, name, argv, MOST_OF_A_RULESET) for argv in _RULES.get(mode, ())),
        _output(node, name, ("conntrack", "-L"), MOST_OF_A_TABLE),
        Attachment(f"{name}: end of kube-proxy's log", shortened(log, MOST_OF_A_LOG)),
        _metrics(node, name),
    ]


def _metrics(node: Node | None, name: str) -> Attachment:
    output = _output(node, name, METRICS_ARGV, 10_000_000).body
    lines = [line for line in output.splitlines() if line.startswith("kubeproxy_") and "_bucket{" not in line]
    text = "\n".join((f"# metrics of {_METRICS_URL} whose names begin with kubeproxy_, without buckets", *lines))
    return Attachment(f"{name}: kube-proxy's metrics", shortened(text, MOST_OF_A_LOG) if lines else output)


def _output(node: Node | None, name: str, argv: tuple[str, ...], most: int) -> Attachment:
    """Return the output of a command on a node, or the reason why there is none."""

    def run() -> str:
        if node is None:
            return "not available: the run has no access to this node"
        done = node.run(argv, timeout=DEFAULTS.node_diagnostics)
        if done.returncode:
            return f"not available: {argv[0]} ended with {done.returncode}: {(done.stderr or done.stdout).strip()}"
        return done.stdout or f"{argv[0]} printed nothing"

    return Attachment(f"{name}: {' '.join(argv[:3])}", shortened(_text_or_reason(run), most))


def _events(events: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            last_seen(event),
            event.get("type", ""),
            event.get("reason", ""),
            f"{event['involvedObject'].get('kind', '')}/{event['involvedObject'].get('name', '')}",
            event.get("message", ""),
            event.get("count") or 1,
        )
        for event in sorted(events, key=last_seen, reverse=True)
    ]
    return table(_EVENTS, rows or [("", "", "no events", "", "", 0)])


def _text_or_reason(read: Callable[[], str]) -> str:
    try:
        return read() or "(nothing)"
    except SuiteError as error:
        return f"not available: {error}"
