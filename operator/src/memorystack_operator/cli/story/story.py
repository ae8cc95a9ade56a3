"""Tells the story beside a running stack: history first, then two edits of the file, each until its verdict.

Knows: when to edit and where to read the outcome. Must not know: what the outcome should be; `check.py` does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from memorystack_operator.api.status import RolloutRecord
from memorystack_operator.cli.picture import picture
from memorystack_operator.cli.status import EVENTS_SHOWN
from memorystack_operator.cli.story.check import EXPECTED
from memorystack_operator.cli.story.report import ChangeReport, Starvation, change_report
from memorystack_operator.cli.story.stages import Figures, edit, gather_history, until_ready
from memorystack_operator.cli.story.watch import Watch
from memorystack_operator.local.report import read_events
from memorystack_operator.local.up import Stack

__all__ = ["EDITS", "Story"]

EDITS: Final = {
    "parallelIngest": ("parallelIngest: {concurrency: 0}", "parallelIngest: {concurrency: 4}"),
    "httpPool": ("httpPool: {enabled: false, connections: 10,", "httpPool: {enabled: true, connections: 1,"),
}
VERDICT_SECONDS: Final = 1260.0
"""A minute more than the example's own timeout, so it is the operator who gives up first."""
DETOUR_SECONDS: Final = 300.0
"""More, once the flag was withdrawn: until the environment is well, and the switchback has found whose doing it was."""
SETTLE_SECONDS: Final = 20.0


class Story:
    """`changes`, `before` and `frame` (a picture of the view) are filled as it goes."""

    def __init__(self, file: Path, say: Callable[[str], None], start_load: Callable[[], Watch]) -> None:
        self.changes: list[ChangeReport] = []
        self.before: Figures = {}
        self.frame = ""
        self.cores = 0
        self._file = file
        self._say = say
        self._start_load = start_load

    async def tell(self, stack: Stack) -> None:
        """Returns when both edits have their outcome. Raises LocalError when the stack does not come up."""
        await until_ready(stack)
        self.cores = stack.machine.headroom.cores
        watch = self._start_load()
        self._say("(a) all flags off, traffic begins: every pod's own history is the yardstick (two to three minutes)")
        self.before = await gather_history(stack, self._say)
        decided = await self._change(
            stack, watch, "parallelIngest", "(b) parallelIngest: {concurrency: 4} is saved to the file"
        )
        if not decided:
            self._say("    (c) would only wait behind it, so the story ends here")
            return
        await self._change(
            stack,
            watch,
            "httpPool",
            "(c) httpPool: {enabled: true, connections: 1} is saved to the file; its yardstick is what the pods serve since "
            "the promotion (half a minute to a minute)",
        )

    async def _change(self, stack: Stack, watch: Watch, name: str, text: str) -> bool:
        """Whether the operator has made up its mind."""
        known = {r.id for r in stack.status.history}
        watch.begin()
        saved_at = datetime.now(UTC)
        edit(self._file, self._file.read_text(), *EDITS[name])
        self._say(text)
        record = await self._outcome(stack, watch, known, name)
        change = change_report(name, EXPECTED[name], saved_at, record, watch.end())
        self.changes.append(change)
        self._say(_told(change))
        return record is not None

    async def _outcome(self, stack: Stack, watch: Watch, known: set[str], name: str) -> RolloutRecord | None:
        until, detour = time.monotonic() + VERDICT_SECONDS, DETOUR_SECONDS
        found: RolloutRecord | None = None
        while time.monotonic() < until:
            await asyncio.sleep(0.25)
            watch.look(stack)
            rollout = stack.status.rollout
            if rollout and rollout.stage == name and rollout.flags_on:
                self.frame = picture(stack.report(), read_events(stack.folder.events, EVENTS_SHOWN))
            if rollout and rollout.stage == name and rollout.withdrawals:
                until, detour = until + detour, 0.0
            found = next((r for r in stack.status.history if r.id not in known and r.stage == name), None)
            if found and found.everywhere_at:
                return found
            if found:
                until = min(until, time.monotonic() + SETTLE_SECONDS)
        return found


def _told(change: ChangeReport) -> str:
    seconds = change.seconds
    if seconds.to_verdict is None:
        return f"    {change.message}"
    everywhere = f", every pod after {seconds.to_everywhere:.1f} s" if seconds.to_everywhere else ""
    first = (
        f"first canary request after {seconds.to_first_canary_request:.1f} s, "
        if seconds.to_first_canary_request
        else ""
    )
    return (
        f"    {change.outcome} ({change.reason}): {first}verdict after {seconds.to_verdict:.1f} s{everywhere}; "
        f"{change.canary_requests_over_budget} of {change.canary_requests} canary requests over budget"
    )


def starvation_text(starvation: Starvation) -> str:
    """One sentence with the numbers."""
    return (
        f"mean idle CPU {starvation.mean_idle_percent:.0f} %, {100 * starvation.starved_share:.0f} % of the seconds below "
        f"5 %, largest event loop lag {starvation.largest_lag_ms:.0f} ms, {100 * starvation.dropped_share:.1f} % of the "
        "load not sent"
    )
