"""What every story waits for: a stack that is ready, history to judge by, and an edit of its file.

Knows: a running stack. Must not know: which story is told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from memorystack_operator.local.errors import LocalError
from memorystack_operator.local.report import ArmView
from memorystack_operator.local.up import Stack
from memorystack_runtime.contract import RING_SECONDS

__all__ = ["Figures", "edit", "figures", "gather_history", "until_ready"]

HISTORY_MARKS: Final = 5
"""Half minutes of the wall clock after which four whole blocks of history exist."""
READY_SECONDS: Final = 60.0
Figures = dict[str, dict[str, float]]
"""Operation -> requests, share over budget and p95 in ms."""


async def until_ready(stack: Stack) -> None:
    """Raises LocalError when the stack does not come up."""
    until = time.monotonic() + READY_SECONDS
    while stack.status.phase != "Idle" or not all(p.ready for p in stack.supervisor.pods):
        if time.monotonic() > until:
            msg = (
                f"the stack is not ready after {READY_SECONDS:g} s: {stack.supervisor.problem or stack.status.message}"
            )
            raise LocalError(msg)
        await asyncio.sleep(0.2)


async def gather_history(stack: Stack, say: Callable[[str], None]) -> Figures:
    """How the stack stands before any edit, after two to three minutes of traffic."""
    mark = RING_SECONDS - time.time() % RING_SECONDS
    await asyncio.sleep(mark + RING_SECONDS * (HISTORY_MARKS - 1) + 1)
    before = figures(stack)
    for operation, numbers in before.items():
        say(
            f"    {operation}: {100 * numbers['overBudgetShare']:.0f} % of {numbers['requests']:.0f} over budget, "
            f"p95 {numbers['p95Ms']:.0f} ms"
        )
    return before


def figures(stack: Stack) -> Figures:
    """Of the pods that serve the stable flags, since each began."""
    return {arm.operation: _figures(arm) for arm in stack.report().arms if arm.arm == "stable"}


def edit(file: Path, content: str, before: str, after: str) -> None:
    """Saves `content` with one line changed. Raises LocalError when the line is not there."""
    if before not in content:
        msg = f"{file}: the demo edits the line `{before}`, which is not there: use the example as it is"
        raise LocalError(msg)
    file.write_text(content.replace(before, after))


def _figures(arm: ArmView) -> dict[str, float]:
    return {
        "requests": float(arm.requests),
        "overBudgetShare": round(arm.bad / arm.requests, 4) if arm.requests else 0.0,
        "p95Ms": round(arm.p95_ms or 0.0, 1),
    }
