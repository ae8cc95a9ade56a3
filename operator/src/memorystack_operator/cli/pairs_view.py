"""Draws pairs of windows and reverse canaries under way. Pure: a value in, something that rich can print out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from memorystack_operator.core.standing import Lean, Reversal, Standing

__all__ = ["draw_pairs", "draw_reversal"]

WAYS: Final = {
    "harms": ("harmed by the flag", "yellow", "red"),
    "cleared": ("not the flag's doing", "cyan", "green"),
    "own": ("no harm of its own", "cyan", "green"),
    "shared": ("no harm to shared parts", "cyan", "green"),
    "proved": ("proved, all in all", "cyan", "green"),
    "regressed": ("the promoted value is worse", "yellow", "red"),
    "over": ("the promoted value is over budget", "yellow", "red"),
    "same": ("no difference that matters", "cyan", "green"),
}
"""How it is told, its colour on the way, and once it holds."""


def draw_pairs(standing: Standing) -> RenderableType:
    """Which window is on, and how far the pairs have come."""
    line = Text.assemble((f"pair {standing.pair}, window {standing.window} of 2", "bold"))
    if standing.flags == "waiting":
        line.append("  waiting: the world cannot be measured, flags off", style="yellow")
    else:
        line.append(f"  flags {standing.flags}", style="cyan" if standing.flags == "on" else "")
        line.append("  counting" if standing.counting else "  settling", style="dim")
    line.append(f"  {standing.played}", style="dim")
    return Group(line, Text(), _leans("pairs say of", standing.leans))


def draw_reversal(reversal: Reversal, stack: str) -> RenderableType:
    """Which pods are back on the flag's older value, and what the comparison says."""
    pods = " ".join(name.removeprefix(f"{stack}-") for name in reversal.pods)
    line = Text.assemble((f"reverse canary {reversal.number}", "bold"))
    if reversal.flags == "on":
        line.append(f"  {pods} back on the older value, the others keep the promoted one", style="cyan")
    else:
        line.append(f"  every pod serves the promoted value; the older one is for {pods}", style="dim")
    return Group(line, Text(), _leans("both arms say of", reversal.leans))


def _leans(title: str, leans: Sequence[Lean]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(title)
    table.add_column("")
    table.add_column("of what is needed", width=30)
    table.add_column("", justify="right")
    for lean in leans:
        table.add_row(*_row(lean))
    return table


def _row(lean: Lean) -> tuple[RenderableType, ...]:
    words, going, there = WAYS[lean.name]
    bar = Bar(1.0, 0.0, lean.fraction, color=there if lean.holds else going, bgcolor="grey23", width=30)
    return lean.operation, words, bar, f"{100 * lean.fraction:.0f} %"
