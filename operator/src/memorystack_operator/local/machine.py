"""How much CPU this machine has left, so that a starved run can say so instead of blaming a flag. Knows samples only."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

import psutil
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

__all__ = ["STARVED_IDLE_PERCENT", "Headroom", "Machine"]

SAMPLE_SECONDS: Final = 1.0
WINDOW_SECONDS: Final = 60.0
STARVED_IDLE_PERCENT: Final = 5.0
"""With less idle CPU than this, latencies are the machine's and not the flag's."""


class Headroom(BaseModel):
    """Of the last minute."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)

    cores: int = 0
    idle_percent: float = 100.0
    """Mean idle share of all cores."""
    lowest_idle_percent: float = 100.0
    starved_share: float = 0.0
    """Share of seconds with less than 5 % idle."""
    samples: int = 0


class Machine:
    """Samples once a second."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    async def run(self) -> None:
        """Samples for ever."""
        psutil.cpu_times_percent()
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            self.take(psutil.cpu_times_percent().idle)

    def take(self, idle: float) -> None:
        """One sample, in percent."""
        now = time.monotonic()
        self._seen.append((now, idle))
        while self._seen and now - self._seen[0][0] > WINDOW_SECONDS:
            self._seen.popleft()

    @property
    def last_idle(self) -> float:
        """The newest sample, in percent; 100 before the first."""
        return self._seen[-1][1] if self._seen else 100.0

    @property
    def headroom(self) -> Headroom:
        """As of now."""
        idle = [value for _, value in self._seen]
        if not idle:
            return Headroom(cores=psutil.cpu_count() or 1)
        return Headroom(
            cores=psutil.cpu_count() or 1,
            idle_percent=round(sum(idle) / len(idle), 1),
            lowest_idle_percent=round(min(idle), 1),
            starved_share=round(sum(v < STARVED_IDLE_PERCENT for v in idle) / len(idle), 3),
            samples=len(idle),
        )
