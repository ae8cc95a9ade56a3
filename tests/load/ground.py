"""What every measurement stands on: engines of its own, texts, and processes that are gone afterwards."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx

from memorystack_runtime.dev import start_async
from memorystack_runtime.settings import Settings

__all__ = ["SENTENCE", "document", "engines", "free_port", "process"]

SENTENCE = "word " * 152 + "end.\n\n"
"""A chunk's worth."""


def document(chunks: int, mark: object) -> str:
    """Of so many chunks, like no other document of another mark."""
    return "".join(f"{mark} part {i} of a long story. {SENTENCE}" for i in range(chunks))


@asynccontextmanager
async def engines(**embedder: float) -> AsyncIterator[Settings]:
    """A Qdrant engine and an embedder; the settings of a pod that uses them."""
    with tempfile.TemporaryDirectory() as folder:
        async with (
            start_async("qdrant", path=Path(folder) / "q") as qdrant,
            start_async("embedder", **embedder) as embed,
        ):
            yield Settings(qdrant_url=qdrant.url, embedder_url=f"{embed.url}/v1", auth_disabled=True)


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@asynccontextmanager
async def process(argv: Sequence[str], environment: Mapping[str, str], ready: str) -> AsyncIterator[tuple[int, float]]:
    """Its pid, and the seconds until the url `ready` answered without a server's error. Raises TimeoutError."""
    began = time.monotonic()
    running = await asyncio.create_subprocess_exec(
        *argv, env={**os.environ, **environment}, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(20):
            while not await _answers(client, ready):
                await asyncio.sleep(0.01)
        yield running.pid, time.monotonic() - began
    finally:
        running.terminate()
        await running.wait()


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return not (await client.get(url)).is_server_error
    except httpx.HTTPError:
        return False
