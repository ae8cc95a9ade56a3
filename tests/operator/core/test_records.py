"""A line of history: what it keeps of trials, proofs and late questions, rounded for people."""

from __future__ import annotations

from datetime import UTC, datetime
from math import log

import pytest
from support.world import FLAG, remembered, settled_world

from memorystack_operator.core.latency import quantile_ms, total_of
from memorystack_operator.core.limits import limits_of, switchback_level
from memorystack_operator.core.proving import Proof, Proving
from memorystack_operator.core.records import counts_of, in_short, proving_of, record_of, trial_of
from memorystack_operator.core.reverse import Reverse, compare
from memorystack_operator.core.room import Room
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.state import RolloutStatus
from memorystack_operator.core.switchback import Switchback
from memorystack_operator.core.trial import Trial

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLOCK = {"seed": "s", "rate": 1.0, "epoch": 1, "started_at": NOW, "since": NOW, "last_read": NOW}
SWITCHBACK = Switchback(
    **CLOCK,
    number=2,
    operation="store",
    pooled=True,
    wealth=(1.23456, 0.5, 0.25),
    worse=5,
    better=2,
    tied=1,
    discarded=3,
)
PROOF = Proof(
    room=Room(limit=0.04, hours=12.0),
    own_room=0.2,
    phi_rel=1.0,
    own=(0.1, 0.2, 0.3),
    wealth=0.51234,
)
PROVING = Proving(**CLOCK, number=1, proofs={"store": PROOF}, pairs=9, discarded=4)


@remembered
def canary_world():
    world = settled_world()
    world.edit(features=FLAG, rollout={"steps": [{"weight": 34, "minDuration": "5m"}]})
    assert world.run(100, until=lambda w: w.status.rollout and w.status.rollout.step_seconds > 20)
    return world


def moment(**changes: object) -> Situation:
    world = canary_world()
    rollout = world.status.rollout.model_copy(update=changes)
    status = world.status.model_copy(update={"rollout": rollout})
    return Situation(world.stack, status, world.observe(), world.now, "t")


def begun(**changes: object) -> RolloutStatus:
    return moment(**changes).rollout


SPEC = canary_world().stack.spec


def test_a_flag_that_was_never_tried_or_proved_has_no_trial_and_no_proof():
    assert trial_of(begun(), SPEC) is None
    assert proving_of(begun(), SPEC) is None


def test_a_trial_is_kept_with_its_pairs_and_its_evidence_against_its_own_level():
    found = trial_of(begun(switchback=SWITCHBACK), SPEC)
    assert (found.number, found.operation, found.discarded) == (2, "store", 3)
    assert (found.worse, found.better, found.tied) == (5, 2, 1)
    assert found.log_e == round(SWITCHBACK.log_e, 4) != SWITCHBACK.log_e
    assert found.needed == round(log(1 / switchback_level(SPEC, 2)), 4)
    assert found.needed > trial_of(begun(switchback=SWITCHBACK.model_copy(update={"number": 1})), SPEC).needed


def test_of_a_switchback_and_a_trial_beside_a_proof_the_later_one_is_kept():
    beside = PROVING.model_copy(update={"trial": Trial(number=3, operation="recall", pooled=False, worse=7)})
    found = trial_of(begun(switchback=SWITCHBACK, proving=beside), SPEC)
    assert (found.number, found.operation, found.worse, found.discarded) == (3, "recall", 7, 4)
    earlier = PROVING.model_copy(update={"trial": Trial(number=1, operation="recall", pooled=False)})
    assert trial_of(begun(switchback=SWITCHBACK, proving=earlier), SPEC).number == 2


@pytest.mark.parametrize("decided", [True, False])
def test_a_proof_is_kept_with_its_keys_and_counts_its_steps_from_one(decided: bool):
    rollout = begun(proving=PROVING)
    found = proving_of(rollout, SPEC, decided=decided)
    assert (found.decided, found.step, found.pairs, found.discarded) == (decided, 2, 9, 4)
    assert list(found.operations) == ["store"]
    store = found.operations["store"]
    beta = limits_of(SPEC)[1]
    together = PROOF.finding(rollout.evidence["store"].findings(1, beta).within.log_e, beta)
    assert (store.limit, store.hours, store.room) == (0.04, 12.0, round(PROOF.room.ratio, 4))
    assert (store.own_log_e, store.shared_log_e) == (round(PROOF.own_log_e, 4), round(PROOF.shared_log_e, 4))
    assert (store.log_e, store.needed) == (round(together.log_e, 4), round(log(1 / beta), 4))


def test_a_late_question_is_told_by_its_mirror_for_its_own_operation_alone():
    reverse = Reverse(number=3, operation="store", promoted_at=NOW, same=1.23456)
    rollout = begun(reverse=reverse)
    counts = counts_of(rollout, SPEC)
    found = compare(reverse, rollout.evidence["store"], SPEC)
    assert counts["store"].log_e["same"] == 1.2346
    assert counts["store"].needed["better"] == round(found.regressed.needed, 4)
    assert counts["store"].needed["better"] != counts["recall"].needed["better"]
    assert "same" not in counts["recall"].log_e


def test_counts_carry_the_design_effects_and_what_was_known_before():
    rollout = begun()
    store = counts_of(rollout, SPEC)["store"]
    prior = dict(rollout.calibration.operations)["store"]
    assert (store.phi_rel, store.phi_abs) == (
        rollout.evidence["store"].effect.phi_rel,
        rollout.evidence["store"].effect.phi_abs,
    )
    assert (store.share_before, store.over_budget_before) == (prior.share, prior.over_budget_before)
    assert store.canary_p95_ms is None
    unknown = counts_of(begun(calibration=None), SPEC)["store"]
    assert (unknown.share_before, unknown.over_budget_before) == (0.0, False)


def test_the_canarys_p95_is_of_its_own_pods_to_a_tenth_of_a_millisecond():
    situation = moment()
    reports = [pod.evidence for pod in situation.canary]
    exact = quantile_ms(total_of(reports, "store", situation.rollout.revision))
    told = counts_of(situation.rollout, SPEC, reports)["store"].canary_p95_ms
    assert told == round(exact, 1)
    assert told == round(told * 10) / 10
    assert record_of(situation, Outcome(Move.HOLD, "r", "m"), "Aborted").judged["store"].canary_p95_ms == told


@pytest.mark.parametrize("paired", [True, False])
def test_a_line_says_whether_it_was_a_late_question_and_whether_pairs_decided(paired: bool):
    reverse = Reverse(number=1, operation="store", promoted_at=NOW)
    situation = moment(reverse=reverse, switchback=SWITCHBACK, proving=PROVING, withdrawals=2)
    line = record_of(situation, Outcome(Move.HOLD, "r", "m", paired=paired), "Kept")
    assert line.reverse
    assert line.withdrawals == 2
    assert line.switchback == trial_of(situation.rollout, SPEC)
    assert line.proving == proving_of(situation.rollout, SPEC, decided=paired)


def test_a_line_in_short_keeps_what_happened_and_the_counts():
    line = record_of(moment(proving=PROVING), Outcome(Move.HOLD, "r", "m"), "Kept")
    short = in_short(line)
    assert short.proving.operations == {}
    assert short.proving.pairs == 9
    assert {name: c.canary_requests for name, c in short.judged.items()} == {
        name: c.canary_requests for name, c in line.judged.items()
    }
    assert all(not c.log_e and not c.needed for c in short.judged.values())
    assert short.message == line.message
    assert in_short(record_of(moment(), Outcome(Move.HOLD, "r", "m"), "Kept")).proving is None
