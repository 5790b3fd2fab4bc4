"""The programs of the images, built and run on the loopback of this machine, without a cluster."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from session_affinity.clusters.embedded.binaries import Cache
from session_affinity.clusters.embedded.binaries.pins import machine_arch
from session_affinity.clusters.embedded.images import programs
from session_affinity.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 10.0
AT_ONCE_SECONDS = 1.0


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with both programs, built as for the images."""
    target = tmp_path_factory.mktemp("programs")
    cache = Cache.of_user()
    go = programs.find_go(cache, print)
    for name in ("pause", "whoami"):
        programs.build(name, target, go=go, cache=cache, architecture=machine_arch())
    return target


@contextmanager
def running(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def port(built: Path) -> Iterator[int]:
    """The port of a running whoami."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free_port: int = probe.getsockname()[1]
    with running(str(built / "whoami"), "-port", str(free_port)) as process:

        def listens() -> bool:
            assert process.poll() is None, f"whoami ended with {process.returncode}"
            try:
                socket.create_connection(("127.0.0.1", free_port), 1).close()
            except OSError:
                return False
            return True

        wait_until(listens, START_SECONDS, what="whoami to listen", pause=0.02)
        yield free_port


def connect(port: int) -> closing[HTTPConnection]:
    return closing(HTTPConnection("127.0.0.1", port, timeout=5))


def request(connection: HTTPConnection, path: str = "/") -> list[str]:
    connection.request("GET", path, headers={"User-Agent": "test", "X-B": "2", "Accept": "*/*"})
    return connection.getresponse().read().decode().splitlines()


def test_an_answer_has_the_lines_and_the_order_of_traefik_whoami(port: int) -> None:
    with connect(port) as connection:
        lines = request(connection, "/some/path?n=1")
        client = connection.sock.getsockname()
    addresses = [line for line in lines if line.startswith("IP: ")]
    assert lines[0] == f"Hostname: {socket.gethostname()}"
    assert lines[1 : 1 + len(addresses)] == addresses
    assert "IP: 127.0.0.1" in addresses
    assert lines[1 + len(addresses) :] == [
        f"RemoteAddr: {client[0]}:{client[1]}",
        "GET /some/path?n=1 HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "User-Agent: test",
        "Accept: */*",
        "Accept-Encoding: identity",
        "X-B: 2",
        "",
    ]


def test_an_answer_waits_for_the_duration_in_the_request(port: int) -> None:
    with connect(port) as connection:
        began = time.monotonic()
        request(connection, "/?wait=300ms&number=1")
        waited = time.monotonic() - began
        request(connection, "/?wait=never")
    assert 0.3 <= waited < 0.3 + AT_ONCE_SECONDS


def test_a_connection_is_reused_for_further_requests(port: int) -> None:
    with connect(port) as connection:
        request(connection)
        first = connection.sock
        request(connection)
        assert first is not None
        assert connection.sock is first


def test_many_connections_are_answered_while_others_are_idle(port: int) -> None:
    def answer_line(_: int) -> str:
        with connect(port) as connection:
            return request(connection)[0]

    with ExitStack() as idle, ThreadPoolExecutor(50) as clients:
        for _ in range(100):
            idle.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        answers = list(clients.map(answer_line, range(200)))
    assert answers == [f"Hostname: {socket.gethostname()}"] * 200


def test_a_datagram_is_answered_with_the_host_name(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect(("127.0.0.1", port))
        client.send(b"anything")
        address, number = client.getsockname()
        assert client.recv(1024).decode() == f"Hostname: {socket.gethostname()}\nRemoteAddr: {address}:{number}\n"


@pytest.mark.parametrize("name", ["pause", "whoami"])
def test_a_program_is_static_and_exits_at_once_on_sigterm(built: Path, name: str) -> None:
    headers = subprocess.run(
        ["ldd", str(built / name)], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}, timeout=10
    )
    assert re.search("not a dynamic executable|statically linked", headers.stdout + headers.stderr)
    arguments = ("-port", "0") if name == "whoami" else ()
    with running(str(built / name), *arguments) as process:
        # Before the program has its handlers, SIGTERM gives another exit code. The Go runtime catches every signal from
        # its start, so the program must also have come to the point where it waits for signals.
        wait_until(
            lambda: catches(process.pid, signal.SIGTERM) and is_idle(process.pid),
            START_SECONDS,
            what=f"{name} to wait for signals",
            pause=0.1,
        )
        process.terminate()
        assert process.wait(AT_ONCE_SECONDS) == 0


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal, as SigCgt in /proc/PID/status shows."""
    mask = re.search(r"^SigCgt:\s+([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(mask and int(mask[1], 16) >> (number - 1) & 1)


def is_idle(pid: int) -> bool:
    """Whether all threads of the process are sleeping."""
    stats = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "S" for stat in stats)
