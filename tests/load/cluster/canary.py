"""One rollout of a flag as its users and any onlooker see it: seconds from the command, and bad answers counted one by one.

Knows: the traffic's answers, the resource's status over time. Must not know: how the operator comes to its verdict.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from load.cluster.ground import Home
from load.cluster.observer import Observer
from support.stacks import BAD, Stack
from support.stub import Rule
from support.traffic import Answer

__all__ = ["BUDGET_MS", "HEALTHY", "SICK", "SICK_MS", "reverted", "revision_of", "told"]

BUDGET_MS: Final = 250.0
HEALTHY: Final = Rule()
"""150 ms at p95: .64 % over the budget."""
SICK_MS: Final = 375.0
SICK: Final[Mapping[str, Any]] = {"when": BAD, "p95Ms": SICK_MS}
"""16.6 % over the budget."""
LEAD_SECONDS: Final = 4.0
AFTER_SECONDS: Final = 3.0
VERDICT_SECONDS: Final = 180.0


def reverted(home: Home, stack: Stack, seed: int) -> dict[str, Any]:
    """A bad flag is applied under traffic; the run ends when it has been taken back, and some seconds later."""
    with Observer(home.plane, stack) as observer, home.traffic(stack, seed) as traffic:
        time.sleep(LEAD_SECONDS)
        before = len(stack.status.get("history") or ())
        applied = time.time()
        stack.apply(features=BAD)
        returned = time.time()
        wanted = revision_of(stack)
        stack.wait(lambda: _lines(stack.status) > before, "no verdict", VERDICT_SECONDS)
        time.sleep(AFTER_SECONDS)
        ended = time.time()
    verdict = observer.first(lambda status: _lines(status) > before)
    assert verdict is not None, "the watch did not show the verdict"
    return {
        "applySeconds": round(returned - applied, 3),
        **told(traffic.answers, wanted, applied, verdict),
        **{name: stack.last[name] for name in ("outcome", "reason", "message")},
        "unsent": traffic.unsent,
        "writes": home.writes(applied, ended),
    }


def told(answers: Sequence[Answer], revision: str, applied: float, verdict: float) -> dict[str, Any]:
    """What users got under that revision; seconds since `applied`, both moments in Unix seconds."""
    canary = [a for a in answers if a.flags == revision]
    bad = [a for a in canary if not a.good(BUDGET_MS)]
    last = max((a.at for a in bad), default=verdict)
    return {
        "firstCanaryAnswer": round(min(a.at for a in canary) - applied, 3) if canary else None,
        "verdict": round(verdict - applied, 3),
        "lastBadAnswer": round(last - applied, 3),
        "lastBadAfterVerdict": round(last - verdict, 3),
        "canaryAnswers": len(canary),
        "badAnswers": len(bad),
        "badAboveHealthy": round(len(bad) - HEALTHY.share_over(BUDGET_MS) * len(canary), 1),
        "pods": len({a.pod for a in canary}),
    }


def revision_of(stack: Stack) -> str:
    """Of the flags in the spec, once the operator has seen them."""
    generation = stack.get()["metadata"]["generation"]
    stack.wait(lambda: stack.status["observedGeneration"] == generation, "the new spec is not seen")
    return str(stack.status["wanted"])


def _lines(status: Mapping[str, Any]) -> int:
    return len(status.get("history") or ())
