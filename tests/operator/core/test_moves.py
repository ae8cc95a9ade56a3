"""What each move that interrupts, asks or ends a stage leaves in the status, and what it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from support.moments import canary_world, moment_of, with_rollout

from memorystack_operator.api.status import RolloutRecord
from memorystack_operator.core.calibration import Calibration
from memorystack_operator.core.change import Change
from memorystack_operator.core.ending import HISTORY_LENGTH, end_stage
from memorystack_operator.core.evidence import Tally
from memorystack_operator.core.interruption import resume, switch, withdraw
from memorystack_operator.core.pairing import clear, lots_of, prove, suspect
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.state import Recovery, RolloutState, RolloutStatus
from memorystack_operator.core.switchback import Switchback
from memorystack_operator.core.trial import Trial


@pytest.fixture
def situation() -> Situation:
    world = canary_world()
    world.pods[0].restarts = 3
    return moment_of(world, later=7)


def withdrawn(situation: Situation, reason: str = "EnvironmentOverBudget", operation: str = "store") -> Situation:
    slices = tuple(Recovery(at=situation.now, requests=n, bad=0) for n in (400, 521))
    return with_rollout(
        situation,
        state=RolloutState.WITHDRAWN,
        withdrawals=1,
        withdrawn_reason=reason,
        withdrawn_operation=operation,
        recovery=slices,
    )


def tried(number: int) -> Switchback:
    moment = canary_world().now
    return Switchback(
        number=number,
        seed="s",
        operation="store",
        pooled=True,
        rate=1.0,
        epoch=1,
        started_at=moment,
        since=moment,
        last_read=moment,
    )


def outcome(reason: str, **fields) -> Outcome:
    return Outcome(Move.HOLD, reason, "because of this", **fields)


def told(change: Change) -> list[tuple[str, str, str]]:
    return [(str(e.reason), e.message, e.kind) for e in change.events]


def left(change: Change) -> RolloutStatus:
    assert change.status.rollout is not None
    return change.status.rollout


def test_a_withdrawal_is_counted_and_dated_and_forgets_what_was_seen_before_it(situation: Situation):
    before = with_rollout(
        situation,
        withdrawals=1,
        over_since={"store": situation.now},
        recovery=(Recovery(at=situation.now, requests=1, bad=1),),
    )
    change = withdraw(before, outcome("EnvironmentOverBudget", operation="recall"))
    after = left(change)
    assert after.state is RolloutState.WITHDRAWN
    assert after.state_since == situation.now
    assert (after.withdrawals, after.withdrawn_reason, after.withdrawn_operation) == (
        2,
        "EnvironmentOverBudget",
        "recall",
    )
    assert (after.reason, after.message) == ("EnvironmentOverBudget", "because of this")
    assert (after.applied_at, after.recovery, after.over_since) == (None, (), {})
    assert after.evidence == situation.rollout.evidence
    assert told(change) == [("FlagsWithdrawn", "EnvironmentOverBudget: because of this", "Warning")]


def test_flags_that_leave_because_nothing_can_be_read_are_not_held_against_them(situation: Situation):
    after = left(withdraw(with_rollout(situation, withdrawals=1), outcome("MetricsUnavailable")))
    assert (after.withdrawals, after.withdrawn_reason) == (1, "MetricsUnavailable")


@pytest.mark.parametrize(("reason", "pooled"), [("EnvironmentOverBudget", True), ("CanaryOverBudget", False)])
def test_a_switchback_asks_about_the_operation_that_was_withdrawn(situation: Situation, reason: str, pooled: bool):
    change = switch(withdrawn(situation, reason, "recall"), outcome("Recovered"))
    after = left(change)
    test = after.switchback
    assert (after.state, after.state_since) == (RolloutState.SWITCHBACK, situation.now)
    assert (after.reason, after.message) == ("Recovered", "because of this")
    assert (test.number, test.operation, test.pooled) == (1, "recall", pooled)
    assert test.seed == lots_of(situation)
    assert test.rate == pytest.approx(921 / 60, abs=5e-4)
    assert test.settle_floor == 0.4
    assert (test.started_at, test.since, test.last_read) == (situation.now,) * 3
    assert test.epoch == situation.seen.epoch
    assert told(change) == [("SwitchbackStarted", "because of this", "Normal")]


def test_each_switchback_of_a_rollout_has_the_next_number_wherever_the_last_trial_was(situation: Situation):
    after_one = with_rollout(withdrawn(situation), switchback=tried(1))
    assert left(switch(after_one, outcome("Recovered"))).switchback.number == 2
    proof = left(prove(situation, outcome("TooFewRequests"))).proving
    beside = proof.suspecting(Trial(number=4, operation="store", pooled=True))
    after_both = with_rollout(after_one, proving=beside)
    assert left(switch(after_both, outcome("Recovered"))).switchback.number == 5


@pytest.mark.parametrize("move", [switch, resume])
def test_restarts_count_from_when_the_flags_come_back(situation: Situation, move):
    carried = situation.rollout.pods[0]
    pods = tuple(replace(pod, restarts=2 if pod.name == carried else 9) for pod in situation.seen.pods)
    again = replace(withdrawn(situation), seen=replace(situation.seen, pods=pods))
    assert situation.rollout.restarts != {carried: 2}
    assert left(move(again, outcome("Recovered"))).restarts == {carried: 2}


def test_when_the_flags_come_back_the_step_goes_on_and_only_the_absolute_tests_forget(situation: Situation):
    change = resume(withdrawn(situation), outcome("Recovered"))
    after = left(change)
    assert (after.state, after.state_since, after.last_tick) == (RolloutState.PROGRESSING, situation.now, situation.now)
    assert (after.reason, after.message) == ("Recovered", "because of this")
    assert (after.step, after.step_seconds) == (situation.rollout.step, situation.rollout.step_seconds)
    for name, evidence in after.evidence.items():
        assert evidence == situation.rollout.evidence[name].environment_cleared()
        assert evidence.canary == situation.rollout.evidence[name].canary != Tally(0, 0)
    assert told(change) == [("Resumed", "because of this", "Normal")]


def test_a_proof_begins_without_suspicion_and_waits_for_the_longest_budget(situation: Situation):
    change = prove(situation, outcome("TooFewRequests"))
    after = left(change)
    test = after.proving
    assert (after.state, after.state_since, after.reason) == (RolloutState.PROVING, situation.now, "TooFewRequests")
    assert (test.number, test.trial, test.trying) == (0, None, False)
    assert test.settle_floor == 0.4
    assert test.seed.startswith(lots_of(situation))
    assert test.seed != lots_of(situation)
    assert (test.started_at, test.since, test.last_read) == (situation.now,) * 3
    assert set(test.proofs) == {"store", "recall"}
    assert after.restarts == situation.rollout.restarts
    assert told(change) == [("ProvingStarted", "because of this", "Normal")]


@pytest.mark.parametrize(("reason", "pooled"), [("EnvironmentOverBudget", True), ("CanaryOverBudget", False)])
def test_a_proof_after_a_withdrawal_begins_on_trial(situation: Situation, reason: str, pooled: bool):
    test = left(prove(withdrawn(situation, reason), outcome("TooFewRequests"))).proving
    assert test.trying
    assert (test.trial.number, test.trial.operation, test.trial.pooled) == (1, "store", pooled)


@pytest.mark.parametrize(("reason", "pooled"), [("EnvironmentOverBudget", True), ("CanaryOverBudget", False)])
def test_a_suspicion_in_the_middle_of_a_proof_is_tried_from_the_next_pair_on(
    situation: Situation, reason: str, pooled: bool
):
    proving = with_rollout(
        situation, proving=left(prove(situation, outcome("x"))).proving.model_copy(update={"pair": 5})
    )
    change = suspect(proving, outcome(reason, operation="recall"))
    test = left(change).proving
    assert (test.trying, test.tried_from) == (True, 6)
    assert (test.trial.number, test.trial.operation, test.trial.pooled) == (1, "recall", pooled)
    assert (left(change).reason, left(change).message) == ("Proving", "because of this")
    assert told(change) == [("SwitchbackStarted", f"{reason}: because of this", "Normal")]

    cleared = clear(replace(proving, status=change.status), outcome("Innocent"))
    after = left(cleared)
    assert (after.proving.trying, after.proving.trial) == (False, test.trial)
    assert (after.over_since, after.reason, after.message) == ({}, "Proving", "because of this")
    assert all(e == situation.rollout.evidence[name].environment_cleared() for name, e in after.evidence.items())
    assert told(cleared) == [("Resumed", "because of this", "Normal")]
    again = suspect(replace(proving, status=cleared.status), outcome(reason, operation="store"))
    assert left(again).proving.trial.number == 2


@pytest.mark.parametrize("move", [suspect, clear])
def test_without_a_proof_nothing_of_it_can_be_asked(situation: Situation, move):
    with pytest.raises(LookupError, match="no proof is under way"):
        move(situation, outcome("EnvironmentOverBudget", operation="store"))


def test_lots_differ_between_stacks_flags_and_tries(situation: Situation):
    other = situation.stack.metadata.model_copy(update={"uid": "u-2"})
    seeds = {
        lots_of(situation),
        lots_of(replace(situation, stack=situation.stack.model_copy(update={"metadata": other}))),
        lots_of(with_rollout(situation, revision="another")),
        lots_of(with_rollout(situation, stage="cache")),
        lots_of(with_rollout(situation, started_at=situation.now)),
    }
    assert len(seeds) == 5


def line(number: int, *, ended: str = "Promoted", stage: str = "cache", value: str = "{}") -> RolloutRecord:
    moment = canary_world().now
    return RolloutRecord(
        id=f"line-{number}",
        stage=stage,
        outcome=ended,
        reason="r",
        message="m",
        value=value,
        changed_at=moment,
        started_at=moment,
        ended_at=moment,
        judged=end_stage_judged(),
    )


def end_stage_judged() -> dict:
    world = canary_world()
    now = Situation(world.stack, world.status, world.observe(), world.now, "t")
    return end_stage(now, outcome("x"), "Aborted").history[-1].judged


def after_lines(situation: Situation, lines: Sequence[RolloutRecord], ended: str) -> list[RolloutRecord]:
    status = situation.status.model_copy(update={"history": tuple(lines)})
    return list(end_stage(replace(situation, status=status), outcome("WithinBudget"), ended).history)


def test_a_stage_that_ends_leaves_a_line_and_pods_that_settle(situation: Situation):
    status = end_stage(situation, outcome("WithinBudget", worse_than_stable=True), "Promoted")
    record = status.history[-1]
    begun = situation.rollout
    assert status.rollout is None
    assert (status.settling.record, status.settling.since) == (begun.id, situation.now)
    assert (record.id, record.stage, record.value, record.outcome) == (begun.id, begun.stage, begun.value, "Promoted")
    assert (record.reason, record.message, record.worse_than_stable) == ("WithinBudget", "because of this", True)
    assert (record.changed_at, record.started_at, record.flipped_at) == (
        begun.changed_at,
        begun.started_at,
        begun.flipped_at,
    )
    assert record.first_canary_request_at == begun.first_canary_request_at
    assert record.ended_at == situation.now
    assert (record.reverse, record.switchback, record.proving, record.withdrawals) == (False, None, None, 0)
    store = record.judged["store"]
    evidence = begun.evidence["store"]
    assert (store.canary_requests, store.canary_bad) == (evidence.canary.requests, evidence.canary.bad)
    assert (store.stable_requests, store.stable_bad) == (evidence.stable.requests, evidence.stable.bad)
    assert set(store.log_e) == set(store.needed) == {"over", "worse", "within", "better", "stableOver"}
    assert 100 < store.canary_p95_ms <= 250


def test_the_design_effects_that_were_frozen_for_the_stage_are_kept(situation: Situation):
    assert situation.rollout.calibration is not None
    assert end_stage(situation, outcome("x"), "Aborted").calibration == situation.rollout.calibration
    older = Calibration(operations={})
    before = replace(situation, status=situation.status.model_copy(update={"calibration": older}))
    assert end_stage(before, outcome("x"), "Aborted").calibration == situation.rollout.calibration
    assert end_stage(with_rollout(before, calibration=None), outcome("x"), "Aborted").calibration == older


def test_only_the_last_ten_lines_are_kept(situation: Situation):
    lines = after_lines(situation, [line(n) for n in range(HISTORY_LENGTH)], "Promoted")
    assert [one.id for one in lines] == [*(f"line-{n}" for n in range(1, 10)), situation.rollout.id]


def test_of_a_flag_that_was_asked_and_kept_again_the_last_line_is_enough(situation: Situation):
    same = {"stage": situation.rollout.stage, "value": situation.rollout.value}
    lines = [
        line(0, ended="Kept", **same),
        line(1, ended="Promoted", **same),
        line(2, ended="Kept", stage="cache", value=same["value"]),
        line(3, ended="Kept", stage=same["stage"], value="{}"),
    ]
    kept = [one.id for one in after_lines(situation, lines, "Kept")]
    assert kept == ["line-1", "line-2", "line-3", situation.rollout.id]
    back = [one.id for one in after_lines(situation, lines, "RolledBack")]
    assert back == ["line-0", "line-1", "line-2", "line-3", situation.rollout.id]
    twice = [one.id for one in after_lines(situation, [line(0, ended="RolledBack", **same)], "RolledBack")]
    assert twice == ["line-0", situation.rollout.id]


def test_older_lines_of_the_same_flag_keep_their_counts_and_lose_their_evidence(situation: Situation):
    lines = [line(0, stage=situation.rollout.stage), line(1, stage="cache")]
    mine, other, new = after_lines(situation, lines, "Promoted")
    assert other == lines[1]
    assert new.judged["store"].log_e
    for name, counts in mine.judged.items():
        assert (counts.log_e, counts.needed) == ({}, {})
        assert counts.canary_requests == lines[0].judged[name].canary_requests > 0
