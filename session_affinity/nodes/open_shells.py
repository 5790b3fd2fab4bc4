"""Nodes whose commands run in shells that stay open.

To enter a node costs more than most commands do: an engine starts its client, and a process in the container, which
takes a tenth of a second of processor time; nsenter is cheaper. In an open shell a command costs a fork.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
import weakref
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from session_affinity.errors import NodeError
from session_affinity.kube.pod_exec import STDERR, STDOUT, ExecError
from session_affinity.kube.pod_shell import LONGEST_LAST_LINE, MARK, LostConnectionError, PodShell
from session_affinity.nodes.node import Completed, Node, shown_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OPENING_SECONDS: Final = 10.0
"""How long a new shell has to run its first command."""
_PIECE: Final = 1 << 20
_CHANNELS: Final = (STDOUT, STDERR)


@runtime_checkable
class Enterable(Node, Protocol):
    """A node on which a shell can be left open."""

    def shell_argv(self) -> Sequence[str]:
        """Return the command line that starts a shell on the node, which reads commands; raises NodeError."""

    def limited(self, argv: Sequence[str], *, timeout: float) -> Sequence[str]:
        """Return a command as the shell has to run it, so that it ends soon after ``timeout`` seconds."""


class ShellProcess:
    """A shell that is a process of this machine, with what ``PodShell`` uses of a websocket; raises OSError.

    The shell ends with this object, and with this process, when its pipes are closed.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        self._end = weakref.finalize(self, _end, self._process)
        self._received: dict[int, list[bytes]] = {channel: [] for channel in _CHANNELS}
        self._selector = selectors.DefaultSelector()
        for channel, pipe in zip(_CHANNELS, (self._process.stdout, self._process.stderr), strict=True):
            assert pipe is not None
            self._selector.register(pipe, selectors.EVENT_READ, channel)

    @property
    def sock(self) -> ShellProcess:
        """This object, which can be shut down as a socket."""
        return self

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def is_open(self) -> bool:
        """Return whether there may be more output."""
        return bool(self._selector.get_map())

    def write_stdin(self, data: bytes) -> None:
        """Send commands to the shell."""
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def update(self, timeout: float) -> None:
        """Take output until a command seems to have ended, at most for ``timeout`` seconds.

        Programs write in pieces of a few kilobytes, so a caller that looked at each would spend more time than this.
        """
        until = time.monotonic() + timeout
        while True:
            for key, _ in self._selector.select(max(until - time.monotonic(), 0.0)):
                piece = os.read(key.fd, _PIECE)
                last = b"".join(self._received[key.data][-1:])[-LONGEST_LAST_LINE:] + piece
                self._received[key.data].append(piece)
                if not piece:
                    self._selector.unregister(key.fileobj)
                if MARK in last[-LONGEST_LAST_LINE:] or not self._selector.get_map():
                    return
            if time.monotonic() >= until:
                return

    def read_channel(self, channel: int) -> bytes:
        """Return the output on standard output or standard error since the last call."""
        pieces, self._received[channel] = self._received[channel], []
        return b"".join(pieces)

    def shutdown(self) -> None:
        """End the shell and what it runs."""
        self._selector.close()
        self._end()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        with contextlib.suppress(OSError):
            if pipe is not None:
                pipe.close()


class OpenShells:
    """A node whose commands run in open shells, each in one that runs no other; may be shared by threads.

    While all shells run commands, another command waits for one of them as long as it took to open the last, and only
    then has one opened. A command with input runs as on the node itself, as does one for which no shell can be opened:
    what hinders a shell is for the node to say.
    """

    def __init__(self, node: Enterable) -> None:
        self._node = node
        self._changed = threading.Condition()
        self._idle: list[tuple[ShellProcess, PodShell]] = []
        self._used = 0
        self._opening_seconds = 0.0

    @property
    def name(self) -> str:
        """The name of the Node object."""
        return self._node.name

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        """Run a command on the node; see ``Node``. A command is never repeated."""
        with self._shell() if stdin is None else contextlib.nullcontext() as shell:
            if shell is None:
                return self._node.run(argv, timeout=timeout, stdin=stdin)
            command = self._node.limited(argv, timeout=timeout)
            try:
                result = shell.run(command, timeout=timeout, repeats=False)
            except LostConnectionError as error:
                what = f"{self.name}: the node ended while it ran {shown_command(argv)}: {error.what}"
                raise NodeError(what) from error
            except ExecError as error:
                raise NodeError(f"{self.name}: {shown_command(argv)} did not end within {timeout:g} s") from error
            return Completed(self.name, tuple(argv), result.returncode, result.stdout, result.stderr)

    @contextlib.contextmanager
    def _shell(self) -> Iterator[PodShell | None]:
        """Yield a shell that runs no command, None if none can be opened; it stays open after a block without error."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle or not self._used, self._opening_seconds)
            self._used += 1
            self._idle = [shell for shell in self._idle if shell[0].is_alive]
            taken = self._idle.pop() if self._idle else None
        try:
            taken = taken or self._open()
            yield taken[1] if taken else None
        except BaseException:
            taken = None
            raise
        finally:
            with self._changed:
                self._used -= 1
                if taken:
                    self._idle.append(taken)
                self._changed.notify()

    def _open(self) -> tuple[ShellProcess, PodShell] | None:
        """Return a new shell; None if none can be opened."""
        began = time.monotonic()
        try:
            process = ShellProcess(self._node.shell_argv())
        except (OSError, NodeError):
            return None
        shell = PodShell(self.name, lambda: process)
        try:
            shell.run(("true",), timeout=OPENING_SECONDS, repeats=False)
        except ExecError:
            return None
        self._opening_seconds = time.monotonic() - began
        return process, shell


def with_open_shells(node: Node) -> Node:
    """Return a node whose commands run in open shells, where it can be entered; other nodes as they are."""
    return OpenShells(node) if isinstance(node, Enterable) else node
