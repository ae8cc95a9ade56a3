"""The generation of each namespace, shared through Redis and mirrored in process.

Knows: counters, Redis and its invalidation messages. Must not know: what is cached. Redis pushes the name of a counter that
changed (CLIENT TRACKING in broadcast mode), so a mirror is dropped within milliseconds of a write on any pod.

Without Redis in the settings each pod counts its own writes; other pods' answers are then fresh within the flag's ttl.
With Redis out of reach a generation cannot be known: nothing is cached until it is back, and recalls are computed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from typing import Any, Final, Protocol

import redis.asyncio as aioredis
from redis.exceptions import RedisError

__all__ = ["Generations", "LocalGenerations", "RedisGenerations"]

PREFIX: Final = "mem:gen:"
ENTRY: Final = "mem:rec:"
_LOST: Final = (RedisError, OSError, asyncio.TimeoutError)


class Generations(Protocol):
    """What the cache needs of either form."""

    async def current(self, namespace: str) -> int | None:
        """The generation now; None: it cannot be known."""
        ...

    async def grow(self, namespace: str) -> None:
        """A write has happened; returns when every later `current` of this pod shows it."""
        ...

    async def read(self, key: str) -> bytes | None:
        """An entry of the shared tier."""
        ...

    async def write(self, key: str, body: bytes, ttl_ms: int) -> None:
        """Puts an entry into the shared tier."""
        ...

    def on_loss(self, forget: Callable[[], None]) -> None:
        """`forget` is called whenever changes may have been missed."""
        ...

    @property
    def shared(self) -> bool:
        """Redis is in use and within reach."""
        ...

    async def close(self) -> None:
        """Leaves no task or socket."""
        ...


class LocalGenerations:
    """One pod by itself."""

    shared = False

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._current: dict[str, int] = {}

    def on_loss(self, forget: Callable[[], None]) -> None:
        del forget  # its own writes are never missed

    async def current(self, namespace: str) -> int | None:
        return self._current.get(namespace, 0)

    async def grow(self, namespace: str) -> None:
        self._current[namespace] = next(self._numbers)

    async def read(self, key: str) -> bytes | None:
        del key
        return None

    async def write(self, key: str, body: bytes, ttl_ms: int) -> None:
        del key, body, ttl_ms

    async def close(self) -> None:
        return None


class RedisGenerations:
    """All pods together."""

    def __init__(self, url: str) -> None:
        # Of RESP3, which the client would choose, it hands no invalidation on: with it nobody knows which counter changed.
        self._redis: Any = aioredis.Redis.from_url(url, protocol=2, socket_timeout=0.5, socket_connect_timeout=0.5)
        self._forget: list[Callable[[], None]] = []
        self._mirror: dict[str, int] = {}
        self._owed: set[str] = set()
        """Namespaces written to while Redis was away: their generations grow before anything is cached again."""
        self._tracking = False
        self._closing = False
        self._changes = 0
        self.failures = 0
        self._task = asyncio.create_task(self._follow())

    def on_loss(self, forget: Callable[[], None]) -> None:
        self._forget.append(forget)

    @property
    def shared(self) -> bool:
        return self._tracking

    async def current(self, namespace: str) -> int | None:
        if not self._tracking:
            return None
        known = self._mirror.get(namespace)
        if known is not None:
            return known
        before = self._changes
        try:
            value = int(await self._redis.get(PREFIX + namespace) or 0)
        except _LOST:
            self._lost()
            return None
        # An invalidation that came in between may have been for this counter: then do not mirror what was read.
        if self._tracking and before == self._changes:
            self._mirror[namespace] = value
        return value

    async def grow(self, namespace: str) -> None:
        try:
            await self._redis.incr(PREFIX + namespace)
        except _LOST:
            self._owed.add(namespace)
            self._lost()
        finally:
            self._changes += 1
            self._mirror.pop(namespace, None)

    async def read(self, key: str) -> bytes | None:
        try:
            found = await self._redis.get(ENTRY + key)
        except _LOST:
            self._lost()
            return None
        return bytes(found) if found is not None else None

    async def write(self, key: str, body: bytes, ttl_ms: int) -> None:
        try:
            await self._redis.set(ENTRY + key, body, px=ttl_ms)
        except _LOST:
            self._lost()

    async def close(self) -> None:
        # A cancellation that arrives while the client connects may come out as a lost connection, so it is also said.
        self._closing = True
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=0.2)
        await self._redis.aclose()

    def _lost(self) -> None:
        self.failures += 1
        self._tracking = False
        self._start_over()

    def _start_over(self) -> None:
        self._mirror.clear()
        for forget in self._forget:
            forget()

    async def _follow(self) -> None:
        """Keeps the tracking alive; after a loss tries again every half second, until it is closed."""
        while not self._closing:
            with contextlib.suppress(*_LOST):
                await self._track()
            self._lost()
            if not self._closing:
                await asyncio.sleep(0.5)

    async def _track(self) -> None:
        """Returns or raises when the tracking has ended."""
        # Connections from before the loss are dead, and the first to use one would take it for a new loss.
        await self._redis.connection_pool.disconnect(inuse_connections=False)
        async with self._redis.pubsub() as messages, self._redis.client() as control:
            await messages.connect()
            await messages.connection.send_command("CLIENT", "ID")
            identity = await messages.connection.read_response()
            await control.execute_command("CLIENT", "TRACKING", "ON", "REDIRECT", identity, "BCAST", "PREFIX", PREFIX)
            await messages.subscribe("__redis__:invalidate")
            for namespace in list(self._owed):
                await control.incr(PREFIX + namespace)
                self._owed.discard(namespace)
            self._start_over()
            self._tracking = True
            while self._tracking:
                message = await messages.get_message(ignore_subscribe_messages=True, timeout=1.0)
                if message is None:
                    # Tracking ends without a word when the control connection does, so it is asked every second.
                    await control.ping()
                    await messages.ping()
                elif message["type"] == "message":
                    self._invalidated(message["data"])

    def _invalidated(self, keys: Any) -> None:
        self._changes += 1
        if not isinstance(keys, list):
            self._mirror.clear()
            return
        for key in keys:
            self._mirror.pop(bytes(key).decode().removeprefix(PREFIX), None)
