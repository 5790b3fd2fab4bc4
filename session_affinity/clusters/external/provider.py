"""A cluster of the user's own, by kubeconfig: one namespace is made in it and removed, and nothing else is touched."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from session_affinity import bundle
from session_affinity.clusters.external import access, agent, discovery, images, lease, namespace, placement
from session_affinity.clusters.external.cluster import ExternalCluster
from session_affinity.clusters.interrupts import interrupts_ignored, sigterm_as_interrupt
from session_affinity.dataplane.backends import BACKENDS
from session_affinity.errors import ClusterError, UsageError
from session_affinity.kube.api import Api, ApiError
from session_affinity.kube.resources import NODES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from session_affinity.clusters.external.agent import AgentNode
    from session_affinity.clusters.external.placement import Candidate, Placement
    from session_affinity.clusters.options import ClusterOptions
    from session_affinity.dataplane.proxy_config import ProxyConfigs
    from session_affinity.progress import Progress

SAMPLE_PODS: Final = ("webpods.yaml", "net-pod.yaml")
CLIENT: Final = "net-pod"


@contextlib.contextmanager
def open_external(options: ClusterOptions, progress: Progress) -> Iterator[ExternalCluster]:
    """Yield the cluster that the kubeconfig leads to, with a namespace for this run (see ``choice.open_cluster``)."""
    require_usable(options)
    way = access.read(options.kubeconfig, options.context)
    with progress.step(f"external cluster {way}") as step:
        version = access.require_answer(way, deadlines=options.deadlines)
        step.update(f"Kubernetes {version}")
    api = Api(way.kubeconfig, context=way.context, request_seconds=options.deadlines.api_request)
    candidates, unseen = _survey(api)
    placed = unseen or _place(candidates)
    namespace.remove_leftovers(api, progress)
    with _namespace(api, options, progress) as name, contextlib.ExitStack() as open_shells:
        nodes = _agents(api, name, candidates, options, progress)
        for node in nodes.values():
            open_shells.callback(node.shell.close)
        proxy_configs = discovery.discover(api, nodes, deadlines=options.deadlines)
        for line in (str(proxy_configs), *placed.statements, *_limits(nodes, proxy_configs, candidates)):
            progress.note(f"external: {line}")
        yield ExternalCluster(
            name=way.context,
            kubeconfig=way.kubeconfig,
            context=way.context,
            namespace=name,
            placement=placed,
            source=source_of(options),
            proxy_configs=proxy_configs,
            nodes={} if proxy_configs.not_judged else nodes,
            facts={"placement": "; ".join(placed.statements), **({"Kubernetes": version} if unseen else {})},
        )


@dataclass(frozen=True)
class Agents:
    """Access to nodes through the agents in a namespace."""

    namespace: str
    nodes: Mapping[str, AgentNode]


@contextlib.contextmanager
def open_agents(api: Api, options: ClusterOptions, progress: Progress) -> Iterator[Agents]:
    """Yield access to the nodes through agents in a namespace of their own, which is removed at the end.

    Raises RefusedError when this user may create no namespace, ClusterError when the agents do not run.
    """
    candidates, _ = _survey(api)
    with _namespace(api, options, progress) as name, contextlib.ExitStack() as open_shells:
        nodes = _agents(api, name, candidates, options, progress)
        for node in nodes.values():
            open_shells.callback(node.shell.close)
        yield Agents(name, nodes)


def require_usable(options: ClusterOptions) -> None:
    """Raise UsageError for what ``choice.check`` leaves to the provider."""
    if options.keep:
        raise UsageError(
            "--keep-cluster is for clusters that the suite makes; an external one stays, and its namespace goes",
            next_step="leave --keep-cluster out",
        )


def is_asked_for(options: ClusterOptions) -> bool:
    """Whether the cluster is one that the suite finds, as far as the options tell."""
    return options.cluster == "external" or (options.cluster == "auto" and options.kubeconfig is not None)


def no_node_access(options: ClusterOptions) -> str:
    """Return why claims about nodes cannot be judged, as far as the options tell; empty when they can."""
    return discovery.NO_ACCESS if is_asked_for(options) and options.node_access == "none" else ""


def images_for(options: ClusterOptions) -> tuple[str, ...]:
    """Return the images that a run with these options pulls, sorted; the embedded cluster makes its own instead."""
    objects: list[dict[str, Any]] = _sample_pods()
    if options.node_access == "agent":
        objects += [one for one in agent.manifests("") if one["kind"] == "DaemonSet"]
    needed = images.images_of(objects, source_of(options))
    if options.cluster != "kind":
        return needed
    from session_affinity.clusters.kind.preflight import requested_node_image

    return tuple(sorted((*needed, requested_node_image(options.kubernetes, options.node_image).image)))


def source_of(options: ClusterOptions) -> images.ImageSource:
    """Return where the images of a run with these options come from."""
    return images.ImageSource(options.image_registry, options.image_tags)


@contextlib.contextmanager
def _namespace(api: Api, options: ClusterOptions, progress: Progress) -> Iterator[str]:
    """Yield a namespace made for this run; it is removed whatever happens, also when the process is told to end."""
    name = namespace.new_name()
    level = namespace.PRIVILEGED if options.node_access == "agent" else namespace.BASELINE
    with lease.lease(name), sigterm_as_interrupt(), contextlib.ExitStack() as at_end:
        # Before it is made: an interrupt may come when the cluster has it already and this process does not know.
        at_end.callback(_remove, api, name, options, progress)
        try:
            with progress.step(f"namespace {name}"):
                namespace.create(api, name, level, deadlines=options.deadlines)
        except namespace.RefusedError:
            at_end.pop_all()
            raise
        yield name


def _remove(api: Api, name: str, options: ClusterOptions, progress: Progress) -> None:
    with interrupts_ignored(lambda _: progress.note(f"namespace {name} is being removed: a few seconds more")):
        namespace.remove(api, name, progress, deadlines=options.deadlines)


def _survey(api: Api) -> tuple[tuple[Candidate, ...], Placement | None]:
    """Return the nodes, or the placement for a user who may not list them."""
    try:
        return placement.survey(api.objects(NODES)), None
    except ApiError as error:
        if error.status != 403:
            raise
        return (), placement.unseen(f"no permission to list nodes ({error.what})")


def _place(candidates: Sequence[Candidate]) -> Placement:
    endpoints = [pod["metadata"]["name"] for pod in _sample_pods() if pod["metadata"]["name"] != CLIENT]
    return placement.place(endpoints, CLIENT, candidates)


def _agents(
    api: Api, name: str, candidates: Sequence[Candidate], options: ClusterOptions, progress: Progress
) -> dict[str, AgentNode]:
    if options.node_access == "none":
        return {}
    if not candidates:
        raise ClusterError(
            "--node-access agent needs to know the nodes, and this user may not list them",
            next_step="run without it: claims about nodes are then skipped",
        )
    wanted = [one.name for one in candidates if one.is_ready and one.is_linux]
    with progress.step(f"agents on {len(wanted)} nodes"):
        return agent.start(api, name, wanted, source_of(options), deadlines=options.deadlines)


def _limits(
    nodes: Mapping[str, AgentNode], proxy_configs: ProxyConfigs, candidates: Sequence[Candidate]
) -> Iterator[str]:
    """Yield what cannot be judged here, and why."""
    if proxy_configs.not_judged:
        yield proxy_configs.not_judged
    elif proxy_configs.mode not in BACKENDS:
        yield f"kube-proxy runs in {proxy_configs.mode} mode: claims about its rules cannot be judged here"
    if nodes and (without_agent := [node.name for node in candidates if node.name not in nodes]):
        yield f"not read, for no agent runs there: {', '.join(without_agent)}"


def _sample_pods() -> list[dict[str, Any]]:
    return [pod for name in SAMPLE_PODS for pod in yaml.safe_load_all((bundle.MANIFESTS / name).read_text())]
