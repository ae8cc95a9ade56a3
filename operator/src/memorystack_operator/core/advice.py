"""What to know before a change is applied: one small function a remark, asked in order.

Knows: an outlook, the spec and the status on record. Must not know: how the outlook was computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from memorystack_operator.api.durations import format_duration
from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.observe import RELEASE_IMAGE
from memorystack_operator.core.outlook import Outlook, StageOutlook
from memorystack_operator.core.qualifying import ASSUMPTION
from memorystack_operator.core.render import template_revision
from memorystack_operator.core.status import Status
from memorystack_operator.core.traffic import Traffic

__all__ = ["Plan", "remarks", "wait_text"]

SELDOM: Final = 0.1
"""A chance below this is not worth a remark."""
TIMEOUTS: Final = tuple(timedelta(minutes=m) for m in (5, 10, 20, 30, 60, 120, 240, 480, 1440, 2880, 10080))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a remark may look at."""

    stack: MemoryStack
    status: Status
    outlook: Outlook


def remarks(plan: Plan) -> tuple[str, ...]:
    """One sentence each, most important first."""
    return tuple(text for ask in REMARKS for text in ask(plan))


def wait_text(seconds: float | None) -> str:
    """A time for people: `40 s`, `7 min`, `2.5 h`."""
    if seconds is None:
        return "never"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _first_start(plan: Plan) -> Iterable[str]:
    if plan.status.stable is None:
        yield (
            "nothing of this name has run here yet: its first start takes every flag of the file as it is, untried; "
            "below is what would happen had it run with the defaults"
        )


def _template(plan: Plan) -> Iterable[str]:
    stable = plan.status.stable
    if stable and stable.template != template_revision(plan.stack, stable.image or RELEASE_IMAGE):
        yield "the pod template changes: an ordinary rolling update comes first, and is not judged"


def _under_way(plan: Plan) -> Iterable[str]:
    rollout = plan.status.rollout
    if rollout and rollout.stage not in {s.name for s in plan.outlook.stages if s.value == rollout.value}:
        yield f"{rollout.stage} is being tried now with {rollout.value}: it is taken back first (Superseded)"
    if rollout and plan.stack.spec.rollout.wire_budgets().revision != rollout.budgets:
        yield "the budgets change in the middle of a rollout: its evidence starts again"


def _nothing(plan: Plan) -> Iterable[str]:
    if not plan.outlook.stages:
        yield "every flag of the file serves already: nothing would be tried"


def _rejected(plan: Plan) -> Iterable[str]:
    for stage in plan.outlook.stages:
        if stage.rejected:
            yield f"{stage.name} would not be tried ({stage.rejected}): change its value, or memorystack retry"


def _one_replica(plan: Plan) -> Iterable[str]:
    if plan.stack.spec.least_replicas < 2 and plan.outlook.tried:
        yield (
            "one replica: a surge pod is started to compare with, half of the requests get the flag whatever the step's "
            "weight, and the pod is removed afterwards; starting and warming it are not in the times given"
        )


def _no_traffic(plan: Plan) -> Iterable[str]:
    if not plan.outlook.traffic:
        yield (
            "no traffic is known yet (about a minute of it must have been seen), so no time can be given: a promotion takes "
            "about 75 good canary requests of each operation, 150 with 1 % bad, 330 with 2 %, times the design effect"
        )
    elif plan.outlook.unjudged:
        yield f"{', '.join(plan.outlook.unjudged)}: no request seen lately, so the budget holds nothing back and proves nothing"


def _over_budget(plan: Plan) -> Iterable[str]:
    for traffic in plan.outlook.traffic:
        if traffic.over_budget:
            yield (
                f"{traffic.operation} is over its budget now ({100 * traffic.share:.1f} % bad): a flag is promoted only "
                "when it is proved better than what serves now; the time given is for one that halves the bad share"
            )


def _timeout(plan: Plan) -> Iterable[str]:
    analysis = plan.stack.spec.rollout.analysis
    for stage in plan.outlook.tried:
        bake = sum(s.min_seconds for s in stage.steps)
        if bake >= plan.outlook.timeout_seconds:
            yield f"{stage.name}: minDuration of the steps alone ({wait_text(bake)}) reaches the timeout: raise analysis.timeout"
        elif stage.in_time is not None and stage.median_seconds is None:
            yield (
                f"{stage.name}: the bad share is so close to 5 % that no evidence can tell: it would end as Inconclusive; "
                "raise the budget, or analysis.onInconclusive: Hold and decide yourself"
            )
        elif stage.late_seconds is not None and stage.late_seconds > plan.outlook.timeout_seconds:
            yield (
                f"{stage.name}: analysis.timeout {format_duration(analysis.timeout)} is shorter than what the evidence "
                f"may need (nine of ten healthy flags are decided in {wait_text(stage.late_seconds)}): set timeout: "
                f"{_enough(stage.late_seconds)}{_fewer(stage)}, or onInconclusive: Hold"
            )


def _fewer(stage: StageOutlook) -> str:
    return ", or fewer steps (each is proved anew)" if len(stage.steps) > 1 else ""


def _proving(plan: Plan) -> Iterable[str]:
    """Will Plain have decided after three minutes, and what then?"""
    paired = plan.stack.spec.rollout.analysis.promotion == "Paired"
    for stage in plan.outlook.tried:
        slow = [o for step in stage.steps for o in step.operations if o.undecided > SELDOM]
        if not slow:
            continue
        names = {o.operation for o in slow}
        chance = f"in {100 * max(o.undecided for o in slow):.0f} % of the cases a step is not decided in 3 min"
        why = _no_pairs(stage.name, [t for t in plan.outlook.traffic if t.operation in names])
        if paired and why:
            yield f"{stage.name}: {chance}, and pairs cannot prove it: {why}"
        elif paired:
            yield f"{stage.name}: {chance}; then it goes on as Proving, in pairs; {ASSUMPTION}"
        elif not why:
            yield f"{stage.name}: {chance}; analysis.promotion: Paired would decide sooner under bursts, and {ASSUMPTION}"


def _no_pairs(stage: str, traffic: Sequence[Traffic]) -> str:
    if stage == "cache":
        return "cache sizes never qualify, as what a cache holds outlasts a window"
    tight = next((t for t in traffic if not t.room.usable), None)
    if tight is None:
        return ""
    return (
        f"{tight.operation} may be up to {100 * tight.room.limit:.1f} % bad in the long run by {tight.room.hours:.1f} h of "
        "history, which leaves too little room below 5 %"
    )


BURSTS: Final = {
    "Short": "how bursty it is was measured on a short history, so the real times may be shorter",
    "Carried": "how bursty it is was measured before the last promotion",
    "Assumed": "how bursty it is could not be measured, so a cautious guess is used",
}
"""By the source of a design effect; a measured one needs no remark."""


def _young(plan: Plan) -> Iterable[str]:
    for traffic in plan.outlook.traffic:
        if traffic.effect.source != "Measured":
            yield f"{traffic.operation}: {BURSTS[traffic.effect.source]} ({traffic.effect.message})"


REMARKS: Final[tuple[Callable[[Plan], Iterable[str]], ...]] = (
    _first_start,
    _nothing,
    _template,
    _under_way,
    _rejected,
    _one_replica,
    _no_traffic,
    _over_budget,
    _timeout,  # the one that people lose a night over
    _proving,
    _young,
)


def _enough(seconds: float) -> str:
    wanted = next((t for t in TIMEOUTS if t.total_seconds() >= seconds), TIMEOUTS[-1])
    return format_duration(wanted)
