"""Commands in pods, over the API's exec websocket.

The client's own ``stream`` is passed by: it swaps a method of its ApiClient while it runs, returns partial output when
time is over, and can neither tell an exit code nor a lost connection reliably.
"""

from __future__ import annotations

import importlib.util
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import websocket
import yaml

from session_affinity.errors import ClusterError
from session_affinity.kube.resources import PODS

if TYPE_CHECKING:
    from kubernetes.client.api_client import ApiClient

STDOUT, STDERR, STATUS = 1, 2, 3
LOST: Final = (OSError, websocket.WebSocketException)
"""What a websocket raises when it cannot be opened, or is lost: TLS errors and timeouts are among both."""

_bound: ContextVar[float | None] = ContextVar("seconds that connecting may take", default=None)


class _BoundedWebSocket(websocket.WebSocket):
    """A websocket that does not wait for ever for a server that accepts a connection and says nothing."""

    def connect(self, url: str, **options: Any) -> None:
        super().connect(url, timeout=_bound.get(), **options)  # type: ignore[no-untyped-call]


def _private_client() -> Any:
    """Return a copy of the client's websocket module that opens bounded websockets.

    The client has no parameter for how long connecting may take, and the websocket library's own default does not
    reach it. The module that others import stays as it is.
    """
    spec = importlib.util.find_spec("kubernetes.stream.ws_client")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.WebSocket = _BoundedWebSocket
    return module


_ws_client: Any = _private_client()


class ExecError(ClusterError):
    """A command could not be run in a pod, or did not end in time."""


@dataclass(frozen=True)
class PodCommand:
    """A command for a pod; an empty ``container`` is the pod's only or default one."""

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
class Executed:
    """A command that ended in a pod; ``seconds`` is its time as seen from here, connection included."""

    command: PodCommand
    returncode: int
    stdout: str
    stderr: str
    seconds: float


def run(client: ApiClient, command: PodCommand, timeout: float, connect_seconds: float) -> Executed:
    """Run a command and wait for its end, at most ``timeout`` seconds; raises ExecError."""
    began = time.monotonic()
    connection = connect(client, command, min(timeout, connect_seconds))
    try:
        connection.run_forever(timeout=timeout)
        ended = not connection.is_open()
        # The order matters: the status is only there once the connection has ended.
        status, stdout, stderr = (connection.read_channel(channel) for channel in (STATUS, STDOUT, STDERR))
    except LOST as error:
        raise ExecError(f"{command}: the connection was lost: {error}") from error
    finally:
        connection.sock.shutdown()
    if not ended:
        raise ExecError(
            f"{command}: did not end within {timeout:.0f} s",
            next_step="see whether the pod still runs; on a slow machine raise --deadline-scale",
        )
    return Executed(
        command,
        exit_code(command, status.decode(errors="replace")),
        stdout.decode(errors="replace"),
        stderr.decode(errors="replace"),
        time.monotonic() - began,
    )


def exit_code(command: PodCommand, status: str) -> int:
    """Return the exit code that a Status object tells; raises ExecError when it tells of no exit."""
    said = yaml.safe_load(status) if status.strip() else None
    if not isinstance(said, dict):
        raise ExecError(f"{command}: the connection ended without saying how the command did")
    if said.get("status") == "Success":
        return 0
    for cause in (said.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise ExecError(f"{command}: {said.get('message') or status}", next_step="see whether the pod has this program")


def connect(client: ApiClient, command: PodCommand, timeout: float) -> Any:
    """Start a command and return the websocket of its streams; raises ExecError."""
    headers: dict[str, str] = {}
    client.update_params_for_auth(headers, [], ["BearerToken"], "", "GET", None)
    path = PODS.path(command.namespace, command.pod, "exec")
    bound = _bound.set(timeout)
    try:
        url = _ws_client.get_websocket_url(f"{client.configuration.host}{path}", command.query())
        return _ws_client.WSClient(client.configuration, url, headers, capture_all=False, binary=True)
    except LOST as error:
        raise ExecError(f"{command}: {error}", next_step="see whether the pod runs and its node is Ready") from error
    finally:
        _bound.reset(bound)
