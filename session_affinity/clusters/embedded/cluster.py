"""Start, find and take down embedded clusters."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from session_affinity.clusters.cluster import OwnCluster
from session_affinity.clusters.embedded.bootstrap import Bootstrap
from session_affinity.clusters.embedded.cgroups import ClusterCgroups
from session_affinity.clusters.embedded.configuration import processes_of, read_kube_proxy, write_configuration
from session_affinity.clusters.embedded.layout import Layout
from session_affinity.clusters.embedded.node import EmbeddedNode
from session_affinity.clusters.embedded.node_init import START_AGAIN
from session_affinity.clusters.embedded.state import KEEP, Running, StateDirectory
from session_affinity.dataplane.proxy_config import ProxyConfig, ProxyConfigs
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError
from session_affinity.kube.logs import LINES
from session_affinity.waiting import poll, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.progress import Progress

_PAUSE_SECONDS = 0.02
_LOG_TAIL = 15


@dataclass(frozen=True)
class EmbeddedCluster(OwnCluster):
    """A running embedded cluster (see ``clusters.cluster.Cluster``)."""

    layout: Layout
    state: StateDirectory
    running: Running
    facts: Mapping[str, str] = field(default_factory=dict)
    provider: str = "embedded"
    kube_proxy_start: tuple[str, ...] = ("kill", f"-{START_AGAIN.value}", "1")

    @property
    def name(self) -> str:
        """The name it was asked for by."""
        return self.layout.name

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig for the host's loopback."""
        return self.state.kubeconfig

    @property
    def nodes(self) -> Mapping[str, EmbeddedNode]:
        """The nodes by name, the control plane first."""
        directories = tuple(dict.fromkeys(str(Path(p).parent) for p in self.layout.programs.values()))
        return {name: EmbeddedNode(name, process, directories) for name, process in self.running.nodes.items()}

    @cached_property
    def proxy_configs(self) -> ProxyConfigs:
        """The settings of each node's kube-proxy, as its configuration file has them."""
        return ProxyConfigs(
            {
                node.name: ProxyConfig.from_configuration(
                    read_kube_proxy(self.state, node.name), "the configuration that the suite wrote"
                )
                for node in self.layout.nodes
            }
        )

    def kube_proxy_log(self, node: str) -> str:
        """Return the end of the file that kube-proxy on a node writes (see ``clusters.cluster.Cluster``)."""
        file = self.state.log(node, "kube-proxy")
        if not file.exists():
            raise ClusterError(f"{node}: there is no {file}", next_step="see whether the cluster still runs")
        return "\n".join(file.read_text(errors="replace").splitlines()[-LINES:])

    def dead(self) -> tuple[str, ...]:
        """Return what should run and does not, as ``node: program (exit code)``."""
        if not self.running.first_process.is_alive:
            return ("the whole cluster",)
        missing = []
        for node in self.layout.nodes:
            if not self.running.nodes[node.name].is_alive:
                missing.append(f"{node.name}: the node itself")
                continue
            record = self.state.read_processes(node.name)
            for process in processes_of(self.layout, node, self.state):
                known = record.get(process.name, {})
                if "code" in known and not (process.once and known["code"] == 0):
                    missing.append(f"{node.name}: {process.name} (exit code {known['code']:.0f})")
        return tuple(missing)


def find(name: str) -> EmbeddedCluster | None:
    """Return the running cluster of that name, or None if there is none; it may have lost parts, see ``dead``."""
    state = StateDirectory(name)
    if not state.exists() or not state.is_claimed():
        return None
    running = state.read_running()
    if running is None or not running.keeper.is_alive or not running.first_process.is_alive:
        return None
    facts = json.loads(state.facts.read_text()) if state.facts.exists() else {}
    return EmbeddedCluster(Layout.read(state.layout), state, running, facts)


def down(name: str) -> bool:
    """Take a cluster down, or remove what is left of a dead one; return whether there was anything.

    Raises ClusterError naming what does not go away.
    """
    state = StateDirectory(name)
    there = state.exists() or ClusterCgroups(name).exists() or state.is_claimed()
    _end_keeper(state)
    lock = state.claim(DEFAULTS.embedded_down)
    try:
        _remove_remains(state)
        state.forget_lock()
    finally:
        os.close(lock)
    return there


def _end_keeper(state: StateDirectory) -> None:
    """Ask the keeper to end, and kill it if it does not; what it started ends with it."""
    running = state.read_running() if state.exists() else None
    if running is None:
        return
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        if not running.keeper.is_alive:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.keeper.pid, signal_number)
        poll(lambda: not running.keeper.is_alive, DEFAULTS.embedded_down / 2, pause=_PAUSE_SECONDS)


def _remove_remains(state: StateDirectory) -> None:
    """Remove the cgroups and files of a cluster that is dead; to be called with its lock held."""
    ClusterCgroups(state.name).remove()
    if state.exists():
        state.remove()


