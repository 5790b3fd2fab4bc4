"""The image runs as nobody in particular, with nothing but what it needs, on both architectures."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from ci.image import build
from session_affinity import about
from session_affinity.clusters.embedded.binaries.pins import machine_arch
from session_affinity.clusters.embedded.images.oci import File
from session_affinity.progress import quiet

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.long

ELF_MACHINES = {"amd64": 62, "arm64": 183}
VALIDATOR = "cyclonedx-python-lib[json-validation]==11.12.0"
VALIDATE = """\
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(str(found) if found else 0)
"""


def blob(archive: tarfile.TarFile, name: str) -> Any:
    file = archive.extractfile(name)
    assert file is not None
    return file


@pytest.fixture(scope="module")
def root(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root directory of the image, unpacked."""
    target = tmp_path_factory.mktemp("root")
    target.chmod(0o755)
    with tarfile.open(image) as archive:
        (described,) = json.load(blob(archive, "manifest.json"))
        for layer in described["Layers"]:
            with tarfile.open(fileobj=blob(archive, layer)) as files:
                # "fully_trusted": the image has absolute links, which are followed inside the chroot only.
                files.extractall(target, filter="fully_trusted")
    if os.geteuid() == 0:
        # A container runtime provides it.
        null = target / "dev/null"
        null.parent.mkdir(exist_ok=True)
        os.mknod(null, stat.S_IFCHR, os.makedev(1, 3))
        null.chmod(0o666)
    return target


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
@pytest.mark.parametrize(
    ("script", "output"),
    [
        ("session-affinity --version", f"{about.DISTRIBUTION} {about.version()}"),
        ("session-affinity claims C16 | grep -o '^C16'", "C16"),
        (
            "python3 -c 'import ssl, bz2, lzma, ctypes, kubernetes.client, allure, websocket; print(ssl.HAS_SNI)'",
            "True",
        ),
        ("for i in iptables ip6tables; do for j in '' -nft -legacy; do $i$j-save -V; done; done | wc -l", "6"),
        ("iptables-save -V", "iptables-save v1.8"),
        ("nft --version", "nftables v1"),
        ("conntrack --version", "conntrack v1"),
        ("date +%s | grep -c '^[0-9]*$'", "1"),
        ("id -u", "65532"),
        ("touch /x /usr/x /etc/x 2>/dev/null || echo refused", "refused"),
    ],
)
def test_command_lines_work_in_the_image_for_a_user_without_rights(root: Path, script: str, output: str) -> None:
    done = subprocess.run(
        ("chroot", "--userspec=65532:65532", str(root), "/bin/sh", "-euc", script),
        env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(output), done.stdout


def test_the_image_has_no_package_manager_no_setuid_program_and_its_modules_are_compiled(root: Path) -> None:
    files = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file() and not path.is_symlink()}

    assert not [name for name in files if re.search(r"bin/(apt|dpkg|pip|curl|perl|bash)", name)]
    assert not [name for name, path in files.items() if path.stat().st_mode & 0o6000]
    modules = [name for name in files if name.startswith("usr/local/lib/") and name.endswith(".py")]
    compiled = {
        re.sub(r"__pycache__/(.*)\.cpython-\d+\.pyc$", r"\1.py", name) for name in files if name.endswith("pyc")
    }
    assert len(modules) > 1000
    assert set(modules) - compiled == set()


def test_the_list_of_its_content_is_valid_and_names_the_suite(image: Path) -> None:
    listed = image.with_name(f"{image.stem}.{machine_arch()}.cdx.json")

    # The validator is no dependency of the project; uv fetches it for this test alone.
    done = subprocess.run(
        (
            sys.executable,
            "-m",
            "uv",
            "run",
            "--quiet",
            "--no-project",
            "--with",
            VALIDATOR,
            "python",
            "-c",
            VALIDATE,
            listed,
        ),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    names = {component["name"] for component in json.loads(listed.read_text())["components"]}
    assert {about.DISTRIBUTION, "kubernetes", "pytest", "iptables", "nftables", "libc6", "python3.13-minimal"} <= names


def test_both_architectures_have_the_same_files_each_for_its_own_processor() -> None:
    def machines(content: build.ImageContent) -> dict[str, int]:
        """Return the machine of each program and library, 0 for other files, by path without the architecture."""
        return {
            re.sub("x86[-_]64|aarch64", "ARCHITECTURE", entry.path): (
                int.from_bytes(entry.content[18:20], "little") if entry.content[:4] == b"\x7fELF" else 0
            )
            for entry in (*content.base, *content.suite)
            if isinstance(entry, File)
        }

    contents = build.contents(about.IMAGE, build.ARCHITECTURES, quiet())
    found = {name: machines(content) for name, content in contents.items()}

    for architecture, files in found.items():
        assert {machine for machine in files.values() if machine} == {ELF_MACHINES[architecture]}
    assert len(found["amd64"]) > 2000
    differing = set(found["amd64"]) ^ set(found["arm64"])
    # The loader's name, and a library for processors of VIA.
    assert {name for name in differing if not re.search(r"/ld-linux-|/padlock\.so$", name)} == set()
