"""Spreads TCP connections over the ready pods, in turn. A process of its own: `python -m memorystack_operator.local.gateway`.

Knows: bytes and a file of addresses. Must not know: HTTP or pods. A pod that refuses is passed over for the next one.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

__all__ = ["Backends", "main", "serve"]

POLL_SECONDS: Final = 0.05
CONNECT_SECONDS: Final = 2.0
LINGER_SECONDS: Final = 2.0
"""How long a refused client may still talk before it is cut off."""
IDLE_SECONDS: Final = 120.0
"""How long a connection may be silent at both ends: a client that went away without a word must not stay for ever."""
EARLY_BYTES: Final = 1 << 20
"""Taken from a client before its pod is found."""
_BODY: Final = b'{"title":"Service Unavailable","status":503,"detail":"no pod is ready"}'
NOBODY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


class Backends:
    """The addresses in a file, one `host:port` a line, read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = ""
        self._turn = itertools.count()
        self.addresses: list[tuple[str, int]] = []
        self.read()

    def read(self) -> None:
        """An absent file means that no pod is ready."""
        try:
            text = self._path.read_text()
        except OSError:
            text = ""
        if text != self._text:
            self._text = text
            pairs = (line.rpartition(":") for line in text.split())
            self.addresses = [(host, int(port)) for host, _, port in pairs]

    def in_turn(self) -> list[tuple[str, int]]:
        """All addresses, beginning with the one whose turn it is."""
        known = self.addresses
        if not known:
            return []
        first = next(self._turn) % len(known)
        return known[first:] + known[:first]

    async def follow(self) -> None:
        """Reads for ever."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self.read()


class _Side(asyncio.Protocol):
    """One end of a connection: what comes in goes out at the other end, no faster than that takes it."""

    def __init__(self, on_made: Callable[[_Side], None] | None = None) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: _Side | None = None
        self._early: list[bytes] = []
        self._paused = False
        self._ended = False
        self._refused = False
        self._on_made = on_made
        self._spoke_at = 0.0
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._spoke_at = asyncio.get_running_loop().time()
        if self._on_made:
            self._on_made(self)
            self._look_again(IDLE_SECONDS)

    def _look_again(self, seconds: float) -> None:
        self._idle = asyncio.get_running_loop().call_later(seconds, self._end_if_idle)

    def _end_if_idle(self) -> None:
        """One timer a connection, moved only when it fires: most connections live far shorter than it waits."""
        last = max(self._spoke_at, self.peer._spoke_at if self.peer else 0.0)
        left = last + IDLE_SECONDS - asyncio.get_running_loop().time()
        if left > 0:
            self._look_again(left)
        elif self.transport:
            self.transport.abort()

    def join(self, peer: _Side) -> None:
        """What came before the pod was found goes first, the end of it included."""
        self.peer = peer
        if peer.transport and self._early:
            peer.transport.writelines(self._early)
            self._early.clear()
        if self._ended:
            self._pass_end()
        elif self._paused and self.transport:
            self.transport.resume_reading()

    def refuse(self) -> None:
        """Closing with bytes unread would reset the connection and lose the answer, so the client is heard out first."""
        if self.transport is None or self.transport.is_closing():
            return
        self._refused = True
        self._early.clear()
        self.transport.write(NOBODY)
        if self._ended:
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self._paused:
            self.transport.resume_reading()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self.transport.close)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._spoke_at = asyncio.get_running_loop().time()
        if self.peer and self.peer.transport:
            self.peer.transport.write(data)
            return
        # uvloop does not take back a pause asked for while the connection is being made, so early bytes are kept.
        self._early.append(data)
        if self.transport and sum(map(len, self._early)) >= EARLY_BYTES:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._ended = True
        self._pass_end()
        return not self._refused

    def _pass_end(self) -> None:
        """A half-closed connection still answers; one that both ends have closed is nobody's and must go."""
        if self.peer is None or self.peer.transport is None or self.transport is None:
            return
        if self.peer._ended:
            self.transport.close()
            self.peer.transport.close()
        elif self.peer.transport.can_write_eof() and not self.peer.transport.is_closing():
            self.peer.transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle:
            self._idle.cancel()
        if self.peer and self.peer.transport:
            if exc:
                self.peer.transport.abort()
            else:
                self.peer.transport.close()

    def pause_writing(self) -> None:
        if self.peer and self.peer.transport:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer and self.peer.transport and not self.peer.transport.is_closing():
            self.peer.transport.resume_reading()


async def serve(host: str, port: int, backends: Backends) -> asyncio.Server:
    """Listens; the caller closes it."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def accepted(client: _Side) -> None:
        task = loop.create_task(_join(client, backends))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return await loop.create_server(lambda: _Side(accepted), host, port, backlog=1024)


async def _join(client: _Side, backends: Backends) -> None:
    loop = asyncio.get_running_loop()
    if client.transport is None:
        return
    for host, port in backends.in_turn():
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, pod = await loop.create_connection(_Side, host, port)
        except (OSError, TimeoutError):
            continue
        if client.transport.is_closing():
            if pod.transport:
                pod.transport.abort()
            return
        pod.join(client)
        client.join(pod)
        return
    client.refuse()


async def _main(host: str, port: int, path: Path) -> None:
    backends = Backends(path)
    server = await serve(host, port, backends)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    follow = asyncio.create_task(backends.follow())
    await stop.wait()
    follow.cancel()
    server.close()


def main() -> None:
    """Until SIGTERM; exit code 69 when the port is taken."""
    parser = argparse.ArgumentParser("gateway", description="Spreads TCP connections over the addresses in a file.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--backends", type=Path, required=True, help="one host:port a line")
    options = parser.parse_args()
    try:
        with asyncio.Runner(loop_factory=_loop) as runner:
            runner.run(_main(options.host, options.port, options.backends))
    except OSError as error:
        sys.stderr.write(f"gateway: cannot listen on {options.host}:{options.port}: {error.strerror}\n")
        sys.exit(69)


def _loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 -- half the CPU where it is installed
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


if __name__ == "__main__":
    main()
