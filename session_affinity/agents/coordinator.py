"""The coordinator: asks the agents of all nodes for one run, ``python -m session_affinity.agents.coordinator``.

It runs in a pod of its own as long as the run keeps its standard input open. The first line it reads has the secret of
the run and where to listen, each other line is a request; it answers on standard output. Lines are compressed JSON in
base64. A request goes to a bounded number of agents at a time, and an agent that is late or gone costs its own answer
only.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import resource
import sys
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from session_affinity import __version__
from session_affinity.agents.session import (
    HEAD,
    LONGEST_LINE,
    CallerRefusedError,
    CoordinatorHandshake,
    rest_length,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from session_affinity.agents.session import Identity, Session

PORT: Final = 7475
"""The port in the coordinator's own pod."""
HANDSHAKE_SECONDS: Final = 10.0
BATCH: Final = 200
"""The most answers of one line."""
BACKLOG: Final = 4096
BIND_SECONDS: Final = 10.0
"""How long the coordinator of a connection that was lost may keep the port."""
WINDOW: Final = 512
"""The most agents that are asked at a time."""
LONGEST_REQUEST: Final = 1 << 28
NOT_CONNECTED: Final = "its agent is not connected to the coordinator"


def packed(value: Any) -> bytes:
    """Return JSON data as a line."""
    return base64.b64encode(zlib.compress(json.dumps(value, separators=(",", ":")).encode())) + b"\n"


def unpacked(line: bytes | str) -> Any:
    """Return the JSON data of a line; raises ValueError."""
    try:
        return json.loads(zlib.decompress(base64.b64decode(line, validate=False)))
    except zlib.error as error:
        raise ValueError(f"a line that cannot be read: {error}") from error


