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


class PortTeller:
    """Answers each datagram with the port that it came from as the host's name."""

    def __init__(self, said: str = "Hostname: port{port}\nRemoteAddr: 127.0.0.1:{port}\n") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._said = said
        self.target = Target(*self._socket.getsockname())
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while (came := self._socket.recvfrom(10))[0] != b"end":
            self._socket.sendto(self._said.format(port=came[1][1]).encode(), came[1])

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stopper:
            stopper.sendto(b"end", (self.target.address, self.target.port))
        self._thread.join()
        self._socket.close()


@pytest.fixture
def server() -> Iterator[PortTeller]:
    teller = PortTeller()
    yield teller
    teller.close()


def run(*rounds: Round) -> tuple[Answers, ...]:
    done = subprocess.run(datagrams.argv(rounds, 1), capture_output=True, text=True, check=False, timeout=20)
    assert not done.stderr
    return datagrams.parse(done.stdout, rounds)


def test_each_datagram_has_a_socket_of_its_own_unless_sockets_are_kept(server: PortTeller) -> None:
    to = (server.target,)

    rounds = (Round(to, 3), Round(to, 2, kept=True), Round(to), Round(to, kept=True, pause=0.05))
    fresh, kept, between, again = run(*rounds)

    assert len(fresh.by_endpoint) == 3
    assert len(kept.by_endpoint) == 1
    assert again.by_endpoint.keys() == kept.by_endpoint.keys()
    assert not between.by_endpoint.keys() & (kept.by_endpoint.keys() | fresh.by_endpoint.keys())
    assert [one.target for one in fresh] == [server.target] * 3
    assert (next(iter(again)).not_before or 0) - (next(iter(between)).not_after or 0) >= 0.04


def test_a_datagram_that_is_not_answered_is_a_failed_answer() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        refusing = Target(*taken.getsockname())

    (answers,) = run(Round((refusing, Target("999.1.1.1", 9)), kept=True))

    assert [one.error for one in answers] == [datagrams.NO_ANSWER] * 2


def test_an_answer_without_a_host_is_a_failed_answer() -> None:
    other = PortTeller("pong\n")
    (answers,) = run(Round((other.target,)))
    other.close()

    assert answers.summary() == "1 requests: failed 1: the answer names no host: 'pong' (1)"


def test_a_missing_datagram_is_no_observation() -> None:
    with pytest.raises(TrafficError, match="reported 1 of 2 datagrams; it said: @datagram"):
        datagrams.parse("@datagram 5.00 5.01 Hostname: webpod1\n", [Round((Target("10.200.1.5", 9000),), 2)])
