"""Commands in pods, over the websocket of the API's exec subresource."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import websocket
import yaml

from session_affinity.errors import ClusterError
from session_affinity.kube.resources import PODS
from session_affinity.waiting import SLOW_MACHINE

if TYPE_CHECKING:
    from kubernetes.client.api_client import ApiClient

LOST_STEP: Final = "check that the pod runs and that its node is Ready"
"""The next step after a lost connection."""
STDOUT, STDERR, STATUS = 1, 2, 3
"""The channels of the websocket."""
CONNECTION_ERRORS: Final = (OSError, websocket.WebSocketException)
"""Raised when a websocket cannot be opened or its connection is lost; include TLS errors and timeouts."""


class ExecError(ClusterError):
    """A command could not be started in a pod, lost its connection or did not end in time."""


@dataclass(frozen=True)
class PodCommand:
    """A command for a pod; with an empty ``container`` it runs in the pod's only or default container."""

    namespace: str
    pod: str
    argv: tuple[str, ...]
    container: str = ""
    stdin: bool = False

    def __str__(self) -> str:
        words = " ".join(self.argv)
        return f"{self.namespace}/{self.pod}: {words if len(words) < 200 else words[:197] + '...'}"

    def query(self) -> list[tuple[str, str]]:
        """Return the query of the exec subresource."""
        container = [("container", self.container)] if self.container else []
        flags = [("stdin", str(self.stdin).lower()), ("stdout", "true"), ("stderr", "true"), ("tty", "false")]
        return [*[("command", word) for word in self.argv], *container, *flags]


@dataclass(frozen=True)
class ExecResult:
    """The result of a command in a pod; ``seconds`` is its duration measured here, the connection included."""

    command: PodCommand
    returncode: int
    stdout: str
    stderr: str
    seconds: float


def run(client: ApiClient, command: PodCommand, timeout: float, connect_seconds: float) -> ExecResult:
    """Run a command and wait for its end, at most ``timeout`` seconds; raises ExecError."""
    began = time.monotonic()
    connection = connect(client, command, min(timeout, connect_seconds))
    try:
        connection.run_forever(timeout=timeout)
        ended = not connection.is_open()
        # Read only now: the API sends the status when the command has ended.
        status, stdout, stderr = (connection.read_channel(channel) for channel in (STATUS, STDOUT, STDERR))
    except CONNECTION_ERRORS as error:
        raise ExecError(f"{command}: the connection was lost: {error}", next_step=LOST_STEP) from error
    finally:
        connection.sock.shutdown()
    if not ended:
        raise ExecError(
            f"{command}: did not end within {timeout:.0f} s",
            next_step=f"check that the pod still runs; {SLOW_MACHINE}",
        )
    return ExecResult(
        command,
        exit_code(command, status.decode(errors="replace")),
        stdout.decode(errors="replace"),
        stderr.decode(errors="replace"),
        time.monotonic() - began,
    )


def exit_code(command: PodCommand, status: str) -> int:
    """Return the exit code in a Status object; raises ExecError if there is none, because nothing ran or ended."""
    result = yaml.safe_load(status) if status.strip() else None
    if not isinstance(result, dict):
        raise ExecError(f"{command}: the connection ended before the exit code was sent", next_step=LOST_STEP)
    if result.get("status") == "Success":
        return 0
    for cause in (result.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise ExecError(f"{command}: {result.get('message') or status}", next_step="check that the pod has this program")


def connect(client: ApiClient, command: PodCommand, timeout: float) -> Any:
    """Start a command and return the websocket of its streams; raises ExecError."""
    headers: dict[str, str] = {}
    client.update_params_for_auth(headers, [], ["BearerToken"], "", "GET", None)
    path = PODS.path(command.namespace, command.pod, "exec")
    from session_affinity.kube import websocket_client

    try:
        return websocket_client.opened(client.configuration, path, command.query(), headers, timeout)
    except CONNECTION_ERRORS as error:
        raise ExecError(f"{command}: {error}", next_step=LOST_STEP) from error
