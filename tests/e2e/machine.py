"""How much CPU was to spare while a step lasted: on a starved machine latencies are the machine's and not the flags'.

Knows: samples. Must not know: steps. The demo's own rule says what starved is.
"""

from __future__ import annotations

import threading
import time
from typing import Final

import psutil

from memorystack_operator.cli.story.report import Starvation
from memorystack_operator.local.machine import STARVED_IDLE_PERCENT

__all__ = ["Machine"]

EVERY_SECONDS: Final = 1.0


class Machine:
    """Samples from now on, until the program ends."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, float]] = []
        threading.Thread(target=self._run, daemon=True).start()

    def since(self, began: float) -> Starvation:
        """What was seen after that moment of the monotonic clock."""
        idle = [percent for at, percent in self._seen if at > began]
        if not idle:
            return Starvation()
        return Starvation(
            samples=len(idle),
            mean_idle_percent=round(sum(idle) / len(idle), 1),
            starved_share=round(sum(percent < STARVED_IDLE_PERCENT for percent in idle) / len(idle), 3),
        )

    def _run(self) -> None:
        psutil.cpu_times_percent()
        while True:
            time.sleep(EVERY_SECONDS)
            self._seen.append((time.monotonic(), psutil.cpu_times_percent().idle))
