"""The agent of a node: ``python -m session_affinity.agents.node_agent FILE`` in a pod in the node's network namespace.

FILE has the coordinator's address and the secret of the run. The agent connects, answers what it is asked, and connects
again when the connection ends; it never listens.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from session_affinity import __version__
from session_affinity.agents import answers
from session_affinity.agents.session import HEAD, LONGEST_LINE, AgentHandshake, Identity, Secret, rest_length
from session_affinity.errors import ClusterError

if TYPE_CHECKING:
    from session_affinity.agents.answers import Run
    from session_affinity.agents.session import Session

NODE: Final = "NODE_NAME"
POD: Final = "POD_NAME"
"""The environment variables with the names of the node and of the agent's pod."""
CONNECT_SECONDS: Final = 5.0
COMMAND_SECONDS: Final = 60.0
LONGEST_PAUSE: Final = 2.0
"""The most seconds between two attempts to reach the coordinator."""


def serve(file: BinaryIO, sending: socket.socket, secret: bytes, agent: Identity, run: Run) -> None:
    """Answer the coordinator at the other end of a connection until it ends; raises RefusedError and OSError.

    Nothing is read on the node before the coordinator has proved that it has the secret.
    """
    handshake = AgentHandshake(secret, agent)
    sending.sendall(handshake.reply(file.readline(LONGEST_LINE)))
    session = handshake.session(file.readline(LONGEST_LINE))
    sending.settimeout(None)
    while len(lengths := file.read(HEAD.size)) == HEAD.size:
        asked, data = session.open(lengths, file.read(rest_length(lengths)))
        sending.sendall(_answer(session, agent, asked, data, run))


def _answer(session: Session, agent: Identity, asked: dict[str, Any], data: bytes, run: Run) -> bytes:
    try:
        header, found = answers.answer(agent.node, asked, data, run)
    except ClusterError as error:
        header, found = {"error": error.what}, b""
    return session.seal({"id": asked.get("id"), **header}, found)


def main() -> None:
    """Serve the coordinator that the file names, for ever."""
    secret = Secret.parse(Path(sys.argv[1]).read_text())
    agent = Identity(os.environ[NODE], os.environ[POD], __version__)
    run, pause = answers.shell(COMMAND_SECONDS), 0.1
    while True:
        try:
            with socket.create_connection((secret.host, secret.port), timeout=CONNECT_SECONDS) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                pause = 0.1
                with connection.makefile("rb") as file:
                    serve(file, connection, secret.secret, agent, run)
        except (OSError, ClusterError) as error:
            print(f"{agent.node}: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the log of the pod
        # Agents of thousands of nodes do not come back all at once.
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
        pause = min(pause * 2, LONGEST_PAUSE)


if __name__ == "__main__":
    main()
