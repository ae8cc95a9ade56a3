"""How many requests are served at once, and how long one may take. Knows numbers; nothing of what is served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from memorystack_runtime.errors import Overloaded

__all__ = ["Admission"]


class Admission:
    """Refuses at once what is too much: a queue here would only hide the overload from the caller."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.active = 0
        self.refused = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Raises Overloaded when `limit` requests are being served."""
        if self.active >= self.limit:
            self.refused += 1
            msg = f"{self.limit} requests are being served, which is all this process takes"
            raise Overloaded(msg, retry_after=1)
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1
