"""A user's cluster, by kubeconfig: a run works in one namespace, removes what it created, and changes no other."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import yaml

from session_affinity import bundle
from session_affinity.cluster_objects.labels import PART_OF, SUITE
from session_affinity.clusters.external import (
    access,
    agent,
    coordinator,
    discovery,
    images,
    lease,
    leftovers,
    namespace,
    own_pod,
    placement,
    sampling,
)
from session_affinity.clusters.external.cluster import ExternalCluster
from session_affinity.clusters.external.outside import LOCAL, OtherCluster, parse
from session_affinity.clusters.external.pod_settings import pull_secrets_of, settings_of
from session_affinity.clusters.external.scheduling import NodeSelection, pairs, selection_of, tolerations_of
from session_affinity.clusters.interrupts import interrupts_ignored, sigterm_as_interrupt
from session_affinity.clusters.recognition import recognise
from session_affinity.dataplane.backends import BACKENDS
from session_affinity.errors import ClusterError, UsageError
from session_affinity.kube.api import Api, ApiError
from session_affinity.kube.in_cluster import SERVICE_ACCOUNT
from session_affinity.kube.resources import (
    DAEMON_SETS,
    ENDPOINT_SLICES,
    NODES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from session_affinity.agents.fleet import Fleet
    from session_affinity.clusters.external.agent import AgentNode, Agents
    from session_affinity.clusters.external.leftovers import Leftover
    from session_affinity.clusters.external.placement import Candidate, Placement
    from session_affinity.clusters.options import ClusterOptions
    from session_affinity.dataplane.proxy_config import ProxyConfigs
    from session_affinity.progress import Progress

SAMPLE_PODS: Final = ("webpods.yaml", "net-pod.yaml")
CLIENT: Final = "net-pod"
_OF_PODS: Final = (SERVICES, ENDPOINT_SLICES, PODS)
_OF_AGENTS: Final = (DAEMON_SETS, SERVICE_ACCOUNTS)


@contextlib.contextmanager
def open_external(options: ClusterOptions, progress: Progress) -> Iterator[ExternalCluster]:
    """Yield the cluster of the kubeconfig, with a namespace for this run (see ``choice.open_cluster``)."""
    require_usable(options)
    settings = settings_of(options)
    route = access.read(options.kubeconfig, options.context)
    with progress.step(f"external cluster {route}") as step:
        version = access.require_answer(route, deadlines=options.deadlines)
        step.update(f"Kubernetes {version}")
    run = namespace.new_name()
    annotations = lease.run_annotations(run, options.deadlines)
    api = Api(
        route.kubeconfig,
        context=route.context,
        request_seconds=options.deadlines.api_request,
        annotations=annotations,
    )
    options, candidates, unlisted = _survey(api, options)
    if unlisted is None:
        _place(candidates)  # raises before anything is created
    with (
        _workspace(api, run, options, progress) as (name, agent_namespace),
        _running(api, agent_namespace, candidates, options, progress) as agents,
    ):
        recognition = recognise(api)
        proxy_configs = discovery.discover(
            api, agents.nodes, replacing=recognition.replacing, deadlines=options.deadlines, fleet=agents.fleet
        )
        if unlisted is None:
            proxy_configs = proxy_configs.with_nodes(api.objects(NODES))
        missing = _missing_nodes(agents, proxy_configs, candidates)
        placed = unlisted or _place(_away_from(candidates, {**missing, **proxy_configs.not_judged_nodes}))
        nodes = {node: access for node, access in agents.nodes.items() if node not in missing}
        for line in (
            str(proxy_configs),
            *(f"{name}: {text}" for name, text in recognition.facts().items() if name != "served by"),
            *placed.statements,
            *_sampled(options),
            *_limits(nodes, missing, proxy_configs, candidates, options.allow_missing_nodes),
        ):
            progress.note(f"external: {line}")
        yield ExternalCluster(
            name=route.context,
            kubeconfig=route.kubeconfig,
            context=route.context,
            namespace=name,
            placement=placed,
            source=source_of(options),
            settings=settings,
            proxy_configs=proxy_configs,
            recognition=recognition,
            nodes={} if proxy_configs.not_judged else nodes,
            missing_nodes={} if proxy_configs.not_judged else missing,
            annotations=annotations,
            fleet=agents.fleet,
            outside_client=options.outside_client,
            deadlines=options.deadlines,
            facts={
                "placement": "; ".join(placed.statements),
                **({"nodes sampled": "; ".join(_sampled(options))} if options.sampled_from else {}),
                **({"Kubernetes": version} if unlisted else {}),
                **own_pod.facts(api, route.kubeconfig),
            },
        )


@contextlib.contextmanager
def open_agents(api: Api, options: ClusterOptions, progress: Progress) -> Iterator[Agents]:
    """Yield access to the nodes through agents in a namespace of their own, which is removed at the end.

    Raises RefusedError when this user may create no namespace, NotReadyError or ClusterError when no agent runs.
    """
    options, candidates, _ = _survey(api, options)
    run = namespace.new_name()
    annotated = api.with_annotations(lease.run_annotations(run, options.deadlines))
    with (
        _workspace(annotated, run, options, progress) as (_, name),
        _running(annotated, name, candidates, options, progress) as agents,
    ):
        yield agents


def require_usable(options: ClusterOptions) -> None:
    """Raise UsageError for options of an external cluster that contradict each other or cannot be understood."""
    if options.keep:
        raise UsageError(
            "--keep-cluster is for clusters that the suite starts; an external one stays in any case",
            next_step="leave --keep-cluster out",
        )
    settings_of(options)
    if options.outside_client is not None:
        _require_outside(options.outside_client, options.kubeconfig)
    for option, texts in (
        ("--namespace-label", options.namespace_labels),
        ("--namespace-annotation", options.namespace_annotations),
    ):
        if texts and options.namespace is not None:
            raise UsageError(
                f"{option} is for the namespace that a run makes, and --namespace {options.namespace} stays as it is",
                next_step=f"leave {option} out, or --namespace",
            )
        pairs(option, texts)
    if options.node_access != "agent":
        for option, value in (
            ("--agent-namespace", options.agent_namespace),
            ("--agent-image", options.agent_image),
            ("--allow-missing-nodes", options.allow_missing_nodes),
        ):
            if value:
                raise UsageError(f"{option} needs --node-access agent", next_step=f"leave {option} out, or add it")
    if options.allow_missing_nodes < 0:
        raise UsageError("--allow-missing-nodes takes a number from 0 on", next_step="leave it out, or raise it")


def _require_outside(named: str, kubeconfig: Path | None) -> None:
    """Raise UsageError when a client outside cannot be what was named."""
    place = parse(named)
    if isinstance(place, OtherCluster):
        access.read(place.kubeconfig, None)
    if kubeconfig == SERVICE_ACCOUNT and named == LOCAL:
        raise UsageError(
            "--outside-client local is this machine, and this run is a pod of the cluster",
            next_step="name a machine outside: --outside-client ssh://USER@HOST",
        )


def images_for(options: ClusterOptions) -> tuple[str, ...]:
    """Return the images that a run with these options pulls, sorted; an embedded cluster builds its own instead."""
    objects: list[dict[str, Any]] = _sample_pods()
    if options.node_access == "agent" and not options.agent_image:
        objects += [manifest for manifest in agent.manifests("") if manifest["kind"] == "DaemonSet"]
    needed = images.images_of(objects, source_of(options))
    if options.node_access == "agent" and options.agent_image:
        needed = tuple(sorted({*needed, options.agent_image}))
    if options.cluster != "kind":
        return needed
    from session_affinity.clusters.kind.preflight import requested_node_image

    return tuple(sorted((*needed, requested_node_image(options.kubernetes, options.node_image).image)))


def source_of(options: ClusterOptions) -> images.ImageSource:
    """Return where the images of a run with these options come from."""
    return images.ImageSource(options.image_registry, options.image_tags)


def kinds_of(options: ClusterOptions) -> dict[str, tuple[Resource, ...]]:
    """Return the kinds of objects that a run creates in existing namespaces, by namespace."""
    secrets = (SECRETS,) if any(secret.namespace for secret in pull_secrets_of(options)) else ()
    kinds: dict[str, tuple[Resource, ...]] = {}
    if options.namespace:
        kinds[options.namespace] = (*_OF_PODS, *secrets)
    if agents := options.node_access == "agent" and (options.agent_namespace or options.namespace):
        kinds[agents] = (*_OF_AGENTS, *kinds.get(agents, (PODS, *secrets)))
    return kinds


@contextlib.contextmanager
def _workspace(api: Api, run: str, options: ClusterOptions, progress: Progress) -> Iterator[tuple[str, str]]:
    """Yield the namespaces of the sample pods and of the agents, which may be the same.

    What the run created is removed whatever happens, also when the process is terminated.
    """
    with lease.lease(run), sigterm_as_interrupt(), contextlib.ExitStack() as at_end:
        for name, kinds in kinds_of(options).items():
            at_end.enter_context(_existing(api, name, kinds, options, progress))
        name = options.namespace or at_end.enter_context(_made(api, run, options, progress))
        agent_namespace = options.agent_namespace or name
        _copy_pull_secrets(api, dict.fromkeys((name, agent_namespace)), options)
        yield name, agent_namespace


@contextlib.contextmanager
def _made(api: Api, name: str, options: ClusterOptions, progress: Progress) -> Iterator[str]:
    """Yield a namespace made for this run."""
    _remove_left_namespaces(api, progress)
    has_agents = options.node_access == "agent" and not options.agent_namespace
    manifest = namespace.manifest(
        name,
        namespace.PRIVILEGED if has_agents else namespace.RESTRICTED,
        pairs("--namespace-annotation", options.namespace_annotations),
        pairs("--namespace-label", options.namespace_labels),
    )
    with contextlib.ExitStack() as at_end:
        with progress.step(f"namespace {name}"):
            at_end.enter_context(namespace.made(api, manifest, progress, deadlines=options.deadlines))
        yield name


@contextlib.contextmanager
def _existing(
    api: Api, name: str, kinds: Sequence[Resource], options: ClusterOptions, progress: Progress
) -> Iterator[None]:
    """Use an existing namespace, of which no other run may make use; objects of the run are removed at the end."""
    for line in namespace.require(api, name):
        progress.note(f"external: {line}")
    found = leftovers.find_objects(api, name, kinds=kinds)
    for leftover in found:
        if not leftover.is_over:
            raise ClusterError(
                f"another run works in the namespace: {leftover}",
                next_step="wait for its end, or use another namespace; if that run is over: "
                f"session-affinity cleanup --all --namespace {name}",
            )
        progress.note(f"{leftover}; removed")
    leftovers.remove(api, found, deadlines=options.deadlines)
    try:
        yield
    finally:
        with (
            interrupts_ignored(lambda _: progress.note(f"namespace {name} is being cleared: a few seconds more")),
            progress.step(f"removing what the run created in namespace {name}"),
        ):
            left = leftovers.find_objects(api, name, kinds=kinds)
            leftovers.remove(api, left, deadlines=options.deadlines)


def _remove_left_namespaces(api: Api, progress: Progress) -> None:
    """Remove the namespaces of runs that are over or expired, and name those that others may use."""
    try:
        found = leftovers.find_namespaces(api)
    except ApiError as error:
        progress.note(f"namespaces of earlier runs were not looked for: {error.what}")
        return
    for leftover in found:
        progress.note(f"{leftover}; {'removed' if leftover.is_over else _left_alone(leftover)}")
    leftovers.begin_removal(api, [leftover for leftover in found if leftover.is_over])


def _left_alone(leftover: Leftover) -> str:
    return f"left alone; if that run is over: kubectl delete namespace {leftover.namespace}"


def _copy_pull_secrets(api: Api, namespaces: Mapping[str, object], options: ClusterOptions) -> None:
    for secret in pull_secrets_of(options):
        if not secret.namespace:
            continue
        try:
            original = api.get(SECRETS, secret.name, secret.namespace)
            for name in namespaces:
                metadata = {"name": secret.name, "namespace": name, "labels": {PART_OF: SUITE}}
                copied = {"type": original.get("type"), "data": original.get("data") or {}}
                api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, **copied})
        except ApiError as error:
            raise ClusterError(
                f"Secret {secret.namespace}/{secret.name} cannot be copied into the namespace of the run: {error.what}",
                next_step="check the name; `session-affinity rbac` with the same options prints the rights it takes",
            ) from error


def _survey(api: Api, options: ClusterOptions) -> tuple[ClusterOptions, tuple[Candidate, ...], Placement | None]:
    """Return the nodes, or the placement for a user who may not list them, and the options with a sample as names.

    Raises UsageError for unknown names, and for a sample where nodes cannot be listed.
    """
    selection = selection_of(options)
    try:
        nodes = api.objects(NODES)
    except ApiError as error:
        if error.status != 403:
            raise
        if selection.sample:
            raise UsageError(
                f"--nodes {options.nodes}: this user may not list the nodes", next_step="name the nodes"
            ) from error
        return options, (), placement.by_scheduler(f"no permission to list nodes ({error.what})")
    _require_known(selection, [node["metadata"]["name"] for node in nodes])
    surveyed = placement.survey(nodes, tolerations_of(options), selection)
    if not selection.sample:
        return options, surveyed, None
    usable = [node.name for node in surveyed if node.is_selected and node.is_linux and node.is_ready]
    options = replace(options, nodes=",".join(sampling.sample(usable, selection.sample)), sampled_from=len(usable))
    return options, placement.survey(nodes, tolerations_of(options), selection_of(options)), None


def _sampled(options: ClusterOptions) -> Iterator[str]:
    """Yield what a sample of the nodes can miss."""
    if options.sampled_from:
        yield sampling.statement(options.sampled_from, len(selection_of(options).names))


def _require_known(selection: NodeSelection, names: Sequence[str]) -> None:
    if unknown := [name for name in selection.names if name not in names]:
        raise UsageError(f"--nodes: no node {', '.join(unknown)}", next_step=f"the cluster has {', '.join(names)}")


def _place(candidates: Sequence[Candidate]) -> Placement:
    endpoints = [pod["metadata"]["name"] for pod in _sample_pods() if pod["metadata"]["name"] != CLIENT]
    return placement.place(endpoints, CLIENT, candidates)


def _away_from(candidates: Sequence[Candidate], missing: Mapping[str, str]) -> Sequence[Candidate]:
    """Return the candidates without the nodes that cannot be judged, unless no other node takes pods."""
    others = [node for node in candidates if node.name not in missing]
    return others if any(not node.reason for node in others) else candidates


@contextlib.contextmanager
def _running(
    api: Api, name: str, candidates: Sequence[Candidate], options: ClusterOptions, progress: Progress
) -> Iterator[Agents]:
    """Yield the agents, with the coordinator through which they judge where they can."""
    image = options.agent_image if options.node_access == "agent" else None
    with coordinator.coordinating(api, name, image, options, progress) as fleet:
        agents = _agents(api, name, candidates, options, progress, fleet=fleet)
        if fleet is not None:
            agents = _connected(agents, fleet, options, progress)
        with _shells(agents):
            yield agents


def _connected(agents: Agents, fleet: Fleet, options: ClusterOptions, progress: Progress) -> Agents:
    """Return the agents that the coordinator has; without the fleet where it has none."""
    with progress.step("node agents at the coordinator") as step:
        absent = coordinator.wait_for_agents(fleet, agents.nodes, options.deadlines)
        step.update(f"{len(agents.nodes) - len(absent)} of {len(agents.nodes)}")
    if len(absent) == len(agents.nodes):
        reason = next(iter(absent.values()), "there are none")
        progress.note(f"external: the agents do not judge, their nodes are read one by one: {reason}")
        return agents
    nodes = {node: each for node, each in agents.nodes.items() if node not in absent}
    return agent.Agents(nodes, {**agents.missing, **absent}, agents.namespace, fleet)


def _agents(
    api: Api,
    name: str,
    candidates: Sequence[Candidate],
    options: ClusterOptions,
    progress: Progress,
    *,
    fleet: Fleet | None,
) -> Agents:
    """Start the agents; the nodes that are not Ready are missing."""
    if options.node_access == "none":
        return agent.Agents()
    if not candidates:
        raise ClusterError(
            "--node-access agent needs to list the nodes, which this user may not do",
            next_step="run without it: claims about nodes are then skipped",
        )
    selected = [node for node in candidates if node.is_linux and node.is_selected]
    wanted = [node.name for node in selected if node.is_ready]
    with progress.step(f"agents on {len(wanted)} nodes") as step:
        started = agent.start(
            api,
            name,
            wanted,
            source_of(options),
            settings_of(options),
            image=options.agent_image,
            judges=fleet is not None,
            deadlines=options.deadlines,
        )
        step.update(f"{len(started.nodes)} Ready")
    not_ready = {node.name: node.reason for node in selected if not node.is_ready}
    return agent.Agents(started.nodes, {**started.missing, **not_ready}, name)


@contextlib.contextmanager
def _shells(agents: Agents) -> Iterator[Agents]:
    """Yield the agents and close their shells at the end."""
    with contextlib.ExitStack() as open_shells:
        for node in agents.nodes.values():
            open_shells.callback(node.shell.close)
        yield agents


def _missing_nodes(agents: Agents, proxy_configs: ProxyConfigs, candidates: Sequence[Candidate]) -> dict[str, str]:
    """Return the nodes that cannot be read, each with the reason, in the order of the candidates."""
    silent = {name: "its agent did not answer" for name in agents.nodes if name not in proxy_configs.by_node}
    missing = {**agents.missing, **silent}
    return {node.name: missing[node.name] for node in candidates if node.name in missing}


def _limits(
    nodes: Mapping[str, AgentNode],
    missing: Mapping[str, str],
    proxy_configs: ProxyConfigs,
    candidates: Sequence[Candidate],
    allowed: int,
) -> Iterator[str]:
    """Yield what cannot be judged here, and why."""
    if proxy_configs.not_judged:
        yield proxy_configs.not_judged
    elif proxy_configs.mode not in BACKENDS:
        yield f"kube-proxy runs in {proxy_configs.mode} mode: claims about its rules cannot be judged here"
    if not nodes:
        return
    if left_out := proxy_configs.left_out:
        yield f"claims about nodes leave out {left_out}"
    if missing:
        what = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        follows = (
            "claims about every node are judged on the others"
            if len(missing) <= allowed
            else f"claims about every node cannot be judged (--allow-missing-nodes {allowed})"
        )
        yield f"{len(missing)} of {len(nodes) + len(missing)} nodes missing, {follows}: {what}"
    if others := [node.name for node in candidates if node.name not in nodes and node.name not in missing]:
        yield f"not looked at: {', '.join(others)}"


def _sample_pods() -> list[dict[str, Any]]:
    return [pod for name in SAMPLE_PODS for pod in yaml.safe_load_all((bundle.MANIFESTS / name).read_text())]
