"""A node of the cluster, and the commands that run on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from session_affinity.errors import NodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTPUT_CHARACTERS: Final = 500
"""How much of the end of a failed command's output its message quotes."""
COMMAND_CHARACTERS: Final = 100


@dataclass(frozen=True)
class Completed:
    """A command that ended on a node."""

    node: str
    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    def check(self) -> Completed:
        """Return self, or raise NodeError with the node, the command and the end of its output."""
        if self.returncode == 0:
            return self
        output = (self.stderr or self.stdout).strip()[-OUTPUT_CHARACTERS:]
        raise NodeError(
            f"{self.node}: {shown_command(self.argv)} ended with {self.returncode}: {output or '(nothing)'}"
        )


def shown_command(argv: Sequence[str]) -> str:
    """Return a command as a message shows it: a script is named by its beginning."""
    command = " ".join(" ".join(argv).split())
    return command if len(command) <= COMMAND_CHARACTERS else f"{command[:COMMAND_CHARACTERS]}..."


class Node(Protocol):
    """A node of the cluster, seen from its own namespaces."""

    @property
    def name(self) -> str:
        """The name of the Node object."""

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        """Run a command in the node's own namespaces and wait for it, at most ``timeout`` seconds.

        Raises NodeError when the node cannot be reached or the command does not end in time; an exit code other than
        zero is not an error here (see ``Completed.check``).
        """
