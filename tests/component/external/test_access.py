"""One clear error for each kubeconfig that leads nowhere."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from session_affinity.clusters.external import access
from session_affinity.clusters.external.access import Access
from session_affinity.deadlines import Deadlines
from session_affinity.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.unit


def config(server: str = "https://127.0.0.1:1", **changes: Any) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [
                {"name": "c", "context": {"cluster": "c", "user": "u"}},
                {"name": "other", "context": {"cluster": "gone", "user": "u"}},
            ],
            **changes,
        }
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config"


@pytest.mark.parametrize(
    ("text", "context", "message"),
    [
        pytest.param(None, None, r"cannot read the kubeconfig .*config: No such file", id="missing"),
        pytest.param("a: [", None, r"config, line 1: not YAML", id="not-yaml"),
        pytest.param("", None, r"is not a kubeconfig: it has no contexts", id="empty"),
        pytest.param("a: b", None, r"is not a kubeconfig", id="something-else"),
        pytest.param(config(), "prod", r"has no context prod\n  next: pass --context, one of c, other", id="context"),
        pytest.param(config(**{"current-context": ""}), None, r"no current context\n.*c, other", id="no-current"),
        pytest.param(config(), "other", r"context other: .*gone", id="dangling"),
        pytest.param(b"\xff\xfe", None, r"cannot read the kubeconfig", id="not-text"),
    ],
)
def test_a_file_that_is_no_way_to_a_cluster(
    file: Path, text: str | bytes | None, context: str | None, message: str
) -> None:
    if text is not None:
        file.write_bytes(text.encode() if isinstance(text, str) else text)

    with pytest.raises(UsageError, match=message):
        access.read(file, context)


def test_no_file_is_taken_unasked() -> None:
    with pytest.raises(UsageError, match="needs --kubeconfig"):
        access.read(None, None)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Is a directory"):
        access.read(tmp_path, None)


def test_the_context_says_where_it_leads_and_the_file_stays_as_it_is(file: Path) -> None:
    file.write_text(config())
    file.chmod(0o400)
    before = file.read_bytes(), file.stat().st_mtime_ns

    way = access.read(file, None)

    assert (way.context, way.server, way.user) == ("c", "https://127.0.0.1:1", "u")
    assert str(way) == f"https://127.0.0.1:1 (context c of {file})"
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def test_a_closed_port_is_said_at_once(file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    way = Access(file, "c", f"https://127.0.0.1:{port}", "u")

    with pytest.raises(ClusterError, match=rf"no API server at https://127.0.0.1:{port} .*: Connection refused"):
        access.require_answer(way)


@pytest.fixture
def stalled() -> Iterator[int]:
    """A port that takes no more connections: what is sent there is never answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:
            client.settimeout(0)
            client.connect_ex(("127.0.0.1", port))
        yield port
        for client in waiting:
            client.close()


def test_a_server_that_does_not_answer_is_not_waited_for(file: Path, stalled: int) -> None:
    way = Access(file, "c", f"https://127.0.0.1:{stalled}", "u")

    with pytest.raises(ClusterError, match="no answer within"):
        access.require_answer(way, deadlines=Deadlines(api_connect=0.1))


def test_credentials_that_are_not_accepted_name_the_user(file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        file.write_text(config(f"http://127.0.0.1:{port}"))
        answering = threading.Thread(target=_refuse, args=(listener,), daemon=True)
        answering.start()
        with pytest.raises(ClusterError, match=r"does not accept user u: .*401: Unauthorized"):
            access.require_answer(access.read(file, None))
        answering.join(5)


def _refuse(listener: socket.socket) -> None:
    listener.accept()[0].close()  # the first look at whether anything listens
    connection, _ = listener.accept()
    connection.recv(4096)
    body = b'{"kind": "Status", "message": "Unauthorized"}'
    connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    connection.close()
