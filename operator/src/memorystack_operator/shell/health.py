"""`/healthz`, `/readyz` and `/metrics` of the operator. Knows what makes it sick; mends nothing.

An API server that is away is no reason to be killed: a restart would not bring it back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from memorystack_operator.shell.queue import KeyedQueue
from memorystack_operator.shell.relist import Relist
from memorystack_operator.shell.telemetry import Telemetry
from memorystack_operator.shell.watch import Watch

__all__ = ["STUCK_SECONDS", "Health", "serve"]

STUCK_SECONDS: Final = 120.0
MISSES: Final = 2


@dataclass(frozen=True, slots=True)
class Health:
    """Both answers are the reasons against; none means well."""

    queue: KeyedQueue
    watch: Watch
    relist: Relist
    stuck_seconds: float = STUCK_SECONDS

    def sick(self) -> list[str]:
        """Reasons to be started again."""
        found = []
        if self.watch.dead:
            found.append("the watch has ended")
        if self.relist.misses >= MISSES:
            found.append(f"{self.relist.misses} lists in a row found changes that the watch had not told")
        if self.queue.stuck_seconds > self.stuck_seconds:
            found.append(f"a stack has waited or been worked on for {self.queue.stuck_seconds:.0f} s")
        return found

    def unready(self) -> list[str]:
        """Reasons why it could not take over now."""
        return [*self.sick(), *([] if self.relist.primed.is_set() else ["the first list is not complete"])]


async def serve(health: Health, telemetry: Telemetry, host: str, port: int) -> Callable[[], Awaitable[None]]:
    """Serves until the returned function is called and awaited. Raises OSError when the port is taken."""

    async def alive(_: web.Request) -> web.Response:
        return _said(health.sick())

    async def ready(_: web.Request) -> web.Response:
        return _said(health.unready())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=telemetry.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application()
    app.add_routes([web.get("/healthz", alive), web.get("/readyz", ready), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        with suppress(Exception):
            await runner.cleanup()
        raise
    return runner.cleanup


def _said(reasons: list[str]) -> web.Response:
    return web.json_response({"ok": not reasons, "problems": reasons}, status=503 if reasons else 200)
