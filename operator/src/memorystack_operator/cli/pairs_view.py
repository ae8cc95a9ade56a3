"""Draws the pairs of windows under way. Pure: a value in, something that rich can print out."""

from __future__ import annotations

from typing import Final

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from memorystack_operator.core.standing import Lean, Standing

__all__ = ["draw_pairs"]

WAYS: Final = {
    "harms": ("harmed by the flag", "yellow", "red"),
    "cleared": ("not the flag's doing", "cyan", "green"),
    "own": ("no harm of its own", "cyan", "green"),
    "shared": ("no harm to shared parts", "cyan", "green"),
    "proved": ("proved, all in all", "cyan", "green"),
}
"""How it is told, its colour on the way, and once it holds."""


def draw_pairs(standing: Standing) -> RenderableType:
    """Which window is on, and how far the pairs have come."""
    line = Text(f"pair {standing.pair}, window {standing.window} of 2", style="bold")
    if standing.flags == "waiting":
        line.append("  waiting: the world cannot be measured, flags off", style="yellow")
    else:
        line.append(f"  flags {standing.flags}", style="cyan" if standing.flags == "on" else "")
        line.append("  counting" if standing.counting else "  settling", style="dim")
    line.append(f"  {standing.played}", style="dim")
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("pairs say of")
    table.add_column("")
    table.add_column("of what is needed", width=30)
    table.add_column("", justify="right")
    for lean in standing.leans:
        table.add_row(*_row(lean))
    return Group(line, Text(), table)


def _row(lean: Lean) -> tuple[RenderableType, ...]:
    words, going, there = WAYS[lean.name]
    bar = Bar(1.0, 0.0, lean.fraction, color=there if lean.holds else going, bgcolor="grey23", width=30)
    return lean.operation, words, bar, f"{100 * lean.fraction:.0f} %"
