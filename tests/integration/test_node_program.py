"""A program of the user's on every node: supervised, kept to its node, and gone with the cluster."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.clusters.embedded.cgroups import ClusterCgroups
from session_affinity.waiting import poll, wait_until
from tests.integration import bpf, traces
from tests.integration.conftest import ROOT
from tests.integration.intrusive_agent import MARK, SYSCTLS

if TYPE_CHECKING:
    from tests.integration.conftest import CommandLine

NAME = traces.NAMES[0]
WORKER = f"{NAME}-worker"


@pytest.fixture
def intruder(tmp_path: Path) -> Path:
    """A node program that leaves as much as it can."""
    return script(tmp_path / "agent", f"cd {ROOT} && exec {sys.executable} -m tests.integration.intrusive_agent")


def script(file: Path, command: str) -> Path:
    """Write an executable script of the shell."""
    file.write_text(f"#!/bin/sh\n{command}\n")
    file.chmod(0o755)
    return file


def cgroup_of(*names: str) -> Path:
    """Return the directory of a cgroup of cgroup v2 as the host has it; its root without names."""
    mount_point = ClusterCgroups(NAME).v2_mount_point
    assert mount_point is not None
    return mount_point.joinpath(*names)


def running_cluster() -> clusters.EmbeddedCluster:
    cluster = clusters.find(NAME)
    assert cluster is not None
    return cluster


def sysctls() -> list[str]:
    return [Path("/proc/sys", name).read_text() for name in SYSCTLS]


def marks() -> list[str]:
    """Return the intruder's files that the machine has."""
    return [name for name in ("/etc", "/opt", "/tmp", "/run", "/usr") if Path(name, MARK).exists()]


def log(cluster: clusters.EmbeddedCluster, node: str = WORKER) -> str:
    return cluster.state.log(node, "node-program").read_text()


def wait_for_log(cluster: clusters.EmbeddedCluster, text: str, nodes: list[str]) -> None:
    wait_until(
        lambda: all(text in log(cluster, node) for node in nodes),
        30,
        what=f"{text!r} in the logs of {nodes}",
        last_state=lambda: log(cluster, nodes[-1])[-2000:],
    )


@pytest.mark.parametrize("end", ["down", "kill -9 of the supervisor", "kill -9 of the first process"])
def test_what_a_node_program_does_stays_on_its_node_and_goes_with_the_cluster(
    end: str, intruder: Path, embedded: CommandLine, state_root: Path, before: traces.Traces
) -> None:
    """Its BPF program runs in its node's cgroup only; files, sysctls and mounts of the machine are as they were."""
    machine, root = sysctls(), bpf.attached(cgroup_of())
    embedded("up", "--name", NAME, "--node-program", str(intruder))
    cluster = running_cluster()
    nodes = list(cluster.nodes)
    wait_for_log(cluster, "done\n", nodes)
    programs = {node: bpf.attached(cgroup_of(f"session-affinity-{NAME}", node)) for node in nodes}
    effective = {node: bpf.attached(cgroup_of(f"session-affinity-{NAME}", node), bpf.EFFECTIVE) for node in nodes}
    elsewhere = [bpf.attached(cgroup_of(*names)) for names in ((), (f"session-affinity-{NAME}",))]
    pinned = {node: cluster.nodes[node].run(("ls", "/sys/fs/bpf")).stdout.split() for node in nodes}
    worker_log = log(cluster)
    during = (sysctls(), traces.now(state_root).added_to(before).keys(), marks())
    if end != "down":
        processes = cluster.processes
        victim = processes.supervisor if end.endswith("supervisor") else processes.first_process
        os.kill(victim.pid, signal.SIGKILL)
    embedded("down", "--name", NAME)

    ids = set[int]().union(*programs.values())
    assert [len(each) for each in programs.values()] == [1] * len(nodes)
    assert len(ids) == len(nodes)
    assert {node: each - root for node, each in effective.items()} == programs
    assert elsewhere == [root, set()]
    assert all(MARK in names for names in pinned.values())
    assert during == (machine, {"processes", "cgroups", "state"}, [])
    assert "/usr: Read-only file system\n" in worker_log
    assert all(f"{name}: 2\n" in worker_log for name in SYSCTLS)
    assert traces.wait_until_gone(before, state_root) == {}
    assert poll(lambda: not any(map(bpf.exists, ids)), 10, pause=0.1)


def test_a_node_program_that_ends_is_started_again_and_status_says_what_runs(
    tmp_path: Path, embedded: CommandLine
) -> None:
    """Whether it was killed or ended by itself; its log has both, and what it had started in the background is gone."""
    lines = ("echo running", "sleep 2000 &", "[ -e /run/ended ] || { touch /run/ended; exit 3; }", "exec sleep 1000")
    program = script(tmp_path / "agent", "\n".join(lines))
    embedded("up", "--name", NAME, "--node-program", str(program))
    cluster = running_cluster()
    wait_for_log(cluster, "node-program ended with code 3: it is started again in 1 s\n", [WORKER])
    kill = ("pkill", "-9", "-f", "sleep 1000")
    wait_until(lambda: cluster.nodes[WORKER].run(kill).returncode == 0, 20, what="the second start")
    wait_for_log(cluster, "node-program ended with code -9: it is started again in", [WORKER])
    wait_until(lambda: log(cluster).count("running\n") == 3, 20, what="the third start")
    status = embedded("status", "--name", NAME)
    background = cluster.nodes[WORKER].run(("pgrep", "-f", "sleep 2000")).stdout.split()

    assert len(background) == 1
    assert f"iptables and {program}, ipv4, 4 nodes, all programs run" in status
    assert cluster.state.read_node_processes(WORKER)["node-program"]["restarts"] == 2


def test_a_start_is_given_up_when_the_program_ends_again_and_again(tmp_path: Path, embedded: CommandLine) -> None:
    """The message has the end of its log; nothing waits for a deadline."""
    program = script(tmp_path / "agent", "echo no such flag; exit 2")

    output = embedded("up", "--name", NAME, "--no-kube-proxy", "--node-program", str(program), code=1)

    assert "ended during the start: " in output
    assert "node-program (exit code 2)" in output
    assert "no such flag\n" in output
    assert clusters.find(NAME) is None


def test_a_cluster_with_another_program_is_refused(embedded: CommandLine, tmp_path: Path) -> None:
    """A running cluster is used only for what it runs."""
    program = script(tmp_path / "agent", "exec sleep 1000")
    embedded("up", "--name", NAME, "--node-program", str(program))

    refusal = embedded("up", "--name", NAME, code=4)

    assert f"iptables and {program}" in refusal
    assert "take it down first" in refusal
