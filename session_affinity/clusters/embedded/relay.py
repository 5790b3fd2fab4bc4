"""Carries connections from the host's loopback to the API server inside the cluster's network.

A socket belongs to the network namespace it was made in: the keeper makes the listener on the host, this process
takes it along into the control plane's namespace. So the host needs no link, route or address of the cluster.
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
    # asyncio itself lets go of the task of a connection that one side has ended, while the other may have more to say.
    under_way: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(handle(reader, writer))
        under_way.add(task)
        task.add_done_callback(under_way.discard)

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