def up(layout: Layout, progress: Progress, *, facts: Mapping[str, str]) -> EmbeddedCluster:
    """Start a cluster that stays until ``down`` is called; see ``Starting`` for one that ends with this process."""
    with Starting(layout, progress, facts=facts) as starting:
        starting.keep()
        return starting.cluster


class Starting:
    """A cluster that ends with this process, however that ends, until ``keep`` is called."""

    def __init__(self, layout: Layout, progress: Progress, *, facts: Mapping[str, str]) -> None:
        self._layout = layout
        self._progress = progress
        self._facts = facts
        self._state = StateDirectory(layout.name)
        self._owner: int | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._kept = False
        self.cluster: EmbeddedCluster

    def __enter__(self) -> Self:
        lock = self._state.claim()
        try:
            # Whatever a dead cluster of this name left is removed first.
            _remove_remains(self._state)
            self.cluster = self._start(lock)
        except BaseException:
            self._end_keeper()
            _remove_remains(self._state)
            self._state.forget_lock()
            raise
        finally:
            os.close(lock)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._kept:
            self._end_keeper()
            down(self._layout.name)

    def keep(self) -> None:
        """Let the cluster outlive this process."""
        if self._owner is not None:
            os.write(self._owner, KEEP)
            os.close(self._owner)
            self._owner = None
        self._kept = True
        if self._keeper is not None:
            self._keeper.returncode = 0  # not to be waited for by this process any more

    def _start(self, lock: int) -> EmbeddedCluster:
        began = time.monotonic()
        nodes = tuple(node.name for node in self._layout.nodes)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port: int = listener.getsockname()[1]
            with self._progress.step("certificates and configuration"):
                self._state.create(nodes)
                self._layout.write(self._state.layout)
                write_configuration(self._layout, self._state, port)
            with self._progress.step("namespaces, cgroups and network"):
                self._start_keeper(listener, lock)
                running = self._wait_for_nodes_to_exist()
        bootstrap = Bootstrap(self._layout, self._state, port, self._require_alive)
        with self._progress.step("API server"):
            bootstrap.wait_for_api()
        with self._progress.step("nodes"):
            bootstrap.declare()
            bootstrap.wait_for_nodes()
        facts = {
            **self._facts,
            "cluster start": f"{time.monotonic() - began:.1f} s",
        }
        self._state.facts.write_text(json.dumps(facts, indent=1))
        return EmbeddedCluster(self._layout, self._state, running, facts)

    def _start_keeper(self, listener: socket.socket, lock: int) -> None:
        owner, self._owner = os.pipe()
        with self._state.keeper_log.open("ab") as log:
            self._keeper = subprocess.Popen(
                (
                    sys.executable, "-m", "session_affinity.clusters.embedded.keeper", self._layout.name,
                    f"--listener={listener.fileno()}", f"--owner={owner}",
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(listener.fileno(), owner, lock),
                cwd=Path(__file__).parents[3],
                start_new_session=True,
            )  # fmt: skip
        os.close(owner)

    def _wait_for_nodes_to_exist(self) -> Running:
        def running() -> Running | None:
            if (found := self._state.read_running()) is None:
                self._require_alive()
            return found

        return wait_until(
            running,
            self._layout.deadlines.embedded_nodes,
            what=f"the nodes of cluster {self._layout.name} to exist",
            last_state=self._tail,
            pause=_PAUSE_SECONDS,
        )

    def _require_alive(self) -> None:
        """Raise ClusterError, with what it said last, when the keeper or a program has ended."""
        if self._keeper is not None and self._keeper.poll() is not None:
            raise ClusterError(f"cluster {self._layout.name} ended while it was starting: {self._tail()}")
        running = self._state.read_running()
        if running is not None:
            dead = EmbeddedCluster(self._layout, self._state, running).dead()
            if dead:
                raise ClusterError(f"cluster {self._layout.name} lost {'; '.join(dead)}: {self._tail_of(dead[0])}")

    def _tail(self) -> str:
        return _last_lines(self._state.keeper_log)

    def _tail_of(self, dead: str) -> str:
        node, _, rest = dead.partition(": ")
        return _last_lines(self._state.log(node, rest.partition(" (")[0]))

    def _end_keeper(self) -> None:
        """End the keeper, also when it never said that it was up."""
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None
        if self._keeper is not None:
            try:
                self._keeper.wait(DEFAULTS.embedded_down)
            except subprocess.TimeoutExpired:
                self._keeper.kill()
                self._keeper.wait()


def _last_lines(file: Path) -> str:
    if not file.exists():
        return f"(nothing in {file})"
    lines = file.read_text(errors="replace").splitlines()[-_LOG_TAIL:]
    return "\n    ".join((f"end of {file}:", *lines))
