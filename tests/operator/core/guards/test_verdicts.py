"""From evidence to moves: what is judged, what follows from a verdict, and how a withdrawn flag comes back."""

from __future__ import annotations

from datetime import timedelta
from math import log

import pytest
from support.moments import BUDGETS, canary_world, moment_of, with_rollout
from support.world import World

from memorystack_operator.core.guards.verdicts import carried_out, case_of, the_verdict, withdrawn_and_waiting
from memorystack_operator.core.pairing import prove
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.state import PlannedStep, Recovery, RolloutState
from memorystack_operator.core.verdict import Outcome as Result
from memorystack_operator.core.verdict import Reason, Verdict

STEPS = [{"weight": 34, "minDuration": "5m"}]
ASSUMED = "it assumes that the flag's effect on shared parts ends with the request"


def judged_by(**analysis: str) -> World:
    """One of three pods carries the flag, and has served; `analysis` was edited meanwhile."""
    world = canary_world()
    world.edit(rollout={"budgets": BUDGETS, "steps": STEPS, "analysis": {"timeout": "10m", **analysis}})
    return world


def bursting(situation: Situation, **changes: object) -> Situation:
    """Plain's own counts say nearly nothing; three minutes of the step are over."""
    evidence = {
        name: e.model_copy(update={"effect": e.effect.model_copy(update={"phi_abs": 400.0})})
        for name, e in situation.rollout.evidence.items()
    }
    step = (PlannedStep(weight=34),)
    return with_rollout(situation, **{"plan": step, "evidence": evidence, "step_seconds": 180.0, **changes})


# -- what is judged ----------------------------------------------------------------


def test_each_budgeted_operation_is_judged_by_its_own_counts_and_in_the_order_of_the_spec():
    situation = moment_of(judged_by())
    judged = case_of(situation).operations
    assert [(op.name, op.limit) for op in judged] == [("store", "250ms"), ("recall", "400ms")]
    for op in judged:
        evidence = situation.rollout.evidence[op.name]
        assert (op.canary, op.stable) == (evidence.canary, evidence.stable)
        assert op.findings == evidence.findings(0.01 / 2 / 3, 0.05)
        assert (op.over_budget_before, op.over_for, op.proof) == (False, timedelta(), None)


def test_failed_requests_are_judged_beside_them_where_they_are_counted():
    world = canary_world()
    world.edit(rollout={"budgets": BUDGETS, "steps": STEPS, "maxErrorPercent": 3})
    errors = case_of(moment_of(world)).errors
    failures = world.status.rollout.failures
    assert (errors.name, errors.limit) == ("failed requests", "3 %")
    assert (errors.canary, errors.stable) == (failures.canary, failures.stable)
    assert errors.findings == failures.findings(0.01 / 2 / 3, 0.05)
    assert case_of(with_rollout(moment_of(world), failures=None)).errors is None


def test_how_long_an_operation_is_over_and_whether_it_was_so_before_are_judged_with_it():
    situation = moment_of(judged_by())
    calibration = situation.rollout.calibration
    over = calibration.operations["recall"].model_copy(update={"over_budget_before": True})
    known = calibration.model_copy(update={"operations": {**calibration.operations, "recall": over}})
    since = {"store": situation.now - timedelta(seconds=10)}
    store, recall = case_of(with_rollout(situation, calibration=known, over_since=since)).operations
    assert (store.over_for, store.over_budget_before) == (timedelta(seconds=10), False)
    assert (recall.over_for, recall.over_budget_before) == (timedelta(), True)
    assert not any(op.over_budget_before for op in case_of(with_rollout(situation, calibration=None)).operations)


def test_pairs_are_asked_only_while_the_step_is_proved_in_them():
    situation = bursting(moment_of(judged_by()))
    proving = with_rollout(situation, proving=prove(situation, Outcome(Move.PROVE, "r", "m")).status.rollout.proving)
    assert [op.proof for op in case_of(proving).operations] == [None, None]
    asked = case_of(with_rollout(proving, state=RolloutState.PROVING)).operations
    assert [op.proof.needed for op in asked] == [log(20), log(20)]
    some = proving.rollout.proving.model_copy(update={"proofs": {"recall": proving.rollout.proving.proofs["recall"]}})
    store, recall = case_of(with_rollout(proving, state=RolloutState.PROVING, proving=some)).operations
    assert store.proof is None
    assert recall.proof is not None


