"""One pod as a process: how soon it is ready, what it holds at rest, and how fast a warm recall is."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import orjson
import psutil
from load.bars import Bar
from load.ground import engines, free_port, process

from memorystack_runtime.settings import Settings

__all__ = ["one_pod"]

STARTS = 5
TURNS = 5
TURN_SECONDS = 1.5
QUESTION = orjson.dumps({"namespace": "a", "query": "owl"})
BARE = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
body = open(sys.argv[2], "rb").read()
async def answer(request):
    await request.body()
    return Response(body, media_type="application/json")
app = Starlette(routes=[Route("/v1/recall", answer, methods=["POST"])])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", ws="none", lifespan="off", access_log=False, log_level="warning")
"""
"""The least that a server written with Starlette does to return the same body."""


@dataclass(frozen=True)
class Pod:
    pid: int
    url: str
    ready_seconds: float


async def one_pod() -> list[Bar]:
    """The slowest of five starts counts; memory is read after ten stores and thousands of recalls, and a rest."""
    async with engines(latency_ms=1, item_latency_ms=0) as settings:
        starts = []
        for _ in range(STARTS - 1):
            async with _pod(settings) as pod:
                starts.append(pod.ready_seconds)
        async with _pod(settings) as pod:
            starts.append(pod.ready_seconds)
            fresh = _rss_mb(pod)
            ours, plain = await _warm_recalls(pod)
            await asyncio.sleep(1)
            rested = _rss_mb(pod)
    ready = {"startsSeconds": [round(s, 2) for s in starts]}
    rates = {"perSecond": round(ours), "bareStarlettePerSecond": round(plain)}
    return [
        Bar("pod is ready, slowest of 5", round(max(starts), 2), "<", 2, "s", ready),
        Bar("pod at rest", round(rested, 1), "<", 120, "MB", {"beforeTrafficMb": round(fresh, 1)}),
        Bar("warm recall, of Starlette", round(100 * ours / plain, 1), ">=", 40, "%", rates),
    ]


@asynccontextmanager
async def _pod(settings: Settings) -> AsyncIterator[Pod]:
    port, internal = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "MEMORYSTACK_QDRANT_URL": settings.qdrant_url,
            "MEMORYSTACK_EMBEDDER_URL": settings.embedder_url,
            "MEMORYSTACK_AUTH_DISABLED": "true",
            "MEMORYSTACK_HOST": "127.0.0.1",
            "MEMORYSTACK_PORT": str(port),
            "MEMORYSTACK_INTERNAL_PORT": str(internal),
            "MEMORYSTACK_CONFIG_DIR": folder,
        }
        argv = [sys.executable, "-m", "memorystack_runtime.app"]
        async with process(argv, environment, f"http://127.0.0.1:{internal}/readyz") as (pid, seconds):
            yield Pod(pid, f"http://127.0.0.1:{port}", seconds)


def _rss_mb(pod: Pod) -> float:
    return psutil.Process(pod.pid).memory_info().rss / 1e6


async def _warm_recalls(pod: Pod) -> tuple[float, float]:
    """Requests a second of ours and of the bare server, medians of five short turns: a noisy neighbour meets both."""
    async with httpx.AsyncClient(base_url=pod.url, trust_env=False) as client:
        for i in range(10):
            note = {"namespace": "a", "text": f"Owl number {i} hunts at night."}
            (await client.post("/v1/memories", json=note)).raise_for_status()
        answer = (await client.post("/v1/recall", content=QUESTION)).raise_for_status().content
    with tempfile.NamedTemporaryFile() as body:
        body.write(answer)
        body.flush()
        bare = f"http://127.0.0.1:{free_port()}"
        argv = [sys.executable, "-c", BARE, bare.rpartition(":")[2], body.name]
        rates: dict[str, list[float]] = {pod.url: [], bare: []}
        async with process(argv, {}, f"{bare}/"):
            for _ in range(TURNS):
                for url, found in rates.items():
                    found.append(await _per_second(url, len(answer)))
    return statistics.median(rates[pod.url]), statistics.median(rates[bare])


async def _per_second(url: str, length: int) -> float:
    """A closed loop of 16 raw connections: a heavier client would measure itself. Raises for any other answer."""
    host, port = url.removeprefix("http://").split(":")
    head = f"POST /v1/recall HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(QUESTION)}\r\n\r\n"
    request, expected = head.encode() + QUESTION, f"content-length: {length}\r\n".encode()
    began, served = time.monotonic(), 0

    async def work() -> None:
        nonlocal served
        reader, writer = await asyncio.open_connection(host, int(port))
        while time.monotonic() < began + TURN_SECONDS:
            writer.write(request)
            headers = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not headers.startswith(b"http/1.1 200 ") or expected not in headers:
                raise RuntimeError(f"{url} answered {headers!r}")
            await reader.readexactly(length)
            served += 1
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(work() for _ in range(16)))
    return served / (time.monotonic() - began)
