"""What the embedded cluster runs: the pinned components, their programs and the two places each can come from.

``pins.json`` is the list. In its texts ``{version}``, ``{major}``, ``{minor}``, ``{arch}``, ``{program}`` and
``{kubernetes}`` stand for the component's version and its first two numbers, Go's name of the processor, the program
and the Kubernetes version asked for.
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
    """One executable, the Go package it is built from and the arguments that make it tell its version.

    ``says`` is what it tells besides: runc without libseccomp starts, and then starts no pod, as the kubelet asks for a
    seccomp profile for every sandbox.
    """

    name: str
    package: str
    check: tuple[str, ...]
    says: tuple[str, ...]


@dataclass(frozen=True)
class Module:
    """How the component is built from its Go module; ``libraries`` are those pkg-config must know for that."""

    path: str
    version: str
    cgo: bool
    libraries: tuple[str, ...]
    tags: tuple[str, ...]
    ldflags: tuple[str, ...]


@dataclass(frozen=True)
class Download:
    """One published file, the published checksum of it, and the programs it holds by their names inside.

    The name inside is empty where the file is the program itself.
    """

    url: str
    checksum_url: str
    programs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class OnPath:
    """A program of the user's that will do where there is no compiler to build one."""

    program: str
    at_least: str


@dataclass(frozen=True)
class Component:
    """A pinned version of a project, for one processor architecture (in Go's naming)."""

    name: str
    version: str
    arch: str
    programs: tuple[Program, ...]
    module: Module
    downloads: tuple[Download, ...]
    on_path: OnPath | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def recipe(self) -> str:
        """A digest of everything that decides what a build makes, but for the Go version."""
        return sha256(repr((self.module, self.arch, self.programs)).encode()).hexdigest()


@dataclass(frozen=True)
class GoPin:
    """The PyPI distribution that brings a Go toolchain, and its version."""

    distribution: str
    version: str


def components(kubernetes: str, arch: str = "") -> tuple[Component, ...]:
    """Return the components of a cluster of that Kubernetes release (``1.37.2``), those soon built first."""
    arch = arch or machine_arch()
    return tuple(_component(entry, kubernetes, arch) for entry in _document()["components"])


def tool(name: str, arch: str = "") -> Component:
    """Return a program that no cluster runs but the project's own checks do; raises UsageError when there is none."""
    entries = {entry["name"]: entry for entry in _document()["tools"]}
    if name not in entries:
        raise UsageError(f"{PINS_FILE.name} has no tool {name}", next_step=f"choose from {', '.join(entries)}")
    return _component(entries[name], "", arch or machine_arch())


def go_pin() -> GoPin:
    """Return the pinned Go toolchain."""
    return GoPin(**_document()["go"])


def machine_arch() -> str:
    """Return Go's name of this machine's processor; raises BinaryError where nothing is published for it."""
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise BinaryError(
            f"the embedded cluster has no programs for the processor {machine}",
            next_step="run on amd64 or arm64, or use --cluster external",
        )
    return ARCHITECTURES[machine]


@cache
def _document() -> Any:
    return json.loads(PINS_FILE.read_text(encoding="utf-8"))


def _component(entry: dict[str, Any], kubernetes: str, arch: str) -> Component:
    version = entry["version"].format(kubernetes=kubernetes)
    major, minor = version.split(".")[:2]
    words = {"version": version, "major": major, "minor": minor, "arch": arch}
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
        ldflags=tuple(flag.format(**words) for flag in entry["module"].get("ldflags", [])),
    )
    on_path = OnPath(**entry["on_path"]) if "on_path" in entry else None
    return Component(entry["name"], version, arch, programs, module, _downloads(entry, words), on_path)


def _downloads(entry: dict[str, Any], words: dict[str, str]) -> tuple[Download, ...]:
    release = entry["release"]
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for program in entry["programs"]:
        file, checksum, member = (
            release.get(key, "").format(program=program, **words) for key in ("file", "checksum", "member")
        )
        found.setdefault((file, checksum), []).append((program, member))
    return tuple(Download(file, checksum, tuple(programs)) for (file, checksum), programs in found.items())