@pytest.mark.parametrize(
    ("changes", "early", "timed_out"),
    [
        pytest.param({"step_seconds": 299.0}, True, False, id="before minDuration"),
        pytest.param({"step_seconds": 300.0}, False, False, id="after it"),
        pytest.param({"step_seconds": 300.0, "stage_seconds": 599.0}, False, False, id="before the timeout"),
        pytest.param({"step_seconds": 300.0, "stage_seconds": 600.0}, False, True, id="after it, too"),
        pytest.param(
            {"plan": (PlannedStep(weight=0),), "step_seconds": 900.0, "stage_seconds": 900.0},
            True,
            False,
            id="at a pause nothing is promoted and no time runs out",
        ),
    ],
)
def test_time_holds_back_promotions_and_ends_a_stage(changes: dict, early: bool, timed_out: bool):
    case = case_of(with_rollout(moment_of(judged_by()), **changes))
    assert (case.early, case.timed_out) == (early, timed_out)


@pytest.mark.parametrize(("require", "better"), [("WithinBudget", False), ("Better", True)])
def test_the_spec_may_require_a_flag_to_be_better(require: str, better: bool):
    assert case_of(moment_of(judged_by(require=require))).require_better is better


# -- what follows from a verdict ---------------------------------------------------

TWOFOLD = "; noise counts twofold until there are ten half minutes of history"
"""Of a world that is as young as these."""


def followed(result: Result, reason: Reason, situation: Situation | None = None, **fields: object) -> Outcome:
    verdict = Verdict(result, reason, "as counted", "store", **fields)
    return carried_out(situation or moment_of(judged_by()), verdict)


@pytest.mark.parametrize(
    ("result", "reason", "move", "told"),
    [
        (Result.ROLLBACK, Reason.P95_OVER_BUDGET, Move.REVERT, "P95OverBudget"),
        (Result.WITHDRAW, Reason.ENVIRONMENT_OVER_BUDGET, Move.WITHDRAW, "EnvironmentOverBudget"),
        (Result.INCONCLUSIVE, Reason.TIMED_OUT, Move.REVERT, "Inconclusive"),
        (Result.CONTINUE, Reason.BAKING, Move.HOLD, "Baking"),
        (Result.HOLD, Reason.NO_TRAFFIC, Move.HOLD, "NoTraffic"),
    ],
)
def test_each_verdict_has_its_move(result: Result, reason: Reason, move: Move, told: str):
    remark = TWOFOLD if reason is Reason.TIMED_OUT else ""
    assert followed(result, reason) == Outcome(move, told, f"as counted{remark}", "store")


def test_a_step_that_passed_is_followed_by_the_next_and_the_last_by_the_promotion():
    fields = {"worse_than_stable": True, "paired": True}
    last = followed(Result.PROMOTE, Reason.WITHIN_BUDGET, **fields)
    assert last == Outcome(Move.PROMOTE, "WithinBudget", "as counted", "store", **fields)
    plan = (PlannedStep(weight=34), PlannedStep(weight=67))
    first = with_rollout(moment_of(judged_by()), plan=plan)
    assert followed(Result.PROMOTE, Reason.IMPROVES, first) == Outcome(Move.ADVANCE, "Improves", "as counted", "store")


def test_at_a_pause_a_person_is_waited_for_but_a_bad_canary_leaves():
    pause = with_rollout(moment_of(judged_by()), plan=(PlannedStep(weight=34), PlannedStep(weight=0)), step=1)
    text = "pause step: memorystack resume goes on, promote goes to the end"
    waits = Outcome(Move.HOLD, "WaitingForPerson", text)
    assert followed(Result.CONTINUE, Reason.BAKING, pause) == waits
    assert followed(Result.ROLLBACK, Reason.WORSE, pause).move is Move.REVERT


@pytest.mark.parametrize(
    ("result", "reason"), [(Result.CONTINUE, Reason.GATHERING_EVIDENCE), (Result.INCONCLUSIVE, Reason.TIMED_OUT)]
)
def test_where_evidence_is_lacking_it_is_told_that_pairs_would_help(result: Result, reason: Reason):
    slow = bursting(moment_of(judged_by(promotion="Plain")))
    remedy = f"; analysis.promotion: Paired would decide sooner under bursts, and {ASSUMED}"
    assert followed(result, reason, slow).message == f"as counted{TWOFOLD}{remedy}"
    assert followed(Result.CONTINUE, Reason.TOO_FEW_REQUESTS, slow).message == "as counted"


# -- where plain evidence does not decide ------------------------------------------


