"""The client's image runs on its own: its tools find their libraries in it. Needs root, for chroot."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from session_affinity.clusters.embedded.images import build, ensure_images

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's root directory, unpacked from the archive that nodes import."""
    target = tmp_path_factory.mktemp("client")
    with tarfile.open(ensure_images().archive) as archive:

        def load(name: str) -> Any:
            return json.load(archive.extractfile(name))  # type: ignore[arg-type]

        [image] = [one for one in load("manifest.json") if one["RepoTags"] == [build.NETSHOOT]]
        with tarfile.open(fileobj=archive.extractfile(image["Layers"][0])) as layer:
            # Links are absolute on purpose: they are followed inside of the image only.
            layer.extractall(target, filter="fully_trusted")
    return target


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("curl -V", "curl "),
        ("echo $((1+1))", "2"),
        ("sleep 0.1 && date +%s.%N | grep -Ec '^[0-9]+[.][0-9]{9}$'", "1"),
        ("zsh -c 'for i in {1..3}; do echo x; done | sort | uniq -c | sort -nr | sed s/x/y/'", "      3 y"),
        ("sh -c 'seq 2 | tail -1'", "2"),
        ("ip -V && ss -V && conntrack -V", "ip utility"),
        ("mktemp /tmp/XXXXXX", "/tmp/"),
    ],
)
def test_a_command_line_works_with_nothing_of_the_host(root: Path, script: str, said: str) -> None:
    done = subprocess.run(
        ["chroot", str(root), "/bin/bash", "-euo", "pipefail", "-c", script],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(said)
