"""Whether a story's report holds: every step was as expected, or the report's own numbers show that the machine was starved.

Knows: the report. Must not know: how it came about. Only a step that waits for a verdict on latencies can be excused so.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from memorystack_operator.cli.story.report import Starvation

__all__ = ["excused", "problems_of"]


def excused(step: dict[str, Any], judged: Collection[str]) -> bool:
    """Whether what is wrong with it is the machine's fault."""
    machine = Starvation(
        samples=step["samples"], mean_idle_percent=step["idle_percent"], starved_share=step["starved_share"]
    )
    return bool(step["problem"]) and step["name"] in judged and machine.starved


def problems_of(path: Path, story: Sequence[str], judged: Collection[str], whole: Collection[str]) -> list[str]:
    """What is wrong with a report of that story; empty when it holds. After an excused step nothing `whole` can be said."""
    try:
        steps: dict[str, Any] = {step["name"]: step for step in json.loads(path.read_text())["steps"]}
        excuses = [name for name, step in steps.items() if excused(step, judged)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{path}: no report of a story: {error!r}"]
    expected = [name for name in story if not (excuses and name in whole)]
    missing = [f"{name}: was not reached" for name in expected if name not in steps]
    return missing + [f"{n}: {s['problem']}" for n, s in steps.items() if s["problem"] and n not in excuses]
