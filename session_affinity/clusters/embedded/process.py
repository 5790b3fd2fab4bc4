"""The programs that a node's first process starts, and the conditions of their start."""

from __future__ import annotations

import http.client
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from session_affinity.deadlines import DEFAULTS

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The part of a node's PATH behind the directories of the cluster's programs."""
RESTART_SIGNAL = signal.SIGUSR1
"""Makes a node's first process restart the programs that were killed by a signal."""
PANIC_CODE = 2
"""The exit code of a Go program that panics."""


@dataclass(frozen=True)
class Gate:
    """A condition that must hold before a process is started.

    ``socket``: the unix socket ``target`` accepts connections. ``ready``: the API server at ``target`` (host:port)
    answers 200 to a request for ``path``; ``authority`` is the CA file of its certificate. ``done``: the process named
    ``target`` has ended with exit code 0. ``file``: the file ``target`` exists.
    """

    kind: Literal["socket", "ready", "done", "file"]
    target: str
    authority: str = ""
    path: str = "/readyz"

    def is_open(self, exit_codes: dict[str, int]) -> bool:
        """Whether the condition holds now; ``exit_codes`` are those of the node's processes that have ended."""
        if self.kind == "done":
            return exit_codes.get(self.target) == 0
        if self.kind == "file":
            return Path(self.target).exists()
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
            connection.request("GET", self.path)
            return connection.getresponse().status == http.HTTPStatus.OK
        finally:
            connection.close()


@dataclass(frozen=True)
class Process:
    """A program of a node, started when the gates ``after`` are open.

    ``once`` is for one that exits after its work. One with ``restart`` is started again whenever it ends, after a
    pause; one with ``restart_after_panic`` when it panics, as in a pod. ``environment`` are its variables beside those
    that every program has.
    """

    name: str
    argv: tuple[str, ...]
    after: tuple[Gate, ...] = ()
    once: bool = False
    restart: bool = False
    restart_after_panic: bool = False
    environment: tuple[tuple[str, str], ...] = ()

    def is_restarted_after(self, code: int) -> bool:
        """Whether the program is started again when it ends with an exit code."""
        return self.restart or (self.restart_after_panic and code == PANIC_CODE)
