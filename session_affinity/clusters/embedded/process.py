"""What a node's first process starts, and what each of them waits for."""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass, field
from typing import Literal

from session_affinity.deadlines import DEFAULTS

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where a node's own programs are looked for, after the cluster's."""


@dataclass(frozen=True)
class Gate:
    """A condition before a process is started.

    ``socket``: a unix socket at ``target`` takes connections; ``ready``: the API server at ``target`` (host:port) says
    that it is ready, its certificate checked against ``authority``; ``done``: the process of that name ended with 0.
    """

    kind: Literal["socket", "ready", "done"]
    target: str
    authority: str = ""

    def is_open(self, ended: dict[str, int]) -> bool:
        """Whether the condition holds now; ``ended`` has the exit codes so far."""
        if self.kind == "done":
            return ended.get(self.target) == 0
        try:
            return self._socket_accepts() if self.kind == "socket" else self._api_is_ready()
        except (OSError, http.client.HTTPException):
            return False

    def _socket_accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(self.target)
        return True

    def _api_is_ready(self) -> bool:
        host, _, port = self.target.rpartition(":")
        import ssl

        context = ssl.create_default_context(cafile=self.authority)
        connection = http.client.HTTPSConnection(
            host.strip("[]"), int(port), timeout=DEFAULTS.embedded_probe, context=context
        )
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        finally:
            connection.close()


@dataclass(frozen=True)
class Process:
    """A program on a node: ``once`` for one that ends by itself."""

    name: str
    argv: tuple[str, ...]
    after: tuple[Gate, ...] = ()
    once: bool = False
    environment: dict[str, str] = field(default_factory=dict)
