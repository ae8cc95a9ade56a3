"""Connections as a dependency sees them: a server in this process that knows who called, on which connection, and how."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from memorystack_runtime.contract import HttpPool
from memorystack_runtime.errors import Unavailable
from memorystack_runtime.pool import Channel

OFF = HttpPool()
HELD_SECONDS = 0.3


def pooled(connections: int = 2, keep_alive_ms: int = 60_000) -> HttpPool:
    return HttpPool(enabled=True, connections=connections, keep_alive_ms=keep_alive_ms)


@dataclass
class Peer:
    """What came in. `delay` is how many seconds an answer takes; while it is not `free`, there is none."""

    url: str = ""
    delay: float = 0.0
    free: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: list[tuple[str, int]] = field(default_factory=list)
    """One for each request."""
    active: int = 0
    most: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append(request)
        self.connections.append(request.transport.get_extra_info("peername"))
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            self.bodies.append(await request.read())
            await asyncio.sleep(self.delay)
            await self.free.wait()
        finally:
            self.active -= 1
        return web.Response(status=int(request.query.get("status", 200)), text="heard", headers={"set-cookie": "a=b"})

    async def until_active(self, calls: int) -> None:
        """So many calls are under way at once."""
        await until(lambda: self.active == calls, 30)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    made = Peer()
    made.free.set()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/base"
    yield made
    await runner.cleanup()


@asynccontextmanager
async def open_channel(url: str, flags: HttpPool, **how: object) -> AsyncIterator[Channel]:
    channel = Channel("peer", url, flags, **how)
    try:
        yield channel
    finally:
        await channel.close()


async def until(condition, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("flags", [OFF, pooled()], ids=["off", "on"])
async def test_a_call_arrives_as_it_was_made(peer: Peer, flags: HttpPool):
    async with open_channel(peer.url + "/", flags, headers={"api-key": "k"}) as channel:
        answer = await channel.call("PUT", "/x?wait=true", b'{"a":1}')
        assert (answer.status_code, answer.text) == (200, "heard")
        plain = await channel.call("GET", "/y?status=503")
        assert plain.status_code == 503
        assert channel.calls == 2
    put, get = peer.seen
    assert (put.method, put.path_qs, peer.bodies[0]) == ("PUT", "/base/x?wait=true", b'{"a":1}')
    assert put.headers["content-type"] == "application/json"
    assert put.headers["api-key"] == get.headers["api-key"] == "k"
    assert (get.method, get.path, peer.bodies[1]) == ("GET", "/base/y", b"")
    assert "content-type" not in get.headers


async def test_with_the_pool_calls_wait_for_its_connections_and_the_waits_are_counted(peer: Peer):
    peer.free.clear()
    async with open_channel(peer.url, pooled(2)) as channel:
        calls = asyncio.gather(*(channel.call("GET", "/") for _ in range(5)))
        await peer.until_active(2)
        await asyncio.sleep(HELD_SECONDS)
        peer.free.set()
        await calls
        assert peer.most == 2
        assert len(set(peer.connections)) == 2
        assert channel.waits.count == 3
        assert channel.waits.seconds >= 3 * HELD_SECONDS


async def test_without_the_pool_nobody_waits_and_each_call_has_its_own_connection(peer: Peer):
    peer.free.clear()
    async with open_channel(peer.url, OFF) as channel:
        calls = asyncio.gather(*(channel.call("GET", "/") for _ in range(110)))
        await peer.until_active(110)
        peer.free.set()
        await calls
        assert channel.waits.count == 0
        for _ in range(3):
            await channel.call("GET", "/")
    assert len(set(peer.connections)) == 113


async def test_a_connection_is_kept_as_long_as_the_flag_says(peer: Peer):
    async with open_channel(peer.url, pooled(keep_alive_ms=3000)) as channel:
        await channel.call("GET", "/")
        await asyncio.sleep(0.1)
        await channel.call("GET", "/")
        await asyncio.sleep(3.5)
        await channel.call("GET", "/")
    first, second, third = peer.connections
    assert first == second != third


async def test_a_switch_lets_calls_under_way_end_and_closes_their_connections(peer: Peer):
    peer.free.clear()
    async with open_channel(peer.url, pooled()) as channel:
        under_way = asyncio.create_task(channel.call("GET", "/old"))
        await peer.until_active(1)
        old = channel._current
        channel.switch(pooled(3))
        assert channel._current is not old
        new = asyncio.create_task(channel.call("GET", "/new"))
        await peer.until_active(2)
        assert not old.client.is_closed
        peer.free.set()
        assert (await new).status_code == 200
        assert (await under_way).status_code == 200
        await until(lambda: old.client.is_closed and not channel._retiring)
        assert not channel._current.client.is_closed
        assert len(set(peer.connections)) == 2


async def test_a_switch_to_the_same_flags_keeps_the_connections(peer: Peer):
    async with open_channel(peer.url, pooled()) as channel:
        await channel.call("GET", "/")
        channel.switch(pooled())
        await channel.call("GET", "/")
    assert len(set(peer.connections)) == 1


async def test_switched_flags_are_those_of_the_next_switch(peer: Peer):
    async with open_channel(peer.url, pooled()) as channel:
        for flags, connections in ((OFF, 2), (OFF, 4), (pooled(), 5), (pooled(), 5)):
            channel.switch(flags)
            await channel.call("GET", "/")
            await channel.call("GET", "/")
            assert len(set(peer.connections)) == connections


async def test_closing_waits_for_what_is_under_way(peer: Peer):
    peer.free.clear()
    channel = Channel("peer", peer.url, pooled())
    calls, clients = [], []
    for flags in (OFF, pooled(3), None):
        calls.append(asyncio.create_task(channel.call("GET", "/")))
        await peer.until_active(len(calls))
        clients.append(channel._current.client)
        if flags:
            channel.switch(flags)
    closing = asyncio.create_task(channel.close())
    await asyncio.sleep(0.1)
    assert not any(client.is_closed for client in clients)
    peer.free.set()
    await closing
    assert [(await one).status_code for one in calls] == [200] * 3
    assert all(client.is_closed for client in clients)
    assert not channel._retiring


async def test_silence_and_refusal_are_told_apart(peer: Peer):
    peer.delay = 5
    async with open_channel(peer.url, OFF) as channel:
        began = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            await channel.call("GET", "/", timeout=0.25)
        assert time.monotonic() - began < 4
        assert (str(caught.value), caught.value.dependency) == ("peer did not answer within 0.25 s", "peer")
        peer.delay = 0
        assert (await channel.call("GET", "/")).status_code == 200
    async with open_channel("http://127.0.0.1:1", OFF) as channel:
        with pytest.raises(Unavailable, match=r"^peer cannot be reached: .+") as caught:
            await channel.call("GET", "/")
        assert caught.value.dependency == "peer"


async def test_a_connection_that_is_cut_off_names_what_happened():
    async def cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    async with server, open_channel(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", OFF) as channel:
        with pytest.raises(Unavailable, match=r"^peer cannot be reached: \S"):
            await channel.call("GET", "/")


async def test_no_proxy_of_the_environment_and_no_cookie_of_a_dependency_is_used(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with open_channel(peer.url, pooled()) as channel:
        for _ in range(2):
            assert (await channel.call("GET", "/")).status_code == 200
    assert "cookie" not in peer.seen[1].headers


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Signed by itself, for 127.0.0.1; its key beside it."""
    path = tmp_path_factory.mktemp("tls") / "ca.crt"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=peer -addext subjectAltName=IP:127.0.0.1"
    argv = [*command.split(), "-keyout", str(path.with_suffix(".key")), "-out", str(path)]
    subprocess.run(argv, check=True, capture_output=True)
    return path


@pytest.mark.parametrize("flags", [OFF, pooled()], ids=["off", "on"])
async def test_a_dependency_with_a_certificate_of_our_own_authority_is_trusted_only_with_it(
    certificate: Path, flags: HttpPool
):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, certificate.with_suffix(".key"))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        async with open_channel(url, flags, ca=str(certificate)) as channel:
            assert (await channel.call("GET", "/")).status_code == 200
        async with open_channel(url, flags) as channel:
            with pytest.raises(Unavailable, match="certificate"):
                await channel.call("GET", "/")


async def test_a_caller_that_gives_up_leaves_the_channel_whole(peer: Peer):
    peer.delay = 5
    async with open_channel(peer.url, pooled(1)) as channel:
        one = asyncio.create_task(channel.call("GET", "/"))
        await until(lambda: peer.active)
        one.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await one
        peer.delay = 0
        assert (await channel.call("GET", "/")).status_code == 200
        assert channel._current.users == 0
