"""The cgroups of a cluster, on hosts with cgroup v2, v1, or both (hybrid).

All processes of a cluster run below one directory per hierarchy, ``/session-affinity-NAME``, never in the caller's
cgroup. The reason is cgroup v2: a cgroup that contains processes cannot pass domain controllers to its children
("no internal processes" rule of Documentation/admin-guide/cgroup-v2.rst); threaded controllers alone turn it "domain
threaded", which breaks the children. So on v2 a cgroup is emptied first, and then its controllers are enabled.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from session_affinity.clusters.embedded import linux
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError, PreflightError
from session_affinity.waiting import poll

ROOT = Path("/sys/fs/cgroup")
NEEDED_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")  # v1 has blkio for io
_NEEDED_V1 = ("cpuset", "cpu", "memory", "devices", "freezer", "pids")


@dataclass(frozen=True)
class Hierarchy:
    """A mounted cgroup hierarchy; ``options`` are the v1 mount options (``cpu,cpuacct``), empty for v2."""

    mount_point: Path
    options: str

    @property
    def is_v2(self) -> bool:
        """Whether this is the unified hierarchy of cgroup v2."""
        return not self.options


def hierarchies(mountinfo: str | None = None) -> tuple[Hierarchy, ...]:
    """Return the hierarchies to use: v2 when it is mounted at /sys/fs/cgroup, else all of v1.

    Hybrid hosts mount v2 elsewhere (``/sys/fs/cgroup/unified``) and without controllers; it is not used there.
    """
    if mountinfo is None:
        mountinfo = Path("/proc/self/mountinfo").read_text()
    v1: dict[str, Hierarchy] = {}
    v2: Hierarchy | None = None
    for line in mountinfo.splitlines():
        mount, _, file_system = line.partition(" - ")
        kind, _, options = file_system.split(" ", 2)
        mount_point = Path(mount.split(" ")[4])
        if kind == "cgroup2" and mount_point == ROOT:
            v2 = Hierarchy(mount_point, "")
        elif kind == "cgroup" and mount_point.parent == ROOT:
            kept = ",".join(o for o in options.split(",") if o not in ("rw", "ro", "xattr", "clone_children"))
            kept = ",".join(o for o in kept.split(",") if not o.startswith(("release_agent", "cpuset_v2_mode")))
            v1[mount_point.name] = Hierarchy(mount_point, f"none,{kept}" if kept.startswith("name=") else kept)
    if v2 is not None:
        return (v2,)
    return tuple(v1.values())


def require_controllers() -> None:
    """Raise PreflightError when the host's cgroups lack a controller that a node needs."""
    mounted = hierarchies()
    if not mounted:
        raise PreflightError(
            f"no cgroup hierarchy is mounted at {ROOT}",
            next_step="mount cgroup v2: mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        )
    if mounted[0].is_v2:
        available = (ROOT / "cgroup.controllers").read_text().split()
        missing = [c for c in NEEDED_CONTROLLERS if c not in available]
    else:
        available = [c for hierarchy in mounted for c in hierarchy.options.split(",")]
        missing = [c for c in _NEEDED_V1 if c not in available]
    if missing:
        raise PreflightError(
            f"cgroup controllers are missing at {ROOT}: {', '.join(missing)} (available: {' '.join(available)})",
            next_step="enable them on the kernel command line, or run on the host instead of in a container",
        )


def _enable_controllers(directory: Path) -> None:
    """Enable the needed controllers for the children of a v2 cgroup, each with its own write."""
    available = (directory / "cgroup.controllers").read_text().split()
    for controller in NEEDED_CONTROLLERS:
        if controller in available:
            (directory / "cgroup.subtree_control").write_text(f"+{controller}")


def _make_v1(directory: Path) -> None:
    """Create a v1 cgroup and copy the parent's CPUs and memory nodes: an empty cpuset accepts no process."""
    directory.mkdir(exist_ok=True)
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = directory / name
        if file.exists() and not file.read_text().strip():
            file.write_text((directory.parent / name).read_text())


class ClusterCgroups:
    """The cgroups of one cluster: one for each node, and ``processes`` for everything outside the nodes."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._hierarchies = hierarchies()

    def _top(self, hierarchy: Hierarchy) -> Path:
        return hierarchy.mount_point / f"session-affinity-{self._cluster}"

    def create(self, nodes: tuple[str, ...]) -> None:
        """Create all cgroups of the cluster; raises ClusterError naming the directory that failed."""
        try:
            for hierarchy in self._hierarchies:
                top = self._top(hierarchy)
                if hierarchy.is_v2:
                    _enable_controllers(hierarchy.mount_point)
                    top.mkdir(exist_ok=True)
                    _enable_controllers(top)
                    for name in ("processes", *nodes):
                        (top / name).mkdir(exist_ok=True)
                else:
                    _make_v1(top)
                    for name in ("processes", *nodes):
                        _make_v1(top / name)
        except OSError as error:
            raise ClusterError(
                f"cannot create the cgroups of cluster {self._cluster}: {error}",
                next_step="run as root on the host, not in a container with a read-only /sys/fs/cgroup",
            ) from error

    def enter(self, name: str) -> None:
        """Move this process into a cgroup of the cluster."""
        for hierarchy in self._hierarchies:
            (self._top(hierarchy) / name / "cgroup.procs").write_text("0")

    def enter_node(self, node: str) -> None:
        """Move this process into a node's cgroup and make that the root of a new cgroup namespace.

        The move comes first, because the root of a new cgroup namespace is the cgroup of the process that creates it
        (cgroup_namespaces(7)). On v2 the process then moves to a child, ``init``: controllers can be enabled only in a
        cgroup without processes.
        """
        self.enter(node)
        linux.unshare(linux.CLONE_NEWCGROUP)
        for hierarchy in self._hierarchies:
            if hierarchy.is_v2:
                root = self._top(hierarchy) / node
                (root / "init").mkdir(exist_ok=True)
                (root / "init" / "cgroup.procs").write_text("0")
                _enable_controllers(root)

    def mount_in_node(self) -> None:
        """Mount the node's cgroups on /sys/fs/cgroup; call it in the node's mount namespace, over a new sysfs."""
        if self._hierarchies[0].is_v2:
            linux.mount("cgroup2", ROOT, "cgroup2")
            return
        linux.mount("tmpfs", ROOT, "tmpfs", options="mode=755")
        for hierarchy in self._hierarchies:
            target = ROOT / hierarchy.mount_point.name
            target.mkdir()
            linux.mount("cgroup", target, "cgroup", options=hierarchy.options)
            # Programs look up a controller by its own name, also where several share a hierarchy (cpu,cpuacct).
            for controller in hierarchy.options.split(","):
                alias = ROOT / controller
                if "=" not in controller and controller != "none" and not alias.exists():
                    alias.symlink_to(target.name)

    def exists(self) -> bool:
        """Whether this cluster has a cgroup, left by a dead cluster or used by a running one."""
        return any(self._top(h).exists() for h in self._hierarchies)

    def remove(self) -> None:
        """Kill the processes in the cluster's cgroups and remove the cgroups; raises ClusterError after a deadline."""

        def is_removed() -> bool:
            for hierarchy in self._hierarchies:
                self._remove_tree(hierarchy)
            return not self.exists()

        if not poll(is_removed, DEFAULTS.cgroup_removal, pause=0.02):
            left = ", ".join(str(self._top(h)) for h in self._hierarchies if self._top(h).exists())
            raise ClusterError(
                f"cannot remove the cgroups of cluster {self._cluster}: {left}",
                next_step="list their processes with systemd-cgls or cat cgroup.procs, and end those",
            )

    def _remove_tree(self, hierarchy: Hierarchy) -> None:
        top = self._top(hierarchy)
        if not top.exists():
            return
        kill = top / "cgroup.kill"
        if kill.exists():
            kill.write_text("1")
        directories = sorted((d for d in top.rglob("*") if d.is_dir()), key=lambda d: len(d.parts), reverse=True)
        for directory in (*directories, top):
            with contextlib.suppress(OSError):
                directory.rmdir()
