"""A client outside an external cluster that the user names: this machine, one that ssh reaches, or another cluster.

On a machine the suite runs curl as an ordinary user and changes nothing; in another cluster it runs a pod.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from session_affinity.clusters.outside import Outside, OwnRoutes, nobody
from session_affinity.errors import ClusterError, NodeError, UsageError
from session_affinity.nodes.node import Completed, shown_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from session_affinity.clusters.outside import OutsideHost

NOT_NAMED: Final = (
    "no client outside the cluster was named (--outside-client): what is promised to clients from outside cannot be "
    "judged from inside"
)
LOCAL: Final = "local"
"""What ``--outside-client`` takes for this machine."""
_KUBECONFIG: Final = "kubeconfig://"
_SSH_FAILED: Final = 255
"""The exit code of ssh where the connection failed; commands of the suite do not end with it."""
_CONNECT_SECONDS: Final = 10
_ADDRESS: Final = re.compile(
    r"ssh://(?:(?P<user>[\w.][\w.-]*)@)?(?P<host>[\w.][\w.-]*|\[[\da-fA-F:.]+\])(?::(?P<port>\d+))?/?"
)


@dataclass(frozen=True)
class LocalHost(OwnRoutes):
    """This machine, which the user says is no node of the cluster and no pod."""

    name: str = "outside"
    place: str = "this machine"

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        """Run a command here (see ``clusters.outside.OutsideHost``)."""
        return _run(self.place, argv, argv, timeout, stdin)


@dataclass(frozen=True)
class SshHost(OwnRoutes):
    """A machine that ssh reaches without a question; ``port`` is 0 for that of ssh's own configuration."""

    host: str
    user: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``ssh://USER@HOST:PORT``; raises UsageError."""
        found = _ADDRESS.fullmatch(text)
        if found is None:
            raise UsageError(
                f"--outside-client {text!r} is no address of a machine outside the cluster",
                next_step="write it as ssh://USER@HOST or ssh://USER@HOST:PORT, as kubeconfig://FILE for a pod of"
                " another cluster, or as local for this machine",
            )
        return cls(found["host"].strip("[]"), found["user"] or "", int(found["port"] or 0))

    @property
    def name(self) -> str:
        """The machine's name in messages and in the report, which has no names of machines."""
        return "outside"

    @property
    def place(self) -> str:
        """Where it is, in words."""
        return "a machine outside the cluster"

    def argv(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs a command there; the shell there gets each word quoted."""
        options = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_SECONDS}"]
        user = ["-l", self.user] if self.user else []
        port = ["-p", str(self.port)] if self.port else []
        return ["ssh", *options, *user, *port, "--", self.host, shlex.join(command)]

    def run(self, argv: Sequence[str], *, timeout: float = 30.0, stdin: str | None = None) -> Completed:
        """Run a command there (see ``clusters.outside.OutsideHost``)."""
        done = _run(self.host, argv, self.argv(argv), timeout + _CONNECT_SECONDS, stdin)
        if done.returncode == _SSH_FAILED:
            raise NodeError(
                f"{self.host} cannot be reached by ssh: {done.stderr.strip()[-300:]}",
                next_step=f"check that `{shlex.join(self.argv(['true']))}` works without a question",
            )
        return done


@dataclass(frozen=True)
class OtherCluster:
    """The cluster of a kubeconfig's current context, in which a pod is the client."""

    kubeconfig: Path


def parse(named: str) -> LocalHost | SshHost | OtherCluster:
    """Return the machine or cluster that ``--outside-client`` names; raises UsageError."""
    if named == LOCAL:
        return LocalHost()
    if named.startswith(_KUBECONFIG):
        return OtherCluster(Path(named.removeprefix(_KUBECONFIG)).expanduser())
    return SshHost.parse(named)


def _run(where: str, argv: Sequence[str], command: Sequence[str], timeout: float, stdin: str | None) -> Completed:
    """Run the command of this machine that runs ``argv`` there; raises NodeError."""
    try:
        done = subprocess.run(
            command, input=stdin or "", capture_output=True, text=True, errors="replace", timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NodeError(f"{where}: {shown_command(argv)} did not end within {timeout:g} s") from error
    except OSError as error:
        raise NodeError(f"{where}: {command[0]} cannot be run: {error}", next_step=f"install {command[0]}") from error
    return Completed("outside", tuple(argv), done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def outside_of(named: str | None, pod_of: Callable[[Path], AbstractContextManager[OutsideHost]]) -> Iterator[Outside]:
    """Yield what the user named, once curl has answered there; none, with the reason, where nothing was named.

    ``pod_of`` runs a pod in the cluster of a kubeconfig. Raises UsageError, ClusterError.
    """
    if named is None:
        with nobody(NOT_NAMED) as outside:
            yield outside
        return
    place = parse(named)
    with pod_of(place.kubeconfig) if isinstance(place, OtherCluster) else contextlib.nullcontext(place) as host:
        done = host.run(("curl", "--version"))
        if done.returncode:
            raise ClusterError(
                f"--outside-client {named}: curl cannot be run there: {(done.stderr or done.stdout).strip()[-200:]}",
                next_step="install curl 7.88 or later on it",
            )
        yield Outside(host)
