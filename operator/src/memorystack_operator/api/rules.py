"""Static rules that look at more than one field, one small function each; each will be one CEL rule of the CRD.

Knows: values of one model. Must not know: how a refusal is shown. A rule raises ValueError with the sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any, Final

__all__ = ["exactly_one", "fraction", "no_repeats", "only_beside", "rising", "within"]


def exactly_one(left: Any, right: Any, names: str, third: Any = None) -> None:
    """Of exclusive fields one is given; an empty object is given too."""
    given = sum(part is not None and part is not False for part in (left, right, third))
    if given != 1:
        what = {0: "neither is given", 2: "both are given"}.get(given, "all are given")
        msg = f"{what}: give exactly one of {names}"
        raise ValueError(msg)


def only_beside(url: Any, values: Sequence[Any], names: str) -> None:
    """Fields that say how a url is reached have no meaning for what the operator runs itself."""
    if url is None and any(value is not None for value in values):
        msg = f"{names} belong to a url: remove them"
        raise ValueError(msg)


def rising(weights: Sequence[int]) -> None:
    """Each step's weight is larger than the one before."""
    for before, after in pairwise(weights):
        if after <= before:
            msg = f"weights must rise from step to step: {after} follows {before}"
            raise ValueError(msg)
    if not weights:
        msg = "no step has a weight: add one, as {weight: 34, minDuration: 60s}"
        raise ValueError(msg)


def no_repeats(values: Sequence[str], what: str) -> None:
    """Nothing stands there twice."""
    repeated = sorted({v for v in values if values.count(v) > 1})
    if repeated:
        msg = f"{', '.join(repeated)} stands there more than once: keep one {what}"
        raise ValueError(msg)


def within(value: timedelta, low: timedelta, high: timedelta, text: str) -> timedelta:
    """A duration between two bounds."""
    if not low <= value <= high:
        msg = f"must be between {text}"
        raise ValueError(msg)
    return value


HALF: Final = 0.5


def fraction(text: str) -> str:
    """An error rate as a decimal string: YAML and CEL agree on strings, not on floats."""
    if not 0 < float(text) <= HALF:
        msg = f'{text!r} must be above 0 and at most 0.5, as "0.01"'
        raise ValueError(msg)
    return text
