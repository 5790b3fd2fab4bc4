"""A node of a kind cluster: a container in which the engine runs commands."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from session_affinity.errors import NodeError
from session_affinity.nodes.node import Completed

if TYPE_CHECKING:
    from collections.abc import Sequence

_NOT_RUN: Final = "OCI runtime exec failed"
_ENGINE_CODE: Final = {"docker": 1, "podman": 125}
"""The exit code of an engine that could not reach the container; a command on the node may end with it too."""
_ENGINE_MESSAGES: Final = ("Error", "Cannot connect to the Docker daemon", "error during connect")
_MARGIN_SECONDS: Final = 1


@dataclass(frozen=True)
class KindNode:
    """A node; ``name`` is the name of its container and of its Node object, ``program`` is the engine's."""

    name: str
    program: str

    def argv(self, command: Sequence[str], *, timeout: float, stdin: bool = False) -> list[str]:
        """Return the command line that runs ``command`` on the node, for at most ``timeout`` seconds and one more.

        `timeout` runs on the node, because a command that the engine started does not end with the engine's client.
        """
        return [
            *(self.program, "exec", *(("-i",) if stdin else ()), self.name),
            *self.limited(command, timeout=timeout),
        ]

    def shell_argv(self) -> list[str]:
        """Return the command line of a shell on the node."""
        return [self.program, "exec", "-i", self.name, "sh"]

    def limited(self, argv: Sequence[str], *, timeout: float) -> list[str]:
        """Return a command that ends one second after ``timeout`` seconds, also when the engine's client has ended."""
        return ["timeout", "-s", "KILL", f"{int(timeout) + _MARGIN_SECONDS}", *argv]

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        """Run a command in the node's namespaces (see ``nodes.node.Node``)."""
        try:
            process = subprocess.Popen(
                self.argv(argv, timeout=timeout, stdin=stdin is not None),
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise NodeError(
                f"{self.name}: {self.program} cannot be run: {error}",
                next_step=f"check the installation of {self.program}",
            ) from error
        with process:
            try:
                stdout, stderr = process.communicate(stdin, timeout=timeout)
            except subprocess.TimeoutExpired as error:
                raise NodeError(f"{self.name}: {' '.join(argv)} did not end within {timeout:g} s") from error
            finally:
                if process.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
        completed = Completed(self.name, tuple(argv), process.returncode, stdout, stderr)
        if not self._was_run(completed):
            raise NodeError(
                f"{self.name}: {' '.join(argv)} could not be run: {(stderr or stdout).strip()[-1000:]}",
                next_step=f"check whether the node runs: {self.program} ps --all",
            )
        return completed

    def _was_run(self, completed: Completed) -> bool:
        """Return whether the engine ran the command; its own failures have exit codes that commands have too."""
        if completed.returncode == 126 and _NOT_RUN in completed.stdout + completed.stderr:
            return False
        refused = completed.returncode == _ENGINE_CODE[self.program] and not completed.stdout
        return not (refused and completed.stderr.startswith(_ENGINE_MESSAGES))
