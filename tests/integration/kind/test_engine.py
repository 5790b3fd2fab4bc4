"""Tests of the container engine: detection, and its commands."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.kind import engine as engines
from session_affinity.clusters.kind.engine import PROVIDER_VARIABLE, Container, detect
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError, PreflightError, UsageError
from tests.kind_world import ENGINE, NODE_IMAGE, World

if TYPE_CHECKING:
    from pathlib import Path


def test_docker_is_preferred(world: World) -> None:
    world.program("podman", ENGINE)

    engine = detect()

    assert (engine.program, engine.version, engine.architecture) == ("docker", "28.2.2", "amd64")
    assert PROVIDER_VARIABLE not in engine.environment


def test_podman_is_used_without_docker_and_kind_is_set_to_it(podman: World) -> None:
    assert podman.bin.exists()

    engine = detect()

    assert engine.program == "podman"
    assert engine.environment[PROVIDER_VARIABLE] == "podman"


def test_the_engine_follows_kinds_environment_variable(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.program("podman", ENGINE)
    monkeypatch.setenv(PROVIDER_VARIABLE, "podman")

    assert detect().program == "podman"


def test_an_unsupported_engine_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.bin.exists()
    monkeypatch.setenv(PROVIDER_VARIABLE, "nerdctl")

    with pytest.raises(UsageError, match="nerdctl: the suite reaches nodes through docker or podman"):
        detect()


def test_a_missing_engine_is_an_error(world: World) -> None:
    world.remove("docker")

    with pytest.raises(PreflightError, match="not found: docker or podman") as raised:
        detect()

    assert "--cluster embedded" in raised.value.next_step


def test_the_error_of_a_stopped_engine_quotes_its_output(world: World) -> None:
    world.write("stopped")

    with pytest.raises(PreflightError, match="the docker engine does not answer: Cannot connect to the Docker daemon"):
        detect()


def test_an_engine_that_hangs_is_an_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write("hangs")
    monkeypatch.setattr(engines, "DEFAULTS", replace(DEFAULTS, engine_answer=0.2))

    with pytest.raises(PreflightError, match="did not answer within"):
        detect()


def test_containers_are_selected_by_kinds_label(world: World) -> None:
    world.node("b|myk8s-worker|exited", "a|myk8s-control-plane|running")

    assert detect().containers("myk8s") == (
        Container("a", "myk8s-control-plane", "running"),
        Container("b", "myk8s-worker", "exited"),
    )
    assert "[label=io.x-k8s.kind.cluster=myk8s]" in world.calls("docker [ps]")[0]


def test_a_container_is_selected_by_its_full_name(world: World) -> None:
    world.write("others", "x|myk8s-worker2-old|running\ny|myk8s-worker2|created\n")

    assert detect().container("myk8s-worker2") == Container("y", "myk8s-worker2", "created")
    assert detect().container("myk8s-worker") is None


def test_an_image_has_id_architecture_entrypoint_and_description(world: World) -> None:
    world.image("some/image", architecture="arm64", entrypoint="/x", description="a stand-in")

    image = detect().image("some/image")

    assert image is not None
    assert (image.id, image.architecture, image.entrypoint[0]) == ("sha256:1234", "arm64", "/x")
    assert image.description == "a stand-in"
    assert detect().image("not/there") is None


def test_the_error_of_a_failed_pull_quotes_the_engine(world: World) -> None:
    world.write("pull-fails", "manifest unknown\n")

    with pytest.raises(ClusterError, match="docker pull gone/image: manifest unknown"):
        detect().pull("gone/image", lambda _: None)


def test_the_network_can_be_removed_once(world: World) -> None:
    world.write("network")

    assert detect().has_network()
    assert detect().remove_network()
    assert not detect().has_network()
    assert not detect().remove_network()


@pytest.mark.parametrize("shared", [True, False])
def test_an_engine_may_not_mount_the_files_of_this_machine(world: World, tmp_path: Path, *, shared: bool) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a").write_text("text\n")
    if not shared:
        world.write("mounts-nothing")

    assert detect().mounts(tmp_path / "files", NODE_IMAGE) == shared
    assert f"[--mount=type=bind,source={tmp_path}/files,target=/mounted,readonly]" in world.calls("docker [run]")[0]


def test_a_file_of_an_image_is_read_without_network(world: World) -> None:
    assert detect().file_of(NODE_IMAGE, "/kind/version") == "v1.37.2\n"
    assert "[--network=none]" in world.calls("docker [run]")[0]
