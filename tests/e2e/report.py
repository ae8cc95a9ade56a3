"""What a run of the story left behind: for each step what was seen and how long it took, and on which machine.

Knows: the report's shape. Must not know: steps.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from e2e.terminal import REPOSITORY, Command

__all__ = ["Report", "Step"]


@dataclass(frozen=True)
class Step:
    """One that ended, well or badly."""

    name: str
    seconds: float
    seen: dict[str, Any]
    """What the step measured."""
    problem: str = ""
    """Empty: all was as expected."""
    samples: int = 0
    """Seconds in which the machine's idle CPU was looked at."""
    idle_percent: float = 100.0
    """Mean of all cores."""
    starved_share: float = 0.0
    """Share of the seconds with less than 5 %."""


@dataclass
class Report:
    """Of one run."""

    story: str
    expected: tuple[str, ...]
    """Names of the story's steps, in order."""
    kubernetes: str = ""
    helm: str = ""
    """Versions."""
    steps: list[Step] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)

    @property
    def flawless(self) -> bool:
        """Whether every step so far was as expected."""
        return not any(step.problem for step in self.steps)

    @property
    def passed(self) -> bool:
        """Whether every step of the story was reached, and was as expected."""
        return self.flawless and tuple(step.name for step in self.steps) == self.expected

    def write(self, path: Path) -> None:
        """As JSON."""
        head = ["git", "-C", str(REPOSITORY), "rev-parse", "--short=12", "HEAD"]
        commit = subprocess.run(head, capture_output=True, text=True, check=False).stdout.strip()
        about = {
            "story": self.story,
            "passed": self.passed,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit,
            "kubernetes": self.kubernetes,
            "helm": self.helm,
            "machine": {"cores": os.cpu_count(), "architecture": platform.machine()},
            "seconds": round(sum(step.seconds for step in self.steps), 1),
        }
        lists = {name: [asdict(one) for one in getattr(self, name)] for name in ("steps", "commands")}
        path.write_text(json.dumps({**about, **lists}, indent=2) + "\n")
