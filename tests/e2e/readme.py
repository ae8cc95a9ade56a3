"""The readme's transcript of a cluster: the commands that it shows, and whether a story has typed them.

Knows: the readme. Must not know: steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["HEADING", "never_typed", "shown"]

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
