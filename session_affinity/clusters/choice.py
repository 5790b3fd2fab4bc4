"""Which cluster a run is on, and its beginning and end."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity import extras, versions
from session_affinity.clusters.addresses import families_of
from session_affinity.clusters.options import PROVIDERS_OF, require_dataplane
from session_affinity.errors import SuiteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from session_affinity.clusters.cluster import Cluster
    from session_affinity.clusters.options import ClusterOptions
    from session_affinity.progress import Progress

    Opener = Callable[[ClusterOptions, Progress], AbstractContextManager[Cluster]]

PROVIDERS: Final = ("embedded", "kind", "external")
NODE_ACCESS: Final = ("none", "agent")


@dataclass(frozen=True)
class Machine:
    """What decides between providers on this machine: the engine that answers, or why none; whether kind is there."""

    engine: str = ""
    no_engine: str = "no Docker engine answers"
    kind: bool = False


@dataclass(frozen=True)
class Choice:
    """A provider, and why it was taken."""

    provider: str
    why: str


def check(options: ClusterOptions) -> None:
    """Raise UsageError, naming the alternatives, for options that no cluster could honour; looks at nothing else."""
    if options.cluster != "auto" and options.cluster not in PROVIDERS:
        raise UsageError(f"--cluster {options.cluster} is not known", next_step=f"use auto, {_listed(PROVIDERS)}")
    if options.node_access not in NODE_ACCESS:
        raise UsageError(f"--node-access {options.node_access} is not known", next_step=f"use {_listed(NODE_ACCESS)}")
    for option in options.given:
        if options.cluster not in ("auto", *PROVIDERS_OF[option]):
            raise UsageError(
                f"{option} says nothing to --cluster {options.cluster}: it belongs to {_listed(PROVIDERS_OF[option])}",
                next_step=f"leave out {option}, or use --cluster {PROVIDERS_OF[option][0]}",
            )
    if not _able(options):
        raise UsageError(
            f"no provider takes {' and '.join(options.given)} together",
            next_step="; ".join(f"{option} belongs to {_listed(PROVIDERS_OF[option])}" for option in options.given),
        )
    if _able(options) == ("external",) and options.kubeconfig is None:
        raise UsageError(
            f"{_listed(options.given) or '--cluster external'} needs --kubeconfig: no cluster is taken unasked",
            next_step="name its kubeconfig: --cluster external --kubeconfig FILE",
        )
    require_dataplane(options)
    if options.ip_family:
        families_of(options.ip_family)
    if _able(options) == ("external",):
        from session_affinity.clusters.external.provider import require_usable

        require_usable(options)
    _check_version(options)


def choose(options: ClusterOptions, look_at_machine: Callable[[], Machine]) -> Choice:
    """Return the provider that the options mean; raises UsageError (see ``check``).

    Where the options decide it, this machine is not looked at.
    """
    check(options)
    if options.cluster != "auto":
        return Choice(options.cluster, "as asked")
    able = _able(options)
    if options.kubeconfig is not None:
        return Choice("external", "because a kubeconfig is named")
    if len(able) == 1:
        return Choice(able[0], f"because only it takes {' and '.join(options.given)}")
    machine = look_at_machine()
    if machine.engine and machine.kind:
        return Choice("kind", f"because kind is here and {machine.engine} answers")
    return Choice("embedded", f"because {machine.no_engine if machine.kind else 'kind is not on PATH'}")


def look() -> Machine:
    """Return what this machine has, in a tenth of a second where nothing hangs."""
    if shutil.which("kind") is None:
        return Machine()
    from session_affinity.clusters.kind.engine import detect

    try:
        engine = detect()
    except SuiteError as error:
        return Machine(no_engine=error.what.splitlines()[0], kind=True)
    return Machine(engine=f"{engine.program} {engine.version}", kind=True)


@contextlib.contextmanager
def open_cluster(options: ClusterOptions, progress: Progress) -> Iterator[Cluster]:
    """Start the cluster, or find the kept one of that name; take it down at the end unless it is to be kept.

    Raises UsageError, PreflightError, BinaryError or ClusterError. An embedded cluster ends with this process even if
    that is killed; what a killed run leaves of another is found by the next.
    """
    choice = choose(options, look)
    progress.note(f"cluster {options.name}: {choice.provider}, {choice.why}")
    with _opener(choice.provider)(options, progress) as cluster:
        yield cluster


def _opener(provider: str) -> Opener:
    if provider == "kind":
        extras.require(extras.KIND, "a kind cluster")
        from session_affinity.clusters.kind.provider import open_kind

        return open_kind
    if provider == "external":
        from session_affinity.clusters.external.provider import open_external

        return open_external
    extras.require(extras.EMBEDDED, "an embedded cluster")
    from session_affinity.clusters.embedded.provider import open_embedded

    return open_embedded


def _able(options: ClusterOptions) -> tuple[str, ...]:
    """Return the providers that can honour all that is asked."""
    asked = PROVIDERS if options.cluster == "auto" else (options.cluster,)
    return tuple(provider for provider in asked if all(provider in PROVIDERS_OF[option] for option in options.given))


def _check_version(options: ClusterOptions) -> None:
    version = versions.resolve(options.kubernetes)
    if options.proxy_mode and options.proxy_mode not in version.proxy_modes:
        raise UsageError(
            f"--proxy-mode {options.proxy_mode}: kube-proxy {version.minor} has {_listed(version.proxy_modes)}",
            next_step="use one of these, or another --kubernetes",
        )
    if options.node_image or options.cluster == "kind":
        from session_affinity.clusters.kind.preflight import requested_node_image

        requested_node_image(options.kubernetes, options.node_image)


def _listed(names: Sequence[str]) -> str:
    return " or ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else "".join(names)
