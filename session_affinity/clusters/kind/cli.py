"""kind clusters that runs of the suite left with --keep-cluster, from the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from session_affinity.clusters.kind import preflight
from session_affinity.clusters.kind.cluster import ClusterLifetime
from session_affinity.clusters.kind.engine import detect
from session_affinity.clusters.kind.state import KindState, names
from session_affinity.command_line import run
from session_affinity.errors import ClusterError
from session_affinity.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROGRAM = "python -m session_affinity.clusters.kind"
_EXAMPLES = f"""\
examples:
  kubectl --kubeconfig "$({_PROGRAM} kubeconfig)" get nodes
  {_PROGRAM} down --all
  pytest -m affinity --cluster kind --node-image "$({_PROGRAM} image)"    # without fetching anything

Files of a cluster: ~/.local/state/session-affinity/kind/NAME (SESSION_AFFINITY_STATE). Exit codes: 0 done, 1 not done,
2 unusable options.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; errors go to standard error as one message with the next step."""
    return run(_parser(), arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM, description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    down = verbs.add_parser("down", help="delete a cluster that the suite made, and what it keeps about it")
    _name_option(down)
    down.add_argument("--all", action="store_true", help="every such cluster of this user")
    down.set_defaults(verb=_down)
    kubeconfig = verbs.add_parser("kubeconfig", help="print the path of a cluster's kubeconfig")
    _name_option(kubeconfig)
    kubeconfig.set_defaults(verb=_kubeconfig)
    image = verbs.add_parser("image", help="print a node image that is here, with which a cluster can be started")
    image.set_defaults(verb=_image)
    return parser


def _name_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="myk8s", help="name of the cluster [myk8s]")


def _down(parsed: argparse.Namespace) -> int:
    for name in names() if parsed.all else [parsed.name]:
        print(f"cluster {name}: {'removed' if _removed(KindState(name)) else 'there is none that the suite made'}")
    return 0


def _removed(state: KindState) -> bool:
    record = state.record()
    if record is None:
        return False
    preflight.require_kind()
    engine = detect()
    life = ClusterLifetime(engine, state, Progress())
    with state.held():
        containers = engine.containers(state.name)
        if containers and not record.describes(containers):
            raise ClusterError(
                f"the kind cluster {state.name} that is there is not the one that the suite made",
                next_step=f"kind delete cluster --name {state.name}, if nobody needs it",
            )
        if containers:
            life.remove()
        else:
            life.forget(record)
    return True


def _kubeconfig(parsed: argparse.Namespace) -> int:
    state = KindState(parsed.name)
    if not state.kubeconfig.exists():
        raise ClusterError(
            f"no kind cluster {parsed.name} that the suite keeps (there are: {', '.join(names()) or 'none'})",
            next_step=f"pytest -m affinity --cluster kind --keep-cluster --cluster-name {parsed.name}",
        )
    print(state.kubeconfig)
    return 0


def _image(_: argparse.Namespace) -> int:
    preflight.require_kind()
    print(preflight.local_image(detect()))
    return 0
