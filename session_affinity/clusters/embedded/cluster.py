"""Starts, finds and removes embedded clusters."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from session_affinity.clusters.cluster import OwnCluster
from session_affinity.clusters.embedded import kube_proxy_releases, node_program
from session_affinity.clusters.embedded.bootstrap import Bootstrap
from session_affinity.clusters.embedded.cgroups import ClusterCgroups
from session_affinity.clusters.embedded.configuration import processes_of, read_kube_proxy, write_configuration
from session_affinity.clusters.embedded.dataplane_start import DataplaneStart
from session_affinity.clusters.embedded.layout import API_SERVICE, Layout
from session_affinity.clusters.embedded.node import EmbeddedNode
from session_affinity.clusters.embedded.process import RESTART_SIGNAL
from session_affinity.clusters.embedded.state import KEEP, ClusterProcesses, StateDirectory
from session_affinity.dataplane.pages import METRICS_ADDRESS
from session_affinity.dataplane.proxy_config import NO_KUBE_PROXY, ProxyConfig, ProxyConfigs
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError
from session_affinity.kube.logs import LINES
from session_affinity.text import listed
from session_affinity.waiting import poll, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from session_affinity.clusters.outside import Outside
    from session_affinity.progress import Progress

_PAUSE_SECONDS = 0.02
_LOG_TAIL = 15
_START_RESTARTS = 4
"""So often a program may have been restarted when it ends, before the start of its cluster is given up."""


@dataclass(frozen=True)
class EmbeddedCluster(OwnCluster):
    """A running embedded cluster; implements ``clusters.cluster.Cluster``."""

    layout: Layout
    state: StateDirectory
    processes: ClusterProcesses
    facts: Mapping[str, str] = field(default_factory=dict)
    provider: str = "embedded"
    ends_with_run: bool = False
    kube_proxy_start: tuple[str, ...] = ("kill", f"-{RESTART_SIGNAL.value}", "1")

    @property
    def name(self) -> str:
        """The name of the cluster, as given to ``--name`` or ``--cluster-name``."""
        return self.layout.name

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig whose server is the relay on the host's loopback."""
        return self.state.kubeconfig

    @property
    def nodes(self) -> Mapping[str, EmbeddedNode]:
        """The nodes by name, with the control plane first."""
        directories = tuple(dict.fromkeys(str(Path(p).parent) for p in self.layout.programs.values()))
        return {name: EmbeddedNode(name, process, directories) for name, process in self.processes.nodes.items()}

    @cached_property
    def proxy_configs(self) -> ProxyConfigs:
        """The settings of each node's kube-proxy, as its configuration file has them.

        The release of one that is not this cluster's is what it says itself.
        """
        if not self.layout.has_kube_proxy:
            none = ProxyConfig(NO_KUBE_PROXY, None, source="the cluster was started with --no-kube-proxy")
            return ProxyConfigs.same(none, (node.name for node in self.layout.nodes))
        releases = kube_proxy_releases.read(self.nodes) if self.layout.has_own_kube_proxy else {}
        source = "the configuration that the suite wrote"
        configs = {
            node.name: ProxyConfig.from_configuration(read_kube_proxy(self.state, node.name), source)
            for node in self.layout.nodes
        }
        return ProxyConfigs({name: replace(config, release=releases.get(name)) for name, config in configs.items()})

    def outside(self) -> contextlib.AbstractContextManager[Outside]:
        """Return a client outside the cluster, on the network of the nodes (see ``clusters.cluster.Cluster``)."""
        # Imported here because only the client outside needs pyroute2, and importing it takes a tenth of a second.
        from session_affinity.clusters.embedded.outside import outside_of

        return outside_of(self.processes.first_process, self.layout.ip_family)

    def dataplane_log(self, node: str) -> str:
        """Return the last lines of the log of a node's kube-proxy, or of its node program; raises ClusterError."""
        name = "kube-proxy" if self.layout.has_kube_proxy else node_program.NAME
        file = self.state.log(node, name)
        if not file.exists():
            raise ClusterError(f"{node}: {name} has no log {file}", next_step="check that the cluster is running")
        return "\n".join(file.read_text(errors="replace").splitlines()[-LINES:])

    def missing_processes(self, *, restarts: int = 0) -> tuple[str, ...]:
        """Return the programs that should run and do not, each as ``node: program (exit code N)``.

        Programs that wait for one of their first ``restarts`` restarts are left out.
        """
        if not self.processes.first_process.is_alive:
            return ("the whole cluster",)
        missing = []
        for node in self.layout.nodes:
            if not self.processes.nodes[node.name].is_alive:
                missing.append(f"{node.name}: the node itself")
                continue
            records = self.state.read_node_processes(node.name)
            for process in processes_of(self.layout, node, self.state):
                record = records.get(process.name, {})
                if "code" not in record:
                    continue
                if process.is_restarted_after(int(record["code"])) and record.get("restarts", 0) < restarts:
                    continue
                if not (process.once and record["code"] == 0):
                    missing.append(f"{node.name}: {process.name} (exit code {record['code']:.0f})")
        return tuple(missing)


