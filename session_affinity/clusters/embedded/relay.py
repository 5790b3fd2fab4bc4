"""A TCP relay from the host's loopback to the API server in the cluster's network namespaces.

A socket stays in the network namespace in which it was created: the supervisor creates the listener on the host, and
the relay inherits it and enters the control plane's namespace. So the host needs no link, route or address for the
cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import socket

_CHUNK_BYTES = 1 << 16


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()


def serve(listener: socket.socket, host: str, port: int) -> NoReturn:
    """Relay every connection to ``host``:``port`` until killed."""
    # The event loop has only weak references to tasks, and asyncio's stream protocol drops its own when one side of a
    # connection has closed, although the other side may still send.
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(handle(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, server_writer), _copy(server_reader, writer))
        for stream in (writer, server_writer):
            stream.close()
            with contextlib.suppress(OSError):
                await stream.wait_closed()

    async def run() -> NoReturn:
        server = await asyncio.start_server(accept, sock=listener)
        await server.serve_forever()
        raise AssertionError

    asyncio.run(run())
    raise SystemExit
