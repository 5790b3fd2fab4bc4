"""The first process of a node: makes the node's namespaces its own, then starts and reaps what runs there.

It is forked, not executed, from the cluster's first process, so that four nodes cost four forks and not four Pythons.
Nothing here writes to the host's file system but the logs: /run, /var/lib and /var/log are the node's own memory.
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
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from session_affinity.clusters.addresses import families_of
from session_affinity.clusters.embedded import fabric, linux
from session_affinity.clusters.embedded.process import PATH
from session_affinity.waiting import growing_pause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.clusters.embedded.cgroups import ClusterCgroups
    from session_affinity.clusters.embedded.layout import Layout, NodeLayout
    from session_affinity.clusters.embedded.process import Gate, Process
    from session_affinity.clusters.embedded.state import StateDirectory
    from session_affinity.dataplane.model import Family

_POLL_SECONDS = 0.02
START_AGAIN = signal.SIGUSR1
"""Tells a node's first process to start again what was killed."""
_SIGNALS = 512
"""How many signals are read at once."""
_OWN_DIRECTORIES = ("/run", "/var/lib", "/var/log")
_MADE_INSIDE = (
    "/run/lock", "/run/netns", "/run/containerd", "/run/home",
    "/var/lib/kubelet", "/var/lib/cni", "/var/lib/containerd", "/var/lib/etcd", "/var/log/pods", "/var/log/containers",
)  # fmt: skip
_SYSCTLS: dict[Family, dict[str, str]] = {
    "IPv4": {"net/ipv4/ip_forward": "1", "net/ipv4/conf/all/rp_filter": "0", "net/ipv4/conf/default/rp_filter": "0"},
    # Links to pods come later and have their addresses at once: nobody else can have them (dad_transmits).
    "IPv6": {
        "net/ipv6/conf/all/disable_ipv6": "0", "net/ipv6/conf/default/disable_ipv6": "0",
        "net/ipv6/conf/all/forwarding": "1", "net/ipv6/conf/default/dad_transmits": "0",
    },
}  # fmt: skip
# Of the whole machine, not of a namespace: kubelet sets them where they differ (setupKernelTunables), and here reads
# what it wants from files laid over them. The host keeps its own.
_SHADOWED_SYSCTLS = {
    "vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}  # fmt: skip


class NodeInit:
    """What one node's first process does, in the order it does it."""

    def __init__(self, layout: Layout, node: NodeLayout, state: StateDirectory, cgroups: ClusterCgroups) -> None:
        self._layout = layout
        self._node = node
        self._state = state
        self._cgroups = cgroups
        self._running: dict[int, Process] = {}
        self._record: dict[str, dict[str, float | int]] = {}
        self._ended: dict[str, int] = {}
        self._open: set[Gate] = set()
        self._killed: dict[str, Process] = {}

    def run(self, processes: Sequence[Process], *, entered: int, wired: int) -> NoReturn:
        """Be the node until killed.

        ``entered`` is a pipe to write to once the network namespace is there, ``wired`` one to read from until the
        node has its link.
        """
        linux.die_with_parent()
        linux.set_process_name(f"node {self._node.name}")
        self._cgroups.become_node(self._node.name)
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC | linux.CLONE_NEWNET)
        os.write(entered, b"1")
        os.close(entered)
        self._mount()
        os.read(wired, 1)
        os.close(wired)
        self._set_sysctls()
        fabric.configure_node(self._node, self._layout)
        self._supervise(list(processes), _told())

    def _mount(self) -> None:
        linux.make_mounts_private()
        kept = {path: os.open(path, os.O_PATH) for path in self._needed_directories()}
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
        for directory in _OWN_DIRECTORIES:
            linux.mount("tmpfs", directory, "tmpfs", linux.MS_NODEV, "mode=755")
        for directory in _MADE_INSIDE:
            Path(directory).mkdir(parents=True, exist_ok=True)
        for path, descriptor in kept.items():
            if not path.exists():  # it lay below one of the directories that are the node's own now
                path.mkdir(parents=True)
                linux.bind(f"/proc/self/fd/{descriptor}", path)
            os.close(descriptor)
        self._shadow_sysctls()
        # A new sysfs shows this network namespace's devices, and hides the host's cgroup and security file systems.
        linux.mount("sysfs", "/sys", "sysfs")
        self._cgroups.mount_in_node()
        socket.sethostname(self._node.name)

    def _set_sysctls(self) -> None:
        for family in families_of(self._layout.ip_family):
            for name, value in _SYSCTLS[family].items():
                Path("/proc/sys", name).write_text(value)

    @staticmethod
    def _shadow_sysctls() -> None:
        shadows = Path("/run/sysctl")
        for name, value in _SHADOWED_SYSCTLS.items():
            target, shadow = Path("/proc/sys", name), shadows / name
            if target.exists():
                shadow.parent.mkdir(parents=True, exist_ok=True)
                shadow.write_text(f"{value}\n")
                linux.bind(shadow, target)

    def _needed_directories(self) -> set[Path]:
        files = [Path(p).resolve() for p in (*self._layout.programs.values(), self._layout.image_archive)]
        return {self._state.root, *(file.parent for file in files)}

    def _supervise(self, waiting: list[Process], told: int) -> NoReturn:
        """Start what waits once it can be, and reap what ends; ``told`` is where the numbers of signals can be read."""
        began = time.monotonic()
        while True:
            for process in self._ready(waiting):
                waiting.remove(process)
                self._start(process)
            self._reap()
            seconds = growing_pause(time.monotonic() - began, _POLL_SECONDS) if waiting else None
            if select.select([told], [], [], seconds)[0] and START_AGAIN in os.read(told, _SIGNALS):
                self._reap()
                self._start_again()

    def _ready(self, waiting: Sequence[Process]) -> list[Process]:
        """Return the processes whose gates are open; each is asked once, however many wait for it, until it is open."""
        closed = {gate for process in waiting for gate in process.after} - self._open
        self._open |= {gate for gate in closed if gate.is_open(self._ended)}
        return [process for process in waiting if self._open.issuperset(process.after)]

    def _start_again(self) -> None:
        """Start what was killed; what ended by itself has a reason for it that starting would not mend."""
        killed, self._killed = self._killed, {}
        for process in killed.values():
            del self._ended[process.name]
            self._start(process)

    def _start(self, process: Process) -> None:
        directories = dict.fromkeys(str(Path(p).parent) for p in self._layout.programs.values())
        environment = {
            "PATH": ":".join((*directories, PATH)), "HOME": "/run/home", "LANG": "C", **process.environment
        }  # fmt: skip
        log = self._state.log(self._node.name, process.name)
        with log.open("ab") as stream:
            child = subprocess.Popen(
                process.argv,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        # Popen must not wait for a child that is reaped below.
        child.returncode = 0
        self._running[child.pid] = process
        self._record[process.name] = {"pid": child.pid, "started": time.time()}
        self._write_record()

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                process = self._running.pop(pid, None)
                if process is None:  # an orphan of a container runtime, handed to the first process
                    continue
                code = os.waitstatus_to_exitcode(status)
                self._ended[process.name] = code
                if code < 0:
                    self._killed[process.name] = process
                self._record[process.name] |= {"ended": time.time(), "code": code}
                self._write_record()

    def _write_record(self) -> None:
        self._state.write_processes(self._node.name, json.dumps(self._record))


def _told() -> int:
    """Return a pipe from which the numbers of the signals that came can be read.

    What they ask for is done in the one loop, between other things and not amid them.
    """
    told, teller = os.pipe()
    os.set_blocking(teller, False)
    signal.set_wakeup_fd(teller, warn_on_full_buffer=False)  # in place of the keeper's, whom it would tell to end
    for number in (signal.SIGCHLD, START_AGAIN):
        signal.signal(number, lambda *_: None)
    return told
