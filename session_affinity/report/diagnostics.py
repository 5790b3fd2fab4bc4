"""What is kept of a cluster when a claim failed or could not be told: enough to look for the reason without it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from session_affinity.errors import SuiteError
from session_affinity.kube import logs
from session_affinity.kube.api import ApiError
from session_affinity.kube.events import last_seen
from session_affinity.kube.resources import EVENTS, PODS
from session_affinity.report.attachment import Attachment, MediaType, shortened
from session_affinity.report.tables import table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from session_affinity.clusters.cluster import Cluster, Node
    from session_affinity.kube.api import Api

MOST_OF_A_RULESET: Final = 150_000
MOST_OF_A_TABLE: Final = 40_000
MOST_OF_A_LOG: Final = 30_000
NODE_SECONDS: Final = 10.0
METRICS_URL: Final = "http://127.0.0.1:10249/metrics"
"""Where kube-proxy tells its metrics unless it is told otherwise (metricsBindAddress)."""

_RULES: Final[Mapping[str, Sequence[tuple[str, ...]]]] = {
    "iptables": (("iptables-save",), ("ip6tables-save",)),
    "nftables": (("nft", "list", "ruleset"),),
}
_EVENTS: Final = ("last seen", "type", "reason", "object", "message", "count")


def of_api(api: Api, namespace: str) -> list[Attachment]:
    """Return the events of the run's namespace and the logs of its pods, as far as the API still answers."""
    try:
        events, pods = api.objects(EVENTS, namespace), api.objects(PODS, namespace)
    except ApiError as error:
        return [Attachment("events and pod logs", f"not to be had: {error}")]
    told = [_or_why(partial(logs.of_pod, api, pod, lines=40)) for pod in pods]
    return [
        Attachment(f"events of namespace {namespace}", _events(events), MediaType.CSV),
        Attachment("pod logs", shortened("\n".join(told), MOST_OF_A_LOG) or f"no pods in namespace {namespace}"),
    ]


def of_nodes(cluster: Cluster, names: Sequence[str], mode: str) -> dict[str, list[Attachment]]:
    """Return rules, connections, kube-proxy's log and metrics of nodes, read at the same time."""
    if not names:
        return {}
    with ThreadPoolExecutor(len(names), thread_name_prefix="aftermath") as pool:
        return dict(zip(names, pool.map(lambda name: _of_node(cluster, name, mode), names), strict=True))


def _of_node(cluster: Cluster, name: str, mode: str) -> list[Attachment]:
    node = cluster.nodes.get(name)
    return [
        *(_from_node(node, name, argv, MOST_OF_A_RULESET) for argv in _RULES.get(mode, ())),
        _from_node(node, name, ("conntrack", "-L"), MOST_OF_A_TABLE),
        Attachment(
            f"{name}: end of kube-proxy's log", shortened(_or_why(lambda: cluster.kube_proxy_log(name)), MOST_OF_A_LOG)
        ),
        _metrics(node, name),
    ]


def _metrics(node: Node | None, name: str) -> Attachment:
    got = _from_node(node, name, ("curl", "--silent", "--show-error", "--max-time", "5", METRICS_URL), 10_000_000)
    own = "\n".join(line for line in got.body.splitlines() if line.startswith("kubeproxy_") and "_bucket{" not in line)
    head = f"# what begins with kubeproxy_ at {METRICS_URL}, without buckets\n"
    return Attachment(f"{name}: kube-proxy's metrics", shortened(head + own, MOST_OF_A_LOG) if own else got.body)


def _from_node(node: Node | None, name: str, argv: tuple[str, ...], most: int) -> Attachment:
    def run() -> str:
        if node is None:
            return "not to be had: the run has no access to this node"
        done = node.run(argv, timeout=NODE_SECONDS)
        if done.returncode:
            return f"not to be had: {argv[0]} ended with {done.returncode}: {(done.stderr or done.stdout).strip()}"
        return done.stdout or f"{argv[0]} printed nothing"

    return Attachment(f"{name}: {' '.join(argv[:3]) if argv[0] != 'curl' else argv[0]}", shortened(_or_why(run), most))


def _events(events: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            last_seen(one),
            one.get("type", ""),
            one.get("reason", ""),
            f"{one['involvedObject'].get('kind', '')}/{one['involvedObject'].get('name', '')}",
            one.get("message", ""),
            one.get("count") or 1,
        )
        for one in sorted(events, key=last_seen, reverse=True)
    ]
    return table(_EVENTS, rows or [("", "", "no events", "", "", 0)])


def _or_why(ask: Callable[[], str]) -> str:
    try:
        return ask() or "(nothing)"
    except SuiteError as error:
        return f"not to be had: {error}"
