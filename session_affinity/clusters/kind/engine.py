"""The container engine that kind's nodes run in: docker, or podman where kind is told to use it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.clusters.kind.process import run_told
from session_affinity.deadlines import DEFAULTS
from session_affinity.errors import ClusterError, PreflightError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

CLUSTER_LABEL: Final = "io.x-k8s.kind.cluster"
"""The label by which kind finds the containers of a cluster."""
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
    """A container of the engine; ``state`` is its word for it, such as ``running``."""

    id: str
    name: str
    state: str


@dataclass(frozen=True)
class EngineImage:
    """An image that the engine has.

    ``id`` is the digest of its configuration; ``description`` what its maker says it is, empty where it says nothing;
    ``tags`` are all its names with a tag, none where it was pulled by digest.
    """

    name: str
    id: str
    architecture: str
    entrypoint: tuple[str, ...]
    description: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Engine:
    """An engine that answers; ``storage`` is the directory of its images and containers, where it tells."""

    program: str
    version: str
    architecture: str
    storage: str

    @property
    def network(self) -> str:
        """The network that kind puts its nodes on; it makes it when it is missing and never removes it."""
        return os.environ.get(NETWORK_VARIABLE) or "kind"

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which kind uses this engine."""
        return dict(os.environ) if self.program == "docker" else {**os.environ, PROVIDER_VARIABLE: self.program}

    def containers(self, cluster: str) -> tuple[Container, ...]:
        """Return the nodes of a kind cluster, running or not, by name; raises ClusterError."""
        return self._listed(f"label={CLUSTER_LABEL}={cluster}")

    def container(self, name: str) -> Container | None:
        """Return the container of that name."""
        # The engine's filter takes a part of a name too.
        return next((one for one in self._listed(f"name={name}") if one.name == name), None)

    def image(self, name: str) -> EngineImage | None:
        """Return an image that the engine has, None when it has none of that name; raises ClusterError."""
        done = self._run("image", "inspect", name)
        if done.returncode != 0:
            return None
        try:
            found: dict[str, Any] = json.loads(done.stdout)[0]
            settings: dict[str, Any] = found.get("Config") or {}
            return EngineImage(
                name,
                str(found["Id"]),
                str(found.get("Architecture", "")),
                tuple(settings.get("Entrypoint") or ()),
                str((settings.get("Labels") or {}).get(_DESCRIPTION, "")),
                tuple(str(tag) for tag in found.get("RepoTags") or ()),
            )
        except (ValueError, LookupError) as error:
            raise ClusterError(f"{self.program} image inspect {name} answered {done.stdout[:200]!r}") from error

    def images(self) -> tuple[str, ...]:
        """Return the names of the images that the engine has; raises ClusterError."""
        return tuple(self._require("images", "--format", "{{.Repository}}:{{.Tag}}").split())

    def pull(self, name: str, told: Callable[[str], None]) -> None:
        """Fetch an image; raises ClusterError with what the engine said."""
        try:
            done = run_told((self.program, "pull", name), timeout=DEFAULTS.engine_pull, told=told)
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"{self.program} pull {name} did not end within {DEFAULTS.engine_pull:.0f} s") from error
        if done.returncode != 0:
            raise ClusterError(f"{self.program} pull {name}: {_end_of(done.stderr)}")

    def file_of(self, image: str, path: str) -> str | None:
        """Return what a file of an image holds, None where it has no such file or cannot run here."""
        done = self._run("run", "--rm", "--network=none", "--entrypoint=cat", image, path)
        return done.stdout if done.returncode == 0 else None

    def save(self, image: str, archive: str) -> None:
        """Write an image to an archive; raises ClusterError."""
        self._require("save", "--output", archive, image)

    def tag(self, image: str, tag: str) -> None:
        """Give an image one more name; raises ClusterError."""
        self._require("tag", image, tag)

    def untag(self, tag: str) -> None:
        """Take a name from an image that has others; raises ClusterError."""
        self._require("rmi", "--no-prune", tag)

    def has_network(self) -> bool:
        """Whether there is a network of the name that kind uses."""
        return self._run("network", "inspect", self.network).returncode == 0

    def remove_network(self) -> bool:
        """Remove the network that kind uses unless a container is on it; return whether it went."""
        return self._run("network", "rm", self.network).returncode == 0

    def _listed(self, chosen_by: str) -> tuple[Container, ...]:
        listed = self._require(
            *("ps", "--all", "--no-trunc", "--filter", chosen_by, "--format", "{{.ID}}|{{.Names}}|{{.State}}")
        )
        found = [line.split("|") for line in listed.splitlines() if line.count("|") == 2]
        return tuple(sorted((Container(*fields) for fields in found), key=lambda one: one.name))

    def _require(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.returncode != 0:
            raise ClusterError(f"{self.program} {' '.join(arguments[:2])}: {_end_of(done.stderr or done.stdout)}")
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
                next_step=f"see whether the engine answers: {self.program} ps",
            ) from error
        except OSError as error:
            raise ClusterError(f"{self.program} cannot be run: {error}") from error


def detect() -> Engine:
    """Return the engine that kind is to use.

    That is the one named by KIND_EXPERIMENTAL_PROVIDER, else docker, else podman where there is no docker. Raises
    PreflightError when it does not answer, UsageError for one that the suite does not know.
    """
    wanted = os.environ.get(PROVIDER_VARIABLE, "")
    if wanted and wanted not in _PROGRAMS:
        raise UsageError(
            f"{PROVIDER_VARIABLE}={wanted}: the suite reaches nodes through {' or '.join(_PROGRAMS)}",
            next_step=f"set it to one of them, or unset it; without an engine there is --cluster embedded ({wanted})",
        )
    programs = [wanted] if wanted else list(_PROGRAMS)
    program = next((name for name in programs if shutil.which(name)), None)
    if program is None:
        raise PreflightError(
            f"not found: {' or '.join(programs)}, and kind runs its nodes in a container engine",
            next_step="install Docker (https://docs.docker.com/engine/install/), or use --cluster embedded",
        )
    return _asked(program)


def _asked(program: str) -> Engine:
    argv = (program, "info", "--format", _INFO[program])
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, errors="replace", timeout=DEFAULTS.engine_answer, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PreflightError(
            f"the {program} engine did not answer within {DEFAULTS.engine_answer:.0f} s",
            next_step=f"see what `{program} info` says, or use --cluster embedded",
        ) from error
    except OSError as error:
        raise PreflightError(f"{program} cannot be run: {error}") from error
    fields = done.stdout.strip().split("|")
    if done.returncode != 0 or len(fields) != 3 or not fields[0]:
        raise PreflightError(
            f"the {program} engine does not answer: {_end_of(done.stderr or done.stdout)}",
            next_step=f"start it (systemctl start {program}) or get access to it, or use --cluster embedded",
        )
    version, architecture, storage = fields
    return Engine(program, version, _ARCHITECTURES.get(architecture, architecture), storage)


def _end_of(said: str) -> str:
    return said.strip()[-1000:] or "(it said nothing)"
