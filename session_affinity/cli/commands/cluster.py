"""``session-affinity cluster``: clusters on this machine, started without Docker, and kind clusters that were kept."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any, Final

import click

from session_affinity import extras, versions
from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY, IP_FAMILIES
from session_affinity.clusters.embedded.layout import WORKERS
from session_affinity.clusters.options import IPTABLES_VARIANTS
from session_affinity.options import CLUSTER_NAME, PROXY_MODES

_EPILOG: Final = """\
\b
Examples:
  session-affinity cluster up                                # one control plane, three workers
  session-affinity cluster up --name old --kubernetes 1.35   # a second one beside it
  kubectl --kubeconfig "$(session-affinity cluster kubeconfig)" get nodes
  session-affinity check --kubeconfig "$(session-affinity cluster kubeconfig)" C10
  session-affinity cluster exec myk8s-worker -- iptables -t nat -S KUBE-SERVICES
  session-affinity cluster down --all

\b
Files:
  a cluster's files     ~/.local/state/session-affinity (SESSION_AFFINITY_STATE names another directory)
  programs and images   ~/.cache/session-affinity (SESSION_AFFINITY_CACHE)
SESSION_AFFINITY_SOURCE is auto, release or build: whether programs are downloaded, or built from their Go modules.
SESSION_AFFINITY_RELEASES names a mirror of the official releases.
"""


@click.group(epilog=_EPILOG, short_help="Start, look into and remove clusters on this machine.")
def command() -> None:
    """Start, look into and remove real Kubernetes clusters on this machine.

    An embedded cluster needs Linux, root, and the extra [embedded]: one control plane and some workers as processes in
    namespaces of their own, without Docker. Nothing of it stays when it is taken down.
    """


def _name(function: Any) -> Any:
    return click.option(
        "--name", "--cluster-name", default=CLUSTER_NAME, show_default=True, help="Name of the cluster."
    )(function)


def _provider(function: Any) -> Any:
    return click.option(
        "--provider",
        type=click.Choice(("embedded", "kind")),
        default="embedded",
        show_default=True,
        help="embedded, or kind for a cluster that `check --cluster kind --keep-cluster` kept.",
    )(function)


def _kubernetes(function: Any) -> Any:
    known = versions.load()
    return click.option(
        "--kubernetes",
        default="",
        metavar="VERSION",
        help=f"Its version: {', '.join(known.minors)}, or a patch version of one. Default: {known.default.minor}.",
    )(function)


@command.command()
@_name
@_kubernetes
@click.option(
    "--proxy-mode",
    type=click.Choice(PROXY_MODES),
    help="The mode of kube-proxy. Default: iptables.",
)
@click.option(
    "--kube-proxy",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Run this kube-proxy binary. Default: the released one.",
)
@click.option("--no-kube-proxy", is_flag=True, help="Start the nodes without kube-proxy.")
@click.option(
    "--no-cni",
    is_flag=True,
    help="Start the nodes without CNI configuration and routes to each other's pods; --node-program provides both.",
)
@click.option(
    "--node-program",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Run this program on every node, as root: the agent of your dataplane (docs/bring-your-own-dataplane.md)."
    " A directory has two, control-plane and worker.",
)
@click.option(
    "--proxy-config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Merge the KubeProxyConfiguration in this file over that of the kube-proxies. Default: the suite's own.",
)
@click.option(
    "--iptables",
    type=click.Choice(IPTABLES_VARIANTS),
    help="The variant of iptables on the nodes, for kube-proxy in iptables mode. Default: legacy where this machine has"
    " it, which takes half the time, else nft.",
)
@click.option(
    "--ip-family",
    type=click.Choice(IP_FAMILIES),
    default=DEFAULT_IP_FAMILY,
    show_default=True,
    help="Addresses of nodes, pods and Services; with both, IPv4 is the primary one.",
)
@click.option("--workers", type=int, default=WORKERS, show_default=True, metavar="N", help="Number of worker nodes.")
@click.option(
    "--deadline-scale",
    type=float,
    default=1.0,
    show_default=True,
    metavar="FACTOR",
    help="Multiply every deadline by this factor, for slow machines.",
)
def up(**request: Any) -> int:
    """Start a cluster. One that runs already is left as it is; one that is damaged is replaced."""
    _require_embedded()
    from session_affinity.cli import embedded_clusters
    from session_affinity.clusters.embedded.prepare import ClusterRequest

    return embedded_clusters.up(ClusterRequest(**request))


@command.command()
@click.option("--name", "--cluster-name", help="Only this cluster. Default: all.")
def status(name: str | None) -> int:
    """Print which clusters there are, and whether all their programs run; exit code 1 unless they do."""
    _require_embedded()
    from session_affinity.cli import embedded_clusters

    return embedded_clusters.status(name)


@command.command()
@_name
@_provider
def kubeconfig(name: str, provider: str) -> int:
    """Print the path of a cluster's kubeconfig."""
    return int(_clusters_of(provider).kubeconfig(name))


