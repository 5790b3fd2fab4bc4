"""What a cluster could leave on the machine, as one comparable value."""

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
    """Everything on the host that a cluster's start could add to."""

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
        """Return what is here and was not before, by kind."""
        return {
            field.name: sorted(getattr(self, field.name) - getattr(before, field.name))
            for field in fields(self)
            if getattr(self, field.name) - getattr(before, field.name)
        }


def _lines(*argv: str) -> frozenset[str]:
    return frozenset(subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines())


def _processes() -> frozenset[str]:
    """Processes by number and name that belong to a cluster of these tests: by their cgroup, or by their command line.

    Other clusters may come and go on the machine at the same time.
    """
    found = set()
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            told = (directory / "cgroup").read_text() + (directory / "cmdline").read_text().replace("\0", " ")
            stat = (directory / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        name, _, rest = stat.partition("(")[2].rpartition(")")
        if rest.split()[0] not in "ZX" and any(f"session-affinity-{n}" in told or f"keeper {n}" in told for n in NAMES):
            found.add(f"{directory.name} {name}")
    return frozenset(found)


def _cgroups() -> frozenset[str]:
    """The cgroups of these tests' clusters; those of others may vanish while they are looked through."""
    names = {f"session-affinity-{name}" for name in NAMES}
    return frozenset(
        f"{parent}/{name}" for parent, below, _ in os.walk("/sys/fs/cgroup") for name in names.intersection(below)
    )


def now(state_root: Path) -> Traces:
    """Look at the machine."""
    interesting = (
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
        # The fourth column is the address; those before it say how many wait to be taken.
        listeners=frozenset(one for line in _lines("ss", "-Hltn") if not (one := line.split()[3]).startswith("127.")),
        host_files=frozenset(p for p in interesting if Path(p).exists()),
        state=frozenset(
            os.path.relpath(f"{parent}/{name}", state_root)
            for parent, below, files in os.walk(state_root / "clusters")
            for name in (*below, *files)
        ),
    )


def wait_until_gone(before: Traces, state_root: Path, seconds: float = _WAIT_SECONDS) -> dict[str, list[str]]:
    """Return what is still added after at most ``seconds``; processes need a moment to end after they are killed."""
    poll(lambda: not now(state_root).added_to(before), seconds, pause=0.1)
    return now(state_root).added_to(before)
