"""Stand-ins for node agents: many of them in one process on loopback, answering as real ones do.

Each has a connection, a handshake and a session of its own, and answers by the agent's own code. What a node "has" is
rendered from the Services in question. Agents of the same kind have the same rules, which are judged once.
"""

from __future__ import annotations

import asyncio
import json
import sys
import zlib
from dataclasses import replace
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from session_affinity import __version__
from session_affinity.agents import answers
from session_affinity.agents.coordinator import raise_file_limit
from session_affinity.agents.session import HEAD, AgentHandshake, Identity, Secret, rest_length
from tests import rendered_nodes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from session_affinity.dataplane.model import ServiceState

MOST_AT_ONCE = 200
"""The most stand-ins that connect at a time."""
NOBODY = "0" * 32


class Kind(StrEnum):
    """How a stand-in behaves."""

    RIGHT = "right"
    DIFFERENT = "different"
    """The first Service has another timeout."""
    LATE = "late"
    """Answers long after the deadline."""
    GONE = "gone"
    """Ends its connection at the first question, and does not come back."""
    LYING = "lying"
    """Says that it is equal, with a digest that no rules have."""
    COPYING = "copying"
    """Says that it is equal, whatever its rules are, with the right digest, and sends other rules when asked."""
    STALE = "stale"
    """Answers the question before this."""


def printed(kind: Kind, services: Iterable[ServiceState], part: Any) -> str:
    """Return what the command that reads a node prints on a node of a kind."""
    first, *others = services
    timeout = 7 if kind in (Kind.DIFFERENT, Kind.COPYING) else first.timeout_seconds
    text = rendered_nodes.iptables_text([replace(first, timeout_seconds=timeout), *others], part.proxy)
    return f"@@affinity rules iptables-save\n{text}@@affinity end\nuptime: 1.0\n"


@lru_cache(maxsize=64)
def _judged(kind: Kind, question: bytes, part: str, *, whole: bool) -> tuple[dict[str, Any], bytes]:
    """Return the answer of all stand-ins of a kind, without the digest of the question."""
    asked = answers.read_question(zlib.decompress(question).decode())
    text = printed(kind, (*asked.services, *asked.markers), answers.read_part(part))
    header = {"op": answers.Op.JUDGE, "part": part, "nonce": "", "whole": whole}
    return answers.answer("stand-in", header, question, lambda _: text)


def _common(part: str) -> str:
    """Return a part without what it says about one node, which the rules here do not depend on."""
    proxy, stale = json.loads(part)
    return json.dumps(
        [{name: value for name, value in proxy.items() if name not in ("zones", "node_addresses")}, stale]
    )


def answer(kind: Kind, asked: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the answer of a stand-in."""
    header, text = _judged(kind, data, _common(asked["part"]), whole=bool(asked.get("whole")))
    question = answers.question_digest(zlib.decompress(data).decode(), asked["part"], asked["nonce"])
    if kind is Kind.LYING:
        header = {**header, "rules": NOBODY}
    if kind is Kind.COPYING:
        right, _ = _judged(Kind.RIGHT, data, _common(asked["part"]), whole=False)
        header = right
    return {**header, "question": NOBODY if kind is Kind.STALE else question}, text


class StandIn:
    """One stand-in."""

    def __init__(self, node: str, kind: Kind, secret: Secret) -> None:
        self._agent = Identity(node, f"agent-{node}", __version__)
        self._kind = kind
        self._secret = secret

    async def live(self, connecting: asyncio.Semaphore) -> None:
        """Connect and answer until the connection ends."""
        async with connecting:
            reader, writer = await asyncio.open_connection(self._secret.host, self._secret.port)
            handshake = AgentHandshake(self._secret.secret, self._agent)
            writer.write(handshake.reply(await reader.readline()))
            session = handshake.session(await reader.readline())
        while True:
            try:
                lengths = await reader.readexactly(HEAD.size)
                asked, data = session.open(lengths, await reader.readexactly(rest_length(lengths)))
            except (OSError, asyncio.IncompleteReadError):
                return
            if self._kind is Kind.GONE:
                writer.close()
                return
            if self._kind is Kind.LATE:
                await asyncio.sleep(3600)
            header, text = answer(self._kind, asked, data)
            writer.write(session.seal({"id": asked["id"], **header}, text))


async def live(secret: Secret, kinds: dict[str, Kind]) -> None:
    """Run a stand-in of each kind, by the name of its node, until their connections end."""
    connecting = asyncio.Semaphore(MOST_AT_ONCE)
    await asyncio.gather(*(StandIn(node, kind, secret).live(connecting) for node, kind in kinds.items()))


def main() -> None:
    """Run the stand-ins that the first line of standard input names, until they are killed or their caller is gone."""
    raise_file_limit()
    asked = json.loads(sys.stdin.readline())
    kinds = {node: Kind(kind) for node, kind in asked["kinds"].items()}
    asyncio.run(live(Secret.parse(asked["secret"]), kinds))


if __name__ == "__main__":
    main()