def test_what_is_not_decided_in_three_minutes_goes_on_in_pairs_if_the_spec_lets_it():
    paired = moment_of(judged_by(promotion="Paired"))
    text = f"store, recall not decided in 3 minutes: flags go on and off in pairs; {ASSUMED}"
    assert the_verdict(bursting(paired)) == Outcome(Move.PROVE, "ProvingStarted", text)
    assert the_verdict(bursting(paired, step_seconds=179.0)).reason == "GatheringEvidence"
    assert the_verdict(bursting(moment_of(judged_by(promotion="Plain")))).reason == "GatheringEvidence"


def test_a_later_step_goes_on_in_pairs_at_once():
    situation = bursting(moment_of(judged_by(promotion="Paired")))
    before = prove(situation, Outcome(Move.PROVE, "r", "m")).status.rollout.proving
    text = f"store, recall as in the step before: flags go on and off in pairs; {ASSUMED}"
    later = with_rollout(situation, proving=before, step_seconds=5.0)
    assert the_verdict(later) == Outcome(Move.PROVE, "ProvingStarted", text)


def test_what_plain_evidence_decides_needs_no_pairs():
    situation = with_rollout(moment_of(judged_by(promotion="Paired")), plan=(PlannedStep(weight=34),), step_seconds=400)
    assert the_verdict(situation).move is Move.PROMOTE


# -- a withdrawn flag --------------------------------------------------------------


def withdrawn(
    reason: str = "EnvironmentOverBudget",
    *,
    seconds: float = 60,
    bad: int = 46,
    requests: int = 920,
    world: World | None = None,
) -> Situation:
    """So long ago; in the last minute so many requests of `store` were bad."""
    situation = moment_of(world or judged_by())
    half = Recovery(at=situation.now, requests=requests // 2, bad=0)
    return with_rollout(
        situation,
        state=RolloutState.WITHDRAWN,
        state_since=situation.now - timedelta(seconds=seconds),
        withdrawn_reason=reason,
        withdrawn_operation="store",
        recovery=(half, half.model_copy(update={"bad": bad})),
    )


def test_a_flag_that_was_not_withdrawn_does_not_come_back():
    assert withdrawn_and_waiting(moment_of(judged_by())) is None


def test_after_a_minute_within_budget_the_flags_go_on_and_off_by_lot():
    text = (
        "store is within budget for a minute; flags go on and off by lot, to find out whether they made everybody slow"
    )
    assert withdrawn_and_waiting(withdrawn()) == Outcome(Move.SWITCH, "SwitchbackStarted", text, "store")


def test_where_the_spec_lets_it_they_go_on_and_off_in_pairs_that_serve_both_questions():
    text = (
        "store is within budget for a minute; flags go on and off in pairs, which also tell whether they made everybody "
        f"slow; {ASSUMED}"
    )
    paired = withdrawn(world=judged_by(promotion="Paired"))
    assert withdrawn_and_waiting(paired) == Outcome(Move.PROVE, "ProvingStarted", text, "store")


@pytest.mark.parametrize(
    "so_far",
    [
        pytest.param({"seconds": 59}, id="not for a minute yet"),
        pytest.param({"bad": 47}, id="more than 5 % bad"),
        pytest.param({"requests": 0, "bad": 0}, id="no request at all"),
    ],
)
def test_until_then_the_flags_stay_away(so_far: dict[str, float]):
    text = "flags withdrawn; waiting until store is within budget for a minute"
    assert withdrawn_and_waiting(withdrawn(**so_far)) == Outcome(Move.HOLD, "EnvironmentOverBudget", text)


def test_an_environment_that_stays_sick_for_the_whole_timeout_leaves_the_flag_undecided():
    text = "withdrawn as EnvironmentOverBudget, and the environment did not recover in time"
    assert withdrawn_and_waiting(withdrawn(bad=900, seconds=600)).move is Move.HOLD
    assert withdrawn_and_waiting(withdrawn(bad=900, seconds=601)) == Outcome(Move.REVERT, "Inconclusive", text)


def test_flags_that_left_as_nothing_could_be_read_come_back_when_it_can_be():
    text = "the pods' evidence can be read again; the same step goes on"
    assert withdrawn_and_waiting(withdrawn("MetricsUnavailable", seconds=1)) == Outcome(Move.RESUME, "Resumed", text)


def test_blindness_never_ends_a_trial_however_long_it_lasts():
    world = judged_by()
    for pod in world.pods:
        pod.readable = False
    text = "flags withdrawn; waiting until the pods' evidence can be read again"
    blind = withdrawn("MetricsUnavailable", seconds=86_400, world=world)
    assert withdrawn_and_waiting(blind) == Outcome(Move.HOLD, "MetricsUnavailable", text)
