"""A port on 127.0.0.1 that leads to a port of the node: the only way into its network from outside.

Knows: connections and bytes. Must not know: what they carry.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from support.node.sandbox import connected

__all__ = ["relay"]

CHUNK = 1 << 16


async def relay(first: int, port: int, host: str, outside: int) -> asyncio.Server:
    """Listens at `outside` for as long as the server is open. `first`: the node's first process."""
    # One thread that has moved into the node's network, and stays there.
    thread = ThreadPoolExecutor(1, "node-network")

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inside = await asyncio.get_running_loop().run_in_executor(thread, partial(connected, first, port))
            there = await asyncio.open_connection(sock=inside)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))

    return await asyncio.start_server(take, host, outside)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()
        await writer.wait_closed()
