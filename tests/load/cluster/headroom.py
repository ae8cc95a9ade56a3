"""Whether the machine carried what was asked of it: how busy its cores were, and how late a sleeper woke up.

Knows: the machine. Must not know: what ran. A starved machine makes pods slow that are not, so a report says how it was.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Self

import psutil
from load.cluster.figures import median, nearest_rank

__all__ = ["Headroom"]

SLEEP_SECONDS = 0.02
LOOK_SECONDS = 1.0


class Headroom:
    """For the length of the block."""

    def __init__(self) -> None:
        self._busy: list[float] = []
        self._late: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headroom", daemon=True)

    def __enter__(self) -> Self:
        psutil.cpu_percent()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def found(self) -> dict[str, Any]:
        """Percentages of all cores over seconds, and milliseconds that a sleep of 20 ms was late."""
        return {
            "cores": psutil.cpu_count(),
            "busyPercentMedian": median(self._busy),
            "busyPercentP95": nearest_rank(self._busy, 0.95),
            "sleeperLateMsP99": nearest_rank(self._late, 0.99),
            "sleeperLateMsMost": max(self._late, default=None),
        }

    def _run(self) -> None:
        looked = time.monotonic()
        while not self._ended.is_set():
            began = time.monotonic()
            time.sleep(SLEEP_SECONDS)
            now = time.monotonic()
            self._late.append(round(1000 * (now - began - SLEEP_SECONDS), 1))
            if now - looked > LOOK_SECONDS:
                self._busy.append(psutil.cpu_percent())
                looked = now
