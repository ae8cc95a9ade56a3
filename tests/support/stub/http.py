"""HTTP/1.1 as small as a stub needs it: a request in, a status and a body out, connections kept alive.

Knows: bytes. Must not know: what is answered. Raw asyncio and httptools: twenty stubs share two cores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import httptools

__all__ = ["Answer", "Call", "Handler", "listen"]


@dataclass(frozen=True, slots=True)
class Call:
    """A request."""

    method: str
    target: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A response."""

    status: int
    body: bytes = b"{}"
    headers: bytes = b""
    """Whole lines, each with its end."""


Handler = Callable[[Call], Awaitable[Answer]]


class _Connection(asyncio.Protocol):
    def __init__(self, handler: Handler, tasks: set[asyncio.Task[None]]) -> None:
        self._handler = handler
        self._tasks = tasks
        self._mine: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._target, self._body = b"", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._mine:
            self._mine.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport:
                self._transport.close()

    def on_message_begin(self) -> None:
        self._target, self._body = b"", b""

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        call = Call(self._parser.get_method().decode(), self._target.decode(), self._body)
        task = self._mine = asyncio.create_task(self._answer(call, keep=self._parser.should_keep_alive()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, call: Call, *, keep: bool) -> None:
        answer = await self._handler(call)
        if self._transport is None:
            return
        head = (
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(answer.body)}\r\n{'' if keep else 'connection: close' + chr(13) + chr(10)}"
        )
        self._transport.write(head.encode() + answer.headers + b"\r\n" + answer.body)
        if not keep:
            self._transport.close()


async def listen(host: str, port: int, handler: Handler, tasks: set[asyncio.Task[None]]) -> asyncio.Server:
    """`tasks` holds the requests in flight."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _Connection(handler, tasks), host, port, reuse_address=True)
