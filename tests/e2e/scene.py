"""What the steps of a story share: the terminal, the stack, and what earlier steps have seen.

Knows: the names of the release. Must not know: the order of steps.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from e2e.errors import StepFailed
from e2e.stack import NAME, NAMESPACE, Pod, Stack
from e2e.terminal import Terminal

__all__ = ["OPERATOR", "RELEASE", "SYSTEM", "Scene", "expect", "told"]

RELEASE: Final = "memorystack-operator"
SYSTEM: Final = "memorystack-system"
OPERATOR: Final = "-l app.kubernetes.io/name=memorystack-operator"


@dataclass
class Scene:
    """Of one run."""

    terminal: Terminal
    stack: Stack
    pods: frozenset[Pod] = frozenset()
    """As they were when the stack was ready first."""
    tried: list[dict[str, Any]] = field(default_factory=list)
    """The history's lines, as they came."""

    def patch(self, spec: str) -> None:
        """A part of the spec, as a person changes it."""
        what = f'{{"spec":{spec}}}'
        self.terminal.type(f"kubectl patch -n {NAMESPACE} memorystack {NAME} --type merge -p '{what}'")

    def set_aside(self, features: dict[str, Any]) -> None:
        """Back to those flags, after a step that ended too early. Raises StepFailed."""
        what = json.dumps([{"op": "add", "path": "/spec/features", "value": features}])
        self.terminal.ask(f"kubectl patch -n {NAMESPACE} memorystack {NAME} --type json -p {shlex.quote(what)}")
        self.terminal.wait(self.stack.idle, "the stack does not go back to what it served", 180)

    def outcome(self, seconds: float) -> dict[str, Any]:
        """The next line of the history, once every pod serves what came of it."""
        known = len(self.stack.status.get("history") or ())
        return self.outcome_after(known, seconds)

    def outcome_after(self, known: int, seconds: float) -> dict[str, Any]:
        """The line after `known` lines."""
        record = self.terminal.wait(lambda: self.stack.ended(known), f"no verdict ({self.told()})", seconds)
        self.tried.append(record)
        return record

    def serving_canary(self) -> str:
        """The pod that serves a lease and has answered under it; empty while there is none."""
        stable = self.stack.status["stable"]["revision"]
        for name in self.stack.leased():
            report = self.stack.evidence(name)
            mine = [entry for entry in report.get("counters", ()) if entry["flags"] not in ("", stable)]
            if report.get("source") == "lease" and any(entry["flags"] == report["flags"] for entry in mine):
                return name
        return ""

    def told(self) -> str:
        """How the stack stands, in its own words."""
        status = self.stack.status
        return f"{status.get('phase')}: {status.get('message')}"

    def nothing_restarted(self) -> None:
        """Raises StepFailed unless the pods are the same that they were."""
        now = self.stack.pods()
        expect(now == self.pods, f"pods were {sorted(map(str, self.pods))} and are {sorted(map(str, now))}")

    def serve_stable(self) -> None:
        """Raises StepFailed unless every pod serves the stable flags without a lease."""
        stable = self.stack.status["stable"]["revision"]
        served = self.stack.served()
        expect(set(served.values()) == {(stable, "file")}, f"stable is {stable}, and the pods serve {served}")
        expect(not self.stack.leased(), f"pods still hold flags: {self.stack.leased()}")


def expect(holds: object, otherwise: str) -> None:
    """Raises StepFailed."""
    if not holds:
        raise StepFailed(otherwise)


def told(record: dict[str, Any]) -> dict[str, Any]:
    """What a report says of a verdict; seconds count from when the operator saw the change."""
    changed = datetime.fromisoformat(record["changedAt"])

    def since(name: str) -> float | None:
        return round((datetime.fromisoformat(record[name]) - changed).total_seconds(), 1) if record.get(name) else None

    return {
        "stage": record["stage"],
        "outcome": record["outcome"],
        "reason": record["reason"],
        "message": record["message"],
        "withdrawals": record.get("withdrawals", 0),
        "seconds": {
            "toFlip": since("flippedAt"),
            "toFirstCanaryRequest": since("firstCanaryRequestAt"),
            "toVerdict": since("endedAt"),
            "toEverywhere": since("everywhereAt"),
        },
    }
