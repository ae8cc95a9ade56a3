"""Puts the runtime together and runs it: two ports on one loop, drained on SIGTERM.

Knows: the order of starting and stopping. Must not know: what any part does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import structlog
import uvicorn
from starlette.applications import Starlette

from memorystack_runtime import __version__
from memorystack_runtime.admission import Admission
from memorystack_runtime.api import api_app
from memorystack_runtime.auth import door_of
from memorystack_runtime.contract import Features
from memorystack_runtime.errors import Fault, Misconfigured
from memorystack_runtime.evidence import Ledger
from memorystack_runtime.flags import Effective, FlagBoard
from memorystack_runtime.internal import Inside, internal_app
from memorystack_runtime.logs import configure
from memorystack_runtime.memory import MemoryService
from memorystack_runtime.pulse import LoopLag, on_half_minutes
from memorystack_runtime.serving import Serving
from memorystack_runtime.settings import Settings, features_from_environment, settings_from_environment
from memorystack_runtime.telemetry import Telemetry

__all__ = ["main", "serve"]

USAGE: Final = """usage: memorystack-runtime [--help | --version]

The memory service of one pod. It is told everything by environment variables MEMORYSTACK_*; the ones needed:
  MEMORYSTACK_QDRANT_URL, MEMORYSTACK_EMBEDDER_URL, MEMORYSTACK_EMBEDDER_MODEL, MEMORYSTACK_EMBEDDER_DIMENSIONS,
  and one of MEMORYSTACK_API_KEYS_FILE (name:sha256 lines) and MEMORYSTACK_AUTH_DISABLED=true.
Ports: MEMORYSTACK_PORT (8080, the API) and MEMORYSTACK_INTERNAL_PORT (9090: health, metrics, evidence).
On one machine `memorystack up` runs it with all its dependencies.

exit codes: 0 drained after SIGTERM, 2 wrong settings or a port that is taken
"""
IDLE_SECONDS: Final = 75
"""An idle connection is the client's to close: if both close after the same time, a request now and then meets the end.
httpx lets go after 5 s, as uvicorn would by itself, aiohttp after 15 s, load balancers after 60 s."""
_log = structlog.get_logger(__name__)


def main() -> None:
    """The console script."""
    words = sys.argv[1:]
    if words:
        known = {"--help": USAGE, "-h": USAGE, "--version": f"memorystack-runtime {__version__}\n"}
        sys.stdout.write(known.get(words[0], USAGE))
        sys.exit(0 if words[0] in known else 2)
    try:
        settings = settings_from_environment()
        configure(settings.brand, settings.pod_name, settings.log_level)
        features = features_from_environment(os.environ)
        with asyncio.Runner(loop_factory=_loop) as runner:
            runner.run(serve(settings, features))
    except Misconfigured as error:
        sys.stderr.write(f"memorystack-runtime: {error}\n")
        sys.exit(2)


async def serve(settings: Settings, environment: Features | None) -> None:
    """Runs until SIGTERM or SIGINT, then drains. Raises Misconfigured."""
    started_at = time.time()
    door = door_of(settings.api_keys_file, disabled=settings.auth_disabled)
    with _listening(settings) as sockets:
        built = await _build(settings, environment, started_at)
        admission = built.admission
        serving = Serving(settings, door, built.inside.ledger, admission)
        api = _server(api_app(settings, built.inside.memory, built.inside.board, serving), settings)
        internal = _server(internal_app(built.inside), settings)
        timers = [
            asyncio.create_task(built.inside.board.run()),
            asyncio.create_task(built.inside.lag.run()),
            asyncio.create_task(on_half_minutes(built.inside.ledger.snapshot)),
        ]
        try:
            _log.info("serving", port=sockets[0].getsockname()[1], internal_port=sockets[1].getsockname()[1])
            await _run(api, internal, sockets, built.inside)
        finally:
            for task in timers:
                task.cancel()
            await asyncio.gather(*timers, return_exceptions=True)
            await built.inside.memory.close()
            _log.info("stopped")


@dataclass(frozen=True, slots=True)
class _Built:
    inside: Inside
    admission: Admission


async def _build(settings: Settings, environment: Features | None, started_at: float) -> _Built:
    ledger = Ledger()
    board: list[MemoryService] = []

    def changed(now: Effective) -> None:
        # The flags are in force before requests are counted under their revision.
        if board:
            board[0].apply(now.features)
        ledger.revise(now.revision, now.budgets)
        _log.info("flags", revision=now.revision, source=now.source, budgets=now.budgets.revision)

    flags = FlagBoard(settings.config_dir, environment, changed)
    features = flags.current.features if flags.current else Features()
    try:
        memory = await MemoryService.open(settings, features)
    except Fault as error:
        raise Misconfigured(str(error)) from error
    board.append(memory)
    admission = Admission(settings.max_in_flight)
    telemetry = Telemetry(ledger, flags, memory, admission)
    return _Built(Inside(settings, memory, flags, ledger, LoopLag(), telemetry, started_at), admission)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: two servers share this process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: Starlette, settings: Settings) -> _Server:
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        # Nothing here asks who the first client was; a connection's age is that of the real peer.
        proxy_headers=False,
        backlog=1024,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
    )
    return _Server(config)


async def _run(api: _Server, internal: _Server, sockets: list[socket.socket], inside: Inside) -> None:
    """The API drains first; the second port answers until that is done, so that everybody can see it."""

    def stop() -> None:
        if inside.draining:
            api.force_exit = True
        inside.draining = True
        api.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    second = asyncio.create_task(internal.serve(sockets=[sockets[1]]))
    try:
        await api.serve(sockets=[sockets[0]])
    finally:
        internal.should_exit = True
        await second


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[list[socket.socket]]:
    """Both ports, bound before anything else starts. Raises Misconfigured naming the one that is taken."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for name, port in (("MEMORYSTACK_PORT", settings.port), ("MEMORYSTACK_INTERNAL_PORT", settings.internal_port)):
            family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
            one = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((settings.host, port))
            except OSError as error:
                msg = f"cannot listen on {settings.host}:{port} ({error.strerror}): free it or set {name}"
                raise Misconfigured(msg) from None
            sockets.append(one)
        yield sockets


def _loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 -- not on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


if __name__ == "__main__":
    main()
