"""May a step be proved in pairs, and what is said where it may not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.moments import BUDGETS, canary_world, moment_of, proving, with_rollout

from memorystack_operator.core.qualifying import (
    in_pairs,
    note,
    plain_alone,
    pooled_rate,
    proofs_of,
    refusal,
    rooms_wanted,
    undecided,
)
from memorystack_operator.core.room import Room
from memorystack_operator.core.situation import Situation
from memorystack_operator.core.state import PlannedStep, Recovery, RolloutState

ASSUMED = "it assumes that the flag's effect on shared parts ends with the request"
ROOMY, NARROW = Room(limit=0.02, hours=6.0, requests=9000), Room(limit=0.0468, hours=0.5, requests=90)


def slow(promotion: str = "Paired", **changes: object) -> Situation:
    """Three minutes into the only step, Plain's own counts say nearly nothing; there is room for both operations."""
    world = canary_world()
    steps = [{"weight": 34, "minDuration": "5m"}]
    world.edit(rollout={"budgets": BUDGETS, "steps": steps, "analysis": {"timeout": "10m", "promotion": promotion}})
    situation = moment_of(world)
    evidence = {
        name: e.model_copy(update={"effect": e.effect.model_copy(update={"phi_abs": 400.0, "mirrored_margin": 1.0})})
        for name, e in situation.rollout.evidence.items()
    }
    rooms = dict.fromkeys(evidence, ROOMY)
    known = {"evidence": evidence, "rooms": rooms, "step_seconds": 180.0, "plan": (PlannedStep(weight=34),)}
    return with_rollout(situation, **{**known, **changes})


def with_room(room: Room | None) -> Situation:
    """Of `store`; None: nothing is known of it."""
    rooms = {"recall": ROOMY} if room is None else {"recall": ROOMY, "store": room}
    return slow(rooms=rooms)


def decided(situation: Situation, *names: str) -> Situation:
    """Of these operations Plain's own counts say enough."""
    evidence = {
        name: canary_world().status.rollout.evidence[name] if name in names else e
        for name, e in situation.rollout.evidence.items()
    }
    return with_rollout(situation, evidence=evidence)


# -- plain evidence has its time ---------------------------------------------------


@pytest.mark.parametrize(("seconds", "alone"), [(179.0, True), (180.0, False)])
def test_plain_evidence_has_three_minutes_of_a_step_for_itself(seconds: float, alone: bool):
    assert plain_alone(slow(step_seconds=seconds).rollout) is alone


def test_after_a_step_that_was_proved_in_pairs_it_has_none():
    assert not plain_alone(with_rollout(proving(slow()), step_seconds=0.0).rollout)


def test_what_plain_evidence_has_not_decided_is_undecided():
    assert undecided(slow()) == ("store", "recall")
    assert undecided(decided(slow(), "store")) == ("recall",)
    assert undecided(decided(slow(), "store", "recall")) == ()


def test_an_operation_without_a_request_waits_for_nothing():
    situation = slow()
    silent = situation.rollout.evidence["store"].model_copy(update={"canary_requests": 0})
    evidence = {**situation.rollout.evidence, "store": silent}
    assert undecided(with_rollout(situation, evidence=evidence)) == ("recall",)


def test_an_operation_that_was_over_budget_passes_by_being_better():
    situation = slow()
    store = situation.rollout.evidence["store"]
    better = store.model_copy(update={"better": (20.0,) * len(store.better)})
    situation = with_rollout(situation, evidence={**situation.rollout.evidence, "store": better})
    assert undecided(situation) == ("store", "recall")
    calibration = situation.rollout.calibration
    over = calibration.operations["store"].model_copy(update={"over_budget_before": True})
    known = calibration.model_copy(update={"operations": {**calibration.operations, "store": over}})
    assert undecided(with_rollout(situation, calibration=known)) == ("recall",)
    assert undecided(with_rollout(situation, calibration=None)) == ("store", "recall")


# -- can pairs prove it? -----------------------------------------------------------


def test_pairs_can_prove_what_has_room():
    assert refusal(slow()) == ""
    assert set(proofs_of(slow())) == {"store", "recall"}


def test_a_cache_cannot_be_proved_in_pairs():
    assert refusal(slow(stage="cache")) == "cache sizes never qualify, as what a cache holds outlasts a window"


def test_too_little_room_is_told_with_the_history_that_it_comes_from():
    text = (
        "store: up to 4.7 % may be bad in the long run by 0.5 h of history, so its odds may grow by 1.07 only (1.1 is "
        "needed); a longer history may tell more"
    )
    assert refusal(with_room(NARROW)) == text
    assert set(proofs_of(with_room(NARROW))) == {"recall"}


@pytest.mark.parametrize("room", [None, Room()], ids=["unknown", "no request"])
def test_without_a_history_that_is_told(room: Room | None):
    assert refusal(with_room(room)) == "store has no history yet"


