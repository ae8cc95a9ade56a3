"""When the engine flushes and optimises.

Both block the process, so: flush every 5 s when something was written (4-25 ms; Qdrant's own default interval); optimise a
collection after 2,000 changed points once no request has come for 5 s, or after 100,000 at any time, so that a store that is
never idle does not grow without end.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from .body import QdrantError
from .collection import Collection
from .store import Store

__all__ = ["Upkeep"]

logger = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 5.0
CHANGES_WHEN_IDLE: Final = 2_000
CHANGES_AT_MOST: Final = 100_000


class Upkeep:
    """Looks at the collections once per `interval` seconds, from the event loop's own thread."""

    def __init__(self, store: Store, interval: float = FLUSH_SECONDS, idle: float = IDLE_SECONDS) -> None:
        self._store = store
        self._interval = interval
        self._idle = idle
        self._last_request = time.monotonic()

    def request_came(self) -> None:
        """To be called for each request on points."""
        self._last_request = time.monotonic()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            for collection in self._store.all():
                self._look_after(collection)
                await asyncio.sleep(0)

    def _look_after(self, collection: Collection) -> None:
        try:
            if collection.changes >= self._limit():
                collection.optimize()
            elif collection.dirty:
                collection.flush()
        except (QdrantError, OSError) as error:
            collection.dirty = True  # try again in the next round
            logger.warning("qdrant: upkeep of %s failed: %s", collection.folder, error)

    def _limit(self) -> int:
        idle = time.monotonic() - self._last_request >= self._idle
        return CHANGES_WHEN_IDLE if idle else CHANGES_AT_MOST
