"""The script that keeps sending datagrams, run by the bash of this machine against a server in this process."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from session_affinity.traffic import flows
from session_affinity.traffic.answers import Target
from session_affinity.waiting import wait_until
from tests.component.traffic.test_datagrams import PortServer

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(not all(map(shutil.which, ("bash", "cat"))), reason="needs bash and cat"),
]


def test_each_flow_keeps_its_socket_until_it_is_stopped() -> None:
    server, silent = PortServer(), Target("127.0.0.1", 9)
    argv = flows.argv((server.target, silent), 1, 0.01)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(20)]
        began = time.monotonic()
        rest, _ = process.communicate("\n", timeout=20)
    server.close()

    answers = flows.parse("".join(lines) + rest, (server.target, silent))

    assert process.returncode == 0
    assert time.monotonic() - began < 10
    assert len(answers[server.target].by_endpoint) == 1
    assert not answers[server.target].failures
    assert {answer.error for answer in answers[silent]} == {"no answer"}
    moments = [answer.not_before or 0.0 for answer in answers[server.target]]
    assert moments == sorted(moments)


def test_a_port_that_was_refused_is_heard_as_soon_as_it_answers() -> None:
    server = PortServer()
    target = server.target
    server.close()
    with subprocess.Popen(
        flows.argv((target,), 1, 0.01), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        refused = [process.stdout.readline() for _ in range(10)]
        again = PortServer(port=target.port)
        lines = [process.stdout.readline() for _ in range(10)]
        process.communicate("\n", timeout=20)
    again.close()

    assert flows.parse("".join(refused), (target,))[target].summary() == "10 requests: failed 10: no answer (10)"
    # One may have been under way when the server began.
    assert not flows.parse("".join(lines[2:]), (target,))[target].failures


def test_a_flow_that_is_stopped_leaves_no_socket() -> None:
    server = PortServer()
    with subprocess.Popen(
        flows.argv((server.target,), 1, 0.01), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        (answer,) = flows.parse(process.stdout.readline(), (server.target,))[server.target]
        process.communicate("\n", timeout=20)
    server.close()

    port = int(str(answer.endpoint).removeprefix("port"))
    wait_until(lambda: f":{port:04X} " not in Path("/proc/net/udp").read_text("ascii"), 5, what="the socket to be gone")


def test_a_flow_without_a_datagram_has_no_answers() -> None:
    assert not len(flows.parse("", (Target("10.0.0.1", 53),))[Target("10.0.0.1", 53)])
