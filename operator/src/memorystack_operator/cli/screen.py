"""Where a running stack is shown: a live view on a terminal, a line an event elsewhere, or JSON lines.

Knows: how to print. Must not know: what a stack is made of.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, Literal

from rich.console import Console
from rich.live import Live

from memorystack_operator.cli.news import News, Waits
from memorystack_operator.cli.view import draw, event_text
from memorystack_operator.core import Event
from memorystack_operator.local.report import EventLine, read_events
from memorystack_operator.local.up import Stack

__all__ = ["Output", "Screen"]

Output = Literal["auto", "live", "plain", "json"]
FRAME_SECONDS: Final = 0.5
EVENTS_SHOWN: Final = 6


class Screen:
    """`say` and `tell` may be called at any time; `show` runs beside the stack."""

    def __init__(self, output: Output) -> None:
        self.console = Console(highlight=False)
        live = output == "live" or (output == "auto" and self.console.is_terminal)
        self.output: Output = "live" if live else "json" if output == "json" else "plain"

    def say(self, text: str) -> None:
        """A sentence about what is being done."""
        if self.output == "json":
            sys.stdout.write(json.dumps({"at": _now(), "say": text}) + "\n")
            sys.stdout.flush()
        else:
            self.console.print(text, markup=False, soft_wrap=True)

    def tell(self, event: Event) -> None:
        """An event, unless the live view shows it."""
        line = EventLine(at=_now(), type=event.kind, reason=event.reason, message=event.message)
        if self.output == "json":
            sys.stdout.write(line.model_dump_json() + "\n")
            sys.stdout.flush()
        elif self.output == "plain":
            self.console.print(event_text(line), soft_wrap=True)

    async def show(self, stack: Stack, beside: Callable[[Stack], Awaitable[None]] | None = None) -> None:
        """Until `beside` returns, or for ever."""
        work = asyncio.ensure_future(beside(stack)) if beside else None
        try:
            if self.output == "live":
                await self._live(stack, work)
            else:
                await self._plain(stack, work)
        finally:
            if work and not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

    async def _live(self, stack: Stack, work: asyncio.Future[None] | None) -> None:
        with Live(console=self.console, auto_refresh=False, transient=False) as live:
            while work is None or not work.done():
                events = read_events(stack.folder.events, EVENTS_SHOWN)
                live.update(draw(stack.report(), events), refresh=True)
                await asyncio.sleep(FRAME_SECONDS)
        if work:
            work.result()

    async def _plain(self, stack: Stack, work: asyncio.Future[None] | None) -> None:
        """Whoever works beside the stack tells of its saves; of its waits nobody else does."""
        tellers: list[News | Waits] = [Waits()] if work else [News(), Waits()]
        while work is None or not work.done():
            report = stack.report()
            for text in (text for teller in tellers for text in teller.of(report)):
                self.say(text)
            await asyncio.sleep(FRAME_SECONDS)
        if work:
            work.result()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
