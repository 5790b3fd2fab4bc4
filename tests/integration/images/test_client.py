"""The tools of the client's image run with the image's own libraries. Needs root, for chroot."""

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
    """The root directory of the client's image, unpacked from the archive that nodes import."""
    target = tmp_path_factory.mktemp("client")
    with tarfile.open(ensure_images().archive) as archive:

        def load(name: str) -> Any:
            return json.load(archive.extractfile(name))  # type: ignore[arg-type]

        [image] = [entry for entry in load("manifest.json") if entry["RepoTags"] == [build.NETSHOOT]]
        with tarfile.open(fileobj=archive.extractfile(image["Layers"][0])) as layer:
            # "fully_trusted": the image has absolute links, which are followed inside the chroot only.
            layer.extractall(target, filter="fully_trusted")
    return target


@pytest.mark.parametrize(
    ("script", "output"),
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
def test_command_lines_work_in_the_image(root: Path, script: str, output: str) -> None:
    completed = subprocess.run(
        ["chroot", str(root), "/bin/bash", "-euo", "pipefail", "-c", script],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.startswith(output)
