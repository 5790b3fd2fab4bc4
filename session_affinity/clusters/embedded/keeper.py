"""Owns one embedded cluster: makes its namespaces, and takes everything away again when it is time.

    keeper (host namespaces; listens on the host's loopback, holds the cgroups)
    +- first process (its own PID, mount and network namespace; the network between the nodes)
       +- relay (in the control plane's network namespace)
       +- one parent a node
          +- the node's first process (see node_init)
             +- containerd, kubelet, kube-proxy, ...

Ending any process of that chain ends, by the kernel's hand, all that is below it. Namespaces, mounts and links have no
name outside, so they go with the last process. What can be left after a kill -9 of the keeper is empty cgroups and
files, which the next start or stop removes.
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

from session_affinity.clusters.embedded import fabric, linux, relay
from session_affinity.clusters.embedded.cgroups import ClusterCgroups
from session_affinity.clusters.embedded.configuration import processes_of
from session_affinity.clusters.embedded.layout import API_PORT, Layout
from session_affinity.clusters.embedded.node_init import NodeInit
from session_affinity.clusters.embedded.state import KEEP, ProcessId, Running, StateDirectory
from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable


def _fork(work: Callable[[], None]) -> int:
    """Run ``work`` in a child that ends with it, whatever happens, and return the child's pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - the child must never return into its parent's code
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


class Keeper:
    """The process that a cluster lives and dies with."""

    def __init__(self, state: StateDirectory, listener: socket.socket, owner: int) -> None:
        self._state = state
        self._listener = listener
        self._port: int = listener.getsockname()[1]
        self._owner = owner
        self._layout = Layout.read(state.layout)
        self._cgroups = ClusterCgroups(state.name)

    def run(self) -> int:
        """Start the cluster and keep it until its owner ends, a signal comes, or it ends by itself."""
        signals, signal_writer = os.pipe()
        os.set_blocking(signal_writer, False)
        signal.set_wakeup_fd(signal_writer)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        self._cgroups.create(tuple(node.name for node in self._layout.nodes))
        names, names_writer = os.pipe()
        linux.unshare(linux.CLONE_NEWPID)
        first = _fork(lambda: FirstProcess(self._state, self._layout, self._cgroups, self._listener).run(names_writer))
        os.close(names_writer)
        self._listener.close()
        first_handle = os.pidfd_open(first)
        try:
            self._announce(first, names)
            by_itself = self._wait(first_handle, signals)
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(first_handle, signal.SIGKILL)
            os.waitpid(first, 0)
            self._cgroups.remove()
        if not by_itself:  # what a cluster said that died by itself is still wanted
            self._state.remove()
            self._state.forget_lock()
        return 0

    def _announce(self, first: int, names: int) -> None:
        """Wait until every node has its first process, then say on disk which they are, as the host sees them."""
        with os.fdopen(names) as stream:
            said = stream.readline()  # the nodes inherit the other end: it does not close while they live
        if not said:
            raise ClusterError(f"nodes could not be started, see {self._state.keeper_log}")
        host = _host_pids(json.loads(said), first)
        self._state.write_running(
            Running(
                keeper=ProcessId.of(os.getpid()),
                first_process=ProcessId.of(first),
                nodes={name: ProcessId.of(pid) for name, pid in host.items()},
                api_port=self._port,
            )
        )

    def _wait(self, first: int, signals: int) -> bool:
        """Return when the cluster is to end: a signal came, its owner ended, or (True) it ended by itself."""
        watched = [first, signals, self._owner]
        while True:
            ready, _, _ = select.select(watched, [], [])
            if first in ready or signals in ready:
                return first in ready
            said = os.read(self._owner, len(KEEP))
            if said != KEEP:
                return False
            watched.remove(self._owner)


class FirstProcess:
    """The first process of the cluster's own PID namespace."""

    def __init__(self, state: StateDirectory, layout: Layout, cgroups: ClusterCgroups, listener: socket.socket) -> None:
        self._state = state
        self._layout = layout
        self._cgroups = cgroups
        self._listener = listener

    def run(self, names: int) -> None:
        """Start the nodes, wire them, start the relay, write their pids to ``names``, and wait for the end."""
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
        self._start_relay(nodes[self._layout.control_plane.name])
        self._listener.close()
        os.write(names, f"{json.dumps(nodes)}\n".encode())
        os.close(names)
        while True:
            try:
                pid, status = os.wait()
            except ChildProcessError:
                return
            print(f"process {pid} ended with status {status}", flush=True)

    def _start_node(self, name: str) -> tuple[int, int]:
        """Return the pid of the node's first process and a pipe to write to when it has its link."""
        node = next(n for n in self._layout.nodes if n.name == name)
        wired_reader, wired = os.pipe()
        entered, entered_writer = os.pipe()
        pids, pids_writer = os.pipe()

        def be_parent() -> None:
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

        _fork(be_parent)
        for descriptor in (wired_reader, entered_writer, pids_writer):
            os.close(descriptor)
        pid = os.read(pids, 32)
        ready = os.read(entered, 1)
        os.close(pids)
        os.close(entered)
        if not ready:
            raise ClusterError(f"node {name} could not enter its namespaces")
        return int(pid), wired

    def _start_relay(self, control_plane: int) -> None:
        address = self._layout.control_plane.address

        def work() -> None:
            linux.die_with_parent()
            linux.set_process_name("api relay")
            linux.enter_network_namespace(control_plane)
            relay.serve(self._listener, address, API_PORT)

        _fork(work)


def _host_pids(inner: dict[str, int], first: int) -> dict[str, int]:
    """Translate pids of the cluster's PID namespace to this one's, for processes that are first in one of their own."""
    wanted = {(pid, 1): name for name, pid in inner.items()}
    found: dict[str, int] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except (FileNotFoundError, ProcessLookupError):
            continue
        pids = [int(p) for p in fields.get("NSpid", "").split()]
        name = wanted.get((pids[-2], pids[-1])) if len(pids) > 2 else None
        if name is not None and _parent(_parent(int(fields["Pid"]))) == first:
            found[name] = int(fields["Pid"])
    if found.keys() != inner.keys():
        raise ClusterError(f"the first processes of {sorted(inner.keys() - found.keys())} are not there")
    return found


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def main() -> int:
    """Keep the cluster named on the command line; started by ``session_affinity.clusters.embedded.cluster``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--listener", type=int, required=True, help="descriptor of the listening socket")
    parser.add_argument("--owner", type=int, required=True, help="descriptor of a pipe that closes with the owner")
    arguments = parser.parse_args()
    linux.set_process_name(f"keeper {arguments.name}")
    state = StateDirectory(arguments.name)
    began = time.monotonic()
    with socket.socket(fileno=arguments.listener) as listener:
        code = Keeper(state, listener, arguments.owner).run()
    print(f"cluster {arguments.name} ended after {time.monotonic() - began:.0f} s", flush=True)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
