"""A proxy in front of the API server that a test can make slow, wrong or silent; it is how faults reach an operator.

Knows: HTTP. Must not know: what the requests mean. It listens on 127.0.0.1 in a thread of its own, and passes what no fault
concerns, watches included.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import aiohttp
import yaml
from aiohttp import web
from support.cluster import ControlPlane
from support.up import free_port
from yarl import URL

__all__ = ["Fault", "FaultProxy"]


@dataclass
class Fault:
    """What happens to the next `times` requests that it fits."""

    fits: Callable[[str, str], bool]
    """Asked with the method and the path with its query."""
    status: int = 0
    """Answered instead; 0: the connection is cut."""
    after: bool = False
    """The request takes effect first; only its answer is lost."""
    silent: float = 0.0
    """Seconds without a word before it."""
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    hits: int = 0


class FaultProxy:
    """`faults` may be changed at any time."""

    def __init__(self, plane: ControlPlane) -> None:
        self.port = free_port()
        self.faults: list[Fault] = []
        self.revoked: set[str] = set()
        """Values of the authorization header that are answered with 401."""
        self.forgotten = ""
        """Watches of this plural ask for a version that the server keeps no more: it answers 410 Gone, truly."""
        self.mute = False
        """Watches stay open and tell nothing, as behind a balancer that has forgotten them."""
        self.gone = 0
        """Watches that ended so."""
        self.watches = 0
        """Watches that are open."""
        self._plane = plane
        self._cut = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def kubeconfig(self, original: Path, path: Path, token_file: Path | None = None) -> Path:
        """The same account by way of the proxy."""
        config = yaml.safe_load(original.read_text())
        config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self.port}"}
        if token_file:
            token_file.write_text(config["users"][0]["user"]["token"])
            config["users"][0]["user"] = {"tokenFile": str(token_file)}
        path.write_text(yaml.safe_dump(config))
        return path

    def close_watches(self) -> None:
        """All streams end, as with a load balancer's timeout."""
        self._loop.call_soon_threadsafe(self._cut.set)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._cut.set)
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        trust = ssl.create_default_context(cafile=str(self._plane.authority))
        connector = aiohttp.TCPConnector(limit=0, ssl=trust)
        app = web.Application(client_max_size=16 << 20)
        app.router.add_route("*", "/{tail:.*}", self._pass)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None), skip_auto_headers=["Content-Type"]
        )
        async with session as self._web:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
            self._started.set()
            await self._ended.wait()
            await runner.cleanup()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("authorization") in self.revoked:
            return web.json_response({"kind": "Status", "code": 401, "reason": "Unauthorized"}, status=401)
        fault = self._fault(request.method, request.path_qs)
        if fault and fault.silent:
            await asyncio.sleep(fault.silent)
        if fault and not fault.after:
            return self._broken(request, fault)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in {"host", "accept-encoding"}}
        body = await request.read() or None
        url = URL(f"{self._plane.url}{self._aged(request.path_qs)}", encoded=True)
        async with self._web.request(request.method, url, headers=headers, data=body) as answer:
            if fault:
                await answer.read()
                return self._broken(request, fault)
            return await self._stream(request, answer)

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        kept = {k: v for k, v in answer.headers.items() if k.lower() in {"content-type", "retry-after"}}
        response = web.StreamResponse(status=answer.status, headers=kept)
        await response.prepare(request)
        is_watch = "watch=true" in request.path_qs
        self.watches += is_watch
        try:
            await self._copy(response, answer, is_watch=is_watch)
        finally:
            self.watches -= is_watch
        return response

    async def _copy(self, response: web.StreamResponse, answer: aiohttp.ClientResponse, *, is_watch: bool) -> None:
        cut = asyncio.create_task(self._cut.wait())
        try:
            while True:
                part = asyncio.create_task(answer.content.readany())
                await asyncio.wait([part, cut], return_when=asyncio.FIRST_COMPLETED)
                if not part.done():
                    part.cancel()
                    self._loop.call_soon(self._cut.clear)
                    return
                if not (data := part.result()):
                    return
                self.gone += b'"code":410' in data
                if not (self.mute and is_watch):
                    await response.write(data)
        finally:
            cut.cancel()

    def _aged(self, path: str) -> str:
        if not self.forgotten or f"/{self.forgotten}?" not in path or "watch=true" not in path:
            return path
        return re.sub(r"(?<=resourceVersion=)\d+", "1", path)

    def _fault(self, method: str, path: str) -> Fault | None:
        found = next((f for f in self.faults if f.hits < f.times and f.fits(method, path)), None)
        if found:
            found.hits += 1
        return found

    def _broken(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.status:
            body = {"kind": "Status", "code": fault.status, "message": "a fault of the test"}
            return web.json_response(body, status=fault.status, headers=fault.headers)
        if request.transport:  # else the other side has gone already
            request.transport.abort()
        return web.Response()
