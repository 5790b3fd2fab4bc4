"""The cgroups of a cluster, on hosts with cgroup v2, v1, or both (hybrid).

All processes of a cluster run below one directory per hierarchy, ``/session-affinity-NAME``, never in the caller's
cgroup. The reason is cgroup v2: a cgroup that contains processes cannot pass domain controllers to its children
("no internal processes" rule of Documentation/admin-guide/cgroup-v2.rst); threaded controllers alone turn it "domain
threaded", which breaks the children. So on v2 a cgroup is emptied first, and then its controllers are enabled.

On a hybrid host the v2 hierarchy has no controllers, and each node has a cgroup in it all the same: BPF programs are
attached to cgroups of v2, and in the root of that hierarchy they would see the traffic of the whole machine.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from session_affinity.clusters.embedded import bpf, linux
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError, PreflightError
from session_affinity.waiting import poll

ROOT = Path("/sys/fs/cgroup")
HYBRID = ROOT / "unified"
"""Where systemd mounts cgroup v2 on a host that uses the controllers of v1."""
NEEDED_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")  # v1 has blkio for io
_NEEDED_V1 = ("cpuset", "cpu", "memory", "devices", "freezer", "pids")


@dataclass(frozen=True)
class Hierarchy:
    """A mounted cgroup hierarchy; ``options`` are the v1 mount options (``cpu,cpuacct``), empty for v2."""

    mount_point: Path
    options: str

    @property
    def is_v2(self) -> bool:
        """Whether this is the hierarchy of cgroup v2."""
        return not self.options

    @property
    def is_unified(self) -> bool:
        """Whether this is cgroup v2 with all controllers, as on a host without v1."""
        return self.is_v2 and self.mount_point == ROOT


def hierarchies(mountinfo: str | None = None) -> tuple[Hierarchy, ...]:
    """Return the hierarchies to use: v2 alone when it is mounted at /sys/fs/cgroup, else all of v1 and then v2.

    Hybrid hosts mount v2 elsewhere (``/sys/fs/cgroup/unified``), without controllers.
    """
    if mountinfo is None:
        mountinfo = Path("/proc/self/mountinfo").read_text()
    v1: dict[str, Hierarchy] = {}
    v2: Hierarchy | None = None
    for line in mountinfo.splitlines():
        mount, _, file_system = line.partition(" - ")
        kind, _, options = file_system.split(" ", 2)
        mount_point = Path(mount.split(" ")[4])
        if kind == "cgroup2" and ROOT in (mount_point, mount_point.parent):
            v2 = Hierarchy(mount_point, "") if v2 is None or mount_point == ROOT else v2
        elif kind == "cgroup" and mount_point.parent == ROOT:
            kept = ",".join(o for o in options.split(",") if o not in ("rw", "ro", "xattr", "clone_children"))
            kept = ",".join(o for o in kept.split(",") if not o.startswith(("release_agent", "cpuset_v2_mode")))
            v1[mount_point.name] = Hierarchy(mount_point, f"none,{kept}" if kept.startswith("name=") else kept)
    if v2 is not None and v2.is_unified:
        return (v2,)
    return (*v1.values(), *([v2] if v2 else []))


def require_v2() -> None:
    """Raise PreflightError when no hierarchy of cgroup v2 is mounted, in which a node could have a cgroup."""
    if not any(hierarchy.is_v2 for hierarchy in hierarchies()):
        raise PreflightError(
            "no cgroup v2 hierarchy is mounted: a BPF program of a node would be attached to the whole machine",
            next_step=f"mkdir {HYBRID} && mount -t cgroup2 cgroup2 {HYBRID}, or boot with cgroup v2",
        )


def require_controllers() -> None:
    """Raise PreflightError when the host's cgroups lack a controller that a node needs."""
    mounted = hierarchies()
    if not mounted:
        raise PreflightError(
            f"no cgroup hierarchy is mounted at {ROOT}",
            next_step="mount cgroup v2: mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        )
    if mounted[0].is_unified:
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


def _make_v2(directory: Path) -> None:
    directory.mkdir(exist_ok=True)


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
                make = _make_v2 if hierarchy.is_v2 else _make_v1
                if hierarchy.is_unified:
                    _enable_controllers(hierarchy.mount_point)
                make(top)
                if hierarchy.is_unified:
                    _enable_controllers(top)
                for name in ("processes", *nodes):
                    make(top / name)
        except OSError as error:
            raise ClusterError(
                f"cannot create the cgroups of cluster {self._cluster}: {error}",
                next_step="run as root on the host, not in a container with a read-only /sys/fs/cgroup",
            ) from error

    def enter(self, name: str) -> None:
        """Move this process into a cgroup of the cluster."""
        for hierarchy in self._hierarchies:
            (self._top(hierarchy) / name / "cgroup.procs").write_text("0")

    def join(self, node: str) -> None:
        """Move this process to the cgroups of a running node's processes: what is attached to these sees it too."""
        for hierarchy in self._hierarchies:
            root = self._top(hierarchy) / node
            (root / "init" if hierarchy.is_unified else root).joinpath("cgroup.procs").write_text("0")

    def enter_node(self, node: str) -> None:
        """Move this process into a node's cgroup and make that the root of a new cgroup namespace.

        The move comes first, because the root of a new cgroup namespace is the cgroup of the process that creates it
        (cgroup_namespaces(7)). On a unified host the process then moves to a child, ``init``: controllers can be
        enabled only in a cgroup without processes.
        """
        self.enter(node)
        linux.unshare(linux.CLONE_NEWCGROUP)
        for hierarchy in self._hierarchies:
            if hierarchy.is_unified:
                root = self._top(hierarchy) / node
                (root / "init").mkdir(exist_ok=True)
                (root / "init" / "cgroup.procs").write_text("0")
                _enable_controllers(root)

    def mount_in_node(self) -> None:
        """Mount the node's cgroups on /sys/fs/cgroup; call it in the node's mount namespace, over a new sysfs."""
        if self._hierarchies[0].is_unified:
            linux.mount("cgroup2", ROOT, "cgroup2")
            return
        linux.mount("tmpfs", ROOT, "tmpfs", options="mode=755")
        for hierarchy in self._hierarchies:
            target = ROOT / hierarchy.mount_point.name
            target.mkdir()
            if hierarchy.is_v2:
                linux.mount("cgroup2", target, "cgroup2")
                continue
            linux.mount("cgroup", target, "cgroup", options=hierarchy.options)
            # Programs look up a controller by its own name, also where several share a hierarchy (cpu,cpuacct).
            for controller in hierarchy.options.split(","):
                alias = ROOT / controller
                if "=" not in controller and controller != "none" and not alias.exists():
                    alias.symlink_to(target.name)

    @property
    def v2_mount_point(self) -> Path | None:
        """Where a node has its cgroup of v2 mounted, its own one at the root of the mount; None without v2."""
        return next((h.mount_point for h in self._hierarchies if h.is_v2), None)

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
            if hierarchy.is_v2:
                bpf.detach_all(directory)
            with contextlib.suppress(OSError):
                directory.rmdir()
