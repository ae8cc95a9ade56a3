"""What can go wrong in a story. Knows sentences only."""

from __future__ import annotations

__all__ = ["StepFailed"]


class StepFailed(Exception):  # noqa: N818 -- a step has failed, the program has not
    """`str()` says what was expected and what was seen."""
