"""kopf as informer, and as nothing else: it tells what changed, and writes neither annotation, finalizer nor event.

Knows: kopf and its settings (kubernetes.md 1.4). Must not know: what follows from a change. It has a thread and a loop
of its own, since kopf takes every task on its loop for one of its own.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import kopf
import structlog

from memorystack_operator.shell.credentials import Door
from memorystack_operator.shell.records import Record, record_of
from memorystack_operator.shell.resources import PAGE, Resource

__all__ = ["Change", "Watch"]

_log = structlog.get_logger(__name__)
STOP_SECONDS: Final = 8.0


@dataclass(frozen=True, slots=True)
class Change:
    """One event of a watch, or one object of its first list."""

    record: Record
    deleted: bool


class Watch:
    """`deliver` is called in the watch's own thread, once for each change."""

    def __init__(
        self,
        door: Door,
        resources: Sequence[Resource],
        namespaces: Sequence[str],
        *,
        deliver: Callable[[Change], None],
        silence_seconds: float = 70.0,
    ) -> None:
        self._door = door
        self._resources = resources
        self._namespaces = namespaces
        self._deliver = deliver
        self._silence = silence_seconds
        self._stop = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """In the background."""
        self._thread.start()

    async def ended(self) -> None:
        """Returns when it has, which it never should by itself."""
        await self._ended.wait()

    @property
    def dead(self) -> bool:
        """A dead one does not come back: the process must end, so that it is started again."""
        return self._ended.is_set()

    async def stop(self) -> None:
        """Returns when the thread has ended, or after a few seconds."""
        self._stop.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self._ended.wait()

    def _run(self) -> None:
        try:
            asyncio.run(
                kopf.operator(
                    registry=self._registry(),
                    settings=self._settings(),
                    clusterwide=not self._namespaces,
                    namespaces=self._namespaces,
                    standalone=True,
                    # Left out, kopf asks for the user's name, and the user of a pod is but a number.
                    identity=cast("Any", "memorystack-operator"),
                    stop_flag=self._stop,
                )
            )
        except Exception as error:
            _log.exception("watch_failed", error=str(error))
        finally:
            self._loop.call_soon_threadsafe(self._ended.set)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(self._login)
        for resource in self._resources:
            handler = _handler(resource, self._deliver)
            kopf.on.event(
                resource.group, resource.version, resource.plural, id=f"watch-{resource.plural}", registry=registry
            )(handler)
        return registry

    async def _login(self, **_: Any) -> kopf.ConnectionInfo:
        """Called again by kopf when the server no longer takes the token."""
        found = await self._door.configuration()
        scheme, _space, token = str(found.api_key.get("BearerToken", "")).partition(" ")
        return kopf.ConnectionInfo(
            server=found.host,
            ca_path=found.ssl_ca_cert,
            insecure=not found.verify_ssl,
            scheme=scheme or None,
            token=token or None,
            certificate_path=found.cert_file,
            private_key_path=found.key_file,
            proxy_url=found.proxy,
        )

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.peering.standalone = True
        settings.scanning.disabled = True  # else it watches CRDs and namespaces, for which we have no right
        settings.watching.inactivity_timeout = self._silence
        settings.watching.server_timeout = 600
        settings.watching.chunk_size = PAGE
        settings.queueing.idle_timeout = 0.5  # a task for each object, and 5 s of them when all are listed
        for resource in self._resources:
            if resource.selector:
                settings.watching.label_selectors[(resource.group, resource.version, resource.plural)] = (
                    resource.selector
                )
        settings.networking.request_timeout = 30
        settings.networking.connect_timeout = 10
        settings.networking.error_backoffs = _Endless()
        settings.process.ultimate_exiting_timeout = 25
        settings.execution.max_workers = 2
        return settings


class _Endless:
    """Backoffs without an end: with kopf's own, an API server that is away for 54 s ends the process (measured)."""

    def __iter__(self) -> Iterator[float]:
        pause = 0.25
        while True:
            yield pause * random.uniform(0.8, 1.2)  # noqa: S311 -- jitter is no secret
            pause = min(8.0, 2 * pause)


def _handler(resource: Resource, deliver: Callable[[Change], None]) -> Callable[..., Any]:
    async def seen(type: Literal["ADDED", "MODIFIED", "DELETED"] | None, body: Mapping[str, Any], **_: Any) -> None:  # noqa: A002 -- kopf's own name
        deliver(Change(record_of(resource, body), deleted=type == "DELETED"))

    return seen
