"""The container engine of kind's nodes: docker, or podman where kind is set to use it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.clusters.kind.process import run_streaming
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError, PreflightError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CLUSTER_LABEL: Final = "io.x-k8s.kind.cluster"
"""The label that kind puts on the containers of a cluster; its value is the cluster's name."""
PROVIDER_VARIABLE: Final = "KIND_EXPERIMENTAL_PROVIDER"
NETWORK_VARIABLE: Final = "KIND_EXPERIMENTAL_DOCKER_NETWORK"

_PROGRAMS: Final = ("docker", "podman")
_INFO: Final = {
    "docker": "{{.ServerVersion}}|{{.Architecture}}|{{.DockerRootDir}}",
    "podman": "{{.Version.Version}}|{{.Host.Arch}}|{{.Store.GraphRoot}}",
}
_DESCRIPTION: Final = "org.opencontainers.image.description"
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Container:
    """A container of the engine; ``state`` is the engine's word, such as ``running`` or ``exited``."""

    id: str
    name: str
    state: str


@dataclass(frozen=True)
class EngineImage:
    """An image in the engine's store.

    ``id`` is the digest of its configuration; ``description`` is its label org.opencontainers.image.description, empty
    where it has none; ``tags`` are all its names with a tag, none where it was pulled by digest.
    """

    name: str
    id: str
    architecture: str
    entrypoint: tuple[str, ...]
    description: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Engine:
    """A running engine; ``storage`` is the directory of its images and containers, empty where it reports none."""

    program: str
    version: str
    architecture: str
    storage: str

    @property
    def network(self) -> str:
        """The network of kind's nodes; kind creates it when it is missing and never removes it."""
        return os.environ.get(NETWORK_VARIABLE) or "kind"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables with which kind uses this engine."""
        return dict(os.environ) if self.program == "docker" else {**os.environ, PROVIDER_VARIABLE: self.program}

    def containers(self, cluster: str) -> tuple[Container, ...]:
        """Return the containers of a kind cluster, running or not, sorted by name; raises ClusterError."""
        return self._list(f"label={CLUSTER_LABEL}={cluster}")

    def container(self, name: str) -> Container | None:
        """Return the container with this name; None where there is none. Raises ClusterError."""
        # The engine's filter matches parts of names too.
        return next((container for container in self._list(f"name={name}") if container.name == name), None)

    def image(self, name: str) -> EngineImage | None:
        """Return the image with this name; None where the engine has none. Raises ClusterError."""
        done = self._run("image", "inspect", name)
        if done.returncode != 0:
            return None
        try:
            inspected: dict[str, Any] = json.loads(done.stdout)[0]
            settings: dict[str, Any] = inspected.get("Config") or {}
            return EngineImage(
                name,
                str(inspected["Id"]),
                str(inspected.get("Architecture", "")),
                tuple(settings.get("Entrypoint") or ()),
                str((settings.get("Labels") or {}).get(_DESCRIPTION, "")),
                tuple(str(tag) for tag in inspected.get("RepoTags") or ()),
            )
        except (ValueError, LookupError) as error:
            raise ClusterError(
                f"{self.program} image inspect {name} printed no description of an image: {done.stdout[:200]!r}",
                next_step=f"check the engine: {self.program} version",
            ) from error

    def images(self) -> tuple[str, ...]:
        """Return the names of all images in the engine's store; raises ClusterError."""
        return tuple(self._require("images", "--format", "{{.Repository}}:{{.Tag}}").split())

    def pull(self, name: str, on_line: Callable[[str], None]) -> None:
        """Pull an image and call ``on_line`` with each line of the engine's output; raises ClusterError."""
        try:
            done = run_streaming((self.program, "pull", name), timeout=DEFAULTS.engine_pull, on_line=on_line)
        except subprocess.TimeoutExpired as error:
            raise ClusterError(
                f"{self.program} pull {name} did not end within {DEFAULTS.engine_pull:.0f} s",
                next_step=f"run it by hand: {self.program} pull {name}",
            ) from error
        if done.returncode != 0:
            raise ClusterError(f"{self.program} pull {name}: {_tail(done.stderr)}")

    def file_of(self, image: str, path: str) -> str | None:
        """Return the content of a file in an image; None where the file is missing or the image cannot run here."""
        return self._read_in_container(image, path)

    def mounts(self, directory: Path, image: str) -> bool:
        """Return whether containers of an image read the files of a directory of this machine.

        The engine may be in a virtual machine or confined, and then shares some directories or none.
        """
        mount = f"--mount=type=bind,source={directory},target=/mounted,readonly"
        file = min(directory.iterdir())
        return self._read_in_container(image, f"/mounted/{file.name}", mount) == file.read_text(encoding="utf-8")

    def save(self, image: str, archive: str) -> None:
        """Save an image to an archive; raises ClusterError."""
        self._require("save", "--output", archive, image)

    def tag(self, image: str, tag: str) -> None:
        """Add a tag to an image; raises ClusterError."""
        self._require("tag", image, tag)

    def untag(self, tag: str) -> None:
        """Remove a tag of an image that has other names; raises ClusterError."""
        self._require("rmi", "--no-prune", tag)

    def run_idle(self, name: str, image: str) -> None:
        """Start a container on the network of kind's nodes that waits for commands, and may set its own routes.

        Raises ClusterError.
        """
        options = ("--detach", "--rm", "--name", name, "--network", self.network, "--cap-add", "NET_ADMIN")
        self._require("run", *options, "--entrypoint", "sleep", image, "infinity")

    def remove_container(self, name: str) -> None:
        """Remove a container, running or not; it is no error if there is none. Raises ClusterError."""
        if self.container(name) is not None:
            self._require("rm", "--force", "--volumes", name)

    def has_network(self) -> bool:
        """Return whether the network that kind uses exists."""
        return self._run("network", "inspect", self.network).returncode == 0

    def remove_network(self) -> bool:
        """Remove the network that kind uses unless a container is on it; return whether it was removed."""
        return self._run("network", "rm", self.network).returncode == 0

    def _read_in_container(self, image: str, path: str, *options: str) -> str | None:
        """Return the content of a file that a container of an image has; None where it cannot be read."""
        done = self._run("run", "--rm", "--network=none", *options, "--entrypoint=cat", image, path)
        return done.stdout if done.returncode == 0 else None

    def _list(self, container_filter: str) -> tuple[Container, ...]:
        output = self._require(
            *("ps", "--all", "--no-trunc", "--filter", container_filter, "--format", "{{.ID}}|{{.Names}}|{{.State}}")
        )
        rows = [line.split("|") for line in output.splitlines() if line.count("|") == 2]
        return tuple(sorted((Container(*row) for row in rows), key=lambda container: container.name))

    def _require(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.returncode != 0:
            raise ClusterError(f"{self.program} {' '.join(arguments[:2])}: {_tail(done.stderr or done.stdout)}")
        return done.stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = (self.program, *arguments)
        try:
            return subprocess.run(
                argv, capture_output=True, text=True, errors="replace", timeout=DEFAULTS.engine_command, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterError(
                f"{self.program} {arguments[0]} did not end within {DEFAULTS.engine_command:.0f} s",
                next_step=f"check whether the engine answers: {self.program} ps",
            ) from error
        except OSError as error:
            raise ClusterError(
                f"{self.program} cannot be run: {error}", next_step=f"check the installation of {self.program}"
            ) from error


def detect() -> Engine:
    """Return the engine for kind: that of KIND_EXPERIMENTAL_PROVIDER, else docker, else podman where docker is missing.

    Raises PreflightError when the engine does not answer, UsageError when the suite does not support it.
    """
    provider = os.environ.get(PROVIDER_VARIABLE, "")
    if provider and provider not in _PROGRAMS:
        raise UsageError(
            f"{PROVIDER_VARIABLE}={provider}: the suite reaches nodes through {' or '.join(_PROGRAMS)} only",
            next_step=f"set {PROVIDER_VARIABLE} to one of them or unset it, or use --cluster embedded",
        )
    programs = [provider] if provider else list(_PROGRAMS)
    program = next((name for name in programs if shutil.which(name)), None)
    if program is None:
        raise PreflightError(
            f"not found: {' or '.join(programs)}, and kind runs its nodes in a container engine",
            next_step="install Docker (https://docs.docker.com/engine/install/), or use --cluster embedded",
        )
    return _query(program)


def _query(program: str) -> Engine:
    """Return an engine with the version, architecture and storage that it reports; raises PreflightError."""
    argv = (program, "info", "--format", _INFO[program])
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, errors="replace", timeout=DEFAULTS.engine_answer, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PreflightError(
            f"the {program} engine did not answer within {DEFAULTS.engine_answer:.0f} s",
            next_step=f"check the output of `{program} info`, or use --cluster embedded",
        ) from error
    except OSError as error:
        raise PreflightError(
            f"{program} cannot be run: {error}",
            next_step=f"check the installation of {program}, or use --cluster embedded",
        ) from error
    fields = done.stdout.strip().split("|")
    if done.returncode != 0 or len(fields) != 3 or not fields[0]:
        raise PreflightError(
            f"the {program} engine does not answer: {_tail(done.stderr or done.stdout)}",
            next_step=f"start it (systemctl start {program}) or get access to it, or use --cluster embedded",
        )
    version, architecture, storage = fields
    return Engine(program, version, _ARCHITECTURES.get(architecture, architecture), storage)


def _tail(output: str) -> str:
    return output.strip()[-1000:] or "(no output)"
