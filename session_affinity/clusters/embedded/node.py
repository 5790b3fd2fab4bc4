"""A node of the embedded cluster: commands run in the namespaces of its first process."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from session_affinity.clusters.embedded.process import PATH
from session_affinity.errors import NodeError
from session_affinity.nodes.node import Completed, shown_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from session_affinity.clusters.embedded.state import ProcessId

_NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")


@dataclass(frozen=True)
class EmbeddedNode:
    """A node of an embedded cluster; ``process`` is its first process, as the host sees it."""

    name: str
    process: ProcessId
    program_directories: tuple[str, ...]

    def argv(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs ``command`` inside the node; raises NodeError when the node has ended.

        The command gets a clean environment, as the caller's XDG_RUNTIME_DIR or TMPDIR may not exist in the node.
        """
        if not self.process.is_alive:
            raise NodeError(
                f"{self.name}: the first process of the node, {self.process.pid}, has ended",
                next_step="start the cluster again",
            )
        path = ":".join((*self.program_directories, PATH))
        environment = [
            "env",
            "-i",
            f"PATH={path}",
            "HOME=/run/home",
            "LANG=C",
            f"TERM={os.environ.get('TERM', 'dumb')}",
        ]
        return ["nsenter", f"--target={self.process.pid}", *_NAMESPACES, "--wdns=/", "--", *environment, *command]

    def shell_argv(self) -> list[str]:
        """Return the command line of a shell on the node; raises NodeError when the node has ended."""
        return self.argv(("sh",))

    def limited(self, argv: Sequence[str], *, timeout: float) -> Sequence[str]:
        """Return a command as it is: what runs in a shell on the node ends with the shell's process group."""
        del timeout
        return argv

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        """Run a command in the node's namespaces; see ``nodes.node.Node``."""
        process = subprocess.Popen(
            self.argv(argv),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        with process:
            try:
                stdout, stderr = process.communicate(stdin, timeout=timeout)
            except subprocess.TimeoutExpired as error:
                raise NodeError(f"{self.name}: {shown_command(argv)} did not end within {timeout:g} s") from error
            finally:
                # nsenter waits for its child inside the node; both are in the process group that nsenter leads.
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode and not self.process.is_alive:
            raise NodeError(f"{self.name}: the node ended while it ran {shown_command(argv)}")
        return Completed(self.name, tuple(argv), process.returncode, stdout, stderr)
