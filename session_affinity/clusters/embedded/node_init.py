"""The first process of a node: creates the node's namespaces, starts its programs and reaps processes.

It is forked from the cluster's first process without exec, because starting a Python interpreter per node is slow.
On the host's file system it writes only logs and state: /run, /var/lib and /var/log of a node are tmpfs.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from session_affinity.clusters.addresses import families_of
from session_affinity.clusters.embedded import fabric, iptables_variant, linux, node_files, node_program
from session_affinity.clusters.embedded.cni_directory import CniDirectory
from session_affinity.clusters.embedded.process import PATH, RESTART_SIGNAL
from session_affinity.waiting import growing_pause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.clusters.embedded.cgroups import ClusterCgroups
    from session_affinity.clusters.embedded.layout import Layout, NodeLayout
    from session_affinity.clusters.embedded.process import Gate, Process
    from session_affinity.clusters.embedded.state import StateDirectory
    from session_affinity.dataplane.model import Family

_POLL_SECONDS = 0.02
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0
"""The pause before a process is restarted: it doubles from the first to the longest, as that of a pod's containers."""
_NOT_STARTED = 127
"""The exit code of a program that could not be started, as a shell has it."""
_SIGNAL_BUFFER_BYTES = 512
"""The number of signal numbers, one byte each, that one read returns at most."""
_COPIES = Path("/run/copies")
_SYSCTL_COPIES = Path("/run/sysctl")
_TMPFS_DIRECTORIES = ("/run", "/var/lib", "/var/log")
_DIRECTORIES = (
    "/run/lock", "/run/netns", "/run/containerd", "/run/home",
    "/var/lib/kubelet", "/var/lib/cni", "/var/lib/containerd", "/var/lib/etcd", "/var/log/pods", "/var/log/containers",
)  # fmt: skip
_SYSCTLS: dict[Family, dict[str, str]] = {
    "IPv4": {"net/ipv4/ip_forward": "1", "net/ipv4/conf/all/rp_filter": "0", "net/ipv4/conf/default/rp_filter": "0"},
    # dad_transmits=0: the veth links of pods get their addresses without duplicate address detection.
    "IPv6": {
        "net/ipv6/conf/all/disable_ipv6": "0", "net/ipv6/conf/default/disable_ipv6": "0",
        "net/ipv6/conf/all/forwarding": "1", "net/ipv6/conf/default/dad_transmits": "0",
    },
}  # fmt: skip
# These sysctls belong to the whole machine. Kubelet sets them when they differ from what it expects
# (setupKernelTunables in pkg/kubelet/cm/container_manager_linux.go); in a node it reads bind-mounted files with the
# expected values, and the host's values stay as they are.
_SHADOWED_SYSCTLS = {
    "vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}  # fmt: skip


@dataclass(frozen=True)
class Restarts:
    """The restarts of a process so far: their number, the seconds of the last pause, and when that is over."""

    number: int = 0
    pause: float = 0.0
    due: float = 0.0

    def after_run_of(self, seconds: float) -> Restarts:
        """Return the next restart; the pause doubles unless the process ran for as long as the longest pause."""
        pause = min(2 * self.pause or FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        if seconds >= LONGEST_PAUSE_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        return Restarts(self.number + 1, pause, time.monotonic() + pause)


class NodeInit:
    """The first process of one node; ``run`` does its steps in order."""

    def __init__(self, layout: Layout, node: NodeLayout, state: StateDirectory, cgroups: ClusterCgroups) -> None:
        self._layout = layout
        self._node = node
        self._state = state
        self._cgroups = cgroups
        self._running: dict[int, Process] = {}
        self._records: dict[str, dict[str, float | int]] = {}
        self._exit_codes: dict[str, int] = {}
        self._open_gates: set[Gate] = set()
        self._killed: dict[str, Process] = {}
        self._waiting: list[Process] = []
        self._restarts: dict[str, Restarts] = {}

    def run(self, processes: Sequence[Process], *, entered: int, wired: int) -> NoReturn:
        """Set up the node and supervise its programs until killed.

        ``entered`` is a pipe to write to when the network namespace exists; ``wired`` is a pipe to read from until the
        node has its network link.
        """
        linux.die_with_parent()
        linux.set_process_name(f"node {self._node.name}")
        self._cgroups.enter_node(self._node.name)
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC | linux.CLONE_NEWNET)
        os.write(entered, b"1")
        os.close(entered)
        self._mount()
        os.read(wired, 1)
        os.close(wired)
        self._set_sysctls()
        fabric.configure_node(self._node, self._layout)
        self._waiting = list(processes)
        self._supervise(_signal_pipe())

    def _mount(self) -> None:
        linux.make_mounts_private()
        # Opened before /run, /var/lib and /var/log are covered: programs, images and state may lie below them.
        host_directories = {path: os.open(path, os.O_PATH) for path in self._needed_directories()}
        if self._layout.node_programs:
            node_files.protect_machine()
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
        for directory in _TMPFS_DIRECTORIES:
            linux.mount("tmpfs", directory, "tmpfs", linux.MS_NODEV, "mode=755")
        for directory in _DIRECTORIES:
            Path(directory).mkdir(parents=True, exist_ok=True)
        if self._layout.node_programs:
            node_files.mount_copies(_COPIES)
        if self._layout.iptables:
            iptables_variant.use(self._layout.iptables)
        for path, descriptor in host_directories.items():
            if not path.exists() or (self._layout.node_programs and path == self._state.root):
                path.mkdir(parents=True, exist_ok=True)
                linux.bind(f"/proc/self/fd/{descriptor}", path)
            os.close(descriptor)
        # A new sysfs shows the devices of this network namespace and hides the host's cgroupfs and securityfs.
        linux.mount("sysfs", "/sys", "sysfs")
        self._cgroups.mount_in_node()
        socket.sethostname(self._node.name)
        if self._layout.node_programs:
            linux.set_read_only(self._state.root, read_only=False)
            node_files.copy_sysctls(_SYSCTL_COPIES, _SHADOWED_SYSCTLS)
            node_files.mount_bpf()
            linux.share_mounts()
        else:
            self._shadow_sysctls()

    def _set_sysctls(self) -> None:
        for family in families_of(self._layout.ip_family):
            for name, value in _SYSCTLS[family].items():
                Path("/proc/sys", name).write_text(value)

    @staticmethod
    def _shadow_sysctls() -> None:
        for name, value in _SHADOWED_SYSCTLS.items():
            target, shadow = Path("/proc/sys", name), _SYSCTL_COPIES / name
            if target.exists():
                shadow.parent.mkdir(parents=True, exist_ok=True)
                shadow.write_text(f"{value}\n")
                linux.bind(shadow, target)

    def _needed_directories(self) -> set[Path]:
        layout = self._layout
        paths = (*layout.programs.values(), *layout.node_programs.values(), layout.image_archive)
        files = [Path(p).resolve() for p in paths]
        return {self._state.root, *(file.parent for file in files)}

    def _supervise(self, signals: int) -> NoReturn:
        """Start each waiting process when its gates are open, and reap children; ``signals`` is the signal pipe."""
        began = time.monotonic()
        cni = CniDirectory(node_program.CNI_CONFIGURATION) if not self._layout.cni else None
        watched = [signals, *([cni.descriptor] if cni else [])]
        while True:
            for process in self._ready(self._waiting):
                self._waiting.remove(process)
                self._start(process)
            self._reap()
            readable = select.select(watched, [], [], self._pause(time.monotonic() - began))[0]
            if cni and cni.descriptor in readable:
                cni.handle_changes()
            if signals in readable and RESTART_SIGNAL in os.read(signals, _SIGNAL_BUFFER_BYTES):
                self._reap()
                self._restart_killed()

    def _pause(self, waited: float) -> float | None:
        """Return the seconds until waiting processes are looked at again; None when there are none."""
        if not self._waiting:
            return None
        if self._open_gates.issuperset(gate for process in self._waiting for gate in process.after):
            return max(min(self._seconds_to_restart(process) for process in self._waiting), _POLL_SECONDS)
        return growing_pause(waited, _POLL_SECONDS)

    def _seconds_to_restart(self, process: Process) -> float:
        restarts = self._restarts.get(process.name)
        return restarts.due - time.monotonic() if restarts else 0.0

    def _ready(self, waiting: Sequence[Process]) -> list[Process]:
        """Return the processes whose gates are all open and whose pause is over; an open gate is not checked again."""
        closed = {gate for process in waiting for gate in process.after} - self._open_gates
        self._open_gates |= {gate for gate in closed if gate.is_open(self._exit_codes)}
        return [
            process
            for process in waiting
            if self._open_gates.issuperset(process.after) and self._seconds_to_restart(process) <= 0
        ]

    def _restart_killed(self) -> None:
        """Restart the programs that were killed by a signal; a program that exited by itself would exit again."""
        killed, self._killed = self._killed, {}
        for process in killed.values():
            self._start(process)

    def _start(self, process: Process) -> None:
        directories = dict.fromkeys(str(Path(p).parent) for p in self._layout.programs.values())
        environment = {"PATH": ":".join((*directories, PATH)), "HOME": "/run/home", "LANG": "C"}
        log = self._state.log(self._node.name, process.name)
        with log.open("ab") as stream:
            try:
                child = subprocess.Popen(
                    process.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    env=environment | dict(process.environment),
                    cwd="/",
                    start_new_session=True,
                )
            except OSError as error:  # such as a script whose interpreter is not there
                stream.write(f"{process.name} cannot be started: {error}\n".encode())
                self._ended(process, _NOT_STARTED)
                return
        # _reap waits for this child, so Popen must not.
        child.returncode = 0
        self._running[child.pid] = process
        self._exit_codes.pop(process.name, None)
        self._records[process.name] = {"pid": child.pid, "started": time.time()}
        if process.name in self._restarts:
            self._records[process.name]["restarts"] = self._restarts[process.name].number
        self._write_records()

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (child := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = child
                process = self._running.pop(pid, None)
                if process is None:  # an orphan of a container runtime, reparented to the first process
                    continue
                if process.restart:
                    # What it has started in the background would be started once more.
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(pid, signal.SIGKILL)
                self._ended(process, os.waitstatus_to_exitcode(status))

    def _ended(self, process: Process, code: int) -> None:
        """Record the end of a process, and let it wait for its restart if it is one that is restarted."""
        self._exit_codes[process.name] = code
        record = self._records.setdefault(process.name, {})
        record |= {"ended": time.time(), "code": code}
        if process.is_restarted_after(code):
            ran = record["ended"] - record.get("started", record["ended"])
            restarts = self._restarts.get(process.name, Restarts()).after_run_of(ran)
            self._restarts[process.name] = restarts
            self._waiting.append(process)
            with self._state.log(self._node.name, process.name).open("a") as log:
                log.write(f"{process.name} ended with code {code}: it is started again in {restarts.pause:g} s\n")
        elif code < 0:
            self._killed[process.name] = process
        self._write_records()

    def _write_records(self) -> None:
        self._state.write_node_processes(self._node.name, json.dumps(self._records))


def _signal_pipe() -> int:
    """Return the reading end of a pipe to which the number of each received signal is written.

    The main loop handles signals from this pipe, so that a handler never interrupts its work.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # Replaces the inherited pipe of the supervisor, which ends the cluster when a signal arrives there.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, RESTART_SIGNAL):
        signal.signal(number, lambda *_: None)
    return reader
