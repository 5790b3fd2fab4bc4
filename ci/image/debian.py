"""The Debian packages of the image, resolved, verified and downloaded by apt for any architecture.

apt works in a directory of its own, with its own list of sources and an empty list of installed packages: the packages
of this machine are neither read nor changed, and no root is needed.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from session_affinity.clusters.embedded.images.oci import Directory, Entry, File, Link
from session_affinity.errors import PreflightError, SuiteError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

RELEASE: Final = "trixie"
PYTHON: Final = "3.13"
"""The Python of the release."""
WANTED: Final = ("python3-minimal", "libpython3-stdlib", "iptables", "nftables", "conntrack", "busybox-static")
"""Python, and what reads a node. busybox has the shell and the small commands of the agent."""
LEFT_OUT: Final = frozenset(
    (
        # what installs packages, and its libraries
        *("debconf", "dpkg", "gcc-14-base", "libacl1", "libpcre2-8-0", "libselinux1", "tar"),
        # what the suite does not use of Python's library: databases, line editing, time zones, media types
        *("libdb5.3t64", "libncursesw6", "libreadline8t64", "libsqlite3-0", "libuuid1", "readline-common"),
        *("media-types", "openssl-provider-legacy", "tzdata"),
    )
)
"""Packages that the others depend on, and that nothing in the image uses."""
KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
_LISTS_SECONDS: Final = 3600.0
_SOURCES: Final = (
    f"deb [signed-by={KEYRING}] http://deb.debian.org/debian {RELEASE} main\n"
    f"deb [signed-by={KEYRING}] http://deb.debian.org/debian-security {RELEASE}-security main\n"
)
_UNUSED: Final = (
    *("usr/share/man/", "usr/share/locale/", "usr/share/lintian/", "usr/share/bug/", "usr/share/info/"),
    *("usr/share/python3/", "usr/share/applications/", "usr/share/pixmaps/", "usr/lib/systemd/", "usr/include/"),
    *("usr/bin/py3", "usr/sbin/iptables-apply", "usr/sbin/nfnl_osf", "usr/share/binfmts/"),
    *("usr/share/bash-completion/", "usr/share/initramfs-tools/", "etc/nftables.conf", "usr/lib/valgrind/"),
    *(f"usr/lib/python{PYTHON}/{name}" for name in ("pydoc_data/", "sqlite3/", "curses/", "dbm/")),
    *(
        f"usr/lib/python{PYTHON}/lib-dynload/{name}."
        for name in ("_curses", "_curses_panel", "_dbm", "_sqlite3", "_uuid", "readline")
    ),
)
"""Files that nothing in the image uses: how their paths begin."""
_CONVERSIONS: Final = "/gconv/"
"""The C library's conversions between character sets."""
_DOCUMENTATION: Final = "usr/share/doc/"
_COPYRIGHT: Final = "/copyright"


@dataclass(frozen=True)
class DebianPackage:
    """A package: its name, version and architecture (``all`` where it has none), and its file."""

    name: str
    version: str
    architecture: str
    file: Path

    @property
    def purl(self) -> str:
        """The package URL (https://github.com/package-url/purl-spec)."""
        return f"pkg:deb/debian/{self.name}@{self.version}?arch={self.architecture}&distro={RELEASE}"


def download(architecture: str, directory: Path, wanted: Sequence[str] = WANTED) -> tuple[DebianPackage, ...]:
    """Return the wanted packages and all that they need but ``LEFT_OUT``, downloaded below a directory that is kept.

    ``architecture`` is in Debian's and Go's naming, such as ``arm64``. Raises PreflightError on a machine without apt,
    SuiteError with apt's message when it fails.
    """
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise PreflightError(
                f"{program} is not on PATH: the image is made of Debian packages",
                next_step="build it on Debian or Ubuntu, or with a container engine: see Containerfile",
            )
    root = directory / architecture
    _write_configuration(root, architecture)
    _update(root)
    # Files that are there already would not be printed.
    empty = ("-o", f"Dir::Cache::archives={root / 'empty'}")
    listed = _apt(root, *empty, "install", "--print-uris", "-qq", "--yes", *wanted).splitlines()
    names = [line.split()[1] for line in listed if line.startswith("'")]
    _apt(root, "install", "--download-only", "--yes", *wanted)
    packages = [_package(root / "cache" / "archives" / name) for name in names]
    if missing := set(wanted) - {package.name for package in packages}:
        raise SuiteError(f"apt-get does not say where {', '.join(sorted(missing))} for {architecture} come from")
    return tuple(sorted((each for each in packages if each.name not in LEFT_OUT), key=lambda each: each.name))


