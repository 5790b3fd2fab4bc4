"""The monthly update of the versions as its workflow runs it: a branch with one commit, and a pull request."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity import versions

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[3]
GH = """\
#!/bin/sh
echo "$@" >> "$GH_LOG"
case "$1 $2" in
"pr list") cat "$GH_LOG.open" 2>/dev/null ;;
"pr create") echo 7 > "$GH_LOG.open" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone with the files that the script needs; its origin is a bare repository beside it."""
    clone = tmp_path / "clone"
    for part in ("session_affinity", "ci/__init__.py", "ci/kubernetes_versions", "scripts", ".github"):
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, clone / part)
        else:
            (clone / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / part, clone / part)
    run = ["git", "-C", str(clone), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path / "origin")], check=True)
    subprocess.run(["git", "init", "--quiet", str(clone)], check=True)
    subprocess.run([*run, "add", "--all"], check=True)
    subprocess.run([*run, "commit", "--quiet", "--message", "start"], check=True)
    subprocess.run([*run, "remote", "add", "origin", str(tmp_path / "origin")], check=True)
    return clone


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A served directory in which exactly the listed versions are published, and its address."""
    site = tmp_path / "site"
    supported = versions.load().versions
    for version in supported:
        _put(site / "release" / f"stable-{version.minor}.txt", f"v{version.release}")
        _put(site / "registry/v2/kindest/node/manifests" / version.kind.image.partition("@")[2], "{}")
    _put(site / "release" / "stable.txt", f"v{supported[-1].release}")
    _put(site / "token", '{"token": "t"}')
    _put(
        site / "kind",
        json.dumps([{"tag_name": version.kind.version, "body": version.kind.image} for version in supported]),
    )

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(site))

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield site, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def propose(checkout: Path, address: str) -> list[str]:
    """Run the script with a stand-in for gh; returns the arguments of each call of gh."""
    programs = checkout.parent / "programs"
    _put(programs / "gh", GH)
    (programs / "gh").chmod(0o755)
    log = checkout.parent / "gh.log"
    log.unlink(missing_ok=True)
    paths = {"releases": "release", "kind": "kind", "registry": "registry", "tokens": "token"}
    subprocess.run(
        [
            *("scripts/propose-versions.sh", sys.prefix),
            *(f"--{publisher}={address}/{path}" for publisher, path in paths.items()),
        ],
        cwd=checkout,
        env={"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(checkout.parent), "GH_LOG": str(log), "GH_TOKEN": "t"},
        check=True,
    )
    return log.read_text().splitlines() if log.exists() else []


def pushed_versions(checkout: Path) -> dict[str, Any]:
    command = [
        "git",
        "-C",
        str(checkout.parent / "origin"),
        "show",
        "kubernetes-versions:.github/kubernetes-versions.json",
    ]
    document: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return document


def test_without_newer_versions_nothing_happens(checkout: Path, site: tuple[Path, str]) -> None:
    assert propose(checkout, site[1]) == []


def test_newer_versions_become_a_branch_and_a_pull_request_that_is_updated(
    checkout: Path, site: tuple[Path, str]
) -> None:
    files, address = site
    newest = versions.load().versions[-1]
    _put(files / "release" / f"stable-{newest.minor}.txt", f"v{newest.minor}.90")

    calls = propose(checkout, address)

    assert [line.split()[:2] for line in calls] == [["auth", "setup-git"], ["pr", "list"], ["pr", "create"]]
    assert pushed_versions(checkout)["versions"][-1]["release"] == f"{newest.minor}.90"

    _put(files / "release" / f"stable-{newest.minor}.txt", f"v{newest.minor}.91")
    subprocess.run(["git", "-C", str(checkout), "switch", "--quiet", "--detach", "HEAD~1"], check=True)
    calls = propose(checkout, address)

    assert [line.split()[:2] for line in calls] == [["auth", "setup-git"], ["pr", "list"], ["pr", "edit"]]
    assert pushed_versions(checkout)["versions"][-1]["release"] == f"{newest.minor}.91"
