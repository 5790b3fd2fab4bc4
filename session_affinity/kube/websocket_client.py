"""The websocket client of the Kubernetes client library, with a timeout for connecting: import this where it is needed.

``kubernetes.stream.stream`` is not used: it replaces a method of its ApiClient while it runs, returns partial output
after a timeout, and reports neither exit codes nor lost connections reliably.
"""

from __future__ import annotations

import importlib.util
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import websocket

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kubernetes.client.configuration import Configuration

_connect_timeout: ContextVar[float | None] = ContextVar("timeout of connecting, in seconds", default=None)


class _BoundedWebSocket(websocket.WebSocket):
    """A websocket with a timeout for connecting, for servers that accept a connection and send nothing."""

    def connect(self, url: str, **options: Any) -> None:
        super().connect(url, timeout=_connect_timeout.get(), **options)  # type: ignore[no-untyped-call]


def _private_client() -> Any:
    """Return a private copy of the client's websocket module that opens websockets with a connect timeout.

    The client has no parameter for the connect timeout and does not use the default of the websocket library. The
    module that other code imports stays unchanged.
    """
    spec = importlib.util.find_spec("kubernetes.stream.ws_client")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.WebSocket = _BoundedWebSocket
    return module


client: Any = _private_client()


def opened(
    configuration: Configuration,
    path: str,
    query: Sequence[tuple[str, Any]],
    headers: Mapping[str, str],
    seconds: float,
) -> Any:
    """Return a websocket to a path of the API, opened within these seconds.

    Raises OSError or WebSocketException when it cannot be opened.
    """
    token = _connect_timeout.set(seconds)
    try:
        url = client.get_websocket_url(f"{configuration.host}{path}", query)
        return client.WSClient(configuration, url, headers, capture_all=False, binary=True)
    finally:
        _connect_timeout.reset(token)
