"""The programs of the images, built and run on this machine's loopback; no cluster is started."""

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
    """Both programs, built as the images have them."""
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
    """The port of a whoami that answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        chosen: int = probe.getsockname()[1]
    with running(str(built / "whoami"), "-port", str(chosen)) as process:

        def listens() -> bool:
            assert process.poll() is None, f"whoami ended with {process.returncode}"
            try:
                socket.create_connection(("127.0.0.1", chosen), 1).close()
            except OSError:
                return False
            return True

        wait_until(listens, START_SECONDS, what="whoami to listen", pause=0.02)
        yield chosen


def connect(port: int) -> closing[HTTPConnection]:
    return closing(HTTPConnection("127.0.0.1", port, timeout=5))


def ask(connection: HTTPConnection, path: str = "/") -> list[str]:
    connection.request("GET", path, headers={"User-Agent": "test", "X-B": "2", "Accept": "*/*"})
    return connection.getresponse().read().decode().splitlines()


def test_the_answer_has_the_lines_of_traefik_whoami_in_their_order(port: int) -> None:
    with connect(port) as connection:
        lines = ask(connection, "/some/path?n=1")
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


def test_an_answer_waits_when_it_is_asked_to(port: int) -> None:
    with connect(port) as connection:
        began = time.monotonic()
        ask(connection, "/?wait=300ms&number=1")
        waited = time.monotonic() - began
        ask(connection, "/?wait=never")
    assert 0.3 <= waited < 0.3 + AT_ONCE_SECONDS


def test_a_connection_is_kept_for_further_requests(port: int) -> None:
    with connect(port) as connection:
        ask(connection)
        first = connection.sock
        ask(connection)
        assert first is not None
        assert connection.sock is first


def test_many_connections_are_answered_while_others_are_open_and_silent(port: int) -> None:
    def one(_: int) -> str:
        with connect(port) as connection:
            return ask(connection)[0]

    with ExitStack() as silent, ThreadPoolExecutor(50) as clients:
        for _ in range(100):
            silent.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        answers = list(clients.map(one, range(200)))
    assert answers == [f"Hostname: {socket.gethostname()}"] * 200


def test_a_datagram_is_answered_with_the_host_name(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect(("127.0.0.1", port))
        client.send(b"anything")
        address, number = client.getsockname()
        assert client.recv(1024).decode() == f"Hostname: {socket.gethostname()}\nRemoteAddr: {address}:{number}\n"


@pytest.mark.parametrize("name", ["pause", "whoami"])
def test_the_program_is_static_and_ends_at_once_when_told(built: Path, name: str) -> None:
    headers = subprocess.run(
        ["ldd", str(built / name)], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}, timeout=10
    )
    assert re.search("not a dynamic executable|statically linked", headers.stdout + headers.stderr)
    arguments = ("-port", "0") if name == "whoami" else ()
    with running(str(built / name), *arguments) as process:
        # Caught once the runtime has installed its handlers; an uncaught SIGTERM would be another exit code.
        what = f"{name} to catch SIGTERM"
        wait_until(lambda: caught(process.pid, signal.SIGTERM), START_SECONDS, what=what, pause=0.01)
        time.sleep(0.1)
        process.terminate()
        assert process.wait(AT_ONCE_SECONDS) == 0


def caught(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for the signal, by its /proc/PID/status."""
    found = re.search(r"^SigCgt:\s+([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(found and int(found[1], 16) >> (number - 1) & 1)
