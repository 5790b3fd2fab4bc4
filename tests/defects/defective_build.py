"""Build kube-proxy with a change in its source, from the modules that the suite builds it from."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from session_affinity import versions
from session_affinity.clusters.embedded.binaries import gomodule, pins, toolchain
from session_affinity.clusters.embedded.binaries.cache import Cache
from session_affinity.progress import quiet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BUILD_SECONDS = 1800


def kube_proxy(directory: Path, changes: Mapping[str, tuple[str, str]]) -> Path:
    """Build the default version's kube-proxy in a directory and return the program.

    ``changes`` has for files of k8s.io/kubernetes a text that occurs there once, and what it becomes.
    """
    release = versions.resolve().release
    component = next(each for each in pins.components(release) if each.name == "kubernetes")
    builds = gomodule.GoModules(Cache.of_user(), quiet(), os.environ)
    go = toolchain.on_path(os.environ) or toolchain.from_pypi(builds.cache, quiet())
    module = builds._module(component, go)
    if not go.is_at_least(module["Go"]):
        go = toolchain.from_pypi(builds.cache, quiet())
        module = builds._module(component, go)
    source = builds.cache.go / "mod" / f"{component.module.path}@{component.module.version}"
    copied = directory / "source"
    # Links: the source is large, and what is changed is replaced below.
    shutil.copytree(
        source, copied, copy_function=os.link, ignore=shutil.ignore_patterns("testdata", "*_test.go", "test")
    )
    for file, (before, after) in changes.items():
        text = (copied / file).read_text()
        assert text.count(before) == 1, f"{file} has {text.count(before)} times {before!r}"
        (copied / file).unlink()
        (copied / file).write_text(text.replace(before, after))
    replaced = f"replace {component.module.path} => ./source\n"
    (directory / "go.mod").write_text(gomodule.wrapper_go_mod(component, module) + replaced)
    program = directory / "kube-proxy"
    environment = {**go.environment(builds.cache, component.arch, os.environ), "CGO_ENABLED": "0"}
    flags = ("-ldflags", " ".join(("-s", "-w", *component.module.ldflags)))
    argv = (str(go.command), "build", "-trimpath", *flags, "-o", str(program))
    built = subprocess.run(
        (*argv, f"{component.module.path}/cmd/kube-proxy"),
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS,
    )
    assert built.returncode == 0, built.stderr
    return program
