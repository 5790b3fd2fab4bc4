"""The machine outside an external cluster: its address on the command line, and ssh's part."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.external import outside
from session_affinity.clusters.external.outside import LocalHost, OtherCluster, SshHost, parse
from session_affinity.clusters.external.provider import require_usable
from session_affinity.clusters.options import ClusterOptions
from session_affinity.errors import ClusterError, NodeError, UsageError
from session_affinity.kube.in_cluster import SERVICE_ACCOUNT
from session_affinity.nodes.node import Completed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager


class Curl(LocalHost):
    """A host on which every command succeeds."""

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        del timeout, stdin
        return Completed("outside", tuple(argv), 0, "", "")


SSH = """\
#!/bin/sh
printf '%s\\n' "$@" > "$0.arguments"
[ -e "$0.refuses" ] && { echo 'Permission denied (publickey).' >&2; exit 255; }
for command do :; done
exec sh -c "$command"
"""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for ssh that runs the command here, as the login shell there would."""
    program = tmp_path / "ssh"
    program.write_text(SSH)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return program


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("ssh://ci@jump.example.org", SshHost("jump.example.org", "ci")),
        ("ssh://192.0.2.7:2222", SshHost("192.0.2.7", port=2222)),
        ("ssh://ci@[2001:db8::7]:22/", SshHost("2001:db8::7", "ci", 22)),
    ],
)
def test_a_machine_is_named_by_an_address(text: str, host: SshHost) -> None:
    assert parse(text) == host


def test_this_machine_is_named_local() -> None:
    assert parse("local") == LocalHost()


def test_another_cluster_is_named_by_its_kubeconfig() -> None:
    assert parse("kubeconfig:///tmp/other.yaml") == OtherCluster(Path("/tmp/other.yaml"))


@pytest.mark.parametrize(
    "text",
    ["", "host", "http://host", "ssh://", "ssh://-oProxyCommand=x", "ssh://-l@host", "ssh://host:x", "ssh://a b"],
)
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no address of a machine outside"):
        parse(text)


def test_words_reach_the_program_there_as_they_are(ssh: Path) -> None:
    done = SshHost("jump.example.org", "ci", 2222).run(("printf", "%s|", "a b", "$HOME", "'; echo x", "%{json}\\n"))

    assert done.stdout == "a b|$HOME|'; echo x|%{json}\\n|"
    arguments = ssh.with_suffix(".arguments").read_text().splitlines()
    assert arguments[:2] == ["-o", "BatchMode=yes"]
    assert arguments[4:10] == ["-l", "ci", "-p", "2222", "--", "jump.example.org"]


def test_a_program_that_fails_there_is_no_error_here(ssh: Path) -> None:
    del ssh
    assert SshHost("host").run(("sh", "-c", "exit 28")).returncode == 28


def test_a_machine_that_refuses_is_an_error_with_the_command_to_try(ssh: Path) -> None:
    ssh.with_suffix(".refuses").touch()

    with pytest.raises(NodeError, match=r"host cannot be reached by ssh: Permission denied") as refused:
        SshHost("host").run(("true",))
    assert "ssh -o BatchMode=yes" in (refused.value.next_step or "")


def test_a_program_that_does_not_end_is_an_error(ssh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del ssh
    monkeypatch.setattr(outside, "_CONNECT_SECONDS", 0)

    with pytest.raises(NodeError, match=r"sleep 30 did not end within 0\.2 s"):
        SshHost("host").run(("sleep", "30"), timeout=0.2)


def no_pod(kubeconfig: Path) -> AbstractContextManager[LocalHost]:
    raise AssertionError(f"a pod in the cluster of {kubeconfig}")


def test_another_cluster_runs_a_pod() -> None:
    def pod_of(kubeconfig: Path) -> AbstractContextManager[Curl]:
        return contextlib.nullcontext(Curl(place=str(kubeconfig)))

    with outside.outside_of("kubeconfig://other.yaml", pod_of) as found:
        assert found.host == Curl(place="other.yaml")


def test_a_machine_is_used_once_curl_has_answered(ssh: Path) -> None:
    del ssh
    with outside.outside_of("ssh://host", no_pod) as found:
        assert found.host == SshHost("host")


def test_a_machine_without_curl_is_refused(ssh: Path) -> None:
    ssh.write_text("#!/bin/sh\necho 'sh: curl: not found' >&2; exit 127\n")

    with (
        pytest.raises(ClusterError, match=r"curl cannot be run there: sh: curl: not found"),
        outside.outside_of("ssh://h", no_pod),
    ):
        pass


def test_without_a_machine_there_is_a_reason() -> None:
    with outside.outside_of(None, no_pod) as found:
        assert found.host is None
        assert "--outside-client" in found.reason


def test_the_routes_of_the_machine_are_its_owners() -> None:
    assert not SshHost("host").lead("198.51.100.77", "10.0.0.1")
    assert not LocalHost().lead("198.51.100.77", "10.0.0.1")


def test_a_pod_of_the_cluster_is_no_machine_outside() -> None:
    options = ClusterOptions(cluster="external", kubeconfig=SERVICE_ACCOUNT, outside_client="local")

    with pytest.raises(UsageError, match="this run is a pod of the cluster"):
        require_usable(options)
