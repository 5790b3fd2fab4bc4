"""A run is what its command line says, in any directory; a cluster of the user is judged without Linux."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from session_affinity import bundle
from session_affinity.conformance.exit_codes import ExitCode

NOT_LINUX = Path(__file__).with_name("not_linux.py")
UNREACHABLE = """\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:9"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A directory whose pytest configuration, conftest file and packages break every run that reads them."""
    (tmp_path / "pyproject.toml").write_text('[tool.pytest]\naddopts = ["--no-such-option"]\n')
    (tmp_path / "conftest.py").write_text('raise RuntimeError("the conftest file of the directory was read")\n')
    (tmp_path / "fixtures").mkdir()
    (tmp_path / "fixtures" / "__init__.py").write_text('raise RuntimeError("another package was imported")\n')
    (tmp_path / "kubeconfig").write_text(UNREACHABLE)
    return tmp_path


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, str(NOT_LINUX), *arguments),
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(bundle.ROOT), "PYTEST_ADDOPTS": "--nope", "PYTEST_PLUGINS": "no_such"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_claims_are_listed_in_a_directory_that_breaks_pytest(hostile: Path) -> None:
    done = run(hostile, "claims", "C10", "--format", "json")

    assert done.returncode == 0, done.stderr
    assert [claim["id"] for claim in json.loads(done.stdout)] == ["C10"]
    assert done.stderr.strip() == "refused:"


def test_check_of_a_users_cluster_reads_nothing_of_linux(hostile: Path) -> None:
    before = sorted(hostile.rglob("*"))

    done = run(hostile, "check", "C10", "--kubeconfig=kubeconfig", "--node-access=agent", "--junitxml=out.xml")

    assert done.returncode == ExitCode.UNDETERMINED, done.stdout + done.stderr
    assert "no API server at https://127.0.0.1:9 (context x of kubeconfig)" in done.stdout
    assert done.stdout.startswith("session-affinity-conformance ")
    assert done.stderr.splitlines()[-1].strip() == "refused:"
    assert set(hostile.rglob("*")) - set(before) == {hostile / "out.xml"}


def test_a_name_that_is_no_claim_ends_the_run_before_it_begins(hostile: Path) -> None:
    done = run(hostile, "check", "C10", "rulez", "--kubeconfig=kubeconfig")

    assert done.returncode == 4, done.stdout
    assert "there is no claim or subject rulez\n  next: did you mean rules?" in done.stderr
