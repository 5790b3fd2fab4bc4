"""The supervisor process of an embedded cluster: creates cgroups and namespaces, and removes everything at the end.

    supervisor (host namespaces; listens on the host's loopback, owns the cgroups)
    +- first process (own PID, mount and network namespace; the bridge between the nodes)
       +- relay (in the control plane's network namespace)
       +- bootstrap policy (there too, until the API server has its RBAC rules)
       +- one parent process per node
          +- the node's first process (see node_init)
             +- containerd, kubelet, kube-proxy, ...

When a process of this tree ends, the kernel kills everything below it: each child sets PR_SET_PDEATHSIG, and a PID
namespace ends with its first process. No namespace, mount or link has a name on the host, so they vanish with their
last process. After a kill -9 of the supervisor only empty cgroups and files remain; the next ``up`` or ``down`` removes
them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from session_affinity.clusters.embedded import bootstrap_policy, fabric, linux, relay
from session_affinity.clusters.embedded.cgroups import ClusterCgroups
from session_affinity.clusters.embedded.configuration import processes_of
from session_affinity.clusters.embedded.layout import API_PORT, Layout
from session_affinity.clusters.embedded.node_init import NodeInit
from session_affinity.clusters.embedded.state import KEEP, ClusterProcesses, ProcessId, StateDirectory
from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable


def _fork(work: Callable[[], None]) -> int:
    """Run ``work`` in a child process that exits afterwards, also after an exception; return the child's PID."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - the child must not return into the code of its parent
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


class Supervisor:
    """The top process of a cluster; the cluster ends with it."""

    def __init__(self, state: StateDirectory, listener: socket.socket, owner_pipe: int) -> None:
        self._state = state
        self._listener = listener
        self._port: int = listener.getsockname()[1]
        self._owner_pipe = owner_pipe
        self._layout = Layout.read(state.layout)
        self._cgroups = ClusterCgroups(state.name)

    def run(self) -> int:
        """Run the cluster until its owner ends, a signal arrives, or the cluster ends by itself; return 0."""
        signals, signal_writer = os.pipe()
        os.set_blocking(signal_writer, False)
        signal.set_wakeup_fd(signal_writer)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        self._cgroups.create(tuple(node.name for node in self._layout.nodes))
        pids, pids_writer = os.pipe()
        linux.unshare(linux.CLONE_NEWPID)
        first = _fork(lambda: FirstProcess(self._state, self._layout, self._cgroups, self._listener).run(pids_writer))
        os.close(pids_writer)
        self._listener.close()
        first_handle = os.pidfd_open(first)
        try:
            self._record_processes(first, pids)
            ended_by_itself = self._wait(first_handle, signals)
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(first_handle, signal.SIGKILL)
            os.waitpid(first, 0)
            self._cgroups.remove()
        if not ended_by_itself:  # the logs of a cluster that ended by itself are kept
            self._state.remove()
            self._state.remove_lock_file()
        return 0

    def _record_processes(self, first: int, pids: int) -> None:
        """Wait until every node has its first process, then store the processes, as the host sees them."""
        with os.fdopen(pids) as stream:
            line = stream.readline()  # not read(): the nodes inherit the writing end, so it stays open
        if not line:
            raise ClusterError(
                f"cluster {self._state.name}: the nodes did not start", next_step=f"read {self._state.supervisor_log}"
            )
        host = _host_pids(json.loads(line), first)
        self._state.write_cluster_processes(
            ClusterProcesses(
                supervisor=ProcessId.of(os.getpid()),
                first_process=ProcessId.of(first),
                nodes={name: ProcessId.of(pid) for name, pid in host.items()},
                api_port=self._port,
            )
        )

    def _wait(self, first: int, signals: int) -> bool:
        """Wait until the cluster has ended by itself (True), or its owner has ended or a signal has arrived (False)."""
        watched = [first, signals, self._owner_pipe]
        while True:
            ready, _, _ = select.select(watched, [], [])
            if first in ready or signals in ready:
                return first in ready
            if os.read(self._owner_pipe, len(KEEP)) != KEEP:  # closed: the owner has ended
                return False
            watched.remove(self._owner_pipe)


