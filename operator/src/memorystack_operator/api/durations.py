"""Durations as Kubernetes users write them: Go's grammar without fractions. Knows nothing of any field."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

__all__ = ["Duration", "format_duration", "parse_duration"]

PATTERN: Final = r"^([0-9]+(ms|s|m|h))+$"
_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}


def parse_duration(text: object) -> timedelta:
    """`90s`, `1m30s`, `250ms`, `720h` -> timedelta. ValueError names the remedy."""
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or not re.fullmatch(PATTERN, text):
        msg = f"{text!r} is not a duration: write whole numbers with ms, s, m or h and no spaces, as 250ms, 90s, 1m30s or 720h (30 days)"
        raise ValueError(msg)
    return timedelta(milliseconds=sum(int(n) * _MS[u] for n, u in re.findall(r"([0-9]+)(ms|s|m|h)", text)))


def format_duration(value: timedelta) -> str:
    """The shortest spelling that parses back to the same value."""
    rest = round(value.total_seconds() * 1000)
    parts = []
    for unit in ("h", "m", "s", "ms"):
        count, rest = divmod(rest, _MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    # CEL's duration() and `format: duration` each allow other spellings than the design: 1.5s, or "3 days".
    WithJsonSchema({"type": "string", "pattern": PATTERN, "maxLength": 32}),
]
