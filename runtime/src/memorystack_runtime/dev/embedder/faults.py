"""Decides which request fails.

Knows: the failure in force and how often it struck. Must not know: HTTP or time.
"""

from __future__ import annotations

from collections.abc import Sequence

from .settings import Failure

__all__ = ["Faults"]


class Faults:
    """One failure at a time; setting a failure starts its counts anew."""

    def __init__(self, failure: Failure | None) -> None:
        self.set(failure)

    def set(self, failure: Failure | None) -> None:
        """Put another failure in force, or none."""
        self._failure = failure
        self._struck = 0
        self._debt = 0.0

    def strike(self, texts: Sequence[str]) -> Failure | None:
        """The failure that this request meets, or None; counts as struck when it does."""
        failure = self._failure
        if failure is None or (failure.requests is not None and self._struck >= failure.requests):
            return None
        if failure.marker is not None and not any(failure.marker in text for text in texts):
            return None
        self._debt += failure.share
        if self._debt < 1.0 - 1e-9:
            return None
        self._debt -= 1.0
        self._struck += 1
        return failure
