"""A dependency that all pods of a stack call, as an embedder is: work is done in the order of arrival, and who waits too long leaves.

How to use it:

    with SharedDependency(ms_per_unit=3) as dependency:
        Behaviour(shared=dependency.address, rules=(Rule(when=..., units=30), Rule(units=1)))
        dependency.ms_per_unit = 40   # it falters, whoever calls

Knows: units of work, and time. Must not know: requests, flags or pods.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Final, Self

__all__ = ["SharedDependency", "take"]

PATIENCE_SECONDS: Final = 0.5
"""Whoever would wait longer for its turn leaves then, and its work is not done: so a flood ends with what floods it."""


class SharedDependency:
    """A thread of its own for the length of the block."""

    def __init__(self, ms_per_unit: float) -> None:
        self.ms_per_unit = ms_per_unit
        self.address = ""
        self._free_at = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)
        host, port = self._server.sockets[0].getsockname()
        self.address = f"{host}:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(self._seconds(float(await reader.readline())))
            writer.write(b"done\n")
        finally:
            writer.close()

    @property
    def backlog_seconds(self) -> float:
        """Until all that came has been done."""
        return max(0.0, self._free_at - self._loop.time())

    def _seconds(self, units: float) -> float:
        """Until this caller has its answer, or gives up."""
        now = self._loop.time()
        start = max(now, self._free_at)
        if start - now > PATIENCE_SECONDS:
            return PATIENCE_SECONDS
        self._free_at = start + units * self.ms_per_unit / 1000
        return self._free_at - now


async def take(address: str, units: float) -> None:
    """Waits for so much of the dependency's work. Raises OSError when it is not there."""
    reader, writer = await asyncio.open_connection(*address.rsplit(":", 1))
    try:
        writer.write(f"{units}\n".encode())
        await reader.readline()
    finally:
        writer.close()
