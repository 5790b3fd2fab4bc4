"""The pinned components of the embedded cluster: versions, programs, Go modules and official releases.

The list is ``pins.json``. Placeholders in its strings: ``{version}``, ``{major}`` and ``{minor}`` of the component,
``{arch}`` in Go's naming (``amd64``), ``{program}``, and ``{kubernetes}``, the Kubernetes version of the cluster.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from session_affinity.errors import BinaryError, UsageError

PINS_FILE: Final = Path(__file__).with_name("pins.json")
ARCHITECTURES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Program:
    """An executable: the Go package it is built from, and the arguments that make it print its version.

    ``says`` are strings that its output must contain besides the version. For runc that is libseccomp: without it runc
    starts but no pod does, because kubelet requests a seccomp profile for every sandbox.
    """

    name: str
    package: str
    check: tuple[str, ...]
    says: tuple[str, ...]


@dataclass(frozen=True)
class Module:
    """How a component is built from its Go module; ``libraries`` are C libraries that pkg-config must find."""

    path: str
    version: str
    cgo: bool
    libraries: tuple[str, ...]
    tags: tuple[str, ...]
    ldflags: tuple[str, ...]


@dataclass(frozen=True)
class Download:
    """A published file, the URL of its checksum, and its programs as pairs of program and archive member.

    The archive member is empty when the file is the program itself.
    """

    url: str
    checksum_url: str
    programs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class HostProgram:
    """A program on PATH, and its oldest accepted version, used where no compiler can build the component."""

    program: str
    at_least: str


@dataclass(frozen=True)
class Component:
    """A pinned version of a project for one processor architecture, in Go's naming."""

    name: str
    version: str
    arch: str
    programs: tuple[Program, ...]
    module: Module
    downloads: tuple[Download, ...]
    on_path: HostProgram | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def recipe(self) -> str:
        """A digest of all inputs of a build except the Go version.

        It is computed from ``repr``: renaming a field or class of a module or program makes cached builds invalid.
        """
        return sha256(repr((self.module, self.arch, self.programs)).encode()).hexdigest()


@dataclass(frozen=True)
class GoPin:
    """A PyPI distribution that contains a Go toolchain, and its version."""

    distribution: str
    version: str


def components(kubernetes: str, arch: str = "") -> tuple[Component, ...]:
    """Return the components of a cluster of a Kubernetes release (``1.37.2``), those that build fast first."""
    arch = arch or machine_arch()
    return tuple(_component(entry, kubernetes, arch) for entry in _document()["components"])


def tool(name: str, arch: str = "") -> Component:
    """Return a tool of the project's own checks, such as actionlint; raises UsageError for an unknown name."""
    entries = {entry["name"]: entry for entry in _document()["tools"]}
    if name not in entries:
        raise UsageError(f"{PINS_FILE.name} has no tool {name}", next_step=f"use one of {', '.join(entries)}")
    return _component(entries[name], "", arch or machine_arch())


def go_pin() -> GoPin:
    """Return the pinned Go toolchain."""
    return GoPin(**_document()["go"])


def machine_arch() -> str:
    """Return Go's name of this machine's architecture; raises BinaryError when no programs are published for it."""
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise BinaryError(
            f"no programs of the embedded cluster are published for the architecture {machine}",
            next_step="run on amd64 or arm64, or use --cluster external",
        )
    return ARCHITECTURES[machine]


@cache
def _document() -> Any:
    return json.loads(PINS_FILE.read_text(encoding="utf-8"))


def _component(entry: dict[str, Any], kubernetes: str, arch: str) -> Component:
    version = entry["version"].format(kubernetes=kubernetes)
    major, minor = version.split(".")[:2]
    values = {"version": version, "major": major, "minor": minor, "arch": arch}
    programs = tuple(
        Program(name, program["package"], tuple(program.get("check", ["--version"])), tuple(program.get("says", [])))
        for name, program in entry["programs"].items()
    )
    module = Module(
        path=entry["module"]["path"],
        version=f"v{version}",
        cgo=entry["module"].get("cgo", False),
        libraries=tuple(entry["module"].get("libraries", [])),
        tags=tuple(entry["module"].get("tags", [])),
        ldflags=tuple(flag.format(**values) for flag in entry["module"].get("ldflags", [])),
    )
    on_path = HostProgram(**entry["on_path"]) if "on_path" in entry else None
    return Component(entry["name"], version, arch, programs, module, _downloads(entry, values), on_path)


def _downloads(entry: dict[str, Any], values: dict[str, str]) -> tuple[Download, ...]:
    release = entry["release"]
    programs_of: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for program in entry["programs"]:
        file, checksum, member = (
            release.get(key, "").format(program=program, **values) for key in ("file", "checksum", "member")
        )
        programs_of.setdefault((file, checksum), []).append((program, member))
    return tuple(Download(file, checksum, tuple(programs)) for (file, checksum), programs in programs_of.items())
