"""The operator's process: watch, queue, leader and health put together, run until a signal, and ended in order.

Knows: who needs whom. Must not know: what any of them does.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import time
import uuid
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import structlog

from memorystack_operator.api.errors import InvalidResource
from memorystack_operator.core.observe import RELEASE_IMAGE, Warming
from memorystack_operator.shell.api_server import ApiFailure, ApiServer
from memorystack_operator.shell.credentials import CannotConnect, Door
from memorystack_operator.shell.health import STUCK_SECONDS, Health, serve
from memorystack_operator.shell.kube import KubeCluster, Surroundings
from memorystack_operator.shell.kubelease import KubeLease
from memorystack_operator.shell.leader import Leader, Times
from memorystack_operator.shell.memory import keep_small, one_arena
from memorystack_operator.shell.queue import KeyedQueue
from memorystack_operator.shell.reconciler import Reconciler
from memorystack_operator.shell.records import Record
from memorystack_operator.shell.relist import Relist
from memorystack_operator.shell.resources import CHILDREN, PODS, STACKS
from memorystack_operator.shell.schedule import Key
from memorystack_operator.shell.scrape import Scraper
from memorystack_operator.shell.store import Store
from memorystack_operator.shell.telemetry import Telemetry
from memorystack_operator.shell.watch import Change, Watch

__all__ = ["Options", "operate"]

_log = structlog.get_logger(__name__)
DRAIN_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Options:
    """What the process is told."""

    door: Door
    namespaces: Sequence[str] = ()
    """Empty: the whole cluster."""
    lease: Key = field(default=Key("default", "memorystack-operator"))
    times: Times = field(default_factory=Times)
    health_host: str = "0.0.0.0"  # noqa: S104 -- the kubelet asks from outside the pod
    health_port: int = 8081
    workers: int = 16
    idle_seconds: float = 600.0
    """How often a stack is looked at that nothing happens to."""
    relist_seconds: float = 300.0
    stuck_seconds: float = STUCK_SECONDS
    touch_seconds: float = 5.0
    slow_start_seconds: float = 30.0
    """A pod that is not ready for longer is asked why."""
    surge_seconds: float = 10.0
    """How long a surge pod serves before a flag is tried, with 30 requests; three times as long with fewer."""
    surge_timeout_seconds: float = 300.0
    """How long it may take to; afterwards, twice as long, none is asked for."""
    runtime_image: str = RELEASE_IMAGE
    """Of stacks that name none."""


class _Operator:
    def __init__(self, options: Options, telemetry: Telemetry, scraper: Scraper, stack: AsyncExitStack) -> None:
        self.options = options
        self.telemetry = telemetry
        self.loop = asyncio.get_running_loop()
        identity = f"{socket.gethostname()}_{uuid.uuid4()}"
        self.free = ApiServer(options.door.configuration, telemetry)
        self.leader = Leader(KubeLease(self.free, options.lease), identity, options.times)
        self.api = ApiServer(options.door.configuration, telemetry, lambda: self.leader.leads)
        self.store = Store()
        self.queue = KeyedQueue(self._work, telemetry, workers=options.workers)
        resources = (STACKS, PODS, *CHILDREN)
        where = options.namespaces
        self.relist = Relist(
            self.free,
            self.store,
            telemetry,
            resources=resources,
            namespaces=where,
            changed=self._changed,
            primed=self._primed,
        )
        self.watch = Watch(options.door, resources, where, deliver=self._deliver)
        self.around = Surroundings(
            self.api,
            self.store,
            scraper,
            telemetry,
            epoch=lambda: self.leader.epoch,
            instance=identity,
            touch_seconds=options.touch_seconds,
            image=options.runtime_image,
            slow_start=timedelta(seconds=options.slow_start_seconds),
            warming=Warming.of(options.surge_seconds, options.surge_timeout_seconds),
        )
        self._stacks: dict[Key, tuple[KubeCluster, Reconciler]] = {}
        stack.push_async_exit(self.free.__aexit__)
        stack.push_async_exit(self.api.__aexit__)

    def led(self, leads: bool) -> None:
        """The turn began or ended."""
        self.telemetry.leading(leads)
        self._stacks.clear()  # another may have written since: nothing held in memory is believed
        self.queue.let(leads and self.relist.primed.is_set())
        if leads:
            self._all_again()

    def _primed(self) -> None:
        self.queue.let(self.leader.leads)

    def _all_again(self) -> None:
        for key in self.store.stacks():
            self.queue.add(key)

    def _deliver(self, change: Change) -> None:
        """In the watch's thread."""
        self.loop.call_soon_threadsafe(self._seen, change)

    def _seen(self, change: Change) -> None:
        record = change.record
        self.telemetry.watched(record.resource.plural, time.time())
        if change.deleted:
            news = self.store.drop(record.resource, record.key, record.order) is not None
        else:
            news = self.store.put(record)
        if news:
            self._changed(record)

    def _changed(self, record: Record) -> None:
        self.queue.add(record.stack)

    async def _work(self, key: Key) -> timedelta | None:
        if self.store.stack(key) is None:
            self._stacks.pop(key, None)
            self.telemetry.stack_gone(*key)
            return None
        cluster, reconciler = self._stacks.get(key) or self._opened(key)
        idle = timedelta(seconds=self.options.idle_seconds * random.uniform(0.9, 1.1))  # noqa: S311 -- jitter is no secret
        try:
            pause = await reconciler.step()
        except InvalidResource as error:
            await cluster.refuse(error)
            return idle
        if not reconciler.quiet:
            return pause
        if cluster.soon is not None:
            return max(cluster.soon, timedelta())
        self._stacks.pop(key, None)  # an idle stack costs no memory but its record
        return idle

    def _opened(self, key: Key) -> tuple[KubeCluster, Reconciler]:
        cluster = KubeCluster(key, self.around)
        self._stacks[key] = (cluster, Reconciler(cluster))
        return self._stacks[key]


