"""What is built: the same bytes each time, one import root, and a command that works with nothing but the base."""

from __future__ import annotations

import email
import hashlib
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

import session_affinity
from session_affinity import bundle
from session_affinity.conformance.exit_codes import ExitCode

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path


pytestmark = pytest.mark.timeout(300)

EPOCH = "1700000000"
FIRST_OUTPUT_SECONDS = 15.0
NAME = f"session_affinity_conformance-{session_affinity.__version__}"


def build(target: Path) -> dict[str, Path]:
    """Build source distribution and wheel with what is installed here, and return them by suffix."""
    command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(bundle.ROOT))
    done = subprocess.run(
        command,
        env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {"".join(file.suffixes[-1:]): file for file in target.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Source distribution and wheel."""
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel(built: dict[str, Path]) -> zipfile.ZipFile:
    """The wheel's files."""
    return zipfile.ZipFile(built[".whl"])


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    """The wheel's metadata."""
    return email.message_from_bytes(wheel.read(f"{NAME}.dist-info/METADATA"))


def test_a_second_build_has_the_same_bytes(built: dict[str, Path], tmp_path: Path) -> None:
    again = build(tmp_path)

    assert built.keys() == {".gz", ".whl"}
    for suffix, file in built.items():
        assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(again[suffix].read_bytes()).digest(), suffix


def test_the_wheel_has_one_import_root_and_all_that_a_run_reads(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())

    assert {name.partition("/")[0] for name in names} == {"session_affinity", f"{NAME}.dist-info"}
    assert {
        "session_affinity/py.typed",
        "session_affinity/bundle/pytest.toml",
        f"{NAME}.dist-info/licenses/LICENSE",
    } <= names
    for directory in ("suite", "fixtures", "manifests"):
        files = {file.name for file in (bundle.ROOT / directory).iterdir() if file.suffix in (".py", ".yaml")}
        assert {f"session_affinity/bundle/{directory}/{name}" for name in files} <= names
    assert "session_affinity/bundle/kubernetes-versions.json" in names
    assert not [name for name in names if name.endswith(".pyc") or "/tests/" in name]


def test_metadata_is_complete(metadata: Message) -> None:
    assert metadata["Version"] == session_affinity.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Summary"]
    assert metadata["Keywords"]
    assert metadata["Author"] == "session-affinity-conformance contributors"
    labels = {url.partition(",")[0] for url in metadata.get_all("Project-URL", ())}
    assert labels == {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
    assert "Typing :: Typed" in metadata.get_all("Classifier", ())


def test_what_only_some_runs_need_is_an_extra(metadata: Message) -> None:
    required = metadata.get_all("Requires-Dist", ())
    base = {re.split(r"[^\w-]", requirement)[0] for requirement in required if "extra ==" not in requirement}

    assert set(metadata.get_all("Provides-Extra", ())) == {"all", "allure", "embedded", "kind", "walk"}
    assert base.isdisjoint({"pyroute2", "cryptography", "pytest-kubernetes", "allure-pytest", "jinja2", "hypothesis"})
    assert {"click", "kubernetes", "pytest", "pytest-timeout", "websocket-client"} <= base


@dataclass(frozen=True)
class Installation:
    """The wheel in an environment that was empty, used in a directory that breaks every pytest run that reads it."""

    environment: Path
    directory: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``session-affinity`` with what a user's shell has."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
        return subprocess.Popen(
            (str(self.environment / "bin" / "session-affinity"), *arguments),
            cwd=self.directory,
            env={**variables, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run it to its end; return exit code, output and errors."""
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors


@pytest.fixture(scope="module")
def installed(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The wheel with its base dependencies, from the package index."""
    environment = tmp_path_factory.mktemp("installed") / "environment"
    uv = (sys.executable, "-m", "uv", "--quiet")
    subprocess.run((*uv, "venv", "--python", sys.executable, str(environment)), check=True, timeout=60)
    subprocess.run((*uv, "pip", "install", "--python", str(environment), str(built[".whl"])), check=True, timeout=200)
    directory = tmp_path_factory.mktemp("hostile")
    write_hostile(directory)
    return Installation(environment, directory)


def write_hostile(directory: Path) -> None:
    """Write a pytest configuration and a conftest file that break every run that reads them."""
    (directory / "pyproject.toml").write_text('[tool.pytest]\naddopts = ["--no-such-option"]\n')
    (directory / "conftest.py").write_text('raise RuntimeError("the conftest file of the directory was read")\n')
    clusters = 'clusters: [{name: c, cluster: {server: "https://127.0.0.1:9"}}]\nusers: [{name: u, user: {token: t}}]\n'
    contexts = "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n"
    (directory / "kubeconfig").write_text(f"apiVersion: v1\nkind: Config\n{clusters}{contexts}")


def test_the_installed_command_works_in_any_directory(installed: Installation) -> None:
    code, output, errors = installed.run("--help")
    assert (code, errors) == (0, "")
    assert "session-affinity check --kubeconfig" in output

    code, output, errors = installed.run("claims", "--format", "json")
    assert code == 0, errors
    claims = json.loads(output)
    assert {"C02", "C16", "C24"} <= {claim["id"] for claim in claims}
    assert claims[0]["test"].startswith("suite/test_")

    code, output, errors = installed.run("explain", "C16")
    assert code == 0, errors
    assert "When it fails" in output

    code, output, errors = installed.run("images", "--node-access", "agent")
    assert code == 0, errors
    assert "@sha256:" in output


def test_a_cluster_that_is_not_there_is_named_soon(installed: Installation) -> None:
    began = time.monotonic()
    process = installed.start("check", "C10", "--kubeconfig", "kubeconfig", "--node-access", "agent")
    assert process.stdout is not None
    first = process.stdout.readline()
    seconds = time.monotonic() - began
    output, errors = process.communicate(timeout=60)

    assert first.startswith(f"session-affinity-conformance {session_affinity.__version__}, Python ")
    assert seconds < FIRST_OUTPUT_SECONDS
    assert process.returncode == ExitCode.UNDETERMINED, output + errors
    assert "no API server at https://127.0.0.1:9 (context x of kubeconfig)" in output


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("cluster", "up"), "embedded"),
        (("check", "C10", "--cluster", "embedded"), "embedded"),
        (("check", "C10", "--cluster", "kind"), "kind"),
        (("walk", "--minutes", "1"), "walk"),
        (("check", "C10", "--kubeconfig", "kubeconfig", "--alluredir", "results"), "allure"),
    ],
)
def test_what_needs_an_extra_names_the_command_that_installs_it(
    installed: Installation, arguments: tuple[str, ...], extra: str
) -> None:
    code, output, errors = installed.run(*arguments)

    assert code == 4
    assert f"next: pip install 'session-affinity-conformance[{extra}]'" in output + errors
