"""Why a stage ended as it did, in plain words: one function a reason.

Knows: what was counted, and what it proved. Must not know: the status, or which stage is asked about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from math import exp, log
from typing import Final

from memorystack_operator.api.spec import Spec
from memorystack_operator.api.status import ArmCounts, ProvingResult, SwitchbackResult
from memorystack_operator.core.limits import budget_text
from memorystack_operator.core.qualifying import ASSUMPTION

__all__ = ["AWAY", "DONE", "HEADLINES", "Sentences", "Told", "odds", "sentence", "share_text", "to_one", "why"]

MOST: Final = 1e6


@dataclass(frozen=True, slots=True)
class Told:
    """What a sentence may look at: one stage, ended or under way."""

    spec: Spec
    stage: str
    value: str
    outcome: str
    reason: str
    message: str
    judged: dict[str, ArmCounts]
    switchback: SwitchbackResult | None
    proving: ProvingResult | None
    withdrawals: int
    flipped_at: datetime | None
    ended_at: datetime | None


HEADLINES: Final = {
    "Promoted": "was promoted: every pod serves it.",
    "RolledBack": "was taken back: no pod serves it.",
    "Aborted": "was aborted by a person: no pod serves it.",
    "Superseded": "was overtaken by a newer change, before it was judged.",
    "Inconclusive": "could not be judged in time, so it was taken back.",
    "Calibrating": "is about to be tried.",
    "Progressing": "is being tried.",
    "Withdrawn": "is withdrawn for now: no pod serves it.",
    "Switchback": "is put on and off to find out whether it harms the others.",
    "Proving": "is put on and off to prove that it keeps the budget.",
    "Held": "waits for a person: the evidence did not suffice.",
}
Sentences = tuple[str, ...]
AWAY: Final = (
    "It stays away until its value in the file changes, or somebody says `memorystack retry`; `memorystack promote` takes "
    "it as it is."
)
"""What follows for a flag that is quarantined."""
DONE: Final = "Nothing is left to do."


def _within(told: Told) -> Sentences:
    rate = told.spec.rollout.analysis.false_promotion_rate
    paired = told.proving if told.proving and told.proving.decided else None
    lines = [
        f"{_with_flag(o, c, told)}; 5 % are allowed{'.' if paired else _proof(c, 'within')}" for o, c in _served(told)
    ]
    if paired:
        lines.append(_pairs(paired))
    return (*lines, f"A flag that breaks the budget would pass this proof in at most {_percent(rate)} of the cases.")


def _improves(told: Told) -> Sentences:
    return tuple(
        f"{_both(o, c, told)}{_proof(c, 'better' if c.over_budget_before else 'within')}" for o, c in _served(told)
    )


def _proving(told: Told) -> Sentences:
    if told.proving is None:
        return _own_words(told)
    return (
        "Traffic comes in bursts, and they hide what the flag does; so it goes on and off by lot, in short windows.",
        _pairs(told.proving),
        *(_shared(told) if told.switchback else ()),
    )


def _pairs(proving: ProvingResult) -> str:
    if not proving.pairs:
        return f"No pair of windows with it and without it is whole yet; {ASSUMPTION}."
    parts = [f"{to_one(p.log_e)} for {name} ({to_one(p.needed)} is needed)" for name, p in proving.operations.items()]
    return f"{proving.pairs} pairs of windows with it and without it speak with {' and '.join(parts)}; {ASSUMPTION}."


def _harmful(told: Told) -> Sentences:
    worst = max(_served(told), key=lambda item: item[1].log_e.get("worse", 0.0), default=None)
    if worst is None:
        return (told.message,)
    operation, counts = worst
    rate = told.spec.rollout.analysis.false_rollback_rate
    return (
        f"{_both(operation, counts, told)}{_proof(counts, 'worse')}",
        f"A flag that harms nobody is taken back in at most {_percent(rate)} of the cases, however often we look.",
    )


def _shared(told: Told) -> Sentences:
    test = told.switchback
    if test is None:
        return (told.message,)
    suspicion = (
        f"While {told.stage} was on, {test.operation} became too slow, perhaps on all pods: either the flag overloads "
        "something that all pods share, or something else made everybody slow."
    )
    pairs, tense = test.worse + test.better + test.tied, "was" if told.ended_at else "is"
    if not pairs:
        return suspicion, f"To find out, it {tense} put on and off by lot; no pair of short windows is whole yet."
    found = (
        f"To find out, it {tense} put on and off by lot: in {test.worse} of {pairs} pairs of short windows "
        f"{test.operation} was worse with it on. The evidence against it is {to_one(test.log_e)}; {to_one(test.needed)} is needed to blame it."
    )
    return suspicion, found


def _crashing(told: Told) -> Sentences:
    return (f"Pods with the flag died, the others did not: {told.message}.",)


def _out_of_time(told: Told) -> Sentences:
    return (f"Neither harm nor harmlessness was proved: {told.message}.",)


def _by_hand(told: Told) -> Sentences:
    return ("A person decided, not the evidence.",)


def _own_words(told: Told) -> Sentences:
    return (f"{sentence(told.message, told.stage)}.",)


def _calibrating(told: Told) -> Sentences:
    return (
        "No pod has it yet: first the operator learns from their own past how much pods differ and how bursty traffic is.",
        *_own_words(told),
    )


PROMISES: Final = {"better": "is better than what it replaces", "within": "keeps the budget"}


def _trying(told: Told) -> Sentences:
    if not _served(told):
        return ("No request has met it yet.",)
    lines = []
    for operation, counts in _served(told):
        question = "better" if counts.over_budget_before else "within"
        have, against = (to_one(counts.log_e.get(q, 0.0)) for q in (question, "worse"))
        needed, limit = (to_one(counts.needed.get(q, 0.0)) for q in (question, "worse"))
        lines.append(
            f"{_both(operation, counts, told)}. The evidence that it {PROMISES[question]} is {have} so far, and {needed} "
            f"promotes it; that it is worse, {against}, and {limit} takes it back."
        )
    return tuple(lines)


def _withdrawn(told: Told) -> Sentences:
    return ("It was taken off all pods at once, which says nothing against it yet.", *_own_words(told))


REASONS: Final[dict[str, Callable[[Told], Sentences]]] = {
    "WithinBudget": _within,
    "Improves": _improves,
    "P95OverBudget": _harmful,
    "Worse": _harmful,
    "ErrorsOverBudget": _own_words,
    "HarmsSharedDependency": _shared,
    "PodsCrashing": _crashing,
    "Inconclusive": _out_of_time,
    "Aborted": _by_hand,
    "PromotedByHand": _by_hand,
    "Calibrating": _calibrating,
    "Progressing": _trying,
    "Withdrawn": _withdrawn,
    "Switchback": _shared,
    "Proving": _proving,
}
"""How an ended stage, or one in that state, is told; a reason that is not here speaks for itself in the operator's words."""


