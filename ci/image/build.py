"""Builds the image for one or more architectures: an OCI archive, and for each architecture a list of its content."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ci.image import debian, python_packages, sbom
from ci.image.python_packages import PythonPackage
from session_affinity import about, bundle
from session_affinity.clusters.embedded.binaries import Cache
from session_affinity.clusters.embedded.binaries.pins import machine_arch
from session_affinity.clusters.embedded.images import oci

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from session_affinity.progress import Progress

ARCHITECTURES: Final = ("amd64", "arm64")
USER: Final = "65532:65532"
SBOM_PATH: Final = f"/usr/share/doc/{about.DISTRIBUTION}/sbom.cdx.json"
_MERGED: Final = ("bin", "sbin", "lib", "lib64")
_COMMAND: Final = "/usr/local/bin/session-affinity"
_SCRIPT: Final = "#!/usr/bin/python3\nimport sys\n\nfrom session_affinity.cli import main\n\nsys.exit(main())\n"
_FILES: Final = {
    "/etc/passwd": "root:x:0:0:root:/:/bin/sh\nnonroot:x:65532:65532:nonroot:/nonexistent:/bin/false\n",
    "/etc/group": "root:x:0:\nnonroot:x:65532:\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
# What a package's maintainer scripts would link (update-alternatives); the legacy programs keep their own names.
_RULE_COMMANDS: Final = tuple(f"{tables}{verb}" for tables in ("iptables", "ip6tables") for verb in ("", "-save"))
# The commands of the agent's shell (session_affinity/dataplane/snapshot.py and kube/pod_shell.py), and what a person
# looks around with.
_APPLETS: Final = (
    *("awk", "base64", "cat", "cut", "date", "echo", "env", "false", "grep", "gzip", "head", "id", "ip", "kill", "ls"),
    *("mkdir", "mktemp", "mv", "nslookup", "ping", "printf", "ps", "readlink", "rm", "sed", "seq", "sh", "sleep"),
    *("sort", "stat", "tail", "tar", "tee", "test", "timeout", "touch", "tr", "true", "uname", "uniq", "wc", "wget"),
    "xargs",
)


@dataclass(frozen=True)
class ImageContent:
    """What one architecture's image has: the layer below, the suite's layer, and the list of both."""

    base: tuple[oci.Entry, ...]
    suite: tuple[oci.Entry, ...]
    bill: Mapping[str, object]


def build(
    name: str,
    architectures: Sequence[str],
    archive: Path,
    progress: Progress,
    *,
    wheel: Path | None = None,
    compressed: bool = True,
) -> str:
    """Build the image of this name, write it as an OCI archive, and return its digest.

    The lists of its content are beside the archive, ``NAME.amd64.cdx.json``. ``wheel`` is the suite's, by default built
    from this checkout. Raises SuiteError.
    """
    images = []
    for architecture, content in contents(name, architectures, progress, wheel=wheel).items():
        with progress.step(f"image for {architecture}"):
            images.append(oci.build(_spec(name, content, compressed=compressed), architecture))
        bill = archive.with_name(f"{archive.stem}.{architecture}.cdx.json")
        bill.write_text(json.dumps(content.bill, indent=1) + "\n")
    with archive.open("wb") as file:
        (digest,) = oci.write_archive(images, file).values()
    return digest


def contents(
    name: str, architectures: Sequence[str], progress: Progress, *, wheel: Path | None = None
) -> dict[str, ImageContent]:
    """Return what the image of this name has, by architecture; raises SuiteError.

    The layer below the suite is kept in the user's cache: it changes with Debian's packages and with the lock.
    """
    with tempfile.TemporaryDirectory(prefix="image-") as scratch:
        directory = Path(scratch)
        if wheel is None:
            with progress.step("wheel of this checkout"):
                wheel = python_packages.build_wheel(bundle.ROOT, directory / "wheel")
        builder = _Builder(directory, progress)
        return {architecture: builder.content(name, architecture, wheel) for architecture in architectures}


def write_root(content: ImageContent, root: Path) -> None:
    """Write the files of an image below a directory, as a container engine copies them (see Containerfile)."""
    _unpack((*content.base, *content.suite), root)


class _Builder:
    """Builds the layers of each architecture with the Python of the image for this machine."""

    def __init__(self, scratch: Path, progress: Progress) -> None:
        self._scratch = scratch
        self._progress = progress
        self._cache = Cache.of_user()
        with progress.step(f"Debian packages for {machine_arch()}"):
            self._packages = {machine_arch(): debian.download(machine_arch(), self._cache.root / "debian")}
            _unpack(_system(self._packages[machine_arch()]), scratch / "interpreter")

    def content(self, name: str, architecture: str, wheel: Path) -> ImageContent:
        if architecture not in self._packages:
            with self._progress.step(f"Debian packages for {architecture}"):
                self._packages[architecture] = debian.download(architecture, self._cache.root / "debian")
        base, dependencies = self._base(architecture)
        target, root = self._scratch / f"suite-{architecture}", self._scratch / f"suite-root-{architecture}"
        with self._progress.step(f"suite for {architecture}"):
            python_packages.install_suite(architecture, wheel, target)
            files = tuple(python_packages.entries(target))
            compiled = self._compiled(files, root, python_packages.TARGET)
        python = (*dependencies, *python_packages.packages(target))
        bill = sbom.document(architecture, self._packages[architecture], python, name)
        script = oci.File(_COMMAND, _SCRIPT.encode(), 0o755)
        listed = oci.File(SBOM_PATH, json.dumps(bill).encode(), 0o644)
        return ImageContent(base, (*files, *compiled, script, listed), bill)

    def _base(self, architecture: str) -> tuple[tuple[oci.Entry, ...], tuple[PythonPackage, ...]]:
        """Return the layer below the suite, from the cache or made now, and the Python packages in it."""
        packages = self._packages[architecture]
        directory = self._cache.root / "suite-image"
        key = sha256("\n".join((*(package.file.name for package in packages), _recipe())).encode()).hexdigest()[:32]
        archive, record = directory / f"{architecture}-{key}.tar", directory / f"{architecture}-{key}.json"
        if archive.exists() and record.exists():
            listed = json.loads(record.read_text())
            return tuple(debian.files_of(archive.read_bytes())), tuple(PythonPackage(**each) for each in listed)
        target, root = self._scratch / f"base-{architecture}", self._scratch / f"base-root-{architecture}"
        with self._progress.step(f"Python packages for {architecture}"):
            python_packages.install_dependencies(architecture, target)
            dependencies = tuple(python_packages.packages(target))
        files = (*_system(packages), *python_packages.entries(target))
        with self._progress.step(f"byte code for {architecture}"):
            standard = self._compiled(files, root, f"/usr/lib/python{debian.PYTHON}")
            compiled = (*standard, *self._compiled((), root, python_packages.TARGET))
        base = (*files, *compiled)
        directory.mkdir(parents=True, exist_ok=True)
        for leftover in directory.glob(f"{architecture}-*"):
            leftover.unlink()
        draft = archive.with_suffix(f".{os.getpid()}")
        draft.write_bytes(oci.layer(base))
        draft.replace(archive)
        record.write_text(json.dumps([asdict(each) for each in dependencies]))
        return base, dependencies

    def _compiled(self, files: Iterable[oci.Entry], root: Path, directory: str) -> tuple[oci.Entry, ...]:
        """Return the byte code of the modules below a directory, once the files are written below ``root``."""
        _unpack(files, root)
        return tuple(python_packages.byte_code(self._scratch / "interpreter", machine_arch(), root, directory))


def _recipe() -> str:
    """Return a digest of what the layer below the suite is made of beside Debian's packages."""
    sources = [Path(__file__).with_name(name) for name in ("build.py", "debian.py", "python_packages.py")]
    return sha256(b"".join(file.read_bytes() for file in (*sources, python_packages.LOCK))).hexdigest()


