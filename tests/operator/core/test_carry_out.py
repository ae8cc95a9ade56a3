"""What each move of a stage leaves in the status, and what it tells: from its begin to its promotion, or back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from support.moments import BUDGETS, canary_world, moment_of, with_rollout, with_status
from support.world import FLAG, World, remembered, rollout, settled_world, stack

from memorystack_operator.api.status import Rejection, Stable
from memorystack_operator.core.change import Change
from memorystack_operator.core.evidence import Evidence, Tally
from memorystack_operator.core.pairing import prove
from memorystack_operator.core.reverse import Reverse
from memorystack_operator.core.rollout import carry_out
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.stabilization import OverBudget, Promotion
from memorystack_operator.core.state import PlannedStep, RolloutState, RolloutStatus
from memorystack_operator.core.status import Settling
from memorystack_operator.core.surge import Surge
from memorystack_operator.core.surging import HALVES
from memorystack_runtime.contract import revision_of

VALUE = '{"concurrency":4}'
WHY = "because of this"


@remembered
def edited_world(**fields) -> World:
    """Six pods that have served, and a flag was edited a moment ago; its stage has not begun."""
    world = World(stack(replicas=6, **fields))
    world.run(200)
    world.edit(features={**FLAG, "cache": {"maxSize": 500}})
    return world


@pytest.fixture
def idle() -> Situation:
    return moment_of(edited_world())


@pytest.fixture
def trying() -> Situation:
    """One of three pods carries the flag and has served."""
    return moment_of(canary_world(), later=7)


def moved(situation: Situation, move: Move, reason: str = "Reason", **fields: object) -> Change:
    return carry_out(situation, Outcome(move, reason, WHY, **fields))


def told(change: Change) -> list[tuple[str, str, str]]:
    return [(str(e.reason), e.message, e.kind) for e in change.events]


def left(change: Change) -> RolloutStatus:
    assert change.status.rollout is not None
    return change.status.rollout


def rejection(stage: str, value: str = VALUE) -> Rejection:
    return Rejection(stage=stage, value=value, template="t", reason="Worse", message="slow", at=canary_world().now)


# -- nothing changes but the words -------------------------------------------------


def test_a_stage_that_waits_says_for_what(trying: Situation):
    change = moved(trying, Move.HOLD, "Baking")
    assert change.status == with_rollout(trying, reason="Baking", message=WHY).status
    assert told(change) == []


def test_a_stack_at_rest_that_waits_stays_as_it_is(idle: Situation):
    assert moved(idle, Move.HOLD) == Change(idle.status)


def test_an_action_is_acknowledged_with_what_came_of_it(trying: Situation):
    change = moved(trying, Move.ACKNOWLEDGE, "Paused", acknowledge="pause@7")
    assert (change.status.last_action, change.status.last_action_result) == ("pause@7", f"Paused: {WHY}")
    assert told(change) == [("Paused", WHY, "Normal")]
    assert moved(trying, Move.ACKNOWLEDGE, "Paused").status.last_action == ""


def test_the_first_spec_is_adopted_with_its_flags_its_template_and_its_image(idle: Situation):
    change = moved(with_status(idle, stable=None), Move.ADOPT)
    wanted = idle.spec.features.flags()
    assert change.status.stable == Stable(
        revision=revision_of(wanted),
        features=wanted,
        template=idle.template,
        image=idle.seen.image,
        since=idle.now,
    )
    assert told(change) == []


# -- what people ask for -----------------------------------------------------------


def test_a_refusal_changes_nothing_and_is_a_warning(trying: Situation):
    change = moved(trying, Move.ACKNOWLEDGE, "ActionRefused")
    assert change.status == trying.status
    assert told(change) == [("ActionRefused", WHY, "Warning")]


def test_pause_and_resume_are_on_record(trying: Situation):
    paused = moved(trying, Move.ACKNOWLEDGE, "Paused")
    assert paused.status == with_status(trying, paused=True).status
    resumed = moved(replace(trying, status=paused.status), Move.ACKNOWLEDGE, "Resumed")
    assert resumed.status == trying.status
    assert told(resumed) == [("Resumed", WHY, "Normal")]


def test_retry_forgets_every_rejection_and_ends_a_stage_that_is_held(trying: Situation):
    rejected = with_status(trying, rejected=(rejection("cache"), rejection("httpPool")))
    on = moved(rejected, Move.ACKNOWLEDGE, "Retried")
    assert (on.status.rejected, on.status.rollout) == ((), trying.rollout)
    assert told(on) == [("Retried", WHY, "Normal")]
    held = moved(with_rollout(rejected, state=RolloutState.HELD), Move.ACKNOWLEDGE, "Retried")
    assert (held.status.rejected, held.status.rollout) == ((), None)
    assert held.status.history[-1].outcome == "Inconclusive"


def test_what_a_person_promotes_serves_everywhere_and_is_watched_as_theirs(idle: Situation):
    change = moved(with_status(idle, rejected=(rejection("cache"),)), Move.PROMOTE_ALL, "PromotedByHand")
    wanted = idle.spec.features.flags()
    stable = change.status.stable
    assert (stable.features, stable.revision, stable.since) == (wanted, revision_of(wanted), idle.now)
    assert (change.status.rejected, change.status.rollout) == ((), None)
    watched = [(p.stage, p.value, p.by_hand, p.at, p.before) for p in change.status.watch.promotions]
    assert [(stage, by_hand) for stage, _, by_hand, _, _ in watched] == [("parallelIngest", True), ("cache", True)]
    assert watched[0][1] == VALUE
    assert all(at == idle.now and before == idle.stable.features for *_, at, before in watched)
    assert told(change) == [("PromotedByHand", WHY, "Warning")]


@pytest.mark.parametrize(("reverse", "ended"), [(False, "Promoted"), (True, "Superseded")])
def test_a_promotion_by_hand_ends_the_stage_under_way(trying: Situation, reverse: bool, ended: str):
    there = reversing(trying) if reverse else trying
    change = moved(there, Move.PROMOTE_ALL, "PromotedByHand")
    assert change.status.rollout is None
    assert change.status.history[-1].outcome == ended


# -- another template, and the end of settling -------------------------------------


def test_another_template_serves_unjudged_and_ends_the_stage_and_the_alarm(trying: Situation):
    over = OverBudget(operation="store", since=trying.now, message="over")
    before = with_status(trying, watch=trying.status.watch.model_copy(update={"over": over}))
    change = moved(replace(before, template="newer"), Move.RETEMPLATE, "NotJudged")
    stable = change.status.stable
    assert (stable.template, stable.image, stable.since) == ("newer", trying.seen.image, trying.now)
    assert stable.features == trying.stable.features
    assert (change.status.rollout, change.status.history[-1].outcome) == (None, "Superseded")
    assert (change.status.not_judged, change.status.watch.over) == (WHY, None)
    assert told(change) == [("NotJudged", WHY, "Normal")]


def test_another_template_removes_the_surge_pod_and_needs_no_stage(idle: Situation):
    there = with_status(idle, surge=Surge(since=idle.now))
    change = moved(replace(there, template="newer"), Move.RETEMPLATE, "NotJudged")
    assert (change.status.surge, change.status.history) == (None, ())
    assert told(change) == [("NotJudged", WHY, "Normal"), ("SurgePodRemoved", WHY, "Normal")]


def test_when_every_pod_serves_the_stable_flags_the_line_of_that_stage_is_dated(trying: Situation):
    ended = moved(trying, Move.PROMOTE, "WithinBudget").status
    first = ended.history[-1].model_copy(update={"id": "another"})
    before = replace(trying, status=ended.model_copy(update={"history": (first, ended.history[-1])}))
    assert before.status.settling == Settling(record=ended.history[-1].id, since=trying.now)
    change = moved(before, Move.SETTLED)
    assert change.status.settling is None
    assert [line.everywhere_at for line in change.status.history] == [None, trying.now]


# -- a stage begins ----------------------------------------------------------------


def test_a_stage_begins_with_the_first_flag_that_waits_on_top_of_the_stable_ones(idle: Situation):
    change = moved(with_status(idle, not_judged="before"), Move.BEGIN, "RolloutStarted")
    begun = left(change)
    assert (begun.stage, begun.value, begun.stages) == ("parallelIngest", VALUE, ("parallelIngest", "cache"))
    assert begun.target.parallel_ingest.concurrency == 4
    assert begun.target.cache == idle.stable.features.cache
    assert begun.revision == revision_of(begun.target)
    assert begun.budgets == idle.spec.rollout.wire_budgets().revision
    assert (begun.state, begun.step, begun.flags_on) == (RolloutState.CALIBRATING, 0, False)
    assert (begun.reason, begun.message, begun.note) == ("Calibrating", WHY, "")
    assert (begun.started_at, begun.state_since) == (idle.now, idle.now)
    assert begun.plan == (PlannedStep(weight=34, min_seconds=10),)
    assert len(begun.pods) == 2
    assert change.status.not_judged == ""
    assert told(change) == [("RolloutStarted", WHY, "Normal")]


def test_a_stage_is_dated_by_when_its_change_was_first_seen(idle: Situation):
    earlier = idle.now - timedelta(minutes=3)
    assert left(moved(with_status(idle, changed_at=earlier), Move.BEGIN)).changed_at == earlier
    assert left(moved(with_status(idle, changed_at=None), Move.BEGIN)).changed_at == idle.now


def test_each_try_of_each_stack_has_a_name_and_a_lot_of_its_own(idle: Situation):
    other = idle.stack.metadata.model_copy(update={"uid": "u-2"})
    later = replace(idle, now=idle.now + timedelta(seconds=1))
    tries = [
        left(moved(moment, Move.BEGIN))
        for moment in (idle, later, replace(idle, stack=idle.stack.model_copy(update={"metadata": other})))
    ]
    assert len({t.id for t in tries}) == 3
    assert all(t.id.startswith("parallelIngest-") for t in tries)
    assert left(moved(idle, Move.BEGIN)) == tries[0]


def test_steps_that_are_merged_are_told_when_the_stage_begins():
    steps = [{"weight": 34, "minDuration": "5s"}, {"weight": 40, "minDuration": "9s"}]
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=steps))
    change = moved(moment_of(world), Move.BEGIN)
    note = "merged, as they take the same number of 3 pods: 34 % and 40 %"
    assert left(change).note == note
    assert told(change) == [("RolloutStarted", f"{WHY} (steps {note})", "Normal")]


def test_with_a_surge_pod_a_stage_says_that_half_of_the_requests_are_taken(idle: Situation):
    assert left(moved(with_status(idle, surge=Surge(since=idle.now)), Move.BEGIN)).note == HALVES


# -- the flags are flipped ---------------------------------------------------------


def before_the_flip(**fields: object) -> Situation:
    """Calibrating; the canary pods have been restarted before."""
    world = edited_world()
    world.edit(rollout=rollout(**fields))
    begun = moved(moment_of(world), Move.BEGIN).status
    for pod in world.pods:
        pod.restarts = 3 if pod.name == begun.rollout.pods[0] else 0
    return replace(moment_of(world, later=5, history=True), status=begun)


def test_at_the_flip_the_clocks_start_and_what_was_known_before_is_kept():
    situation = before_the_flip()
    change = moved(situation, Move.FLIP, "Calibrated")
    after = left(change)
    assert (after.state, after.flags_on) == (RolloutState.PROGRESSING, True)
    assert (after.state_since, after.flipped_at, after.last_tick, after.rooms_at) == (situation.now,) * 4
    assert (after.reason, after.message) == ("Calibrated", WHY)
    assert after.restarts == {after.pods[0]: 3}
    assert after.calibration == situation.calibration
    assert after.rooms == {name: prior.room for name, prior in situation.calibration.operations.items()}
    assert len(after.baselines) == 6
    assert told(change) == [("StageStarted", f"parallelIngest on {', '.join(after.pods)}; {WHY}", "Normal")]


def test_evidence_begins_at_the_share_of_the_first_step_and_as_strict_as_the_spec_says():
    situation = before_the_flip(maxErrorPercent=3)
    after = left(moved(situation, Move.FLIP))
    for name, prior in situation.calibration.operations.items():
        assert after.evidence[name] == Evidence(effect=prior.effect.for_share(2 / 6))
    assert after.failures == Evidence(p0=0.03, effect=situation.calibration.failures)
    strict = left(moved(before_the_flip(analysis={"interval": "1s", "sensitivity": "Strict"}), Move.FLIP))
    assert all(e.strict for e in strict.evidence.values())
    assert not strict.failures.strict


def test_a_flip_without_a_pod_says_so():
    situation = with_rollout(before_the_flip(), pods=())
    assert told(moved(situation, Move.FLIP))[0][1] == f"parallelIngest on no pod yet; {WHY}"


# -- from step to step -------------------------------------------------------------

PLAN = (PlannedStep(weight=34), PlannedStep(weight=67), PlannedStep(weight=0))


def at_step(situation: Situation, step: int) -> Situation:
    """A bursty stack: its design effect was measured at the rate of all pods."""
    calibration = situation.rollout.calibration
    bursty = {
        name: prior.model_copy(
            update={"effect": prior.effect.model_copy(update={"phi_abs": 7.0, "source": "Measured"})}
        )
        for name, prior in calibration.operations.items()
    }
    known = calibration.model_copy(update={"operations": bursty})
    return with_rollout(situation, plan=PLAN, step=step, calibration=known)


def test_the_next_step_begins_with_what_convicts_and_without_what_promotes(trying: Situation):
    change = moved(at_step(trying, 0), Move.ADVANCE, "WithinBudget")
    after = left(change)
    assert (after.step, after.step_seconds, after.stage_seconds) == (1, 0.0, trying.rollout.stage_seconds)
    assert (after.state, after.state_since) == (RolloutState.PROGRESSING, trying.now)
    assert (after.reason, after.message) == ("WithinBudget", WHY)
    for name, evidence in after.evidence.items():
        assert evidence.canary == trying.rollout.evidence[name].canary != Tally()
        assert evidence.step_requests == 0
        assert evidence.effect.phi_abs == pytest.approx(1 + 6 * 2 / 3)
    assert told(change) == [("StepStarted", f"step 2: 67 % of the pods; {WHY}", "Normal")]


def test_a_pause_keeps_the_share_of_the_step_before_it(trying: Situation):
    change = moved(at_step(trying, 1), Move.ADVANCE, "WithinBudget")
    for name, evidence in left(change).evidence.items():
        assert evidence.effect == trying.rollout.evidence[name].effect
    assert told(change) == [("StepStarted", f"step 3: waits for a person; {WHY}", "Normal")]


def test_a_step_without_a_calibration_keeps_the_design_effect_that_it_has(trying: Situation):
    after = left(moved(with_rollout(at_step(trying, 0), calibration=None), Move.ADVANCE))
    assert all(e.effect == trying.rollout.evidence[name].effect for name, e in after.evidence.items())


# -- promoted ----------------------------------------------------------------------


def test_a_promoted_flag_serves_everywhere_and_its_old_rejections_are_forgotten(trying: Situation):
    mine, other = rejection("parallelIngest", "{}"), rejection("cache")
    change = moved(with_status(trying, rejected=(mine, other)), Move.PROMOTE, "WithinBudget")
    stable = change.status.stable
    assert (stable.features, stable.revision) == (trying.rollout.target, trying.rollout.revision)
    assert (stable.since, stable.template) == (trying.now, trying.stable.template)
    assert change.status.rejected == (other,)
    assert (change.status.rollout, change.status.history[-1].outcome) == (None, "Promoted")
    assert told(change) == [
        ("StagePromoted", f"parallelIngest serves everywhere (WithinBudget): {WHY}", "Normal"),
        ("RolloutCompleted", "every flag of the spec serves everywhere", "Normal"),
    ]


def test_a_rollout_is_complete_only_when_no_other_flag_waits(trying: Situation):
    change = moved(with_rollout(trying, stages=("parallelIngest", "cache")), Move.PROMOTE)
    assert [reason for reason, _, _ in told(change)] == ["StagePromoted"]


def test_a_promoted_flag_is_watched_with_what_it_replaced(trying: Situation):
    (watched,) = moved(trying, Move.PROMOTE).status.watch.promotions
    assert watched == Promotion(
        stage="parallelIngest", value=VALUE, before=trying.stable.features, at=trying.now, paired=False
    )
    proof = prove(trying, Outcome(Move.PROVE, "r", "m")).status.rollout.proving
    (paired,) = moved(with_rollout(trying, proving=proof), Move.PROMOTE).status.watch.promotions
    assert paired.paired


@pytest.mark.parametrize(
    ("over_before", "bad", "left_over"),
    [((), 300, ()), (("store",), 300, ("store",)), (("store",), 1, ()), (("recall",), 300, ())],
    ids=["over since the flag alone", "was and is over", "was over", "another was over"],
)
def test_an_operation_that_was_over_budget_before_and_still_is_is_not_held_against_the_flag(
    trying: Situation, over_before: Sequence[str], bad: int, left_over: Sequence[str]
):
    calibration = trying.rollout.calibration
    priors = {
        name: prior.model_copy(update={"over_budget_before": name in over_before})
        for name, prior in calibration.operations.items()
    }
    store = trying.rollout.evidence["store"].model_copy(update={"canary_requests": 1000, "canary_bad": bad})
    situation = with_rollout(
        trying,
        calibration=calibration.model_copy(update={"operations": priors}),
        evidence={**trying.rollout.evidence, "store": store},
    )
    (watched,) = moved(situation, Move.PROMOTE).status.watch.promotions
    assert watched.still_over == left_over


# -- taken back --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "ended", "event"),
    [
        ("P95OverBudget", "RolledBack", "RolledBack"),
        ("Aborted", "Aborted", "Aborted"),
        ("Inconclusive", "Inconclusive", "Inconclusive"),
    ],
)
def test_a_flag_that_is_taken_back_is_rejected_until_its_value_changes(
    trying: Situation, reason: str, ended: str, event: str
):
    again, other = rejection("parallelIngest"), rejection("cache")
    change = moved(with_status(trying, rejected=(again, other)), Move.REVERT, reason)
    assert change.status.rollout is None
    assert (change.status.history[-1].outcome, change.status.history[-1].reason) == (ended, reason)
    assert change.status.rejected == (
        other,
        Rejection(
            stage="parallelIngest",
            value=VALUE,
            template=trying.stable.template,
            reason=reason,
            message=WHY,
            at=trying.now,
        ),
    )
    assert change.status.stable == trying.stable
    assert told(change) == [(event, f"parallelIngest taken back ({reason}): {WHY}", "Warning")]


def test_a_superseded_flag_is_not_rejected(trying: Situation):
    change = moved(trying, Move.REVERT, "Superseded")
    assert (change.status.rollout, change.status.rejected) == (None, ())
    assert change.status.history[-1].outcome == "Superseded"
    assert told(change) == [("Superseded", WHY, "Normal")]


def holding() -> Situation:
    world = canary_world()
    analysis = {"timeout": "10m", "onInconclusive": "Hold"}
    world.edit(rollout={"budgets": BUDGETS, "steps": [{"weight": 34, "minDuration": "5m"}], "analysis": analysis})
    return moment_of(world, later=7)


def test_with_hold_a_person_decides_about_what_the_evidence_could_not():
    situation = with_status(holding(), surge=Surge(since=holding().now))
    change = moved(situation, Move.REVERT, "Inconclusive")
    after, text = left(change), f"inconclusive, held for a person (promote, abort or retry): {WHY}"
    assert (after.state, after.state_since, after.applied_at) == (RolloutState.HELD, situation.now, None)
    assert (after.reason, after.message, after.flags_on) == ("Inconclusive", text, False)
    assert (change.status.rejected, change.status.surge) == ((), None)
    assert told(change) == [("Inconclusive", text, "Warning"), ("SurgePodRemoved", "a person decides", "Normal")]
    assert moved(holding(), Move.REVERT, "Worse").status.rollout is None


def reversing(situation: Situation) -> Situation:
    """The canary pods hold the flag's older value."""
    test = Reverse(number=1, operation="store", promoted_at=situation.now - timedelta(hours=1))
    return with_rollout(situation, reverse=test)


def test_a_reverse_canary_that_cannot_go_on_keeps_the_promoted_value(trying: Situation):
    change = moved(reversing(trying), Move.REVERT, "PodsCrashing")
    assert (change.status.rollout, change.status.rejected) == (None, ())
    assert change.status.history[-1].outcome == "Kept"
    assert told(change)[0][0] == "FlagKept"