class FirstProcess:
    """The first process of the cluster's PID namespace; its end ends all processes of the cluster."""

    def __init__(self, state: StateDirectory, layout: Layout, cgroups: ClusterCgroups, listener: socket.socket) -> None:
        self._state = state
        self._layout = layout
        self._cgroups = cgroups
        self._listener = listener

    def run(self, pids: int) -> None:
        """Start the nodes, connect them, start the relay, write the nodes' PIDs to ``pids``, and reap children."""
        linux.die_with_parent()
        linux.set_process_name(f"cluster {self._state.name}")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self._cgroups.enter("processes")
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWNET)
        linux.make_mounts_private()
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
        nodes: dict[str, int] = {}
        wired: dict[str, int] = {}
        for node in self._layout.nodes:
            nodes[node.name], wired[node.name] = self._start_node(node.name)
        fabric.connect_nodes(nodes)
        for descriptor in wired.values():
            os.write(descriptor, b"1")
            os.close(descriptor)
        control_plane = nodes[self._layout.control_plane.name]
        self._start_relay(control_plane)
        self._share_bootstrap_policy(control_plane)
        self._listener.close()
        os.write(pids, f"{json.dumps(nodes)}\n".encode())
        os.close(pids)
        while True:
            try:
                pid, status = os.wait()
            except ChildProcessError:
                return
            print(f"process {pid} ended with status {status}", flush=True)

    def _start_node(self, name: str) -> tuple[int, int]:
        """Return the PID of the node's first process, and a pipe to write to when the node has its network link."""
        node = next(node for node in self._layout.nodes if node.name == name)
        wired_reader, wired = os.pipe()
        entered, entered_writer = os.pipe()
        pids, pids_writer = os.pipe()

        def run_parent() -> None:
            linux.die_with_parent()
            linux.unshare(linux.CLONE_NEWPID)
            init = NodeInit(self._layout, node, self._state, self._cgroups)
            processes = processes_of(self._layout, node, self._state)
            os.close(entered)
            os.close(wired)
            child = _fork(lambda: init.run(processes, entered=entered_writer, wired=wired_reader))
            os.close(entered_writer)
            os.write(pids_writer, str(child).encode())
            os.close(pids_writer)
            os.waitpid(child, 0)

        _fork(run_parent)
        for descriptor in (wired_reader, entered_writer, pids_writer):
            os.close(descriptor)
        pid = os.read(pids, 32)
        ready = os.read(entered, 1)
        os.close(pids)
        os.close(entered)
        if not ready:
            raise ClusterError(
                f"node {name}: its first process ended before it had its namespaces",
                next_step=f"read {self._state.supervisor_log}",
            )
        return int(pid), wired

    def _start_relay(self, control_plane: int) -> None:
        address = self._layout.control_plane.address

        def run_relay() -> None:
            linux.die_with_parent()
            linux.set_process_name("api relay")
            linux.enter_network_namespace(control_plane)
            relay.serve(self._listener, address, API_PORT)

        _fork(run_relay)

    def _share_bootstrap_policy(self, control_plane: int) -> None:
        def share() -> None:
            linux.die_with_parent()
            linux.set_process_name("bootstrap policy")
            linux.enter_network_namespace(control_plane)
            self._listener.close()
            bootstrap_policy.share(self._layout, self._state.pki)

        _fork(share)


def _host_pids(inner: dict[str, int], first: int) -> dict[str, int]:
    """Return the host's PIDs of the nodes' first processes, given their PIDs in the cluster's PID namespace.

    ``NSpid`` in /proc/PID/status lists a process's PIDs from the outermost to the innermost namespace (proc(5)); in its
    own namespace a node's first process is 1.
    """
    names = {(pid, 1): name for name, pid in inner.items()}
    host: dict[str, int] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except (FileNotFoundError, ProcessLookupError):
            continue
        pids = [int(p) for p in fields.get("NSpid", "").split()]
        name = names.get((pids[-2], pids[-1])) if len(pids) > 2 else None
        if name is not None and _parent(_parent(int(fields["Pid"]))) == first:
            host[name] = int(fields["Pid"])
    if host.keys() != inner.keys():
        missing = ", ".join(sorted(inner.keys() - host.keys()))
        raise ClusterError(f"no first process of {missing} in /proc of the host: it ended during the start")
    return host


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def main() -> int:
    """Run the supervisor of the named cluster; started by ``session_affinity.clusters.embedded.cluster``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--listener", type=int, required=True, help="file descriptor of the listening socket")
    parser.add_argument(
        "--owner", type=int, required=True, help="file descriptor of a pipe that closes when the owner ends"
    )
    arguments = parser.parse_args()
    linux.set_process_name(f"supervisor {arguments.name}")
    state = StateDirectory(arguments.name)
    began = time.monotonic()
    with socket.socket(fileno=arguments.listener) as listener:
        code = Supervisor(state, listener, arguments.owner).run()
    print(f"cluster {arguments.name} ended after {time.monotonic() - began:.0f} s", flush=True)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
