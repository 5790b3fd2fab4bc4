"""The script that sends datagrams, run by the bash of this machine against a server in this process."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from session_affinity.errors import TrafficError
from session_affinity.traffic import datagrams
from session_affinity.traffic.answers import Answers, Target
from session_affinity.traffic.datagrams import Round

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(not all(map(shutil.which, ("bash", "timeout", "head"))), reason="needs bash, timeout and head"),
]


class PortServer:
    """Answers each datagram with its source port as the host name."""

    def __init__(self, answer: str = "Hostname: port{port}\nRemoteAddr: 127.0.0.1:{port}\n", port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", port))
        self._answer = answer
        self.target = Target(*self._socket.getsockname())
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while (datagram := self._socket.recvfrom(10))[0] != b"end":
            _, source = datagram
            self._socket.sendto(self._answer.format(port=source[1]).encode(), source)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stopper:
            stopper.sendto(b"end", (self.target.address, self.target.port))
        self._thread.join()
        self._socket.close()


@pytest.fixture
def server() -> Iterator[PortServer]:
    server = PortServer()
    yield server
    server.close()


def run(*rounds: Round) -> tuple[Answers, ...]:
    done = subprocess.run(datagrams.argv(rounds, 1), capture_output=True, text=True, check=False, timeout=20)
    assert not done.stderr
    return datagrams.parse(done.stdout, rounds)


def test_each_datagram_has_a_new_socket_unless_sockets_are_kept(server: PortServer) -> None:
    to = (server.target,)

    rounds = (Round(to, 3), Round(to, 2, keep_sockets=True), Round(to), Round(to, keep_sockets=True, pause=0.05))
    fresh, kept, between, again = run(*rounds)

    assert len(fresh.by_endpoint) == 3
    assert len(kept.by_endpoint) == 1
    assert again.by_endpoint.keys() == kept.by_endpoint.keys()
    assert not between.by_endpoint.keys() & (kept.by_endpoint.keys() | fresh.by_endpoint.keys())
    assert [answer.target for answer in fresh] == [server.target] * 3
    assert (next(iter(again)).not_before or 0) - (next(iter(between)).not_after or 0) >= 0.04


def test_a_datagram_that_is_not_answered_is_a_failed_answer() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        refusing = Target(*taken.getsockname())

    (answers,) = run(Round((refusing, Target("999.1.1.1", 9)), keep_sockets=True))

    assert [answer.error for answer in answers] == [datagrams.NO_ANSWER] * 2


def test_an_answer_without_a_host_is_a_failed_answer() -> None:
    other = PortServer("pong\n")
    (answers,) = run(Round((other.target,)))
    other.close()

    assert answers.summary() == "1 requests: failed 1: the answer names no host: 'pong' (1)"


def test_a_missing_report_is_an_error() -> None:
    with pytest.raises(TrafficError, match="reported 1 of 2 datagrams; its output ends with: @datagram"):
        datagrams.parse("@datagram 5.00 5.01 Hostname: webpod1\n", [Round((Target("10.200.1.5", 9000),), 2)])
