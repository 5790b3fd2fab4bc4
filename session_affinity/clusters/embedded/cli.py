"""Real Kubernetes clusters on this machine, from the command line.

Every cluster is one tree of processes in namespaces of its own: nothing of it is visible in the host's network, and
nothing stays when it is taken down.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from session_affinity import versions
from session_affinity.clusters.addresses import DEFAULT_IP_FAMILY, IP_FAMILIES
from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.layout import WORKERS
from session_affinity.clusters.embedded.prepare import PROXY_MODES, Request, prepare, resolve
from session_affinity.clusters.embedded.state import cluster_names
from session_affinity.command_line import run
from session_affinity.errors import ClusterError, UsageError
from session_affinity.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROGRAM = "python -m session_affinity.clusters.embedded"
_EXAMPLES = f"""\
examples:
  {_PROGRAM} up                                  # one control plane, three workers
  {_PROGRAM} up --name old --kubernetes 1.35     # a second one beside it
  kubectl --kubeconfig "$({_PROGRAM} kubeconfig)" get nodes
  {_PROGRAM} exec myk8s-worker -- iptables -t nat -S KUBE-SERVICES
  {_PROGRAM} down --all

Files of a cluster: ~/.local/state/session-affinity/clusters/NAME (SESSION_AFFINITY_STATE), programs and images:
~/.cache/session-affinity (SESSION_AFFINITY_CACHE). Exit codes: 0 done, 1 not done, 2 unusable options.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; errors go to standard error as one message with the next step."""
    return run(_parser(), arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM, description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")

    up = verbs.add_parser("up", help="start a cluster, or say that it runs; a damaged one is replaced")
    _name_option(up)
    _version_option(up)
    up.add_argument("--proxy-mode", choices=PROXY_MODES, default="iptables", help="how kube-proxy works [iptables]")
    up.add_argument("--kube-proxy", type=Path, metavar="PATH", help="run this kube-proxy instead of the release's")
    up.add_argument(
        "--ip-family",
        choices=IP_FAMILIES,
        default=DEFAULT_IP_FAMILY,
        help=f"addresses of nodes, pods and Services; with both, IPv4 is the primary one [{DEFAULT_IP_FAMILY}]",
    )
    up.add_argument("--workers", type=int, default=WORKERS, metavar="N", help=f"how many worker nodes [{WORKERS}]")
    up.add_argument(
        "--deadline-scale", type=float, default=1.0, metavar="X", help="stretch all deadlines, for slow machines [1]"
    )
    up.set_defaults(verb=_up)

    status = verbs.add_parser("status", help="say which clusters there are and whether all their programs run")
    status.add_argument("--name", help="only this cluster")
    status.set_defaults(verb=_status)

    kubeconfig = verbs.add_parser("kubeconfig", help="print the path of a cluster's kubeconfig")
    _name_option(kubeconfig)
    kubeconfig.set_defaults(verb=_kubeconfig)

    execute = verbs.add_parser("exec", help="run a command in a node's namespaces")
    _name_option(execute)
    execute.add_argument("node", help="name of the node")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD", help="the command and its arguments")
    execute.set_defaults(verb=_exec)

    down = verbs.add_parser("down", help="take a cluster down, or remove what is left of a dead one")
    _name_option(down)
    down.add_argument("--all", action="store_true", help="every cluster of this user")
    down.set_defaults(verb=_down)

    build = verbs.add_parser("build", help="fetch or build the programs and images, start nothing")
    _version_option(build)
    build.set_defaults(verb=_build)
    return parser


def _name_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="myk8s", help="name of the cluster [myk8s]")


def _version_option(parser: argparse.ArgumentParser) -> None:
    known = versions.load()
    parser.add_argument(
        "--kubernetes",
        default="",
        metavar="VERSION",
        help=f"{' | '.join(known.minors)} [{known.default.minor}]",
    )


def _request(parsed: argparse.Namespace) -> Request:
    return Request(
        name=parsed.name,
        kubernetes=parsed.kubernetes,
        proxy_mode=parsed.proxy_mode,
        kube_proxy=parsed.kube_proxy,
        workers=parsed.workers,
        ip_family=parsed.ip_family,
        deadline_scale=parsed.deadline_scale,
    )


def _up(parsed: argparse.Namespace) -> int:
    request = _request(parsed)
    release = resolve(request)
    progress = Progress()
    running = clusters.find(request.name)
    if running is not None:
        dead = running.dead()
        if not dead:
            _require_alike(running, request, release)
            print(f"cluster {request.name} runs Kubernetes {running.layout.kubernetes}")
            return 0
        progress.note(f"cluster {request.name} is damaged ({'; '.join(dead)}): it is replaced")
        clusters.down(request.name)
    prepared = prepare(request, progress)
    started = clusters.up(prepared.layout, progress, facts=prepared.facts)
    print(f"cluster {started.name} runs Kubernetes {started.layout.kubernetes} ({started.facts['cluster start']})")
    print(f"kubeconfig: {started.kubeconfig}")
    return 0


def _require_alike(running: clusters.EmbeddedCluster, request: Request, release: str) -> None:
    layout = running.layout
    have = (layout.kubernetes, layout.proxy_mode, layout.ip_family, f"{len(layout.nodes) - 1} workers")
    want = (
        release if request.kubernetes else layout.kubernetes,
        request.proxy_mode,
        request.ip_family,
        f"{request.workers} workers",
    )
    if have != want:
        raise UsageError(
            f"cluster {request.name} runs Kubernetes {', '.join(have)}; asked for were {', '.join(want)}",
            next_step=f"take it down first, or use another --name than {request.name}",
        )


def _status(parsed: argparse.Namespace) -> int:
    names = [parsed.name] if parsed.name else cluster_names()
    if not names:
        print("no clusters")
        return 0
    well = [_told(name) for name in names]
    return 0 if all(well) else 1


def _told(name: str) -> bool:
    """Say how a cluster is; return whether all is well."""
    try:
        running = clusters.find(name)
    except ClusterError as error:
        print(f"{name}: {error}")
        return False
    if running is None:
        print(f"{name}: not running")
        return False
    dead = running.dead()
    layout = running.layout
    state = f"damaged: {'; '.join(dead)}" if dead else "all programs run"
    kind = f"Kubernetes {layout.kubernetes}, {layout.proxy_mode}, {layout.ip_family}, {len(layout.nodes)} nodes"
    print(f"{name}: {kind}, {state}")
    for node in layout.nodes:
        print(f"  {node.name}  {', '.join(node.addresses)}  pods {', '.join(node.pod_cidrs)}")
    print(f"  kubeconfig {running.kubeconfig}")
    print(f"  logs       {running.state.root / 'logs'}")
    return not dead


def _kubeconfig(parsed: argparse.Namespace) -> int:
    print(_find(parsed.name).kubeconfig)
    return 0


def _exec(parsed: argparse.Namespace) -> int:
    running = _find(parsed.name)
    node = running.nodes.get(parsed.node)
    if node is None:
        raise UsageError(f"cluster {parsed.name} has no node {parsed.node}; it has {', '.join(running.nodes)}")
    command = parsed.command[1:] if parsed.command[:1] == ["--"] else parsed.command
    shell = shutil.which("bash") or "/bin/sh"
    return subprocess.run(node.argv(command or [shell]), check=False).returncode


def _down(parsed: argparse.Namespace) -> int:
    for name in cluster_names() if parsed.all else [parsed.name]:
        print(f"cluster {name}: {'removed' if clusters.down(name) else 'there is none'}")
    return 0


def _build(parsed: argparse.Namespace) -> int:
    prepared = prepare(Request(kubernetes=parsed.kubernetes), Progress())
    for name, path in sorted(prepared.layout.programs.items()):
        print(f"{name:28} {path}")
    print(f"{'images':28} {prepared.layout.image_archive}")
    return 0


def _find(name: str) -> clusters.EmbeddedCluster:
    running = clusters.find(name)
    if running is None:
        others = ", ".join(cluster_names()) or "none"
        raise ClusterError(
            f"no cluster {name} is running (on disk: {others})", next_step=f"{_PROGRAM} up --name {name}"
        )
    return running
