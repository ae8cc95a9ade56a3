"""Local stand-ins for what a stack's urls name: the vector store, Redis and the embedder, each a supervised process.

Knows: which variable each replaces. Must not know: pods.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import httpx

from memorystack_operator.api import Spec
from memorystack_operator.local.daemon import Daemon
from memorystack_operator.local.errors import CannotStart
from memorystack_operator.local.ports import free_port
from memorystack_operator.local.state import StateFolder
from memorystack_runtime.dev import engine_command
from memorystack_runtime.dev.redis import NO_REDIS, redis_command

__all__ = ["EmbedderOptions", "Engines", "start_engines"]

READY_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class EmbedderOptions:
    """How the local embedder behaves: milliseconds a request and an item take, and requests served at once.

    `spread` is the standard deviation of the logarithm of a request's time.
    """

    latency_ms: float = 5.0
    item_ms: float = 0.5
    capacity: int = 64
    spread: float = 0.0


@dataclass
class Engines:
    """What runs, and the pods' variables that point to it."""

    daemons: list[Daemon] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)

    async def stop(self) -> None:
        """Ends them; the pods must have drained before, as they still write."""
        await asyncio.gather(*(d.stop(8.0) for d in self.daemons))


async def start_engines(
    folder: StateFolder, spec: Spec, options: EmbedderOptions, say: Callable[[str], None]
) -> Engines:
    """Starts all three; each replacement is said in one line. Raises CannotStart with the engine's own words."""
    engines = Engines()
    try:
        await _qdrant(engines, folder, spec, say)
        await _embedder(engines, folder, spec, options, say)
        await _redis(engines, folder, spec, say)
    except BaseException:
        await engines.stop()
        raise
    return engines


async def _qdrant(engines: Engines, folder: StateFolder, spec: Spec, say: Callable[[str], None]) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    argv = engine_command("qdrant", "127.0.0.1", port, path=folder.qdrant)
    await _start(engines, Daemon("qdrant", argv, folder.logs / "qdrant.log"), partial(_answers, f"{url}/readyz"))
    engines.urls["qdrant"] = url
    engines.variables["MEMORYSTACK_QDRANT_URL"] = url
    say(f"qdrant    {spec.qdrant.url or 'managed'} -> the local engine at {url}, data in {_short(folder.qdrant)}")


async def _embedder(
    engines: Engines, folder: StateFolder, spec: Spec, options: EmbedderOptions, say: Callable[[str], None]
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    argv = engine_command(
        "embedder",
        "127.0.0.1",
        port,
        dimensions=spec.embedder.vector_length,
        latency_ms=options.latency_ms,
        item_latency_ms=options.item_ms,
        latency_spread=options.spread,
        capacity=options.capacity,
    )
    await _start(engines, Daemon("embedder", argv, folder.logs / "embedder.log"), partial(_answers, f"{url}/healthz"))
    engines.urls["embedder"] = url
    engines.variables["MEMORYSTACK_EMBEDDER_URL"] = f"{url}/v1"
    differing = f", spread {options.spread:g}" if options.spread else ""
    say(
        f"embedder  {spec.embedder.url or 'managed'} -> hashed vectors at {url}/v1 "
        f"({options.latency_ms:g} ms + {options.item_ms:g} ms an item{differing}, {options.capacity} at once)"
    )


async def _redis(engines: Engines, folder: StateFolder, spec: Spec, say: Callable[[str], None]) -> None:
    if spec.redis is None:
        return
    port = free_port()
    command = redis_command(port, folder.root)
    if command is None:
        engines.variables["MEMORYSTACK_REDIS_URL"] = ""
        say(f"redis     {NO_REDIS}")
        return
    await _start(engines, Daemon("redis", command, folder.logs / "redis.log"), partial(_listens, port))
    engines.urls["redis"] = f"redis://127.0.0.1:{port}/0"
    engines.variables["MEMORYSTACK_REDIS_URL"] = engines.urls["redis"]
    named = spec.redis.url or ("managed" if spec.redis.managed else "the Secret")
    say(f"redis     {named} -> {Path(command[0]).name} at 127.0.0.1:{port}")


async def _start(engines: Engines, daemon: Daemon, ready: Callable[[], Awaitable[bool]]) -> None:
    """A start that fails is not tried for ever: the engine's last words are the error."""
    await daemon.start()
    engines.daemons.append(daemon)
    try:
        async with asyncio.timeout(READY_SECONDS):
            while not await ready():
                if daemon.restarts:
                    msg = f"{daemon.name} does not start: {daemon.last_line()}"
                    raise CannotStart(msg)
                await asyncio.sleep(0.05)
    except TimeoutError:
        msg = f"{daemon.name} is not ready after {READY_SECONDS:g} s: {daemon.last_line()}"
        raise CannotStart(msg) from None


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:  # noqa: S501 -- plain HTTP on the loopback
            return (await client.get(url)).is_success
    except httpx.HTTPError:
        return False


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
