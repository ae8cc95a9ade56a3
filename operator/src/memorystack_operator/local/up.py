"""`memorystack up`: puts the local side together, runs it until it is told to stop, and leaves nothing running.

Knows: the order of starting and stopping. Must not know: how anything is shown.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import structlog

from memorystack_operator.api import load
from memorystack_operator.core import Event, Status
from memorystack_operator.local.cluster import LocalCluster, open_source
from memorystack_operator.local.daemon import Daemon
from memorystack_operator.local.engines import EmbedderOptions, Engines, start_engines
from memorystack_operator.local.machine import Machine
from memorystack_operator.local.missing import missing_here
from memorystack_operator.local.ports import check_port
from memorystack_operator.local.remains import end_remains, record
from memorystack_operator.local.report import Report, make_report
from memorystack_operator.local.source import Source
from memorystack_operator.local.state import Running, StateFolder, write_atomically
from memorystack_operator.local.supervisor import Supervisor
from memorystack_operator.shell import Reconciler, run
from memorystack_operator.shell.scrape import Scraper

__all__ = ["Stack", "UpOptions", "up"]

GATEWAY_HOST: Final = "127.0.0.1"
WATCH_SECONDS: Final = 0.1
LOOK_SECONDS: Final = 5.0
"""The live view shows what the pods served also while nothing is to be decided."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What `up` is told. The stack's records are in `state_dir/<name of the stack>`."""

    file: Path
    state_dir: Path = Path(".memorystack")
    port: int = 8080
    use_urls: bool = False
    embedder: EmbedderOptions = field(default_factory=EmbedderOptions)


@dataclass
class Stack:
    """A running stack, for whoever shows it."""

    folder: StateFolder
    source: Source
    gateway: str
    cluster: LocalCluster
    supervisor: Supervisor
    engines: Engines
    door: Daemon
    machine: Machine = field(default_factory=Machine)
    status: Status = field(default_factory=Status)

    @property
    def pids(self) -> list[int]:
        """Of all processes that this one has started."""
        daemons = (*self.engines.daemons, self.door, *(pod.daemon for pod in self.supervisor.pods))
        return [d.pid for d in daemons if d.pid is not None]

    def report(self) -> Report:
        """As of now."""
        return make_report(
            self.source,
            self.status,
            self.supervisor.pods,
            self.cluster.reports,
            file=str(self.source.path),
            gateway=self.gateway,
            problem=self.supervisor.problem,
            headroom=self.machine.headroom,
            engines=self.engines.urls,
        )


async def up(
    options: UpOptions,
    *,
    say: Callable[[str], None],
    on_event: Callable[[Event], None] = lambda _: None,
    beside: Callable[[Stack], Awaitable[None]] | None = None,
) -> signal.Signals | None:
    """Runs until SIGINT or SIGTERM, which is returned, or until `beside` (a live view, a demo) returns.

    Raises InvalidResource, LocalError.
    """
    name = load(options.file).stack.metadata.name
    folder = StateFolder(options.state_dir / name)
    folder.make()
    stop = _told_to_stop()
    with folder.held():
        ended = end_remains(folder.remains)
        if ended:
            say(f"ended {ended} processes that an earlier run had left behind")
        check_port(GATEWAY_HOST, options.port, "--port")
        async with _running(options, folder, say, on_event) as stack:
            waits: set[asyncio.Future[Any]] = {stop}
            if beside:
                waits.add(asyncio.ensure_future(beside(stack)))
            done, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            await _cancel(left - {stop})
            say("stopping: pods drain, then the engines")
        for task in done:
            task.result()
    return stop.result() if stop.done() else None


def _told_to_stop() -> asyncio.Future[signal.Signals]:
    """Done with the first signal."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[signal.Signals] = loop.create_future()

    def tell(number: signal.Signals) -> None:
        if not told.done():
            told.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, tell, number)
    return told


@asynccontextmanager
async def _running(
    options: UpOptions, folder: StateFolder, say: Callable[[str], None], on_event: Callable[[Event], None]
) -> AsyncIterator[Stack]:
    source = open_source(folder, options.file)
    gateway = f"http://{GATEWAY_HOST}:{options.port}"
    wake = asyncio.Event()
    for line in missing_here(source.stack.spec):
        say(line)
    async with AsyncExitStack() as stack:
        engines = Engines()
        if not options.use_urls:
            engines = await start_engines(folder, source.stack.spec, options.embedder, say)
            stack.push_async_callback(engines.stop)
        # Ended in the opposite order: the gateway outlives the pods, so that what they still answer reaches its client.
        door = _gateway(folder, options.port)
        stack.push_async_callback(door.stop, 3.0)
        supervisor = Supervisor(folder, source.stack.metadata.name, engines.variables, wake)
        stack.push_async_callback(supervisor.stop)
        scraper = await stack.enter_async_context(Scraper())
        cluster = LocalCluster(folder, source, supervisor, scraper, _next_epoch(folder))
        cluster.on_event = on_event
        running = Stack(folder, source, gateway, cluster, supervisor, engines, door)
        await door.start()
        _announce(folder, source, gateway)
        tasks = _tasks(running, wake)
        stack.push_async_callback(_cancel, tasks)
        yield running


def _tasks(stack: Stack, wake: asyncio.Event) -> list[asyncio.Task[None]]:
    async def after(status: Status) -> None:
        stack.status = status
        write_atomically(stack.folder.report, stack.report().model_dump_json(by_alias=True))

    return [
        asyncio.create_task(run(Reconciler(stack.cluster), wake, after, longest=LOOK_SECONDS)),
        asyncio.create_task(stack.supervisor.run()),
        asyncio.create_task(stack.machine.run()),
        asyncio.create_task(_watch(stack, wake)),
    ]


async def _watch(stack: Stack, wake: asyncio.Event) -> None:
    """A saved file or a new action is seen within a tenth of a second; a new process is written down."""
    action: float | None = None
    pids: list[int] = []
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        try:
            now = stack.folder.action.stat().st_mtime if stack.folder.action.exists() else None
            if stack.source.read() or now != action:
                action = now
                wake.set()
            if stack.pids != pids:
                record(stack.folder.remains, stack.pids)
                pids = stack.pids
        except OSError as error:
            _log.warning("watch_failed", why=str(error))  # a full disk passes; saves must be seen afterwards


async def _cancel(tasks: Collection[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _gateway(folder: StateFolder, port: int) -> Daemon:
    write_atomically(folder.backends, "")
    module = "memorystack_operator.local.gateway"
    argv = [sys.executable, "-m", module, "--port", str(port), "--backends", str(folder.backends)]
    return Daemon("gateway", argv, folder.logs / "gateway.log")


def _announce(folder: StateFolder, source: Source, gateway: str) -> None:
    me = psutil.Process(os.getpid())
    running = Running(
        pid=me.pid,
        created=me.create_time(),
        name=source.stack.metadata.name,
        file=str(source.path),
        gateway=gateway,
    )
    write_atomically(folder.running, running.model_dump_json())


def _next_epoch(folder: StateFolder) -> int:
    """Grows with each start, as a leader's lease transitions do."""
    try:
        epoch = int(json.loads(folder.counters.read_text())["epoch"]) + 1
    except (OSError, ValueError, KeyError):
        epoch = 1
    write_atomically(folder.counters, json.dumps({"epoch": epoch}), durable=True)
    return epoch