@dataclass
class _Agent:
    """A connected agent: one request at a time is under way."""

    who: Identity
    session: Session
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    number: int = 0

    async def ask(self, header: Mapping[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        """Return the answer to a request; one that was given up may still come, and is left aside."""
        async with self.lock:
            self.number += 1
            number = self.number
            self.writer.write(self.session.seal({**header, "id": number}, data))
            while True:
                lengths = await self.reader.readexactly(HEAD.size)
                rest = await self.reader.readexactly(rest_length(lengths))
                answer, found = self.session.open(lengths, rest)
                if answer.pop("id", None) == number:
                    return answer, found


class Coordinator:
    """The connected agents, and the requests that go to them."""

    def __init__(self, secret: bytes, version: str = __version__) -> None:
        self._secret = secret
        self._version = version
        self._agents: dict[str, _Agent] = {}
        self._pods: dict[str, list[str]] = {}
        self._refused: dict[str, int] = {}

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Let an agent in that has the secret of the run; it replaces one of its own pod, or of an older one."""
        handshake = CoordinatorHandshake(self._secret, self._version)
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                writer.write(handshake.greeting())
                who, session, proof = handshake.accept(await reader.readuntil(b"\n"))
                self._require_latest(who)
                writer.write(proof)
                await writer.drain()
        except (
            OSError,
            CallerRefusedError,
            TimeoutError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
        ) as error:
            reason = error.what if isinstance(error, CallerRefusedError) else type(error).__name__
            self._refused[reason] = self._refused.get(reason, 0) + 1
            writer.close()
            return
        former = self._agents.get(who.node)
        self._agents[who.node] = _Agent(who, session, reader, writer)
        if former:
            former.writer.close()

    def _require_latest(self, who: Identity) -> None:
        """Raise CallerRefusedError for an agent whose successor is connected.

        A pod that was deleted by force runs on until its node has ended it: it would take its place again and again.
        """
        pods, connected = self._pods.setdefault(who.node, []), self._agents.get(who.node)
        if who.pod not in pods:
            pods.append(who.pod)
        if connected and not connected.reader.at_eof() and pods.index(who.pod) < pods.index(connected.who.pod):
            raise CallerRefusedError(f"{who.pod} on {who.node}: its successor {connected.who.pod} is connected")

    async def fan_out(self, request: Mapping[str, Any], send: Callable[[Any], None]) -> None:
        """Ask the nodes of a request, and send their answers as they come in lists of node, header and data."""
        window = asyncio.Semaphore(min(int(request.get("window") or WINDOW), WINDOW))
        data = base64.b64decode(request.get("data") or "")
        common, parts = request.get("header") or {}, request.get("parts") or [{}]
        ready: list[list[Any]] = []

        async def ask(node: str, place: int) -> None:
            async with window:
                header, found = await self._answer(node, {**common, **parts[place]}, data, float(request["seconds"]))
            ready.append([node, header, base64.b64encode(found).decode()])
            if len(ready) >= BATCH or found:
                send({"id": request["id"], "answers": ready[:]})
                ready.clear()

        await asyncio.gather(*(ask(node, place) for node, place in request["nodes"].items()))
        send({"id": request["id"], "answers": ready, "done": True})

    async def _answer(
        self, node: str, header: Mapping[str, Any], data: bytes, seconds: float
    ) -> tuple[dict[str, Any], bytes]:
        agent = self._agents.get(node)
        if agent is None:
            return {"error": NOT_CONNECTED}, b""
        try:
            async with asyncio.timeout(seconds):
                return await agent.ask(header, data)
        except TimeoutError:
            # Its answer may be under way: the session would be out of step if half of it was read.
            self._drop(agent)
            return {"error": f"its agent did not answer within {seconds:g} s"}, b""
        except (OSError, asyncio.IncompleteReadError):
            self._drop(agent)
            return {"error": "its agent is gone: the connection to it ended"}, b""
        except (CallerRefusedError, ValueError) as error:
            self._drop(agent)
            return {"error": f"its agent cannot be trusted: {error}"}, b""

    def _drop(self, agent: _Agent) -> None:
        agent.writer.close()
        if self._agents.get(agent.who.node) is agent:
            del self._agents[agent.who.node]

    def connected(self) -> dict[str, str]:
        """Return the pods of the connected agents by node."""
        gone = [agent for agent in self._agents.values() if agent.reader.at_eof()]
        for agent in gone:
            self._drop(agent)
        return {node: agent.who.pod for node, agent in self._agents.items()}

    @property
    def refused(self) -> dict[str, int]:
        """Why connections were refused, and how many for each reason."""
        return self._refused


async def run(requests: asyncio.StreamReader, write: Callable[[bytes], None]) -> None:
    """Serve requests until their stream ends."""
    settings = unpacked(await requests.readline())
    coordinator = Coordinator(bytes.fromhex(settings["secret"]), settings["version"])
    server = await _listening(coordinator, settings["host"], int(settings["port"]))
    port = server.sockets[0].getsockname()[1]

    def send(value: Any) -> None:
        write(packed(value))

    send({"listening": port, "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0]})
    tasks: set[asyncio.Task[None]] = set()
    while line := await requests.readline():
        request = unpacked(line)
        if request["op"] == "nodes":
            send(
                {
                    "id": request["id"],
                    "connected": coordinator.connected(),
                    "refused": coordinator.refused,
                    "done": True,
                }
            )
            continue
        task = asyncio.create_task(coordinator.fan_out(request, send))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    server.close()
    for task in tasks:
        task.cancel()


async def _listening(coordinator: Coordinator, host: str, port: int) -> asyncio.Server:
    end = asyncio.get_running_loop().time() + BIND_SECONDS
    while True:
        try:
            return await asyncio.start_server(
                coordinator.accept, host or None, port, limit=max(LONGEST_LINE, 1 << 16), backlog=BACKLOG
            )
        except OSError:
            if asyncio.get_running_loop().time() > end:
                raise
            await asyncio.sleep(0.1)


async def _main() -> None:
    reader = asyncio.StreamReader(limit=LONGEST_REQUEST)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)

    def write(line: bytes) -> None:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    with contextlib.suppress(BrokenPipeError):
        await run(reader, write)


def raise_file_limit() -> None:
    """Let this process have as many open files as it may: one for each agent."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    raise_file_limit()
    asyncio.run(_main())
