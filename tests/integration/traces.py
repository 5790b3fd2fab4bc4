"""Snapshots of everything on the machine that a cluster could leave behind."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path

from session_affinity.waiting import poll

NAMES = ("lifecycle", "first", "second")
_WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class Traces:
    """The processes, network state, mounts, cgroups, listeners and files that a cluster could add to the host."""

    processes: frozenset[str]
    network_namespaces: frozenset[str]
    links: frozenset[str]
    routes: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    listeners: frozenset[str]
    host_files: frozenset[str]
    state: frozenset[str]

    def added_to(self, before: Traces) -> dict[str, list[str]]:
        """Return what was added since the snapshot ``before``, by field."""
        return {
            field.name: sorted(getattr(self, field.name) - getattr(before, field.name))
            for field in fields(self)
            if getattr(self, field.name) - getattr(before, field.name)
        }


def _lines(*argv: str) -> frozenset[str]:
    return frozenset(subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines())


def _processes() -> frozenset[str]:
    """Return the processes of these tests' clusters as ``PID name``, recognised by cgroup or command line.

    Other clusters may start and end on the machine at the same time.
    """
    processes = set()
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            description = (directory / "cgroup").read_text() + (directory / "cmdline").read_text().replace("\0", " ")
            stat = (directory / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        name, _, rest = stat.partition("(")[2].rpartition(")")
        marks = [mark for cluster in NAMES for mark in (f"session-affinity-{cluster}", f"supervisor {cluster}")]
        if rest.split()[0] not in "ZX" and any(mark in description for mark in marks):
            processes.add(f"{directory.name} {name}")
    return frozenset(processes)


def _cgroups() -> frozenset[str]:
    """Return the cgroups of these tests' clusters; cgroups of others may vanish during the search."""
    names = {f"session-affinity-{name}" for name in NAMES}
    return frozenset(
        f"{parent}/{name}" for parent, below, _ in os.walk("/sys/fs/cgroup") for name in names.intersection(below)
    )


def now(state_root: Path) -> Traces:
    """Take a snapshot of the machine."""
    host_directories = (
        "/usr/libexec/kubernetes",
        "/opt/containerd",
        "/var/lib/cni",
        "/var/lib/kubelet",
        "/etc/cni",
        "/run/netns",
    )
    return Traces(
        processes=_processes(),
        network_namespaces=_lines("ip", "netns"),
        links=_lines("ip", "-br", "link"),
        routes=_lines("ip", "route"),
        mounts=frozenset(line.split(" ", 2)[2] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        cgroups=_cgroups(),
        # The fourth column is the local address, after the state and the lengths of two queues.
        listeners=frozenset(
            address for line in _lines("ss", "-Hltn") if not (address := line.split()[3]).startswith("127.")
        ),
        host_files=frozenset(path for path in host_directories if Path(path).exists()),
        state=frozenset(
            os.path.relpath(f"{parent}/{name}", state_root)
            for parent, below, files in os.walk(state_root / "clusters")
            for name in (*below, *files)
        ),
    )


def wait_until_gone(before: Traces, state_root: Path, seconds: float = _WAIT_SECONDS) -> dict[str, list[str]]:
    """Wait until nothing is added any more, and return what remains; killed processes need a moment to end."""
    poll(lambda: not now(state_root).added_to(before), seconds, pause=0.1)
    return now(state_root).added_to(before)
