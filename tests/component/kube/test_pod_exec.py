"""The result of a command in a pod, read from a stand-in for the websocket."""

from __future__ import annotations

import json
import socket
from types import SimpleNamespace
from typing import Any

import pytest
import websocket
from kubernetes.client.configuration import Configuration
from kubernetes.stream import ws_client

from session_affinity.kube import pod_exec, websocket_client
from session_affinity.kube.pod_exec import ExecError, PodCommand

COMMAND = PodCommand("default", "net-pod", ("curl", "-s", "http://10.200.1.5:9000/?[1-3]"))
EXIT_7 = {
    "status": "Failure",
    "message": "command terminated with exit code 7",
    "details": {"causes": [{"reason": "ExitCode", "message": "7"}]},
}


class Connection:
    """Stands in for the client's websocket; ``open_for`` is how many seconds the command takes."""

    def __init__(self, status: object = None, stdout: bytes = b"", *, open_for: float = 0) -> None:
        self.channels = {pod_exec.STATUS: json.dumps(status).encode() if status else b"", pod_exec.STDOUT: stdout}
        self.open_for = open_for
        self.ended = False
        self.shut = False
        self.sock = SimpleNamespace(shutdown=self.shutdown)

    def run_forever(self, timeout: float) -> None:
        self.ended = timeout > self.open_for

    def is_open(self) -> bool:
        return not self.ended

    def read_channel(self, channel: int) -> bytes:
        return self.channels.pop(channel, b"")

    def shutdown(self) -> None:
        self.shut = True


@pytest.fixture
def client() -> Any:
    return SimpleNamespace(
        configuration=SimpleNamespace(host="https://127.0.0.1:6443"), update_params_for_auth=lambda *_: None
    )


def run(monkeypatch: pytest.MonkeyPatch, client: Any, connection: Connection) -> pod_exec.ExecResult:
    monkeypatch.setattr(websocket_client.client, "WSClient", lambda *_, **__: connection)
    return pod_exec.run(client, COMMAND, timeout=5, connect_seconds=5)


def test_output_and_exit_code(monkeypatch: pytest.MonkeyPatch, client: Any) -> None:
    connection = Connection(EXIT_7, "Hostname: wébpod1\n".encode())

    result = run(monkeypatch, client, connection)

    assert (result.returncode, result.stdout, result.stderr) == (7, "Hostname: wébpod1\n", "")
    assert connection.shut


def test_success(monkeypatch: pytest.MonkeyPatch, client: Any) -> None:
    assert run(monkeypatch, client, Connection({"status": "Success"})).returncode == 0


def test_a_command_that_does_not_end_is_an_error_and_no_partial_output(
    monkeypatch: pytest.MonkeyPatch, client: Any
) -> None:
    connection = Connection(stdout=b"Hostname: webpod1\n", open_for=60)

    with pytest.raises(ExecError, match="did not end within 5 s"):
        run(monkeypatch, client, connection)
    assert connection.shut


def test_a_lost_connection_is_an_error(monkeypatch: pytest.MonkeyPatch, client: Any) -> None:
    with pytest.raises(ExecError, match="the connection ended before the exit code was sent"):
        run(monkeypatch, client, Connection())


def test_a_command_that_could_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch, client: Any) -> None:
    status = {"status": "Failure", "message": 'exec: "curl": executable file not found in $PATH', "details": {}}

    with pytest.raises(ExecError, match="executable file not found"):
        run(monkeypatch, client, Connection(status))


def test_a_refused_connection_is_an_error(monkeypatch: pytest.MonkeyPatch, client: Any) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("Connection refused")

    monkeypatch.setattr(websocket_client.client, "WSClient", refuse)
    with pytest.raises(ExecError, match=r"default/net-pod: curl .*Connection refused"):
        pod_exec.run(client, COMMAND, timeout=5, connect_seconds=5)


def test_each_word_of_the_command_is_a_parameter() -> None:
    assert COMMAND.query()[:3] == [("command", word) for word in COMMAND.argv]
    assert ("stdin", "false") in COMMAND.query()
    assert ("container", "c") in PodCommand("default", "net-pod", (), "c").query()


def test_long_commands_are_shortened_in_messages() -> None:
    assert str(PodCommand("default", "net-pod", ("x" * 500,))).endswith("...")


def test_connecting_to_a_silent_server_times_out() -> None:
    class Client:
        configuration = Configuration()

        def update_params_for_auth(self, *_: object) -> None: ...

    client: Any = Client()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client.configuration.host = f"https://127.0.0.1:{silent.getsockname()[1]}"

        with pytest.raises(ExecError, match="timed out"):
            pod_exec.connect(client, COMMAND, 0.1)


def test_an_error_other_than_a_connection_error_is_raised_unchanged(
    monkeypatch: pytest.MonkeyPatch, client: Any
) -> None:
    def changed(*_: Any, **__: Any) -> None:
        raise TypeError("unexpected keyword argument")

    monkeypatch.setattr(websocket_client.client, "WSClient", changed)
    with pytest.raises(TypeError):
        pod_exec.run(client, COMMAND, timeout=5, connect_seconds=5)


def test_the_module_that_others_import_is_unchanged() -> None:
    assert ws_client.WebSocket is websocket.WebSocket
    assert websocket_client.client.WebSocket is not websocket.WebSocket