def find(name: str) -> EmbeddedCluster | None:
    """Return the running cluster of a name, or None; see ``missing_processes`` for programs that have ended."""
    state = StateDirectory(name)
    if not state.exists() or not state.is_locked():
        return None
    processes = state.read_cluster_processes()
    if processes is None or not processes.supervisor.is_alive or not processes.first_process.is_alive:
        return None
    facts = json.loads(state.facts.read_text()) if state.facts.exists() else {}
    return EmbeddedCluster(Layout.read(state.layout), state, processes, facts)


def down(name: str) -> bool:
    """Remove a cluster, running or dead; return whether there was anything to remove.

    Raises ClusterError naming the cgroups, files or lock that cannot be removed.
    """
    state = StateDirectory(name)
    existed = state.exists() or ClusterCgroups(name).exists() or state.is_locked()
    _stop_supervisor(state)
    lock = state.lock(DEFAULTS.embedded_down)
    try:
        _remove_remains(state)
        state.remove_lock_file()
    finally:
        os.close(lock)
    return existed


def _stop_supervisor(state: StateDirectory) -> None:
    """Send SIGTERM to the supervisor, then SIGKILL; all processes of the cluster end with it."""
    processes = state.read_cluster_processes() if state.exists() else None
    if processes is None:
        return
    supervisor = processes.supervisor
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        if not supervisor.is_alive:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(supervisor.pid, signal_number)
        poll(lambda: not supervisor.is_alive, DEFAULTS.embedded_down / 2, pause=_PAUSE_SECONDS)


def _remove_remains(state: StateDirectory) -> None:
    """Remove the cgroups and files of a dead cluster; the caller must have the cluster's lock."""
    ClusterCgroups(state.name).remove()
    if state.exists():
        state.remove()


def up(layout: Layout, progress: Progress, *, facts: Mapping[str, str]) -> EmbeddedCluster:
    """Start a cluster that outlives this process, until ``down`` is called."""
    with EphemeralCluster(layout, progress, facts=facts) as ephemeral:
        ephemeral.keep()
        return ephemeral.cluster


