"""The client's image contains tools of the host and their libraries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from session_affinity.clusters.embedded.images import hosttools
from session_affinity.clusters.embedded.images.hosttools import Tool
from session_affinity.clusters.embedded.images.oci import File, Link
from session_affinity.errors import PreflightError

pytestmark = pytest.mark.unit

LDD = """#!/bin/sh
test -z "$LD_LIBRARY_PATH" || exit 9
for file; do echo "$file:"; cat "$file.needs" 2>/dev/null || echo "	not a dynamic executable"; done
"""


class Host:
    """A host whose tools are in one directory, the first one that is searched."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin = root / "usr/bin"
        self.bin.mkdir(parents=True)

    def program(self, name: str, content: str = "program", needs: str = "") -> Path:
        file = self.bin / name
        file.write_text(content)
        file.chmod(0o755)
        if needs:
            file.with_name(f"{name}.needs").write_text(needs)
        return file


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    fake = Host(tmp_path)
    # The fake ldd is a script that needs the real cat.
    monkeypatch.setattr(hosttools, "SYSTEM_PATH", (str(fake.bin), *os.defpath.split(os.pathsep)))
    monkeypatch.setenv("LD_LIBRARY_PATH", "/somewhere/of/the/caller")
    fake.program("ldd", LDD)
    return fake


def by_path(tools: tuple[Tool, ...], shared: tuple[Path, ...] = ()) -> dict[str, object]:
    return {entry.path: entry for entry in hosttools.entries(tools, shared)}


def test_all_missing_commands_are_named_with_their_debian_packages(host: Host) -> None:
    host.program("there-1")
    required = {"there-1": "there", "absent-1": "package-a", "absent-2": "package-b", "absent-3": "package-a"}
    with pytest.raises(PreflightError, match="absent-1, absent-2, absent-3") as caught:
        hosttools.locate(required, ())
    assert caught.value.next_step.endswith("apt-get install package-a package-b")
    assert "there-1" not in caught.value.what


def test_an_optional_command_may_be_missing(host: Host) -> None:
    host.program("must-1")
    host.program("may-1")
    tools = hosttools.locate({"must-1": "must"}, ("may-1", "may-2"))
    assert [tool.name for tool in tools] == ["may-1", "must-1"]


def test_system_directories_come_before_the_path_of_the_caller(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    system_tool = host.program("tool-1")
    wrapper = Host(host.root / "home")
    wrapper.program("tool-1", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(wrapper.bin))
    assert hosttools.locate({"tool-1": "tool"}, ()) == (Tool("tool-1", system_tool),)


def test_a_link_is_resolved_and_kept_as_a_link_in_the_image(host: Host) -> None:
    file = host.program("nc.real")
    (host.bin / "nc-1").symlink_to("nc.real")
    tools = hosttools.locate({"nc-1": "netcat"}, ())
    content = by_path(tools)
    assert tools == (Tool("nc-1", file),)
    assert content["/usr/bin/nc-1"] == Link("/usr/bin/nc-1", str(file))
    assert content[str(file)] == File(str(file), b"program")


def test_libraries_are_those_that_ldd_prints_without_duplicates(host: Host) -> None:
    first = host.program(
        "first",
        needs="\tlinux-vdso.so.1 (0x7ffd)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f10)\n\t/lib64/ld.so.2 (0x7f11)\n",
    )
    second = host.program(
        "second", needs="\tlibz.so.1 => /opt/z/libz.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n"
    )
    static = host.program("static")
    libraries = hosttools.libraries([Tool("first", first), Tool("second", second), Tool("static", static)])
    assert libraries == (Path("/lib/x/libc.so.6"), Path("/lib64/ld.so.2"), Path("/opt/z/libz.so.1"))


def test_a_library_that_the_host_lacks_is_named(host: Host) -> None:
    broken = host.program("broken", needs="\tlibgone.so.3 => not found\n")
    with pytest.raises(PreflightError, match=r"libgone\.so\.3"):
        hosttools.libraries([Tool("broken", broken)])


@pytest.mark.parametrize(
    ("host_path", "image_path"),
    [
        ("/bin/ls", "/usr/bin/ls"),
        ("/lib64/ld-linux-x86-64.so.2", "/usr/lib64/ld-linux-x86-64.so.2"),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6"),
        ("/opt/tools/bin/ls", "/opt/tools/bin/ls"),
        ("/library/x", "/library/x"),
    ],
)
def test_split_and_merged_hosts_give_the_same_layout(host_path: str, image_path: str) -> None:
    assert hosttools._merged(Path(host_path)) == image_path


def test_the_image_has_links_for_the_paths_of_a_split_host(host: Host) -> None:
    content = by_path((Tool("tool-1", host.program("tool-1")),))
    assert content["/bin"] == Link("/bin", "usr/bin")
    assert content["/lib64"] == Link("/lib64", "usr/lib64")


def test_zsh_is_a_link_to_bash_only_when_the_host_has_no_zsh(host: Host) -> None:
    bash = Tool("bash", host.program("bash"))
    assert by_path((bash,))["/usr/bin/zsh"] == Link("/usr/bin/zsh", "bash")
    zsh = Tool("zsh", host.program("zsh"))
    assert by_path((bash, zsh))["/usr/bin/zsh"] == Link("/usr/bin/zsh", str(zsh.path))


def test_the_extensions_of_iptables_are_included_with_libxtables(host: Host) -> None:
    directory = host.root / "lib"
    (directory / "xtables").mkdir(parents=True)
    extension = directory / "xtables" / "libxt_recent.so"
    extension.write_text("recent")
    tool = host.program("iptables-save", needs=f"\tlibxtables.so.12 => {directory}/libxtables.so.12 (0x1)\n")

    assert hosttools.libraries([Tool("iptables-save", tool)]) == (directory / "libxtables.so.12", extension)
