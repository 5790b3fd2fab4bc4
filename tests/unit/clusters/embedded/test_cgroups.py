"""The cgroup hierarchies of a host, read from its mount table."""

from __future__ import annotations

from session_affinity.clusters.embedded import cgroups

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


def test_the_v2_hierarchy_of_a_hybrid_host_is_not_used() -> None:
    assert cgroups.hierarchies(_HYBRID) == cgroups.hierarchies(_V1)


def test_a_host_without_cgroups_has_no_hierarchy() -> None:
    assert cgroups.hierarchies("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n") == ()
