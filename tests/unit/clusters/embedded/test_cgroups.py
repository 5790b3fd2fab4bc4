"""The cgroup hierarchies of a host, read from its mount table."""

from __future__ import annotations

import pytest

from session_affinity.clusters.embedded import cgroups
from session_affinity.errors import PreflightError

_V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
_V1 = (
    "31 30 0:27 / /sys/fs/cgroup/systemd rw shared:10 - cgroup cgroup rw,xattr,name=systemd\n"
    "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:11 - cgroup cgroup rw,cpu,cpuacct\n"
    "33 30 0:29 / /sys/fs/cgroup/cpuset rw shared:12 - cgroup cgroup rw,cpuset,clone_children\n"
)
_HYBRID = _V1 + "34 30 0:30 / /sys/fs/cgroup/unified rw shared:13 - cgroup2 cgroup2 rw\n"


def test_cgroup_v2_is_used_when_it_is_mounted_at_the_root() -> None:
    mounted = cgroups.hierarchies(_V2)

    assert [(str(h.mount_point), h.is_v2) for h in mounted] == [("/sys/fs/cgroup", True)]


def test_v1_hierarchies_have_their_controllers_and_names_as_options() -> None:
    options = {h.mount_point.name: h.options for h in cgroups.hierarchies(_V1)}

    assert options == {"systemd": "none,name=systemd", "cpu,cpuacct": "cpu,cpuacct", "cpuset": "cpuset"}


def test_a_hybrid_host_has_the_v1_hierarchies_and_v2_without_controllers() -> None:
    """Each node needs a cgroup of v2 there too: BPF programs are attached to one."""
    mounted = cgroups.hierarchies(_HYBRID)

    assert mounted[:-1] == cgroups.hierarchies(_V1)
    assert (mounted[-1].mount_point, mounted[-1].is_v2, mounted[-1].is_unified) == (cgroups.HYBRID, True, False)


def test_a_host_without_cgroup_v2_cannot_run_node_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    mounted = cgroups.hierarchies(_V1)
    monkeypatch.setattr(cgroups, "hierarchies", lambda: mounted)

    with pytest.raises(PreflightError, match="no cgroup v2 hierarchy is mounted"):
        cgroups.require_v2()


def test_a_host_without_cgroups_has_no_hierarchy() -> None:
    assert cgroups.hierarchies("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n") == ()
