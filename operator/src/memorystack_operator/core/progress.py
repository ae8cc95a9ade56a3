"""The printer columns: one line of a rollout for `kubectl get`. Knows the status; nothing in it moves while the stack is idle."""

from __future__ import annotations

from memorystack_operator.api.status import Progress, RolloutRecord
from memorystack_operator.core.canary import weight_at
from memorystack_operator.core.status import Status

__all__ = ["progress_of"]


def progress_of(status: Status) -> Progress:
    """The step under way, and the canary's p95 at the last verdict."""
    p95 = _p95(status.history[-1]) if status.history else ""
    if status.rollout is None:
        return Progress(p95=p95)
    weight = 50 if status.surge else weight_at(status.rollout.plan, status.rollout.step)
    step = f"{status.rollout.stage} {status.rollout.step + 1}/{len(status.rollout.plan)}"
    return Progress(step=step, weight=f"{weight}%" if status.rollout.flags_on else "0%", p95=p95)


def _p95(record: RolloutRecord) -> str:
    found = ((name, counts.canary_p95_ms) for name, counts in record.judged.items())
    return ", ".join(f"{name} {p95:.0f}ms" for name, p95 in found if p95 is not None)
