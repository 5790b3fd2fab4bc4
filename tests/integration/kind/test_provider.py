"""Tests of open_kind on a machine of stand-in programs: start, adoption, removal and refusal of clusters."""

from __future__ import annotations

import json
import socket
import stat
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml

from session_affinity.clusters.images import by_tag, digest
from session_affinity.clusters.kind import preflight, readiness
from session_affinity.clusters.kind.configuration import sample_images
from session_affinity.clusters.kind.provider import open_kind
from session_affinity.clusters.kind.state import KindState
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError, NotReadyError, PreflightError, UsageError
from tests.kind_world import MYK8S, NETSHOOT, NODE_IMAGE, PROXY_CONFIG, WHOAMI

if TYPE_CHECKING:
    from session_affinity.clusters.kind.cluster import KindCluster
    from session_affinity.clusters.options import ClusterOptions
    from tests.integration.kind.conftest import ProgressLines
    from tests.kind_world import World


def origins(cluster: KindCluster) -> list[str]:
    return [cluster.facts[f"image {name}"] for name in sample_images()]


def keep_cluster(options: ClusterOptions, progress_lines: ProgressLines) -> None:
    with open_kind(replace(options, keep=True), progress_lines.progress):
        pass


def test_a_run_gets_a_cluster_and_leaves_nothing(
    world: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    with open_kind(options, progress_lines.progress) as cluster:
        mode = stat.S_IMODE(cluster.kubeconfig.stat().st_mode)
        assert tuple(cluster.nodes) == MYK8S
        assert (cluster.name, cluster.provider, mode) == ("myk8s", "kind", 0o600)
        assert [cluster.proxy_configs.of(name) for name in MYK8S] == [PROXY_CONFIG] * len(MYK8S)
        assert cluster.facts["node image"] == f"{NODE_IMAGE} (sha256:1234, from --node-image)"
        assert cluster.facts["kind"] == "0.33.0"
        assert world.network

    assert world.nodes == ""
    assert not world.network
    assert list((world.here / "state").rglob("*")) == [world.here / "state" / "kind"]


def test_kinds_steps_are_printed_with_their_times(
    world: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    assert world.bin.exists()
    with open_kind(options, progress_lines.progress):
        pass

    assert "  kind: Preparing nodes: 0." in progress_lines.text
    assert "kind create cluster: " in progress_lines.text


@pytest.mark.parametrize("shared", [True, False])
def test_kubeadm_has_patches_where_the_engine_mounts_the_clusters_files(
    world: World, options: ClusterOptions, progress_lines: ProgressLines, *, shared: bool
) -> None:
    if not shared:
        world.write("mounts-nothing")

    with open_kind(options, progress_lines.progress):
        state = KindState("myk8s")
        control_plane, *workers = yaml.safe_load(state.configuration.read_text())["nodes"]
        mounted = [mount["hostPath"] for mount in control_plane.get("extraMounts", ())]

    assert mounted == ([str(state.root / "kubeadm")] if shared else [])
    assert not any("extraMounts" in worker for worker in workers)


def test_an_existing_network_stays(world: World, options: ClusterOptions, progress_lines: ProgressLines) -> None:
    world.write("network")

    with open_kind(options, progress_lines.progress):
        pass

    assert world.network


def test_images_of_the_engine_are_loaded_and_the_nodes_pull_the_others(
    world: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    world.image(WHOAMI, description="a stand-in")

    with open_kind(options, progress_lines.progress) as cluster:
        assert origins(cluster) == [
            "sha256:1234, loaded from docker as traefik/whoami, not compared with sha256:200689790a0a, a stand-in",
            "pulled by the nodes: docker has none for amd64",
        ]
        # Pods refer to a loaded image by its tag on the nodes, to any other by its digest.
        assert list(map(cluster.image_name, sample_images())) == [WHOAMI, sample_images()[1]]

    assert world.calls("kind [load]") == ["kind [load] [docker-image] [traefik/whoami] [--name] [myk8s]"]


def test_the_image_of_the_pinned_digest_is_preferred(
    world: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    pinned = sample_images()[0]
    world.image(WHOAMI)
    world.image(by_tag(pinned))
    world.image(f"{WHOAMI}@{digest(pinned)}", tags=["mine/whoami:v1"])

    with open_kind(options, progress_lines.progress) as cluster:
        assert cluster.image_name(pinned) == "mine/whoami:v1"
        assert origins(cluster)[0] == f"sha256:1234, loaded from docker as {WHOAMI}@{digest(pinned)}"

    assert not world.calls("docker [tag]")


def test_an_image_without_a_tag_is_tagged_while_kind_loads_it(
    world: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    """The tag is in another repository: with the last tag of a repository, docker removes its names by digest too."""
    pinned = sample_images()[0]
    world.image(f"{WHOAMI}@{digest(pinned)}")

    with open_kind(options, progress_lines.progress) as cluster:
        tag = cluster.image_name(pinned)

    assert tag == "localhost/traefik/whoami:sha256-200689790a0a"
    assert world.calls("docker [tag]") == [f"docker [tag] [{WHOAMI}@{digest(pinned)}] [{tag}]"]
    assert world.calls("docker [rmi]") == [f"docker [rmi] [--no-prune] [{tag}]"]


def test_the_nodes_pull_an_image_that_does_not_load_or_is_for_another_architecture(
    world: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    world.image(WHOAMI, architecture="arm64")
    world.image(NETSHOOT)
    world.write("load-fails", "ctr: content digest sha256:12: not found")

    with open_kind(options, progress_lines.progress) as cluster:
        whoami, netshoot = origins(cluster)
        assert whoami == "pulled by the nodes: docker has none for amd64"
        assert "content digest sha256:12: not found" in netshoot
        assert tuple(map(cluster.image_name, sample_images())) == sample_images()


def test_images_of_podman_are_loaded_from_archives(
    podman: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    podman.image(WHOAMI)

    with open_kind(options, progress_lines.progress) as cluster:
        assert cluster.nodes["myk8s-worker"].program == "podman"

    assert len(podman.calls("podman [save]")) == 1
    assert "[load] [image-archive]" in podman.calls("kind [load]")[0]
    assert (podman.here / "provider").read_text().strip() == "podman"


def test_a_failed_create_leaves_logs_and_nothing_else(
    world: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    world.write("create-fails", "ERROR: failed to init node with kubeadm\n")

    with (
        pytest.raises(
            ClusterError, match=r"kind create cluster ended with exit code 1; its output:\n.*\n.*\n.*kubeadm"
        ),
        open_kind(options, progress_lines.progress),
    ):
        pass

    assert world.nodes == ""
    assert (world.here / "results" / "kind-logs-myk8s" / "node.log").exists()


def test_a_cluster_that_does_not_get_ready_is_removed(
    world: World, options: ClusterOptions, progress_lines: ProgressLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def time_out(*_: object, **__: object) -> dict[str, str]:
        raise NotReadyError("timed out after 120.0 s waiting for the nodes to be Ready")

    monkeypatch.setattr(readiness, "wait", time_out)

    with pytest.raises(NotReadyError), open_kind(options, progress_lines.progress):
        pass

    assert world.nodes == ""
    assert (world.here / "results" / "kind-logs-myk8s").exists()


@pytest.mark.parametrize("failed", [True, False])
def test_only_a_failed_run_exports_logs(
    world: World, options: ClusterOptions, progress_lines: ProgressLines, *, failed: bool
) -> None:
    with open_kind(replace(options, failed=lambda: failed), progress_lines.progress):
        pass

    assert (world.here / "results" / "kind-logs-myk8s" / "node.log").exists() == failed
    assert world.nodes == ""


def test_the_next_run_finishes_a_removal_that_failed(
    world: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    world.write("delete-fails", "ERROR: failed to delete nodes\n")

    with pytest.raises(ClusterError, match="failed to delete nodes"), open_kind(options, progress_lines.progress):
        pass
    (world.here / "delete-fails").unlink()

    assert KindState("myk8s").record() is not None
    with open_kind(options, progress_lines.progress):
        assert "left by a run that was killed" in progress_lines.text
    assert world.nodes == ""


def test_a_node_that_appears_late_is_removed(
    world: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    """The engine continues to create a node after kind was interrupted."""
    world.write("stubborn")

    with open_kind(options, progress_lines.progress):
        pass

    assert world.nodes == ""
    assert len(world.calls("kind [delete]")) == 2


def test_a_kept_cluster_is_adopted_and_stays(
    world: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    world.image(WHOAMI)
    keep_cluster(options, progress_lines)
    with open_kind(replace(options, node_image=None), progress_lines.progress) as cluster:
        assert tuple(cluster.nodes) == MYK8S
        assert cluster.image_name(sample_images()[0]) == WHOAMI
        assert cluster.facts["node image"].startswith(NODE_IMAGE)

    assert len(world.calls("kind [create]")) == 1
    assert not world.calls("kind [delete]")
    assert world.nodes.count("running") == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"node_image": "other/node:v1.37.2"}, "--node-image is other/node:v1.37.2, but the cluster has example/node"),
        ({"node_image": None, "kubernetes": "1.36"}, "--kubernetes is 1.36, but the cluster has 1.37.2"),
        ({"proxy_mode": "nftables"}, "--proxy-mode is nftables, but the cluster has iptables"),
    ],
)
def test_a_kept_cluster_that_does_not_match_is_refused_and_stays(
    world: World, options: ClusterOptions, progress_lines: ProgressLines, changes: dict[str, str | None], message: str
) -> None:
    keep_cluster(options, progress_lines)

    with (
        pytest.raises(UsageError, match=message) as raised,
        open_kind(replace(options, **changes), progress_lines.progress),
    ):
        pass

    assert "session-affinity cluster down --provider kind --name myk8s" in raised.value.next_step
    assert not world.calls("kind [delete]")


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (["id0|myk8s-control-plane|exited"], "myk8s-worker is missing; myk8s-worker2 is missing; .* is exited"),
        ([f"id{n}|{name}|exited" for n, name in enumerate(MYK8S)], "did not make"),
    ],
)
def test_a_broken_kept_cluster_is_refused_and_stays(
    world: World, options: ClusterOptions, progress_lines: ProgressLines, nodes: list[str], message: str
) -> None:
    keep_cluster(options, progress_lines)
    world.node(*nodes)

    with pytest.raises(ClusterError, match=message), open_kind(options, progress_lines.progress):
        pass

    assert not world.calls("kind [delete]")
    assert world.nodes.splitlines() == nodes


def test_a_kept_cluster_that_does_not_answer_is_refused(
    world: World, options: ClusterOptions, progress_lines: ProgressLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_cluster(options, progress_lines)
    monkeypatch.setattr(readiness, "not_ready", lambda *_: "GET /api/v1/nodes: no answer from the API")
    short = replace(options, deadlines=replace(DEFAULTS, kind_found=0.1))

    with (
        pytest.raises(ClusterError, match="kept by an earlier run, cannot be used: GET /api/v1/nodes: no answer"),
        open_kind(short, progress_lines.progress),
    ):
        pass

    assert not world.calls("kind [delete]")


def test_a_kept_cluster_that_was_removed_by_hand_is_replaced(
    world: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    keep_cluster(options, progress_lines)
    world.node()

    with open_kind(options, progress_lines.progress):
        assert len(world.calls("kind [create]")) == 2

    assert world.nodes == ""
    assert not world.network


def test_someone_elses_cluster_is_refused_and_stays(
    world: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    world.node("other|myk8s-control-plane|running")

    with (
        pytest.raises(
            ClusterError, match=r"a kind cluster myk8s exists that this suite did not make: myk8s-control-plane"
        ),
        open_kind(options, progress_lines.progress),
    ):
        pass

    assert world.nodes
    assert not world.calls("kind [delete]")


def test_two_runs_cannot_use_the_same_cluster(
    world: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    with open_kind(options, progress_lines.progress):
        with pytest.raises(ClusterError, match="in use by another run"), open_kind(options, progress_lines.progress):
            pass
        assert world.nodes


# Broken machines: each is refused with an error before anything is created.


def refusal(options: ClusterOptions, progress_lines: ProgressLines) -> str:
    began = time.monotonic()
    with (
        pytest.raises((PreflightError, ClusterError, UsageError)) as raised,
        open_kind(options, progress_lines.progress),
    ):
        pass
    assert time.monotonic() - began < 5
    return str(raised.value)


def test_kind_is_missing(world: World, options: ClusterOptions, progress_lines: ProgressLines) -> None:
    world.remove("kind")

    assert refusal(options, progress_lines).startswith("not found: kind\n  next: go install sigs.k8s.io/kind@v0.33.0")


def test_kind_cannot_run(world: World, options: ClusterOptions, progress_lines: ProgressLines) -> None:
    world.program("kind", "#!/bin/sh\necho wrong libc >&2; exit 127\n")

    assert "`kind version` ended with exit code 127: wrong libc" in refusal(options, progress_lines)


def test_the_engine_is_missing_or_stopped(world: World, options: ClusterOptions, progress_lines: ProgressLines) -> None:
    world.write("stopped")
    assert "the docker engine does not answer" in refusal(options, progress_lines)

    world.remove("docker")
    assert "not found: docker or podman" in refusal(options, progress_lines)


def test_the_image_cannot_be_pulled(world: World, options: ClusterOptions, progress_lines: ProgressLines) -> None:
    world.write("pull-fails", "manifest unknown\n")

    message = refusal(replace(options, node_image="gone/node:v1.37.2"), progress_lines)

    assert (
        "cannot pull node image gone/node:v1.37.2 (--node-image): docker pull gone/node:v1.37.2: manifest unknown"
        in message
    )
    assert not world.calls("kind [create]")


def test_a_missing_image_is_pulled(world: World, options: ClusterOptions, progress_lines: ProgressLines) -> None:
    with open_kind(replace(options, node_image="far/node:v1.37.2"), progress_lines.progress):
        assert world.calls("docker [pull]") == ["docker [pull] [far/node:v1.37.2]"]

    assert "pulling far/node:v1.37.2" in progress_lines.text


def test_the_image_is_not_a_node_image(world: World, options: ClusterOptions, progress_lines: ProgressLines) -> None:
    world.image("busybox", entrypoint="/bin/sh")

    assert "busybox (--node-image) is not a node image of kind" in refusal(
        replace(options, node_image="busybox"), progress_lines
    )
    assert not world.calls("docker [run]")


def test_the_image_is_for_another_architecture(
    world: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    world.image(NODE_IMAGE, architecture="arm64")

    assert "is an image for arm64, but docker runs on amd64" in refusal(options, progress_lines)


def test_the_image_is_of_another_version(world: World, options: ClusterOptions, progress_lines: ProgressLines) -> None:
    world.image("own/node:latest")
    world.write("version", "v1.35.1")

    message = refusal(replace(options, node_image="own/node:latest", kubernetes="1.37"), progress_lines)

    assert "--kubernetes 1.37: --node-image own/node:latest has Kubernetes 1.35.1" in message


def test_a_name_is_taken(world: World, options: ClusterOptions, progress_lines: ProgressLines) -> None:
    world.write("others", "0123456789abcdef|myk8s-worker2|exited\n")

    message = refusal(options, progress_lines)

    assert "docker has a container myk8s-worker2 (exited, 0123456789ab) that is not a node of this cluster" in message


def test_a_port_is_taken(
    monkeypatch: pytest.MonkeyPatch, world: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    assert world.bin.exists()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setattr(preflight, "ports", lambda _: (("127.0.0.1", port),))

        assert f"needs port {port} of 127.0.0.1, which is in use" in refusal(options, progress_lines)


def test_the_engines_disk_is_full(
    monkeypatch: pytest.MonkeyPatch, world: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    assert world.bin.exists()
    monkeypatch.setattr(preflight, "FREE_BYTES", 2**60)

    assert "GiB free, but four nodes need" in refusal(options, progress_lines)


def test_the_state_cannot_be_written(world: World, options: ClusterOptions, progress_lines: ProgressLines) -> None:
    world.write("state", "a file where a directory should be")

    message = refusal(options, progress_lines)

    assert "cannot write the state of the cluster" in message
    assert "SESSION_AFFINITY_STATE" in message
    assert not world.calls("kind [create]")


def test_the_disk_of_the_state_is_full(
    monkeypatch: pytest.MonkeyPatch, world: World, options: ClusterOptions, progress_lines: ProgressLines
) -> None:
    monkeypatch.setattr("session_affinity.clusters.kind.state.FREE_BYTES", 2**60)

    assert "No space left on device" in refusal(options, progress_lines)
    assert not world.calls("kind [create]")


def test_an_invalid_cluster_name(world: World, options: ClusterOptions, progress_lines: ProgressLines) -> None:
    assert world.bin.exists()
    assert "'a b' cannot name a cluster" in refusal(replace(options, name="a b"), progress_lines)


def test_an_old_kind_is_noted(world: World, options: ClusterOptions, progress_lines: ProgressLines) -> None:
    world.write("kind-version", "0.31.0")
    world.write("version", "v1.37.0")

    with open_kind(replace(options, node_image=None), progress_lines.progress):
        pass

    assert "kind 0.31.0 is older than kind 0.33.0, with which the node image was published" in progress_lines.text


def test_an_unreadable_record_counts_as_missing(world: World) -> None:
    state = KindState("myk8s")
    state.root.mkdir(parents=True)
    (state.root / "cluster.json").write_text(json.dumps({"other": "things"}), encoding="utf-8")

    assert world.bin.exists()
    assert state.record() is None