class EphemeralCluster:
    """Context manager: starts a cluster that ends with the block or with this process, unless ``keep`` is called.

    The supervisor ends the cluster when the pipe to this process closes, so it also ends when this process is killed.
    """

    def __init__(self, layout: Layout, progress: Progress, *, facts: Mapping[str, str]) -> None:
        self._layout = layout
        self._progress = progress
        self._facts = facts
        self._state = StateDirectory(layout.name)
        self._owner_pipe: int | None = None
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._kept = False
        self.cluster: EmbeddedCluster

    def __enter__(self) -> Self:
        lock = self._state.lock()
        try:
            # A dead cluster of this name may have left cgroups and files.
            _remove_remains(self._state)
            self.cluster = self._start(lock)
        except BaseException:
            self._stop_supervisor()
            _remove_remains(self._state)
            self._state.remove_lock_file()
            raise
        finally:
            os.close(lock)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._kept:
            self._stop_supervisor()
            down(self._layout.name)

    def keep(self) -> None:
        """Let the cluster outlive the block and this process."""
        if self._owner_pipe is not None:
            os.write(self._owner_pipe, KEEP)
            os.close(self._owner_pipe)
            self._owner_pipe = None
        self._kept = True
        if self._supervisor is not None:
            self._supervisor.returncode = 0  # Popen must not wait for it any more

    def _start(self, lock: int) -> EmbeddedCluster:
        began = time.monotonic()
        nodes = tuple(node.name for node in self._layout.nodes)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port: int = listener.getsockname()[1]
            with self._progress.step("certificates and configuration"):
                self._state.create(nodes)
                self._layout.write(self._state.layout)
                # It makes the nodes meanwhile; their programs wait for their configuration.
                self._start_supervisor(listener, lock)
                write_configuration(self._layout, self._state, port)
            with self._progress.step("namespaces, cgroups and network"):
                processes = self._wait_for_node_processes()
        bootstrap = Bootstrap(self._layout, self._state, port, self._require_started)
        with self._progress.step("API server start"):
            bootstrap.wait_for_api()
        with self._progress.step("nodes Ready"):
            bootstrap.create_nodes()
            bootstrap.wait_for_nodes()
        cluster = EmbeddedCluster(self._layout, self._state, processes, self._facts)
        if self._layout.has_own_kube_proxy:
            with self._progress.step("kube-proxy's version"):
                self._wait_for_kube_proxies(cluster)
        if self._layout.node_programs:
            with self._progress.step("node programs serve Services"):
                self._wait_for_dataplane(cluster)
        facts = {
            **self._facts,
            "cluster start": f"{time.monotonic() - began:.1f} s",
        }
        self._state.facts.write_text(json.dumps(facts, indent=1))
        return replace(cluster, facts=facts)

    def _wait_for_kube_proxies(self, cluster: EmbeddedCluster) -> None:
        """Wait until each kube-proxy says its version, and note where it does not: what is judged need not work."""
        seconds = self._layout.deadlines.kube_proxy_start
        if silent := kube_proxy_releases.wait(cluster.nodes, seconds, self._require_started):
            self._progress.note(
                f"cluster {self._layout.name}: kube-proxy on {listed(silent)} does not answer at"
                f" {METRICS_ADDRESS}: its rules are expected to be those of {self._layout.kubernetes}"
            )

    def _wait_for_dataplane(self, cluster: EmbeddedCluster) -> None:
        """Wait until Services answer on every node, and note where they do not: what is judged need not work."""
        (cluster_ip, *_) = self._layout.service_addresses(API_SERVICE)
        start = DataplaneStart(cluster.nodes, cluster_ip, self._require_started)
        if silent := start.wait(self._layout.deadlines.embedded_dataplane):
            node, reason = next(iter(silent.items()))
            self._progress.note(
                f"cluster {self._layout.name}: Service default/kubernetes does not answer on {listed(list(silent))}:"
                f" {reason}; see {self._state.log(node, node_program.NAME)}"
            )

    def _start_supervisor(self, listener: socket.socket, lock: int) -> None:
        owner_pipe, self._owner_pipe = os.pipe()
        with self._state.supervisor_log.open("ab") as log:
            self._supervisor = subprocess.Popen(
                (
                    sys.executable, "-m", "session_affinity.clusters.embedded.supervisor", self._layout.name,
                    f"--listener={listener.fileno()}", f"--owner={owner_pipe}",
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(listener.fileno(), owner_pipe, lock),
                cwd=Path(__file__).parents[3],
                start_new_session=True,
            )  # fmt: skip
        os.close(owner_pipe)

    def _wait_for_node_processes(self) -> ClusterProcesses:
        def processes() -> ClusterProcesses | None:
            if (written := self._state.read_cluster_processes()) is None:
                self._require_started()
            return written

        return wait_until(
            processes,
            self._layout.deadlines.embedded_nodes,
            what=f"the namespaces of the nodes of cluster {self._layout.name}",
            last_state=self._supervisor_log,
            pause=_PAUSE_SECONDS,
        )

    def _require_started(self) -> None:
        """Raise ClusterError with the end of the log when the supervisor or a program has ended.

        A node program may end a few times, as while it waits for what another one creates, and kube-proxy may panic.
        """
        if self._supervisor is not None and self._supervisor.poll() is not None:
            raise ClusterError(
                f"cluster {self._layout.name}: its supervisor ended during the start; {self._supervisor_log()}"
            )
        processes = self._state.read_cluster_processes()
        if processes is not None:
            cluster = EmbeddedCluster(self._layout, self._state, processes)
            if missing := cluster.missing_processes(restarts=_START_RESTARTS):
                raise ClusterError(
                    f"cluster {self._layout.name}: ended during the start: {'; '.join(missing)};"
                    f" {self._log_of(missing[0])}"
                )

    def _supervisor_log(self) -> str:
        return _last_lines(self._state.supervisor_log)

    def _log_of(self, missing: str) -> str:
        node, _, rest = missing.partition(": ")
        return _last_lines(self._state.log(node, rest.partition(" (")[0]))

    def _stop_supervisor(self) -> None:
        """End the supervisor by closing its pipe, also before it has started the nodes; kill it after a deadline."""
        if self._owner_pipe is not None:
            os.close(self._owner_pipe)
            self._owner_pipe = None
        if self._supervisor is not None:
            try:
                self._supervisor.wait(DEFAULTS.embedded_down)
            except subprocess.TimeoutExpired:
                self._supervisor.kill()
                self._supervisor.wait()


def _last_lines(file: Path) -> str:
    if not file.exists():
        return f"there is no log {file}"
    lines = file.read_text(errors="replace").splitlines()[-_LOG_TAIL:]
    return "\n    ".join((f"the end of {file}:", *lines))
