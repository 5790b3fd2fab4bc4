"""Which cgroup trees a host has, from its mount table."""

from __future__ import annotations

from session_affinity.clusters.embedded import cgroups

_V2 = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
_V1 = (
    "31 30 0:27 / /sys/fs/cgroup/systemd rw shared:10 - cgroup cgroup rw,xattr,name=systemd\n"
    "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:11 - cgroup cgroup rw,cpu,cpuacct\n"
    "33 30 0:29 / /sys/fs/cgroup/cpuset rw shared:12 - cgroup cgroup rw,cpuset,clone_children\n"
)
_HYBRID = _V1 + "34 30 0:30 / /sys/fs/cgroup/unified rw shared:13 - cgroup2 cgroup2 rw\n"


def test_the_unified_tree_is_used_where_it_is_the_only_one() -> None:
    found = cgroups.hierarchies(_V2)

    assert [(str(h.mount_point), h.is_v2) for h in found] == [("/sys/fs/cgroup", True)]


def test_v1_trees_keep_their_controllers_and_their_names() -> None:
    found = {h.mount_point.name: h.options for h in cgroups.hierarchies(_V1)}

    assert found == {"systemd": "none,name=systemd", "cpu,cpuacct": "cpu,cpuacct", "cpuset": "cpuset"}


def test_a_hybrid_hosts_unified_tree_is_left_alone() -> None:
    assert cgroups.hierarchies(_HYBRID) == cgroups.hierarchies(_V1)


def test_a_host_without_cgroups_has_no_tree() -> None:
    assert cgroups.hierarchies("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n") == ()
