"""The gateway on real sockets: turns, pods that refuse, ends of connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from memorystack_operator.local import gateway
from memorystack_operator.local.gateway import Backends, serve
from memorystack_operator.local.ports import free_port


@pytest.fixture(autouse=True)
async def sides(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[gateway._Side]]:
    """Every end of a connection that the gateway has had; all are gone when a test ends."""
    made: list[gateway._Side] = []
    begin, end = gateway._Side.connection_made, gateway._Side.connection_lost
    alive: set[gateway._Side] = set()

    def connection_made(self: gateway._Side, transport: asyncio.BaseTransport) -> None:
        made.append(self)
        alive.add(self)
        begin(self, transport)

    def connection_lost(self: gateway._Side, exc: Exception | None) -> None:
        alive.discard(self)
        end(self, exc)

    monkeypatch.setattr(gateway._Side, "connection_made", connection_made)
    monkeypatch.setattr(gateway._Side, "connection_lost", connection_lost)
    yield made
    async with asyncio.timeout(5):
        while alive:
            await asyncio.sleep(0.01)


class Pod:
    """Answers the bytes up to the client's end with its own name; counts connections that are open."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.open = 0
        self.port = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            body = await reader.read()
            writer.write(f"{self.name}:{len(body)}".encode())
            writer.close()
            await writer.wait_closed()
        except ConnectionError:
            pass
        finally:
            self.open -= 1

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Pod]:
        server = await asyncio.start_server(self.talk, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self


@asynccontextmanager
async def door(path: Path, *ports: int) -> AsyncIterator[tuple[int, Backends]]:
    path.write_text("".join(f"127.0.0.1:{p}\n" for p in ports))
    backends = Backends(path)
    server = await serve("127.0.0.1", 0, backends)
    async with server:
        yield server.sockets[0].getsockname()[1], backends


async def ask(port: int, body: bytes = b"x") -> bytes:
    """Sends everything, closes its half, reads to the end."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(body)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


async def test_connections_go_to_the_pods_in_turn_and_past_one_that_refuses(tmp_path: Path):
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(Pod(name).serving()) for name in "ab"]
        port, _ = await stack.enter_async_context(door(tmp_path / "backends", a.port, free_port(), b.port))
        found = [await ask(port) for _ in range(6)]
    assert set(found) == {b"a:1", b"b:1"}


async def test_a_changed_list_counts_for_the_next_connection(tmp_path: Path):
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(Pod(name).serving()) for name in "ab"]
        port, backends = await stack.enter_async_context(door(tmp_path / "backends", a.port))
        assert await ask(port) == b"a:1"
        (tmp_path / "backends").write_text(f"127.0.0.1:{b.port}\n")
        backends.read()
        assert await ask(port) == b"b:1"


@pytest.mark.parametrize("size", [1, 3 << 20])
async def test_without_a_pod_the_client_is_told_so_however_much_it_sends(tmp_path: Path, size: int):
    async with door(tmp_path / "backends") as (port, _):
        answer = await ask(port, b"z" * size)
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable")
    assert answer.endswith(b'no pod is ready"}')


async def test_a_refused_client_that_never_leaves_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gateway, "LINGER_SECONDS", 0.1)
    async with door(tmp_path / "backends") as (port, _), asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await reader.read()).startswith(b"HTTP/1.1 503")
        while not writer.is_closing():
            writer.write(b"and another thing")
            await asyncio.sleep(0.02)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_an_end_that_comes_before_the_pod_is_found_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = asyncio.Event()
    real = gateway._join

    async def late(client: gateway._Side, backends: Backends) -> None:
        await found.wait()
        await real(client, backends)

    monkeypatch.setattr(gateway, "_join", late)
    async with Pod("a").serving() as a, door(tmp_path / "backends", a.port) as (port, _):
        asked = asyncio.create_task(ask(port, b"hello"))
        await asyncio.sleep(0.1)  # the bytes and the end are in the gateway by now
        found.set()
        assert await asked == b"a:5"


async def test_more_than_the_gateway_buffers_arrives_whole(tmp_path: Path):
    async with Pod("a").serving() as a, door(tmp_path / "backends", a.port) as (port, _):
        assert await ask(port, b"z" * (5 << 20)) == f"a:{5 << 20}".encode()


async def test_a_connection_that_both_ends_have_closed_is_gone(tmp_path: Path, sides: list[gateway._Side]):
    async with Pod("a").serving() as a, door(tmp_path / "backends", a.port) as (port, _):
        for _ in range(5):
            await ask(port)
        async with asyncio.timeout(5):
            while a.open:
                await asyncio.sleep(0.01)
        assert len(sides) == 10
        assert all(s.transport.is_closing() for s in sides)


async def test_a_client_that_is_cut_off_frees_its_pod(tmp_path: Path):
    async with AsyncExitStack() as stack:
        pod = await stack.enter_async_context(Pod("a").serving())
        port, _ = await stack.enter_async_context(door(tmp_path / "backends", pod.port))
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"half")
        async with asyncio.timeout(5):
            while not pod.open:
                await asyncio.sleep(0.01)
            writer.transport.abort()
            while pod.open:
                await asyncio.sleep(0.01)


async def test_a_connection_that_is_silent_at_both_ends_is_ended_and_one_that_speaks_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gateway, "IDLE_SECONDS", 0.3)
    pod = Pod("a")
    async with pod.serving(), door(tmp_path / "b", pod.port) as (port, _):
        silent, _ = (client := await asyncio.open_connection("127.0.0.1", port))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(8):
            writer.write(b"x")
            await asyncio.sleep(0.1)
        assert silent.at_eof() or silent.exception()
        writer.write_eof()
        async with asyncio.timeout(5):
            assert await reader.read() == b"a:8"
        for one in (client[1], writer):
            one.close()
            with contextlib.suppress(ConnectionError):
                await one.wait_closed()
