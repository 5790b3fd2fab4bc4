"""A cluster's own cgroups, on hosts with cgroup v2, v1, or both (hybrid).

Everything a cluster runs lives below one directory per hierarchy, ``/session-affinity-NAME``, never in the caller's
cgroup: on v2 enabling controllers in a cgroup that holds processes turns it "domain threaded" and breaks its children.
Order matters on v2: first no process in the cgroup, then its controllers.
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
NEEDED_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")  # io is called blkio on v1
_NEEDED_V1 = ("cpuset", "cpu", "memory", "devices", "freezer", "pids")


@dataclass(frozen=True)
class Hierarchy:
    """One mounted cgroup tree: ``options`` is empty for v2, else the v1 mount options (``cpu,cpuacct``)."""

    mount_point: Path
    options: str

    @property
    def is_v2(self) -> bool:
        """Whether this is the unified hierarchy."""
        return not self.options


def hierarchies(mountinfo: str | None = None) -> tuple[Hierarchy, ...]:
    """Return the trees to use: the v2 one when it has the controllers, else the v1 ones.

    On hybrid hosts v2 is mounted as well but has no controller; it is left alone there.
    """
    if mountinfo is None:
        mountinfo = Path("/proc/self/mountinfo").read_text()
    v1: dict[str, Hierarchy] = {}
    v2: Hierarchy | None = None
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        mount_point = Path(before.split(" ")[4])
        if kind == "cgroup2" and mount_point == ROOT:
            v2 = Hierarchy(mount_point, "")
        elif kind == "cgroup" and mount_point.parent == ROOT:
            ours = ",".join(o for o in options.split(",") if o not in ("rw", "ro", "xattr", "clone_children"))
            ours = ",".join(o for o in ours.split(",") if not o.startswith(("release_agent", "cpuset_v2_mode")))
            v1[mount_point.name] = Hierarchy(mount_point, f"none,{ours}" if ours.startswith("name=") else ours)
    if v2 is not None:
        return (v2,)
    return tuple(v1.values())


def describe(found: tuple[Hierarchy, ...]) -> str:
    """Say in a word what the host has."""
    if not found:
        return "none"
    return "v2" if found[0].is_v2 else "v1"


def require_controllers() -> None:
    """Raise PreflightError when the host's cgroups cannot carry a node."""
    found = hierarchies()
    if not found:
        raise PreflightError(
            f"no cgroup hierarchy is mounted at {ROOT}",
            next_step="mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        )
    if found[0].is_v2:
        have = (ROOT / "cgroup.controllers").read_text().split()
        missing = [c for c in NEEDED_CONTROLLERS if c not in have]
    else:
        have = [c for h in found for c in h.options.split(",")]
        missing = [c for c in _NEEDED_V1 if c not in have]
    if missing:
        raise PreflightError(
            f"cgroup controllers are missing at {ROOT}: {', '.join(missing)} (there: {' '.join(have)})",
            next_step="enable them on the kernel command line, or run on the host rather than in a container",
        )


def _enable_controllers(directory: Path) -> None:
    """Hand a v2 cgroup's controllers down to its children, one by one: one refusal must not lose the others."""
    available = (directory / "cgroup.controllers").read_text().split()
    for controller in NEEDED_CONTROLLERS:
        if controller in available:
            (directory / "cgroup.subtree_control").write_text(f"+{controller}")


def _make_v1(directory: Path) -> None:
    """Make a v1 cgroup; a new cpuset is empty and takes no process until it has its parent's processors."""
    directory.mkdir(exist_ok=True)
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = directory / name
        if file.exists() and not file.read_text().strip():
            file.write_text((directory.parent / name).read_text())


class ClusterCgroups:
    """The directories of one cluster: ``processes`` for what is not a node, and one for each node."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._hierarchies = hierarchies()

    def _top(self, hierarchy: Hierarchy) -> Path:
        return hierarchy.mount_point / f"session-affinity-{self._cluster}"

    def create(self, nodes: tuple[str, ...]) -> None:
        """Make all directories; raises ClusterError naming the one that could not be made."""
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
                f"cgroups of cluster {self._cluster} could not be made: {error}",
                next_step="run as root on the host itself, not inside a container with a read-only /sys/fs/cgroup",
            ) from error

    def enter(self, name: str) -> None:
        """Move this process into a directory of the cluster."""
        for hierarchy in self._hierarchies:
            (self._top(hierarchy) / name / "cgroup.procs").write_text("0")

    def become_node(self, node: str) -> None:
        """Make the node's directory the root that this process and its children see.

        Entering comes before the new namespace (its root is where the process is), and on v2 the process then steps
        down, so that controllers can be enabled in a root without processes.
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
        """Mount the node's view on /sys/fs/cgroup; to be called in the node's own mount namespace, over a new sysfs."""
        if self._hierarchies[0].is_v2:
            linux.mount("cgroup2", ROOT, "cgroup2")
            return
        linux.mount("tmpfs", ROOT, "tmpfs", options="mode=755")
        for hierarchy in self._hierarchies:
            target = ROOT / hierarchy.mount_point.name
            target.mkdir()
            linux.mount("cgroup", target, "cgroup", options=hierarchy.options)
            # Where controllers share a hierarchy, programs look for each by its own name.
            for controller in hierarchy.options.split(","):
                alias = ROOT / controller
                if "=" not in controller and controller != "none" and not alias.exists():
                    alias.symlink_to(target.name)

    def exists(self) -> bool:
        """Whether a directory of this cluster is there, of a running cluster or a dead one."""
        return any(self._top(h).exists() for h in self._hierarchies)

    def remove(self) -> None:
        """End what still runs in the cluster's cgroups and remove them; raises ClusterError if they do not go."""

        def is_removed() -> bool:
            for hierarchy in self._hierarchies:
                self._remove_tree(hierarchy)
            return not self.exists()

        if not poll(is_removed, DEFAULTS.cgroup_removal, pause=0.02):
            left = [str(self._top(h)) for h in self._hierarchies if self._top(h).exists()]
            raise ClusterError(f"cgroups of cluster {self._cluster} cannot be removed: {', '.join(left)}")

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
