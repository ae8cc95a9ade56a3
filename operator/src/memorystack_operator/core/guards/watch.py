"""Guards of the watch after 100 %: report a stack over budget, and convict a promoted flag only by comparison.

Knows: alarms and the reverse canary's answers. Must not know: how a move is carried out.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Final

from memorystack_operator.core.canary import pods_for
from memorystack_operator.core.evidence import Evidence
from memorystack_operator.core.failing import effect_of, failed, most_failing
from memorystack_operator.core.limits import budget_text, switchback_level
from memorystack_operator.core.phrases import multiple
from memorystack_operator.core.reverse import SHARE, Answer, Reverse, answer_of, compare
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.slices import Book, pooled
from memorystack_operator.core.stabilization import OverBudget, Sight, look, phi_at, slow, threshold
from memorystack_operator.core.switchback import Answer as Pairs
from memorystack_runtime.contract import EvidenceReport, Operation

__all__ = ["reverse_overtaken", "reverse_switching_back", "reverse_verdict", "stack_over_budget"]

BAD: Final = "bad"
FAILED: Final = "failed"


def stack_over_budget(situation: Situation) -> Outcome | None:
    """Alarm, the end of one, or the question which flag did it. New flags in the spec come first, if they can begin."""
    watch, waiting = situation.status.watch, bool(situation.pending)
    surge = situation.status.surge
    can_begin = waiting and not situation.paused and (situation.mains > 1 or (surge is not None and surge.warm))
    if can_begin or not (situation.watched or watch.over):
        return None
    if not situation.watched:
        return Outcome(Move.CALM, "AsInSpec", "no promotion is watched any longer")
    sights, failing = _sights(situation), _failing(situation)
    if watch.over is None:
        return _alarm(situation, sights, failing)
    name, about_failures = watch.over.operation, situation.status.failing
    if not about_failures and name not in [b.operation for b in situation.spec.rollout.budgets]:
        return Outcome(Move.CALM, "AsInSpec", f"{name} has no budget any longer")
    sight = failing if about_failures else sights.get(name)
    if sight and sight.well:
        what = "failed requests are within maxErrorPercent" if about_failures else f"{name} is within its budget"
        counted = _counts(sight, FAILED if about_failures else BAD)
        return Outcome(Move.CALM, "StackRecovered", f"{what} for ten minutes: {counted}", name)
    return None if waiting else _question(situation, watch.over, still=sight is not None and sight.over)


def reverse_overtaken(situation: Situation) -> Outcome | None:
    """What a reverse canary was to find out is no longer the question, or cannot be found out."""
    if situation.rollout.reverse is None:
        return None
    if situation.pending:
        text = f"{situation.pending[0].name} changed in the spec, and is staged first"
        return Outcome(Move.KEEP, "Superseded", text)
    if situation.replicas < 2:
        return Outcome(Move.KEEP, "NoControlArm", "one replica has nobody to be compared with")
    return None


def reverse_switching_back(situation: Situation) -> Outcome | None:
    """Every pod goes back and forth by lot: is the stack worse while it has the promoted value?"""
    rollout = situation.rollout
    test = rollout.switchback
    if not rollout.everywhere or test is None:
        return None
    level = switchback_level(situation.spec, test.number)
    pairs = test.worse + test.better + test.tied
    counted = f"in {test.worse} of {pairs} pairs {test.operation} was worse on all pods with the promoted value"
    answer = test.answer(level)
    if answer is Pairs.HARMS:
        text = f"{_since(rollout.reverse)}{counted} than without, by lot; evidence {multiple(test.finding(level))}"
        return Outcome(Move.TAKE_BACK, "LateRegression", text, test.operation)
    if answer is Pairs.CLEARED:
        return Outcome(Move.KEEP, "EnvironmentOverBudget", f"{counted}: it is the environment", test.operation)
    if situation.since(test.started_at) > situation.spec.rollout.analysis.timeout:
        return Outcome(Move.KEEP, "Inconclusive", f"the switchback did not decide in time: {counted}", test.operation)
    text = (
        f"{counted}; evidence of harm {multiple(test.finding(level))}, {'promoted' if test.on else 'older'} value now"
    )
    return Outcome(Move.HOLD, "SwitchingBack", text, test.operation)


def reverse_verdict(situation: Situation) -> Outcome | None:
    """Always an answer in a reverse canary."""
    rollout, spec = situation.rollout, situation.spec
    test = rollout.reverse
    if test is None:
        return None
    evidence = rollout.asked or Evidence()
    late = rollout.stage_seconds >= spec.rollout.analysis.timeout.total_seconds()
    answer = answer_of(test, evidence, spec, out_of_time=late)
    text = _comparison(situation, test, evidence)
    move, reason, said = {
        Answer.LATE_REGRESSION: (Move.TAKE_BACK, "LateRegression", f"{_since(test)}{text}"),
        Answer.WORSE_BEFORE: (Move.KEEP, "NoRegression", f"the older value is the worse one: {text}"),
        Answer.BOTH_OVER: (Move.SWITCH_ALL, "SwitchbackStarted", f"{text}; every pod goes back and forth by lot"),
        Answer.NO_DIFFERENCE: (
            Move.KEEP,
            "Inconclusive" if late else "NoRegression",
            f"no difference is shown: {text}",
        ),
        Answer.OPEN: (Move.HOLD, "ReverseCanary", text),
    }[answer]
    if move is Move.SWITCH_ALL and rollout.failing:
        # As before a promotion, failures are held against a flag by comparison only: no lot is drawn about them.
        move, reason, said = Move.KEEP, "EnvironmentOverBudget", f"requests fail alike with both values: {text}"
    return Outcome(move, reason, said, test.operation)


def _alarm(situation: Situation, sights: dict[Operation, Sight], failing: Sight | None) -> Outcome | None:
    for operation, sight in sights.items():
        if sight.over:
            limit = _limit(situation, operation)
            text = (
                f"{operation} is over its budget of {limit} on the whole stack: {_counts(sight, BAD)}; {_proof(sight)}"
            )
            return Outcome(Move.ALARM, "StackOverBudget", text, operation)
    if failing is None or not failing.over:
        return None
    worst = most_failing(_reports(situation), _book(situation))
    allowed = f"maxErrorPercent ({situation.spec.rollout.max_error_percent} %)"
    counted = f"{_counts(failing, FAILED)}, most of them by {worst}; {_proof(failing)}"
    text = f"more than {allowed} of the requests fail on the whole stack: {counted}"
    return Outcome(Move.ALARM, "ErrorsOverBudget", text, worst)


def _question(situation: Situation, over: OverBudget, *, still: bool) -> Outcome:
    watch = situation.status.watch
    open_ones = situation.open_to_question(over.operation)
    reason = "ErrorsOverBudget" if situation.status.failing else "StackOverBudget"
    if not open_ones:
        text = "no flag is asked: none was promoted by a verdict with this operation within budget"
    elif situation.replicas < 2:
        text = "one replica has no control arm, so no flag is asked"
    elif situation.paused:
        text = "paused, so no flag is asked"
    elif still and watch.due(open_ones[0], situation.now) and _fit(situation):
        text = f"{over.message}; {open_ones[0].stage} goes back to its older value on half of the pods, to be compared"
        return Outcome(Move.REVERSE, reason, text, over.operation, stage=open_ones[0].stage)
    elif watch.rest_until and situation.now < watch.rest_until:
        text = f"every flag was asked and kept; the next may be asked after {_clock(watch.rest_until)}"
    else:
        text = f"{open_ones[0].stage} is asked when this lasts"
    return Outcome(Move.HOLD, reason, f"{over.message}; {text}", over.operation)


def _fit(situation: Situation) -> bool:
    ready = sum(p.ready for p in situation.seen.pods)
    return situation.seen.settled and ready > pods_for(SHARE, situation.replicas)


def _reports(situation: Situation) -> tuple[EvidenceReport, ...]:
    """Those that came with their rings; empty between two readings of them."""
    return tuple(p.evidence for p in situation.seen.pods if p.evidence and p.evidence.ring)


def _book(situation: Situation) -> Book:
    return Book(situation.stable.revision, situation.spec.rollout.wire_budgets().revision)


def _sights(situation: Situation) -> dict[Operation, Sight]:
    """Of each budgeted operation, where the rings were read."""
    reports, book = _reports(situation), _book(situation)
    calibration = situation.status.calibration
    needed = threshold(situation.spec)
    since, now = situation.stable.since.timestamp(), situation.now.timestamp()
    found = {}
    for budget in situation.spec.rollout.budgets if reports else ():
        name: Operation = budget.operation
        slices = pooled(reports, book, partial(slow, name), since=since, now=now)
        prior = calibration.operations.get(name) if calibration else None
        found[name] = look(slices, partial(phi_at, prior.effect if prior else None), needed, situation.now)
    return found


def _failing(situation: Situation) -> Sight | None:
    """None where the rings were not read."""
    if not (reports := _reports(situation)):
        return None
    since, now = situation.stable.since.timestamp(), situation.now.timestamp()
    slices = pooled(reports, _book(situation), failed, since=since, now=now)
    limit, phi = situation.spec.rollout.max_error_percent / 100, effect_of(situation.status.calibration)
    return look(slices, lambda _: phi, threshold(situation.spec), situation.now, limit)


def _comparison(situation: Situation, test: Reverse, evidence: Evidence) -> str:
    found = compare(test, evidence, situation.spec)
    if situation.rollout.failing:
        what, bad = f"failed requests, limit {situation.spec.rollout.max_error_percent} %", "failed"
    else:
        what, bad = f"{test.operation}, budget {_limit(situation, test.operation)}", "bad"
    return (
        f"{what}: with the older value {evidence.canary.bad} of {evidence.canary.requests} {bad} "
        f"({100 * evidence.canary.share:.1f} %), with the promoted one "
        f"{evidence.stable.bad} of {evidence.stable.requests} ({100 * evidence.stable.share:.1f} %); evidence of a "
        f"regression {multiple(found.regressed)}, of no difference {multiple(found.same)}"
    )


def _since(test: Reverse | None) -> str:
    return f"promoted at {_clock(test.promoted_at)} and harmful since: " if test else ""


def _limit(situation: Situation, operation: Operation) -> str:
    found = next(b.p95 for b in situation.spec.rollout.budgets if b.operation == operation)
    return budget_text(round(found.total_seconds() * 1000))


def _counts(sight: Sight, bad: str) -> str:
    tally = sight.recent if sight.over else sight.lately
    span = "two" if sight.over else "ten"
    return f"{tally.bad} of {tally.requests} {bad} in the last {span} minutes ({100 * tally.share:.1f} %)"


def _proof(sight: Sight) -> str:
    return f"evidence {multiple(sight.finding)}"


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