def entries(package: DebianPackage) -> Iterator[Entry]:
    """Yield the files of a package without documentation, but with its copyright; below /usr, as Debian has them."""
    content = subprocess.run(("dpkg-deb", "--fsys-tarfile", package.file), capture_output=True, check=True).stdout
    for entry in files_of(content):
        name = entry.path.lstrip("/")
        if (
            name.startswith(_UNUSED)
            or _CONVERSIONS in name
            or _is_documentation(name)
            or entry == Directory(entry.path)
        ):
            continue
        # Without the set-user-id and set-group-id bits: nobody gains rights in the image.
        yield File(entry.path, entry.content, entry.mode & 0o777) if isinstance(entry, File) else entry


def files_of(archive: bytes) -> Iterator[Entry]:
    """Yield the content of a tar archive; a hard link becomes a file of its own."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        for member in members:
            path = f"/{member.name.removeprefix('./').strip('/')}"
            if path == "/":
                continue
            if member.issym():
                yield Link(path, member.linkname)
            elif member.isdir():
                yield Directory(path, member.mode)
            elif member.isfile() or member.islnk():
                stream = members.extractfile(member)
                yield File(path, stream.read() if stream else b"", member.mode)


def control(package: DebianPackage) -> bytes:
    """Return the control fields of a package, which scanners read from ``/var/lib/dpkg/status.d``."""
    return subprocess.run(("dpkg-deb", "--field", package.file), capture_output=True, check=True).stdout


def _is_documentation(name: str) -> bool:
    return name.startswith(_DOCUMENTATION) and not name.endswith(_COPYRIGHT)


def _package(file: Path) -> DebianPackage:
    name, version, architecture = file.stem.split("_")
    return DebianPackage(name, unquote(version), architecture, file)


def _write_configuration(root: Path, architecture: str) -> None:
    for name in ("etc", "state/lists/partial", "cache/archives/partial", "empty/partial"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "etc" / "sources.list").write_text(_SOURCES)
    (root / "status").touch()
    settings = {
        "Dir::Etc": root / "etc",
        "Dir::Etc::sourcelist": root / "etc" / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::State": root / "state",
        "Dir::State::status": root / "status",
        "Dir::Cache": root / "cache",
        "APT::Architecture": architecture,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    lines = [f'{name} "{value}";\n' for name, value in settings.items()]
    (root / "apt.conf").write_text("".join((*lines, f'APT::Architectures {{ "{architecture}"; }};\n')))


def _update(root: Path) -> None:
    """Fetch the lists of packages unless that was done a short time ago, as between two builds while developing."""
    stamp = root / "updated"
    if stamp.exists() and time.time() - stamp.stat().st_mtime < _LISTS_SECONDS:
        return
    _apt(root, "update")
    stamp.touch()


def _apt(root: Path, *arguments: str) -> str:
    environment = {**os.environ, "APT_CONFIG": str(root / "apt.conf"), "LC_ALL": "C"}
    done = subprocess.run(
        ("apt-get", "-q", *arguments), env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        raise SuiteError(
            f"apt-get {' '.join(arguments)} for {root.name} ended with {done.returncode}: {done.stderr[-999:].strip()}",
            next_step=f"check that a Debian mirror is reachable and that {KEYRING} is that of Debian",
        )
    return done.stdout
