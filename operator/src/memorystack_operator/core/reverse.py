"""The evidence of a reverse canary: some pods have the flag's previous value back, the others keep the promoted one.

Knows: counts of both arms. Must not know: pods, or what follows from an answer. It is the comparison of verdict.md 1.5
in a mirror: what "better" says of the pods with the previous value, it says of the promoted value as "worse".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import log
from typing import Final, Self

from memorystack_operator.api.spec import Spec
from memorystack_operator.core.evidence import DesignEffect, Evidence, Finding, Read, Tally, Value
from memorystack_operator.core.limits import limits_of, switchback_level
from memorystack_operator.core.noncentral import odds_gain
from memorystack_runtime.contract import Operation

__all__ = ["RELEVANT", "SHARE", "Answer", "Comparison", "Reverse", "answer_of", "between", "compare"]

SHARE: Final = 50
"""Weight of a reverse canary: two equal arms tell the most, and both values were good enough to serve once."""
RELEVANT: Final = 1.5
"""Odds ratio: a flag that harms by half, or more, is not acquitted."""


class Answer(StrEnum):
    """What the two arms say so far."""

    OPEN = "Open"
    LATE_REGRESSION = "LateRegression"
    """The promoted value is over budget, and the previous one better."""
    WORSE_BEFORE = "WorseBefore"
    """The previous value is the worse one."""
    BOTH_OVER = "BothOver"
    """No difference that matters, and both are over budget: the environment, or harm to a part that all share."""
    NO_DIFFERENCE = "NoDifference"
    """No difference that matters, and not both over budget any more."""


class Reverse(Value):
    """What a reverse canary adds to a rollout's own evidence."""

    number: int
    """k: the k-th of this promotion."""
    operation: Operation
    """The one that was over budget: the others decide nothing."""
    promoted_at: datetime
    same: float = 0.0
    """Log e-value of "no difference that matters"."""

    def after(self, read: Read, effect: DesignEffect) -> Self:
        """With one more reading."""
        return self.model_copy(update={"same": round(self.same + _same(read, effect), 9)})


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the two arms have shown of the operation that was over budget."""

    regressed: Finding
    """The promoted value is the worse one."""
    over: Finding
    """It is over budget."""
    older_over: Finding
    older_worse: Finding
    same: Finding
    """No difference that matters."""
    enough: bool
    """Both arms have requests to judge by."""


def compare(reverse: Reverse, evidence: Evidence, spec: Spec) -> Comparison:
    """In the mirror: the canary pods have the older value."""
    _, beta = limits_of(spec)
    level = switchback_level(spec, reverse.number)
    findings = evidence.findings(level, beta)
    return Comparison(
        regressed=Finding(findings.better.log_e, log(1 / level)),
        over=findings.stable_over,
        older_over=findings.over,
        older_worse=findings.worse,
        same=Finding(reverse.same, log(1 / beta)),
        enough=findings.enough,
    )


def answer_of(reverse: Reverse, evidence: Evidence, spec: Spec, *, out_of_time: bool) -> Answer:
    """First match wins, in the order of the table of verdict.md 8."""
    found = compare(reverse, evidence, spec)
    if not found.enough:
        return Answer.NO_DIFFERENCE if out_of_time else Answer.OPEN
    if found.regressed.holds and found.over.holds:
        return Answer.LATE_REGRESSION
    if found.older_worse.holds:
        return Answer.WORSE_BEFORE
    if not found.same.holds and not out_of_time:
        return Answer.OPEN
    if found.older_over.holds and found.over.holds:
        return Answer.BOTH_OVER
    # Equal, and still more bad requests than allowed: a little later both arms are proved over, or they have recovered.
    well = (evidence.canary + evidence.stable).share <= evidence.p0
    return Answer.NO_DIFFERENCE if well or out_of_time else Answer.OPEN


def between(before: Evidence, after: Evidence) -> Read:
    """What the reading between two states of the evidence had added."""
    return Read(
        Tally(after.canary_requests - before.canary_requests, after.canary_bad - before.canary_bad),
        Tally(after.stable_requests - before.stable_requests, after.stable_bad - before.stable_bad),
    )


def _same(read: Read, effect: DesignEffect) -> float:
    """Log likelihood ratio of equal odds against odds that are `RELEVANT` times smaller on the canary.

    By the exact distribution: where many requests are bad the binomial one takes a difference of odds for less than it
    is, and would acquit.
    """
    canary, stable = read.canary, read.stable
    both = canary.bad + stable.bad
    if not (both and canary.requests and stable.requests):
        return 0.0
    harm = log(effect.mirrored_margin / RELEVANT)
    return odds_gain(canary.bad, canary.requests, stable.requests, both, log_odds=0.0, log_null=harm) / effect.phi_rel
