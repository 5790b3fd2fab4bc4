"""Shells in pods that stay open, several in a pod where several commands run at the same time."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from session_affinity.kube.pod_exec import PodCommand
from session_affinity.kube.pod_shell import PodShell

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from session_affinity.kube.pod_shell import ShellResult

FRESH_SECONDS: Final = 10.0
"""How long an idle connection is taken to be there; load balancers before an API server cut those that say nothing."""

Place = tuple[str, str, str]
"""Namespace, pod and container; the container is empty in a pod with one."""


class PodShells:
    """Runs each command in a shell that runs no other, an open one where there is one; may be shared by threads.

    ``connect`` starts a command in a pod and returns its websocket.
    """

    def __init__(self, connect: Callable[[PodCommand], Any]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._idle: dict[Place, list[tuple[PodShell, float]]] = defaultdict(list)

    def run(self, place: Place, argv: Sequence[str], *, timeout: float) -> ShellResult:
        """Run a command and wait for its end, at most ``timeout`` seconds; raises ExecError.

        A command is never repeated: one that sends requests must not send them twice.
        """
        with self._lock:
            idle = self._idle[place]
            shell, used = idle.pop() if idle else (None, 0.0)
        if shell is None:
            namespace, pod, container = place
            command = PodCommand(namespace, pod, ("sh",), container, stdin=True)
            shell = PodShell(f"{namespace}/{pod}", lambda: self._connect(command))
        elif time.monotonic() - used > FRESH_SECONDS:
            shell.run(("true",), timeout=timeout)
        result = shell.run(argv, timeout=timeout, repeats=False)
        with self._lock:
            self._idle[place].append((shell, time.monotonic()))
        return result

    def close(self) -> None:
        """End the shells that run no command."""
        with self._lock:
            shells = [shell for idle in self._idle.values() for shell, _ in idle]
            self._idle.clear()
        for shell in shells:
            shell.close()
