"""Lists everything itself: once before the first decision, and every few minutes against what a watch may lose.

Measured in kopf 1.45.2: an object that vanishes while a watch is down is never told as deleted. Knows lists; nothing of
what follows from a difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from memorystack_operator.shell.api_server import ApiFailure, ApiServer, Refused
from memorystack_operator.shell.credentials import CannotConnect
from memorystack_operator.shell.records import Record, record_of
from memorystack_operator.shell.resources import PAGE, Resource
from memorystack_operator.shell.store import Store
from memorystack_operator.shell.telemetry import Telemetry

__all__ = ["Relist"]

_log = structlog.get_logger(__name__)


class Relist:
    """`changed` is called for each object that the store did not know so, `primed` when everything was listed once."""

    def __init__(
        self,
        api: ApiServer,
        store: Store,
        telemetry: Telemetry,
        *,
        resources: Sequence[Resource],
        namespaces: Sequence[str],
        changed: Callable[[Record], None],
        primed: Callable[[], None],
    ) -> None:
        self.primed = asyncio.Event()
        """Everything was listed once."""
        self.misses = 0
        """Lists in a row that found what the watch had not told."""
        self._api = api
        self._store = store
        self._telemetry = telemetry
        self._resources = resources
        self._namespaces = tuple(namespaces) or ("",)
        self._changed = changed
        self._first = primed

    async def run(self, every_seconds: float, patience_seconds: float = 5.0) -> None:
        """For ever; failures are tried again soon, since an API server that is away comes back."""
        while True:
            try:
                await self.once(patience_seconds if self.primed.is_set() else 0.0)
                pause = every_seconds
            except (ApiFailure, CannotConnect) as error:  # credentials are away for a moment while they are replaced
                _log.warning("list_failed", error=str(error))
                pause = min(every_seconds, 5.0)
            await asyncio.sleep(pause)

    async def once(self, patience_seconds: float) -> None:
        """Lists, gives the watch the time to tell by itself, and takes over what it did not. Raises ApiFailure."""
        found = [(r, ns, *await self._list(r, ns)) for r in self._resources for ns in self._namespaces]
        await asyncio.sleep(patience_seconds)
        missed = 0
        for resource, namespace, records, version in found:
            news = [r for r in records if self._store.put(r)]
            gone = self._store.prune(resource, namespace, (r.key for r in records), version)
            for record in (*news, *gone):
                self._changed(record)
            if self.primed.is_set() and (news or gone):
                missed += len(news) + len(gone)
                self._telemetry.missed(resource.plural, len(news) + len(gone))
        self.misses = self.misses + 1 if missed else 0
        if not self.primed.is_set():
            self.primed.set()
            self._first()

    async def _list(self, resource: Resource, namespace: str) -> tuple[list[Record], int]:
        """All objects, in pages; none of a kind that is not served here or not ours to read."""
        records: list[Record] = []
        more = {"labelSelector": resource.selector} if resource.selector else {}
        token = ""
        while True:
            params = {**more, "limit": str(PAGE), **({"continue": token} if token else {})}
            try:
                page = await self._api.get(resource.path(namespace), **params)
            except Refused as error:
                if error.status in (403, 404):
                    _log.info("not_listed", resource=resource.plural, why=str(error))
                    return [], 0
                raise
            records += [record_of(resource, item) for item in page.get("items") or ()]
            meta = page.get("metadata") or {}
            token = str(meta.get("continue", ""))
            if not token:
                version = str(meta.get("resourceVersion", ""))
                return records, int(version) if version.isdigit() else 0
