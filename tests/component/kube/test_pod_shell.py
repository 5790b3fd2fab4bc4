"""A shell that stays open: a shell of this machine behind a stand-in for the websocket."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from session_affinity.kube.pod_exec import ExecError
from session_affinity.kube.pod_shell import PodShell, line
from tests.component.kube.shell_websocket import Websocket

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.unit


@pytest.fixture
def opened() -> list[Websocket]:
    return []


@pytest.fixture
def shell(opened: list[Websocket]) -> Iterator[PodShell]:
    def connect() -> Websocket:
        opened.append(Websocket())
        return opened[-1]

    shell = PodShell("ns/agent", connect)
    yield shell
    shell.close()


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        pytest.param(["printf", "no newline"], (0, "no newline", ""), id="without-newline"),
        pytest.param(["echo", "it's $HOME"], (0, "it's $HOME\n", ""), id="quoting"),
        pytest.param(["sh", "-c", "echo a; echo b >&2; exit 7"], (7, "a\n", "b\n"), id="streams-and-code"),
        pytest.param(["sh", "-c", "read -r line || echo none"], (0, "none\n", ""), id="no-input"),
        pytest.param(["true"], (0, "", ""), id="silence"),
    ],
)
def test_a_command_has_its_own_output_and_exit_code(
    shell: PodShell, argv: list[str], expected: tuple[int, str, str]
) -> None:
    result = shell.run(argv, timeout=5)

    assert (result.returncode, result.stdout, result.stderr) == expected


def test_a_command_gets_its_input(shell: PodShell) -> None:
    assert shell.run(["cat"], timeout=5, stdin="a $b\n'c'").stdout == "a $b\n'c'\n"


def test_commands_share_one_connection_and_do_not_mix(shell: PodShell, opened: list[Websocket]) -> None:
    output: dict[int, str] = {}

    def run(number: int) -> None:
        output[number] = shell.run(["echo", str(number)], timeout=5).stdout

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert output == {number: f"{number}\n" for number in range(8)}
    assert len(opened) == 1


def test_a_command_that_does_not_end_closes_the_shell_and_the_next_command_opens_one(
    shell: PodShell, opened: list[Websocket]
) -> None:
    with pytest.raises(ExecError, match=r"ns/agent: sleep 2: did not end within 0 s"):
        shell.run(["sleep", "2"], timeout=0.1)

    assert shell.run(["echo", "again"], timeout=5).stdout == "again\n"
    assert len(opened) == 2
    assert opened[0].process.returncode is not None


def test_a_connection_that_was_lost_while_idle_is_opened_again(shell: PodShell, opened: list[Websocket]) -> None:
    shell.run(["true"], timeout=5)
    opened[0].end()

    assert shell.run(["echo", "again"], timeout=5).stdout == "again\n"
    assert len(opened) == 2


def test_a_shell_that_ends_during_a_command_is_an_error(shell: PodShell, opened: list[Websocket]) -> None:
    with pytest.raises(ExecError, match="ns/agent: the shell has ended: no more"):
        shell.run(["sh", "-c", "echo no more >&2; kill -9 $PPID"], timeout=5)
    assert len(opened) == 1


def test_a_mark_in_the_output_does_not_end_the_command(shell: PodShell) -> None:
    text = line(["true"], "@@ended 1")

    assert shell.run(["printf", "%s", text], timeout=5).stdout == text
