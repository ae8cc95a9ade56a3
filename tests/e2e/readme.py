"""The readme's transcript of a cluster: the commands that it shows, whether a story has typed them, and what they printed.

Knows: the readme. Must not know: steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["HEADING", "never_typed", "printed_otherwise", "shown"]

README: Final = Path(__file__).parents[2] / "README.md"
HEADING: Final = "## In a cluster"


def shown(text: str | None = None) -> list[tuple[str, str]]:
    """Each command under the heading, and what the readme says that it prints; empty: nothing is said."""
    section = (README.read_text() if text is None else text).partition(f"{HEADING}\n")[2].partition("\n## ")[0]
    found: list[tuple[str, str]] = []
    for block in re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            found.append((command, printed.strip()))
    return found


def never_typed(typed: Iterable[str]) -> list[str]:
    """Commands of the readme that were not typed in its order."""
    rest = iter(typed)
    return [command for command, _ in shown() if not any(command == one for one in rest)]


def printed_otherwise(typed: Iterable[tuple[str, str]], text: str | None = None) -> list[str]:
    """Commands of the readme that printed something else than it shows; numbers and how old something is may differ."""
    rest = iter(typed)
    found = []
    for command, printed in shown(text):
        was = next((said for one, said in rest if one == command), None)
        if printed and was is not None and _shape(was) != _shape(printed):
            found.append(command)
    return found


def _shape(printed: str) -> list[list[str]]:
    """Words of each line."""
    return [[re.sub(r"(\d+[dhms])+$|\d+", "#", word) for word in line.split()] for line in printed.splitlines()]
