"""Which keys are due, which are being worked on, and which must be done again. Knows times and keys; runs nothing.

The rules of a Kubernetes work queue: a key waits once however often it is added, is never worked on twice at a time,
and what is added while it is being worked on is done again afterwards.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Due", "Key", "Schedule"]


class Key(NamedTuple):
    """A stack."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Due(NamedTuple):
    """A key whose turn has come, and how many seconds ago it came."""

    key: Key
    late: float


@dataclass
class Schedule:
    """All times are seconds of one monotonic clock, given with each call."""

    _due: dict[Key, float] = field(default_factory=dict)
    _heap: list[tuple[float, Key]] = field(default_factory=list)
    _running: dict[Key, float] = field(default_factory=dict)

    def add(self, key: Key, at: float) -> None:
        """Due at that time, or earlier where it already was."""
        known = self._due.get(key)
        if known is None or at < known:
            self._due[key] = at
            heapq.heappush(self._heap, (at, key))

    def take(self, now: float, most: int) -> Iterator[Due]:
        """Up to `most` keys that are due and at rest; each is running until `done`."""
        later = []
        while self._heap and self._heap[0][0] <= now and most > 0:
            at, key = heapq.heappop(self._heap)
            if self._due.get(key) != at:
                continue  # an earlier time took its place
            if key in self._running:
                later.append((at, key))
                continue
            del self._due[key]
            self._running[key] = now
            most -= 1
            yield Due(key, now - at)
        for entry in later:
            heapq.heappush(self._heap, entry)

    def done(self, key: Key) -> None:
        """It is at rest."""
        del self._running[key]

    def forget(self, key: Key) -> None:
        """Not due any more."""
        self._due.pop(key, None)

    def next_at(self) -> float | None:
        """When the next key at rest is due."""
        return min((at for key, at in self._due.items() if key not in self._running), default=None)

    def depth(self, now: float) -> int:
        """Keys that are due and wait."""
        return sum(at <= now for at in self._due.values())

    def oldest(self, now: float) -> float:
        """Seconds that the longest waiting key has been due; 0 where none is."""
        return max((now - at for at in self._due.values() if at <= now), default=0.0)

    def longest(self, now: float) -> float:
        """Seconds that the slowest key has been worked on; 0 where none is."""
        return max((now - since for since in self._running.values()), default=0.0)

    @property
    def running(self) -> int:
        """Keys being worked on."""
        return len(self._running)