@command.command(
    "exec",
    context_settings={"allow_interspersed_args": False},
    epilog="Example: session-affinity cluster exec myk8s-worker -- iptables-save -t nat",
)
@_name
@click.argument("node")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
def execute(name: str, node: str, words: tuple[str, ...]) -> int:
    """Run a command in a node's namespaces, a shell unless one is given; the exit code is the command's."""
    _require_embedded()
    from session_affinity.cli import embedded_clusters

    return embedded_clusters.execute(name, node, words[1:] if words[:1] == ("--",) else words)


@command.command("load-image", epilog="Example: session-affinity cluster load-image dist/image.tar")
@_name
@click.argument("archive", type=click.Path(path_type=Path))
def load_image(name: str, archive: Path) -> int:
    """Import the images of an archive on the nodes of an embedded cluster, which pull from no registry."""
    _require_embedded()
    from session_affinity.cli import embedded_clusters

    return embedded_clusters.load_image(name, archive)


@command.command()
@_name
@_provider
@click.option("--all", "every", is_flag=True, help="Every cluster of this user and provider.")
def down(name: str, provider: str, *, every: bool) -> int:
    """Take a cluster down, or remove what is left of a dead one."""
    return int(_clusters_of(provider).down(None if every else [name]))


@command.command()
@_kubernetes
@click.option(
    "--missing-packages",
    is_flag=True,
    help="Print the Debian packages without which a program cannot be built here, and do nothing else.",
)
@click.option("--tool", metavar="NAME", help="Get this program of the project's own checks, and print its path.")
@click.option("--quiet", is_flag=True, help="Report no progress.")
def build(kubernetes: str, tool: str | None, *, missing_packages: bool, quiet: bool) -> int:
    """Fetch or build the programs and images of a cluster, and start nothing."""
    # A build that is ended takes the compilers it started with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not missing_packages and not tool:
        _require_embedded()
        from session_affinity.cli import embedded_clusters

        return embedded_clusters.build(kubernetes, quiet=quiet)
    from session_affinity.clusters.embedded import binaries
    from session_affinity.progress import Progress

    release = versions.resolve(kubernetes or None).release
    if missing_packages:
        for package in binaries.missing_packages(release, Progress(quiet=True)):
            click.echo(package)
        return 0
    pinned = binaries.pins.tool(str(tool))
    click.echo(binaries.ensure(release, Progress(quiet=quiet), components=(pinned,))[str(tool)])
    return 0


@command.command("node-image")
def node_image() -> int:
    """Print a node image with which `check --cluster kind --node-image IMAGE` starts without fetching anything."""
    return int(_clusters_of("kind").node_image())


def _require_embedded() -> None:
    extras.require(extras.EMBEDDED, "an embedded cluster")


def _clusters_of(provider: str) -> Any:
    """Return the module that has the verbs of a provider."""
    if provider == "kind":
        extras.require(extras.KIND, "a kind cluster")
        from session_affinity.cli import kind_clusters

        return kind_clusters
    _require_embedded()
    from session_affinity.cli import embedded_clusters

    return embedded_clusters