def _system(packages: Iterable[debian.DebianPackage]) -> tuple[oci.Entry, ...]:
    """Return what the image has of Debian: the packages, and what their installation would have made."""
    tree: dict[str, oci.Entry] = {f"/{name}": oci.Link(f"/{name}", f"usr/{name}") for name in _MERGED}
    tree |= {f"/usr/{name}": oci.Directory(f"/usr/{name}") for name in _MERGED}
    tree |= {f"/{name}": oci.Directory(f"/{name}", mode) for name, mode in {"tmp": 0o1777, "run": 0o755}.items()}
    tree |= {path: oci.File(path, text.encode(), 0o644) for path, text in _FILES.items()}
    for package in packages:
        tree |= {entry.path: entry for entry in debian.entries(package)}
        status = f"/var/lib/dpkg/status.d/{package.name}"
        tree[status] = oci.File(status, debian.control(package), 0o644)
    for command in _RULE_COMMANDS:
        tree[f"/usr/sbin/{command}"] = oci.Link(f"/usr/sbin/{command}", "xtables-nft-multi")
    for applet in _APPLETS:
        tree.setdefault(f"/usr/bin/{applet}", oci.Link(f"/usr/bin/{applet}", "busybox"))
    return tuple(tree.values())


def _unpack(entries: Iterable[oci.Entry], root: Path) -> None:
    """Write entries below a directory, as this user."""
    for entry in sorted(entries, key=lambda entry: entry.path):
        path = root / entry.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        match entry:
            case oci.File():
                path.write_bytes(entry.content)
                path.chmod(entry.mode)
            case oci.Link():
                path.symlink_to(entry.target)
            case oci.Directory():
                path.mkdir(exist_ok=True)
                path.chmod(entry.mode)


def _spec(name: str, content: ImageContent, *, compressed: bool) -> oci.ImageSpec:
    return oci.ImageSpec(
        name,
        about.DISTRIBUTION,
        "Judges session affinity of Kubernetes Services from inside a cluster, and reads its nodes.",
        entries=content.suite,
        base=content.base,
        entrypoint=(_COMMAND,),
        user=USER,
        environment={"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
        more_labels={
            "org.opencontainers.image.version": about.version(),
            "org.opencontainers.image.revision": about.commit(),
            "org.opencontainers.image.source": about.SOURCE,
            "org.opencontainers.image.licenses": "Apache-2.0",
        },
        compressed=compressed,
    )
