"""Shells that stay open in pods: shells of this machine behind stand-ins for websockets."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from session_affinity.kube import pod_shells
from session_affinity.kube.pod_exec import ExecError
from session_affinity.kube.pod_shells import PodShells
from tests.component.kube.shell_websocket import Websocket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from session_affinity.kube.pod_exec import PodCommand

pytestmark = pytest.mark.unit

CLIENT = ("default", "net-pod", "")
OTHER = ("default", "other", "client")


@pytest.fixture
def opened() -> list[tuple[PodCommand, Websocket]]:
    return []


@pytest.fixture
def shells(opened: list[tuple[PodCommand, Websocket]]) -> Iterator[PodShells]:
    def connect(command: PodCommand) -> Websocket:
        opened.append((command, Websocket()))
        return opened[-1][1]

    shells = PodShells(connect)
    yield shells
    shells.close()
    for _, connection in opened:
        connection.end()


def test_commands_one_after_another_share_a_shell_of_their_container(
    shells: PodShells, opened: list[tuple[PodCommand, Websocket]]
) -> None:
    for place in (CLIENT, CLIENT, OTHER):
        assert shells.run(place, ["echo", "here"], timeout=5).stdout == "here\n"

    assert [(command.pod, command.container) for command, _ in opened] == [("net-pod", ""), ("other", "client")]


def test_commands_at_the_same_time_have_shells_of_their_own(
    shells: PodShells, opened: list[tuple[PodCommand, Websocket]]
) -> None:
    together = threading.Barrier(3)

    def run(number: int) -> str:
        together.wait(5)
        return shells.run(CLIENT, ["sh", "-c", f"sleep 0.2; echo {number}"], timeout=5).stdout

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(run, range(3))) == ["0\n", "1\n", "2\n"]
    assert len(opened) == 3


def test_a_command_that_lost_its_connection_is_not_repeated(
    shells: PodShells, opened: list[tuple[PodCommand, Websocket]]
) -> None:
    shells.run(CLIENT, ["true"], timeout=5)
    with pytest.raises(ExecError, match="default/net-pod: the shell has ended"):
        shells.run(CLIENT, ["sh", "-c", "kill -9 $PPID"], timeout=5)

    assert len(opened) == 1
    assert shells.run(CLIENT, ["echo", "again"], timeout=5).stdout == "again\n"


def test_a_connection_that_was_lost_while_idle_for_long_is_opened_again(
    shells: PodShells, opened: list[tuple[PodCommand, Websocket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_shells, "FRESH_SECONDS", 0.0)
    shells.run(CLIENT, ["true"], timeout=5)
    opened[0][1].end()

    assert shells.run(CLIENT, ["echo", "again"], timeout=5).stdout == "again\n"
    assert len(opened) == 2
