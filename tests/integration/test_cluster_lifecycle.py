"""An embedded cluster works, and whatever happens to it, nothing of it stays."""

from __future__ import annotations

import json
import os
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
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def running(name: str = NAME) -> clusters.EmbeddedCluster:
    found = clusters.find(name)
    assert found is not None
    return found


def test_a_cluster_is_reached_from_the_host_and_leaves_nothing(
    embedded: CommandLine, state_root: Path, before: traces.Traces
) -> None:
    """Four nodes with the names and pod ranges of the walk; only loopback listens; after `down` all is as before."""
    embedded("up", "--name", NAME)
    kubeconfig = embedded("kubeconfig", "--name", NAME).strip()
    nodes = json.loads(kubectl(running(), "get", "nodes", "-o", "json"))["items"]
    ranges = {node["metadata"]["name"]: node["spec"]["podCIDR"] for node in nodes}
    added = traces.now(state_root).added_to(before)
    hostname = embedded("exec", "--name", NAME, f"{NAME}-worker2", "--", "hostname").strip()
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
    assert "all programs run" in status
    assert traces.wait_until_gone(before, state_root) == {}


def test_two_clusters_of_different_names_run_at_once(
    embedded: CommandLine, state_root: Path, before: traces.Traces
) -> None:
    """Both answer with their own nodes, and each goes alone."""
    processes = [embedded.start("up", "--name", name) for name in ("first", "second")]
    said = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said

    embedded("down", "--name", "first")
    names = kubectl(running("second"), "get", "nodes", "-o", "name").split()
    embedded("down", "--name", "second")

    assert names[0] == "node/second-control-plane"
    assert traces.wait_until_gone(before, state_root) == {}


def test_a_second_start_of_the_same_name_finds_the_first(embedded: CommandLine) -> None:
    """A running cluster is found in well under a second, and one that differs is refused."""
    embedded("up", "--name", NAME)
    began = time.monotonic()
    said = embedded("up", "--name", NAME)
    seconds = time.monotonic() - began
    refused = embedded("up", "--name", NAME, "--proxy-mode", "nftables", code=4)

    assert f"cluster {NAME} runs" in said
    assert seconds < 2
    assert "nftables" in refused
    assert "take it down" in refused


@pytest.mark.parametrize("victim", ["keeper", "first process", "kube-apiserver", "a node", "containerd"])
def test_killing_any_part_leaves_what_the_next_start_replaces(
    victim: str, embedded: CommandLine, state_root: Path, before: traces.Traces
) -> None:
    """kill -9 of any part; `up` again gives a whole cluster, `down` leaves nothing."""
    embedded("up", "--name", NAME)
    old = running()
    os.kill(_pid_of(victim, old), signal.SIGKILL)
    wait_until(lambda: clusters.find(NAME) is None or running().dead(), 10, what="the cluster to end")

    embedded("up", "--name", NAME)
    new = running()
    nodes = kubectl(new, "get", "nodes", "-o", "name").split()
    dead = new.dead()
    embedded("down", "--name", NAME)

    assert new.running.keeper != old.running.keeper
    assert len(nodes) == 4
    assert dead == ()
    assert traces.wait_until_gone(before, state_root) == {}


def test_a_dead_kube_proxy_is_named_and_left_to_the_claims(embedded: CommandLine) -> None:
    """What is under test is not mended behind the reader's back: `status` names it, a run of the suite judges it."""
    embedded("up", "--name", NAME)
    running().nodes[f"{NAME}-worker2"].run(("pkill", "-9", "kube-proxy")).check()
    wait_until(lambda: running().dead(), 10, what="the cluster to lose a program")

    status = embedded("status", "--name", NAME, code=1)

    assert f"{NAME}-worker2: kube-proxy (exit code -9)" in status


def test_killing_its_owner_takes_the_cluster_along(
    embedded: CommandLine, state_root: Path, before: traces.Traces
) -> None:
    """A run that is killed with -9 leaves nothing, without anybody cleaning up after it."""
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
    """Whatever phase it interrupts, so long after it said the first word: it ends with 2, and all is as before."""
    starting = embedded.start("up", "--name", NAME)
    assert starting.stdout is not None
    said = starting.stdout.readline()
    time.sleep(seconds)
    starting.send_signal(signal.SIGINT)
    said += starting.communicate(timeout=60)[0]

    assert starting.returncode == 2, said
    assert traces.wait_until_gone(before, state_root) == {}


def test_credentials_reach_no_further_than_they_must(embedded: CommandLine) -> None:
    """Keys and kubeconfigs are private; nobody without a certificate gets in; a kubelet reads its own node only."""
    embedded("up", "--name", NAME)
    cluster = running()
    secret = [p for p in cluster.state.root.rglob("*") if p.suffix in (".key", ".kubeconfig") or p.name == "kubeconfig"]
    readable = [str(p) for p in secret if p.stat().st_mode & 0o077]
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
    own = worker.run((*curl, *as_kubelet, f"{api}/api/v1/nodes/{NAME}-worker")).stdout
    secrets = worker.run((*curl, *as_kubelet, f"{api}/api/v1/secrets")).stdout
    kubelet = worker.run(
        ("curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", f"https://{worker_address(cluster)}:10250/pods")
    ).stdout

    assert len(secret) > 10
    assert readable == []
    assert (anonymous, own, secrets, kubelet) == ("403", "200", "403", "401")


def worker_address(cluster: clusters.EmbeddedCluster) -> str:
    return cluster.layout.nodes[1].address


def _pid_of(victim: str, cluster: clusters.EmbeddedCluster) -> int:
    worker = cluster.nodes[f"{NAME}-worker"].process.pid
    control_plane = cluster.nodes[f"{NAME}-control-plane"].process.pid
    known = {"keeper": cluster.running.keeper.pid, "first process": cluster.running.first_process.pid, "a node": worker}
    parents = {"kube-apiserver": control_plane, "containerd": worker}
    return known[victim] if victim in known else _child(parents[victim], victim)


def _child(parent: int, name: str) -> int:
    done = subprocess.run(("pgrep", "-P", str(parent), "-x", name[:15]), capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])
