"""HTTP to one dependency, whose connections the flag `httpPool` governs live.

Knows: clients and connections. Must not know: what is asked. httpx is the face, aiohttp carries the bytes: httpx's own pool
rescans all connections at each request and collapses above about eight in flight (encode/httpx 3215).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from memorystack_runtime.contract import HttpPool
from memorystack_runtime.errors import Unavailable

__all__ = ["Channel", "PoolWaits"]


@dataclass(slots=True)
class PoolWaits:
    """How often, and how long in seconds, a call waited for a connection of its pool."""

    count: int = 0
    seconds: float = 0.0


@dataclass(eq=False)
class _Generation:
    """One client with the calls that still use it: it is closed when the last of them ends."""

    client: httpx.AsyncClient
    users: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)


class Channel:
    """Calls to `base_url`; `switch` changes the connections under load without failing one."""

    def __init__(
        self, name: str, base_url: str, flags: HttpPool, *, headers: dict[str, str] | None = None, ca: str | None = None
    ) -> None:
        self.name = name
        self.waits = PoolWaits()
        self.calls = 0
        self._base_url = base_url.rstrip("/")
        self._headers = headers or {}
        self._tls = ssl.create_default_context(cafile=ca) if ca else None
        self._flags = flags
        self._retiring: set[asyncio.Task[None]] = set()
        self._current = _Generation(self._client(flags))

    async def call(self, method: str, path: str, body: bytes | None = None, *, timeout: float = 30.0) -> httpx.Response:
        """One request, its body read. Raises Unavailable when nothing came back; any status is an answer."""
        generation = self._current
        generation.users += 1
        self.calls += 1
        try:
            content_type = {"content-type": "application/json"} if body is not None else {}
            return await generation.client.request(
                method, self._base_url + path, content=body, headers=content_type, timeout=timeout
            )
        except httpx.HTTPError as error:
            raise Unavailable(self.name, _why(error, timeout)) from error
        finally:
            generation.users -= 1
            if not generation.users:
                generation.idle.set()

    def switch(self, flags: HttpPool) -> None:
        """New calls use new connections; the old client is closed when its last call has ended."""
        if flags == self._flags:
            return
        old, self._flags = self._current, flags
        self._current = _Generation(self._client(flags))
        task = asyncio.create_task(_retire(old))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def close(self) -> None:
        """Waits for calls under way, then leaves no socket behind."""
        await asyncio.gather(_retire(self._current), *self._retiring)

    def _client(self, flags: HttpPool) -> httpx.AsyncClient:
        transport = AiohttpTransport(client=lambda: self._session(flags))
        # A balancer's cookie would pin every call of a pod to one server.
        none = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        return httpx.AsyncClient(transport=transport, headers=self._headers, cookies=none, trust_env=False)

    def _session(self, flags: HttpPool) -> aiohttp.ClientSession:
        tls: dict[str, Any] = {"ssl": self._tls} if self._tls else {}
        if flags.enabled:
            keep = flags.keep_alive_ms / 1000
            connector = aiohttp.TCPConnector(limit=flags.connections, keepalive_timeout=keep, **tls)
        else:
            connector = aiohttp.TCPConnector(limit=0, force_close=True, **tls)
        return aiohttp.ClientSession(
            connector=connector, trace_configs=[self._trace()], cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        )

    def _trace(self) -> aiohttp.TraceConfig:
        async def queued(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
            context.queued_at = time.perf_counter()
            self.waits.count += 1

        async def connected(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
            self.waits.seconds += time.perf_counter() - context.queued_at

        trace = aiohttp.TraceConfig()
        trace.on_connection_queued_start.append(queued)
        trace.on_connection_queued_end.append(connected)
        return trace


def _why(error: httpx.HTTPError, timeout: float) -> str:
    """The transport calls a refused connection a timeout, too; its cause tells which of the two it was."""
    if isinstance(error, httpx.TimeoutException) and isinstance(error.__cause__, TimeoutError):
        return f"did not answer within {timeout:g} s"
    return f"cannot be reached: {str(error) or type(error).__name__}"


async def _retire(generation: _Generation) -> None:
    while generation.users:
        generation.idle.clear()
        await generation.idle.wait()
    await generation.client.aclose()
