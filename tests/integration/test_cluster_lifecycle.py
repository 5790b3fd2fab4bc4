"""The lifecycle of embedded clusters: start, use, damage, interrupts, and removal without leftovers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded import cluster as clusters
from session_affinity.waiting import wait_until
from tests.integration import traces

if TYPE_CHECKING:
    from tests.integration.conftest import CommandLine

NAME = traces.NAMES[0]

_OPEN_AND_WAIT = """
import sys, time
from session_affinity.clusters.choice import open_cluster
from session_affinity.clusters.options import ClusterOptions
from session_affinity.progress import quiet
with open_cluster(ClusterOptions(name=sys.argv[1]), quiet()) as cluster:
    print("up", flush=True)
    time.sleep(300)
"""


def kubectl(cluster: clusters.EmbeddedCluster, *arguments: str) -> str:
    program = cluster.layout.programs["kubectl"]
    argv = (program, f"--kubeconfig={cluster.kubeconfig}", *arguments)
    completed = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def running_cluster(name: str = NAME) -> clusters.EmbeddedCluster:
    cluster = clusters.find(name)
    assert cluster is not None
    return cluster


def test_a_cluster_is_reachable_from_the_host_and_leaves_nothing(
    embedded: CommandLine, state_root: Path, before: traces.Traces
) -> None:
    """It has four nodes with fixed names and pod CIDRs and listens on loopback only; `down` removes everything."""
    embedded("up", "--name", NAME)
    kubeconfig = embedded("kubeconfig", "--name", NAME).strip()
    nodes = json.loads(kubectl(running_cluster(), "get", "nodes", "-o", "json"))["items"]
    ranges = {node["metadata"]["name"]: node["spec"]["podCIDR"] for node in nodes}
    added = traces.now(state_root).added_to(before)
    hostname = embedded("exec", "--name", NAME, f"{NAME}-worker2", "--", "hostname").strip()
    cgroups = embedded("exec", "--name", NAME, f"{NAME}-worker", "--", "cat", "/proc/self/cgroup")
    status = embedded("status", "--name", NAME)
    embedded("down", "--name", NAME)

    assert kubeconfig == str(state_root / "clusters" / NAME / "kubeconfig")
    assert ranges == {
        f"{NAME}-control-plane": "10.10.0.0/24",
        f"{NAME}-worker": "10.10.1.0/24",
        f"{NAME}-worker2": "10.10.2.0/24",
        f"{NAME}-worker3": "10.10.3.0/24",
    }
    assert added.keys() == {"processes", "cgroups", "state"}  # no listener beyond loopback, no link, route or mount
    assert hostname == f"{NAME}-worker2"
    assert re.search(r"^0::/(init)?$", cgroups, re.MULTILINE), cgroups
    assert "all programs run" in status
    assert traces.wait_until_gone(before, state_root) == {}


def test_two_clusters_of_different_names_run_at_once(
    embedded: CommandLine, state_root: Path, before: traces.Traces
) -> None:
    """Each has its own nodes, and one can be removed while the other runs."""
    processes = [embedded.start("up", "--name", name) for name in ("first", "second")]
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs

    embedded("down", "--name", "first")
    names = kubectl(running_cluster("second"), "get", "nodes", "-o", "name").split()
    embedded("down", "--name", "second")

    assert names[0] == "node/second-control-plane"
    assert traces.wait_until_gone(before, state_root) == {}


def test_up_finds_a_running_cluster_of_the_same_name(embedded: CommandLine) -> None:
    """It does not start a second one when the running cluster has the requested options, and refuses others."""
    began = time.monotonic()
    embedded("up", "--name", NAME)
    started = time.monotonic()
    output = embedded("up", "--name", NAME)
    again = time.monotonic()
    refusal = embedded("up", "--name", NAME, "--proxy-mode", "nftables", code=4)

    assert f"cluster {NAME} runs" in output
    assert again - started < (started - began) / 2
    assert "nftables" in refusal
    assert "take it down" in refusal


@pytest.mark.parametrize("victim", ["supervisor", "first process", "kube-apiserver", "a node", "containerd"])
def test_a_cluster_with_a_killed_process_is_replaced_by_the_next_up(
    victim: str, embedded: CommandLine, state_root: Path, before: traces.Traces
) -> None:
    """After SIGKILL of any process `up` gives a complete cluster, and `down` leaves nothing."""
    embedded("up", "--name", NAME)
    old = running_cluster()
    os.kill(_pid_of(victim, old), signal.SIGKILL)

    def has_ended() -> bool:
        cluster = clusters.find(NAME)
        return cluster is None or bool(cluster.missing_processes())

    wait_until(has_ended, 10, what="the cluster to end")

    embedded("up", "--name", NAME)
    new = running_cluster()
    nodes = kubectl(new, "get", "nodes", "-o", "name").split()
    missing = new.missing_processes()
    embedded("down", "--name", NAME)

    assert new.processes.supervisor != old.processes.supervisor
    assert len(nodes) == 4
    assert missing == ()
    assert traces.wait_until_gone(before, state_root) == {}


def test_status_names_a_killed_kube_proxy_and_does_not_restart_it(embedded: CommandLine) -> None:
    """kube-proxy is under test, so the cluster must not restart it; the claims of a run report its absence."""
    embedded("up", "--name", NAME)
    running_cluster().nodes[f"{NAME}-worker2"].run(("pkill", "-9", "kube-proxy")).check()
    wait_until(lambda: running_cluster().missing_processes(), 10, what="the cluster to lose a program")

    status = embedded("status", "--name", NAME, code=1)

    assert f"{NAME}-worker2: kube-proxy (exit code -9)" in status


def test_the_cluster_ends_when_its_owner_is_killed(
    embedded: CommandLine, state_root: Path, before: traces.Traces
) -> None:
    """After SIGKILL of a run nothing remains, without a clean-up by another process."""
    with subprocess.Popen(
        (sys.executable, "-c", _OPEN_AND_WAIT, NAME),
        env=embedded.environment,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        owner.kill()

    assert traces.wait_until_gone(before, state_root) == {}


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.8, 1.5, 3.0])
def test_ctrl_c_while_starting_leaves_nothing(
    seconds: float, embedded: CommandLine, state_root: Path, before: traces.Traces
) -> None:
    """An interrupt ``seconds`` after the first line of output gives exit code 2 and removes everything."""
    starting = embedded.start("up", "--name", NAME)
    assert starting.stdout is not None
    output = starting.stdout.readline()
    time.sleep(seconds)
    starting.send_signal(signal.SIGINT)
    output += starting.communicate(timeout=60)[0]

    assert starting.returncode == 2, output
    assert traces.wait_until_gone(before, state_root) == {}


def test_credentials_give_no_more_access_than_needed(embedded: CommandLine) -> None:
    """Keys and kubeconfigs are private, requests need a certificate, and a kubelet cannot list Secrets."""
    embedded("up", "--name", NAME)
    cluster = running_cluster()
    private = [
        path
        for path in cluster.state.root.rglob("*")
        if path.suffix in (".key", ".kubeconfig") or path.name == "kubeconfig"
    ]
    readable = [str(path) for path in private if path.stat().st_mode & 0o077]
    worker = cluster.nodes[f"{NAME}-worker"]
    api = f"https://{cluster.layout.control_plane.address}:6443"
    curl = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", str(cluster.state.pki / "ca.crt"))
    as_kubelet = (
        "--cert",
        f"{cluster.state.pki}/kubelet-{NAME}-worker.crt",
        "--key",
        f"{cluster.state.pki}/kubelet-{NAME}-worker.key",
    )

    anonymous = worker.run((*curl, f"{api}/api/v1/nodes")).stdout
    own_node = worker.run((*curl, *as_kubelet, f"{api}/api/v1/nodes/{NAME}-worker")).stdout
    secrets = worker.run((*curl, *as_kubelet, f"{api}/api/v1/secrets")).stdout
    kubelet = worker.run(
        ("curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", f"https://{worker_address(cluster)}:10250/pods")
    ).stdout

    assert len(private) > 10
    assert readable == []
    assert (anonymous, own_node, secrets, kubelet) == ("403", "200", "403", "401")


def worker_address(cluster: clusters.EmbeddedCluster) -> str:
    return cluster.layout.nodes[1].address


def _pid_of(victim: str, cluster: clusters.EmbeddedCluster) -> int:
    worker = cluster.nodes[f"{NAME}-worker"].process.pid
    control_plane = cluster.nodes[f"{NAME}-control-plane"].process.pid
    processes = cluster.processes
    pids = {"supervisor": processes.supervisor.pid, "first process": processes.first_process.pid, "a node": worker}
    parents = {"kube-apiserver": control_plane, "containerd": worker}
    return pids[victim] if victim in pids else _child(parents[victim], victim)


def _child(parent: int, name: str) -> int:
    completed = subprocess.run(
        ("pgrep", "-P", str(parent), "-x", name[:15]), capture_output=True, text=True, check=True
    )
    return int(completed.stdout.split()[0])