def test_canary_pods_that_were_better_before_use_up_the_room():
    situation = slow()
    store = situation.rollout.evidence["store"]
    better = store.model_copy(update={"effect": store.effect.model_copy(update={"mirrored_margin": 0.34})})
    there = with_rollout(situation, evidence={**situation.rollout.evidence, "store": better})
    text = "store: the canary pods were better than the others before, by more than the room that is left"
    assert refusal(there) == text


def test_what_plain_evidence_has_decided_needs_no_room():
    assert refusal(decided(with_room(NARROW), "store")) == ""


def test_pairs_are_played_where_the_spec_asks_for_them_and_no_person_is_waited_for():
    assert in_pairs(slow())
    assert not in_pairs(slow("Plain"))
    assert not in_pairs(with_room(NARROW))
    assert not in_pairs(slow(plan=(PlannedStep(weight=34), PlannedStep(weight=0)), step=1))


# -- what a waiting step says of them ----------------------------------------------


def test_a_waiting_step_says_that_pairs_would_help_or_why_they_cannot():
    assert note(slow("Plain")) == f"; analysis.promotion: Paired would decide sooner under bursts, and {ASSUMED}"
    why = "cache sizes never qualify, as what a cache holds outlasts a window"
    assert note(slow(stage="cache")) == f"; promotion: Paired cannot be used: {why}"


@pytest.mark.parametrize(
    "situation",
    [
        pytest.param(slow(), id="they are played"),
        pytest.param(slow("Plain", stage="cache"), id="nobody asked for them"),
        pytest.param(slow("Plain", step_seconds=100.0), id="plain evidence has its time"),
        pytest.param(slow("Plain", state=RolloutState.WITHDRAWN), id="the flag is off"),
    ],
)
def test_else_it_says_nothing_of_them(situation: Situation):
    assert note(situation) == ""


# -- at which rate are windows played? ---------------------------------------------


def counted(requests: int, others: int, **changes: object) -> Situation:
    """In a step of 100 s both operations' arms served so many; `recall` served twice as many."""
    situation = slow(step_seconds=100.0, **changes)
    evidence = {
        name: e.model_copy(
            update={"step_requests": n * requests, "canary_requests": n * requests, "stable_requests": n * others}
        )
        for (name, e), n in zip(situation.rollout.evidence.items(), (1, 2), strict=True)
    }
    return with_rollout(situation, evidence=evidence)


def test_windows_are_as_long_as_the_slowest_operation_needs():
    assert pooled_rate(counted(100, 300)) == 4.0
    assert pooled_rate(counted(0, 300)) == 0.0
    assert pooled_rate(with_rollout(counted(100, 300), step_seconds=0.0)) == 0.0


def test_after_a_withdrawal_the_rate_of_the_last_minute_is_known_too():
    slices = tuple(Recovery(at=canary_world().now, requests=n, bad=0) for n in (60, 90))
    withdrawn = {"state": RolloutState.WITHDRAWN, "recovery": slices}
    assert pooled_rate(counted(100, 300, **withdrawn)) == 2.5
    assert pooled_rate(counted(100, 300, **withdrawn | {"state": RolloutState.PROGRESSING})) == 4.0
    assert pooled_rate(counted(100, 300, **withdrawn | {"recovery": ()})) == 4.0


# -- is it worth another look at the histories? ------------------------------------


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        pytest.param({}, True, id="too little room"),
        pytest.param({"rooms": {}}, True, id="nothing is known"),
        pytest.param({"ago": None}, True, id="nobody has looked yet"),
        pytest.param({"ago": 299}, False, id="looked at a moment ago"),
        pytest.param({"ago": -60}, True, id="the clock jumped back"),
        pytest.param({"promotion": "Plain"}, False, id="nobody asks for pairs"),
        pytest.param({"stage": "cache"}, False, id="a cache"),
        pytest.param({"step_seconds": 100.0}, False, id="plain evidence has its time"),
        pytest.param({"state": RolloutState.WITHDRAWN}, False, id="the flag is off"),
        pytest.param({"rooms": {"store": ROOMY, "recall": ROOMY}}, False, id="there is room"),
        pytest.param({"rooms": {"store": ROOMY, "recall": NARROW}}, True, id="room for one of two"),
    ],
)
def test_histories_are_read_again_while_pairs_could_begin_but_lack_room(changes: dict, wanted: bool):
    told = {"ago": 300, "promotion": "Paired", "rooms": {"store": NARROW, "recall": NARROW}, **changes}
    ago, promotion = told.pop("ago"), told.pop("promotion")
    now = canary_world().now
    situation = slow(promotion, rooms_at=None if ago is None else now - timedelta(seconds=ago), **told)
    assert rooms_wanted(situation.rollout, situation.spec, now) is wanted
