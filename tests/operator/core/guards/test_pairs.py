"""While flags go on and off by lot: what the pairs convict, clear or prove, and what is told of them until then."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.moments import BUDGETS, canary_world, moment_of, proving, switching, with_rollout

from memorystack_operator.core.guards.pairs import proving_in_pairs, proving_line, switching_back
from memorystack_operator.core.limits import switchback_level
from memorystack_operator.core.phrases import multiple
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.state import RolloutState
from memorystack_operator.core.trial import Trial

HARMS, CLEARED, OPEN = (20.0, 20.0, 20.0), (-9.0, -9.0, -9.0), (1.0, 1.0, 1.0)
COUNTED = "in 9 of 12 pairs store was worse with the flag"


@pytest.fixture
def trying() -> Situation:
    world = canary_world()
    steps = [{"weight": 34, "minDuration": "5m"}]
    world.edit(rollout={"budgets": BUDGETS, "steps": steps, "analysis": {"timeout": "10m", "promotion": "Paired"}})
    return moment_of(world)


def evidence_of_harm(situation: Situation, number: int = 1) -> str:
    """What three wealths of e say, against the level of the k-th trial."""
    trial = Trial(number=number, operation="store", pooled=True, wealth=OPEN)
    return multiple(trial.finding(switchback_level(situation.spec, number)))


# -- a switchback ------------------------------------------------------------------


def test_without_a_switchback_none_is_decided(trying: Situation):
    assert switching_back(trying) is None
    there = switching(trying, HARMS)
    assert switching_back(with_rollout(there, state=RolloutState.WITHDRAWN)) is None
    assert switching_back(with_rollout(there, switchback=None)) is None


def test_pairs_that_were_worse_with_the_flag_convict_it(trying: Situation):
    told = switching_back(switching(trying, HARMS))
    assert (told.move, told.reason, told.operation) == (Move.REVERT, "HarmsSharedDependency", "store")
    needed = f"{1 / switchback_level(trying.spec, 1):.0f}x needed"
    assert told.message == f"{COUNTED} on than off, drawn by lot; evidence over 1000000x of {needed}"


def test_pairs_that_were_alike_clear_it_and_the_step_goes_on(trying: Situation):
    text = f"{COUNTED}: it was the environment; the same step goes on"
    assert switching_back(switching(trying, CLEARED)) == Outcome(Move.RESUME, "EnvironmentCleared", text)


def test_until_then_the_windows_go_on_and_what_they_say_is_told(trying: Situation):
    first, second, off = (
        switching_back(switching(trying, OPEN, second=second, waiting=waiting))
        for second, waiting in ((False, False), (True, False), (False, True))
    )
    text = f"{COUNTED}; evidence of harm {evidence_of_harm(trying)}, flags"
    assert {first.message, second.message} == {f"{text} on now", f"{text} off now"}
    assert off == Outcome(Move.HOLD, "SwitchingBack", f"{text} off now", "store")


def test_a_later_switchback_must_show_more(trying: Situation):
    told = switching_back(switching(trying, OPEN, number=2)).message
    assert evidence_of_harm(trying, 2) in told
    assert evidence_of_harm(trying, 2) != evidence_of_harm(trying, 1)


def test_a_switchback_that_does_not_decide_in_time_leaves_the_flag_undecided(trying: Situation):
    def after(seconds: float) -> Outcome:
        return switching_back(switching(trying, OPEN, started_at=trying.now - timedelta(seconds=seconds)))

    assert after(600).move is Move.HOLD
    text = f"withdrawn as EnvironmentOverBudget, and the switchback did not decide in time: {COUNTED}"
    assert after(601) == Outcome(Move.REVERT, "Inconclusive", text, "store")


# -- a proof -----------------------------------------------------------------------


def over(situation: Situation) -> Situation:
    """Both arms look over budget."""
    store = situation.rollout.evidence["store"]
    rolls = {name: (40.0,) * len(getattr(store, name)) for name in ("roll", "stable_roll")}
    changed = store.model_copy(update={"roll_reads": 9, "stable_roll_reads": 9, **rolls})
    return with_rollout(situation, evidence={**situation.rollout.evidence, "store": changed})


def test_without_a_proof_none_is_decided(trying: Situation):
    assert proving_in_pairs(trying) is None
    there = proving(trying)
    assert proving_in_pairs(with_rollout(there, state=RolloutState.PROGRESSING)) is None
    assert proving_in_pairs(with_rollout(there, proving=None)) is None
    assert proving_line(with_rollout(there, proving=None)) == ""


KEYS = "no harm of its own 0 %, none to shared parts 0 %, together 0 % of the evidence needed "


def test_until_it_is_proved_it_is_told_how_far_each_operation_is_and_how_much_room_it_has(trying: Situation):
    situation = proving(trying)
    told = proving_in_pairs(situation)
    assert (told.move, told.reason) == (Move.HOLD, "Proving")
    assert told.message == proving_line(situation)
    rooms = {name: proof.room for name, proof in situation.rollout.proving.proofs.items()}
    keys = [
        f"{name}: {KEYS}(at most {100 * room.limit:.1f} % bad without it by {room.hours:.1f} h, so odds may grow by "
        f"{room.ratio:.2f})"
        for name, room in rooms.items()
    ]
    where = "flags on now" if situation.rollout.proving.on else "flags off now"
    assert told.message == f"12 pairs (3 dropped); {'; '.join(keys)}; {where}"


def test_it_is_told_where_the_flags_are(trying: Situation):
    lines = [proving_line(proving(trying, second=second)) for second in (False, True)]
    assert {line.rpartition("; ")[2] for line in lines} == {"flags on now", "flags off now"}
    waiting = proving_line(proving(trying, waiting=True))
    assert waiting.endswith("; the world cannot be measured, flags off")


def test_a_suspicion_beside_the_proof_is_told_while_it_lasts(trying: Situation):
    told = f"; {COUNTED}, evidence of harm {evidence_of_harm(trying)}; flags "
    assert told in proving_line(proving(trying, OPEN))
    assert COUNTED not in proving_line(proving(trying, OPEN, trying=False))


def test_what_the_trial_beside_it_convicts_is_taken_back(trying: Situation):
    told = proving_in_pairs(proving(trying, HARMS))
    assert (told.move, told.reason, told.operation) == (Move.REVERT, "HarmsSharedDependency", "store")
    assert told.message.startswith(f"{COUNTED} on than off, drawn by lot; evidence ")
    over_now = proving_in_pairs(proving(trying, HARMS, trying=False))
    assert over_now.move is Move.HOLD


def test_what_the_trial_beside_it_clears_goes_on_being_proved(trying: Situation):
    text = f"{COUNTED}: it was the environment; the proof goes on"
    assert proving_in_pairs(proving(trying, CLEARED)) == Outcome(Move.CLEAR, "EnvironmentCleared", text, "store")


def test_where_both_arms_are_over_budget_the_pairs_are_asked_and_nothing_is_taken_back(trying: Situation):
    told = proving_in_pairs(over(proving(trying)))
    assert (told.move, told.reason, told.operation) == (Move.SUSPECT, "EnvironmentOverBudget", "store")
    assert told.message.startswith("store is over 250ms on both arms, so the environment is slow: ")
    assert told.message.endswith("; the pairs now also tell whether the flag made everybody slow")
    again = proving_in_pairs(over(proving(trying, OPEN)))
    assert (again.move, again.reason, again.operation) == (Move.HOLD, "Proving", "store")
    assert COUNTED in again.message


def test_an_environment_that_is_over_budget_when_time_is_out_leaves_the_flag_undecided(trying: Situation):
    late = with_rollout(over(proving(trying)), stage_seconds=600.0)
    told = proving_in_pairs(late)
    assert (told.move, told.reason, told.operation) == (Move.REVERT, "Inconclusive", "store")
    assert told.message.startswith("the evidence did not suffice in time, and store is over 250ms on both arms")


def test_what_its_own_counts_decide_needs_no_more_pairs(trying: Situation):
    plain = with_rollout(proving(trying), evidence=trying.rollout.evidence)
    assert proving_in_pairs(plain).move is Move.PROMOTE
    late = with_rollout(proving(trying), stage_seconds=600.0)
    assert (proving_in_pairs(late).move, proving_in_pairs(late).reason) == (Move.REVERT, "Inconclusive")
