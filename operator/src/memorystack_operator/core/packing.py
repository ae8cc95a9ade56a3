"""The baselines of all pods as one short text, so that the status of a large stack stays small.

Knows: how they are written and read. Must not know: what they are for. Two hundred pods under two revisions have four
hundred baselines: as plain JSON more than half of what an object's status may sensibly hold, and nothing that people read.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Annotated, Any
from zlib import compress, decompress

from pydantic import BeforeValidator, PlainSerializer

from memorystack_operator.core.arms import Baseline, Counts
from memorystack_runtime.contract import OPERATIONS

__all__ = ["Baselines", "packed", "unpacked"]

Row = list[Any]
"""uid, start of the process, index of its flags' revision, missed, and three counts an operation or null."""


def packed(baselines: Sequence[Baseline]) -> str:
    """Base64 of compressed JSON rows; empty for none."""
    if not baselines:
        return ""
    flags = sorted({b.flags for b in baselines})
    rows = [_row(baseline, flags.index(baseline.flags)) for baseline in baselines]
    text = json.dumps({"flags": flags, "rows": rows}, separators=(",", ":"))
    return b64encode(compress(text.encode())).decode()


def unpacked(value: object) -> object:
    """As a validator: what is no text, as baselines themselves, is passed on."""
    if not isinstance(value, str):
        return value
    if not value:
        return ()
    try:
        told = json.loads(decompress(b64decode(value, validate=True)))
        return tuple(_baseline(row, told["flags"]) for row in told["rows"])
    except Exception as error:
        msg = f"the baselines in the status cannot be read ({error}): they were not written by this operator"
        raise ValueError(msg) from error


def _row(baseline: Baseline, flags: int) -> Row:
    counts = [baseline.operations.get(name) for name in OPERATIONS]
    return [baseline.uid, baseline.started_at, flags, int(baseline.missed), *counts]


def _baseline(row: Row, flags: Sequence[str]) -> Baseline:
    uid, started_at, index, missed, *counts = row
    operations = {name: Counts(*found) for name, found in zip(OPERATIONS, counts, strict=True) if found is not None}
    return Baseline(uid=uid, started_at=started_at, flags=flags[index], operations=operations, missed=bool(missed))


Baselines = Annotated[
    tuple[Baseline, ...],
    BeforeValidator(unpacked, json_schema_input_type=str),
    PlainSerializer(packed, return_type=str, when_used="json"),
]