async def operate(options: Options) -> bool:
    """Runs until SIGTERM or SIGINT; whether it ended because it was told to. Raises CannotConnect, OSError."""
    one_arena()
    await options.door.configuration()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        telemetry = Telemetry()
        scraper = await stack.enter_async_context(Scraper())
        operator = _Operator(options, telemetry, scraper, stack)
        health = Health(operator.queue, operator.watch, operator.relist, options.stuck_seconds)
        end = await serve(health, telemetry, options.health_host, options.health_port)
        stack.push_async_callback(end)
        _log.info("starting", namespaces=list(options.namespaces) or "all", pid=os.getpid(), port=options.health_port)
        if not await _or_stopped(stop, _served(operator.free)):
            return True
        return await _run(operator, stop)


async def _run(operator: _Operator, stop: asyncio.Event) -> bool:
    operator.watch.start()
    tasks = [
        asyncio.create_task(work)
        for work in (
            operator.relist.run(operator.options.relist_seconds),
            operator.leader.run(operator.led),
            operator.queue.run(),
            keep_small(operator.relist.primed),
            operator.watch.ended(),
        )
    ]
    told = await _first(stop, tasks)
    _log.info("stopping", told=told)
    # Nothing new begins; what runs may end; only then another may lead.
    await operator.queue.drain(DRAIN_SECONDS)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await operator.leader.release()
    await operator.watch.stop()
    return told


async def _first(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> bool:
    """Whether the signal came first; otherwise a part that must never end has ended."""
    waits = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([waits, *tasks], return_when=asyncio.FIRST_COMPLETED)
    waits.cancel()
    for task in done - {waits}:
        error = task.exception()
        _log.error("part_ended", part=task.get_coro().__qualname__, error=repr(error))  # type: ignore[union-attr]  # always a coroutine
    return waits in done


async def _served(api: ApiServer) -> None:
    """Returns once the API server serves our kind: without it kopf would watch nothing, for ever."""
    said = False
    while True:
        try:
            group = await api.get(f"/apis/{STACKS.api_version}")
            if any(r.get("name") == STACKS.plural for r in group.get("resources") or ()):
                return
            why = "it serves no memorystacks"
        except (ApiFailure, CannotConnect) as error:
            why = str(error)
        if not said:
            _log.warning("waiting_for_the_kind", why=why, remedy="install the chart's CRD, or crds/")
            said = True
        await asyncio.sleep(2)


async def _or_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Whether the work ended before the signal came."""
    running, waits = asyncio.create_task(work), asyncio.create_task(stop.wait())
    done, left = await asyncio.wait([running, waits], return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    return running in done and not running.exception()