def why(told: Told) -> Sentences:
    """The reason, what it cost, and what follows."""
    reason = REASONS.get(told.reason, _own_words)
    return (*reason(told), *_exposure(told), *_next(told))


SHARED: Final = frozenset({"HarmsSharedDependency", "Withdrawn", "Switchback"})
"""Where everybody was slow, a comparison with the others says nothing of what it cost."""


def _exposure(told: Told) -> Sentences:
    """What it cost the users."""
    served = sum(c.canary_requests for c in told.judged.values())
    if not served or not told.flipped_at:
        return ()
    if told.reason in SHARED:
        total = served + sum(c.stable_requests for c in told.judged.values())
        bad = sum(c.canary_bad + c.stable_bad for c in told.judged.values())
        when = "While it was on" if told.proving else "Before it was withdrawn"
        return (f"{when}, {bad:,} of {total:,} requests were bad, those on all pods counted.",)
    extra = sum(
        c.canary_bad - c.canary_requests * _share(c.stable_bad, c.stable_requests) for c in told.judged.values()
    )
    took = f" in {_seconds((told.ended_at - told.flipped_at).total_seconds())}" if told.ended_at else " so far"
    harm = (
        f"about {extra:,.0f} more of them bad than without it" if extra >= 1 else "no more of them bad than without it"
    )
    times = "once" if told.withdrawals == 1 else f"{told.withdrawals} times"
    away = f"; it was withdrawn {times} meanwhile" if told.withdrawals else ""
    return (f"{served:,} requests met the flag{took}, {harm}{away}.",)


def _next(told: Told) -> Sentences:
    if told.outcome in ("RolledBack", "Aborted", "Inconclusive"):
        return (AWAY,)
    if told.outcome == "Promoted":
        return (DONE,)
    return ()


def _served(told: Told) -> list[tuple[str, ArmCounts]]:
    return [(name, counts) for name, counts in told.judged.items() if counts.canary_requests]


def _with_flag(operation: str, counts: ArmCounts, told: Told) -> str:
    share = _share(counts.canary_bad, counts.canary_requests)
    budget = next((ms for o, ms in told.spec.rollout.wire_budgets().p95_ms.items() if o == operation), None)
    slow = f"took longer than {budget_text(budget)} or failed" if budget else "were bad"
    return f"Of {counts.canary_requests:,} {operation} requests with the flag {100 * share:.1f} % {slow}"


def _both(operation: str, counts: ArmCounts, told: Told) -> str:
    stable = _share(counts.stable_bad, counts.stable_requests)
    return (
        f"{_with_flag(operation, counts, told)}, against {100 * stable:.1f} % of {counts.stable_requests:,} at the same "
        "time without it"
    )


def _proof(counts: ArmCounts, question: str) -> str:
    have, needed = counts.log_e.get(question), counts.needed.get(question)
    if have is None or needed is None:
        return "."
    return f". The evidence is {to_one(have)}; {to_one(needed)} was needed."


def sentence(text: str, name: str = "") -> str:
    """With a capital, unless it begins with a name: of a flag (`name` or in camel case), or of a pod."""
    first = text.partition(" ")[0].rstrip(":;,.")
    plain = first.isalpha() and first.islower() and first != name
    return f"{text[:1].upper()}{text[1:]}" if plain else text


def share_text(bad: int, requests: int) -> str:
    """As "1.5 % of 1,200"."""
    return f"{100 * _share(bad, requests):.1f} % of {requests:,}"


def to_one(log_e: float) -> str:
    """As "66 to 1"."""
    value = odds(log_e)
    if value >= MOST:
        return "over 1,000,000 to 1"
    return f"{value:,.0f} to 1" if value >= 10 else f"{value:.2g} to 1"


def odds(log_e: float) -> float:
    """Evidence as "so many to one". Capped: beyond a million to one nobody reads the rest."""
    return round(exp(min(log_e, log(MOST))), 2)


def _share(bad: int, requests: int) -> float:
    return bad / requests if requests else 0.0


def _percent(rate: str) -> str:
    return f"{100 * float(rate):g} %"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
