"""Medians, percentiles and extremes of runs. Knows numbers only."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["Run", "about", "median", "nearest_rank", "sound", "values"]

Run = Mapping[str, Any]
"""What one run measured; `problem` instead, where it could not be carried out."""


def sound(runs: Iterable[Run]) -> list[Run]:
    """Those that were carried out."""
    return [run for run in runs if "problem" not in run]


def values(runs: Iterable[Run], name: str) -> list[float]:
    """One number of each run that was carried out and has it."""
    return [run[name] for run in sound(runs) if run.get(name) is not None]


def median(numbers: Sequence[float]) -> float | None:
    """None without any."""
    return round(statistics.median(numbers), 3) if numbers else None


def nearest_rank(numbers: Sequence[float], share: float) -> float | None:
    """The smallest number that at least this share of all do not exceed; None without any."""
    if not numbers:
        return None
    # 0.95 x 20 is 19.000000000000004 to a computer.
    return sorted(numbers)[math.ceil(round(share * len(numbers), 9)) - 1]


def about(numbers: Sequence[float]) -> dict[str, float]:
    """The extremes, to stand beside a bar."""
    return {"least": min(numbers), "most": max(numbers)} if numbers else {}
