"""A young stack's noise is measured again within the stage, observed through `decide` and `account`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from support.moments import moment_of, with_rollout, without_rings
from support.world import FLAG, World, remembered, rollout, stack

from memorystack_operator.core.accounting import account
from memorystack_operator.core.calibration import Prior
from memorystack_operator.core.dispersion import column, disperse, edge_of
from memorystack_operator.core.evidence import DesignEffect
from memorystack_operator.core.history import Scope, cut
from memorystack_operator.core.lookback import lookback_due, looked_back
from memorystack_operator.core.situation import Situation
from memorystack_operator.core.state import RolloutState, RolloutStatus

STORE = [{"operation": "store", "p95": "250ms"}]


@remembered
def young_world(calm: float = 0.031, worse: float = 0.08) -> World:
    """The flag is on after two minutes of history, one half minute of which was a bad one."""
    steps = [{"weight": 34, "minDuration": "10s"}]
    world = World(stack(rollout=rollout(budgets=STORE, steps=steps, analysis={"timeout": "10m"})), rate=120)
    for seconds, bad in ((30, calm), (30, worse), (70, calm)):
        serve(world, bad=bad)
        world.run(seconds)
    world.edit(features=FLAG)
    assert world.run(30, until=lambda w: bool(w.flagged))
    assert prior(world.status.rollout).effect.source == "Short"
    return world


def serve(world: World, *, bad: float) -> None:
    for key in world.bad:
        world.bad[key] = bad


def prior(stage: RolloutStatus) -> Prior:
    return stage.calibration.operations["store"]


def effect(stage: RolloutStatus) -> DesignEffect:
    return stage.evidence["store"].effect


def test_a_calm_stack_does_not_wait_for_the_noise_of_one_half_minute():
    """By the doubled design effect of four blocks it would run into the timeout of ten minutes."""
    world = young_world(calm=0.015, worse=0.11)
    needed = 58 * effect(world.status.rollout).phi_abs
    assert needed > 40 * 600, "or the test shows nothing"
    assert world.run(600, until=lambda w: bool(w.status.history))
    record = world.status.history[-1]
    assert (record.outcome, record.reason) == ("Promoted", "WithinBudget")
    assert record.judged["store"].canary_requests < needed / 3


def test_ten_blocks_replace_four_and_what_is_between_pods_stays():
    world = young_world()
    before = world.status.rollout
    world.run(10)
    waiting = world.status.rollout.message
    asked = 0
    while effect(world.status.rollout).source == "Short":
        asked += world.tick().history
        assert world.now - before.flipped_at < timedelta(seconds=240)
    after = world.status.rollout
    remark = "; noise counts twofold until there are ten half minutes of history"
    assert remark in waiting
    assert remark not in after.message
    was, found = prior(before).effect, prior(after).effect
    assert asked == 1
    assert prior(after).blocks >= 10
    assert 1 <= found.phi_abs < was.phi_abs / 3
    assert found.rate == pytest.approx(120, rel=0.02), "of all pods, though the canary's are not in it"
    assert effect(after) == found.for_share(1 / 3)
    kept = ("phi_rel", "margin", "mirrored_margin", "mostly_bad")
    assert all(getattr(found, name) == getattr(was, name) for name in kept)
    assert "between pods as before the flip" in found.message
    assert after.evidence["store"].step_requests > before.evidence["store"].step_requests, "and nothing is forgotten"


def test_lasting_bursts_stay_in_it():
    """What comes again and again is no accident: it must not be argued away by waiting."""
    world = young_world()
    for second in range(240):
        serve(world, bad=0.05 if second % 60 < 30 else 0.02)
        world.tick()
        if world.status.rollout is None or effect(world.status.rollout).source != "Short":
            break
    assert effect(world.status.rollout).source == "Measured"
    assert effect(world.status.rollout).phi_abs > 20


def grown(**changes: object) -> Situation:
    """Long after the flip, when the rings have come with a reading."""
    world = young_world()
    world.run(150)
    assert effect(world.status.rollout).source == "Short"
    for _ in range(2):
        world.live(30)
    return with_rollout(moment_of(world, history=True), **changes)


def test_it_is_measured_when_the_rings_have_come():
    situation = grown()
    after = account(situation)
    assert effect(after).source == "Measured"
    assert after.noise_at == situation.now


def test_what_two_of_three_pods_show_is_brought_to_the_rate_of_all():
    """verdict.md 1.6: phi - 1 goes with the rate."""
    situation = grown()
    now, since = situation.now.timestamp(), situation.status.promoted_at
    scope = Scope("store", situation.stable.revision, now, 250, since)
    history = cut([p.evidence for p in situation.others], scope)
    shown = disperse([column(block, edge_of(history.total(), 250)) for block in history.blocks])
    assert shown.phi_abs > 2
    assert prior(account(situation)).effect.phi_abs == pytest.approx(1 + (shown.phi_abs - 1) * 3 / 2, rel=1e-3)


def test_an_operation_with_a_long_history_keeps_its_own_beside_a_short_one():
    situation = grown()
    short = prior(situation.rollout)
    long = short.model_copy(update={"effect": short.effect.model_copy(update={"source": "Measured"})})
    calibration = situation.rollout.calibration.model_copy(update={"operations": {"recall": long, "store": short}})
    evidence = {"recall": situation.rollout.evidence["store"], "store": situation.rollout.evidence["store"]}
    stage = situation.rollout.model_copy(update={"calibration": calibration, "evidence": evidence})
    after = looked_back(situation, stage)
    assert after.calibration.operations["recall"] == long
    assert after.calibration.operations["store"].effect.phi_abs < short.effect.phi_abs


@pytest.mark.parametrize(
    "situation",
    [
        pytest.param(lambda: without_rings(grown()), id="no rings were read"),
        pytest.param(lambda: grown(calibration=None), id="nothing was frozen at the flip"),
        pytest.param(lambda: with_rollout(grown(), noise_at=grown().now), id="a moment ago they were asked"),
    ],
)
def test_else_the_noise_stays_as_it_was(situation):
    before = situation()
    after = account(before)
    assert after.calibration == before.rollout.calibration
    assert effect(after) == effect(before.rollout)
    assert after.noise_at == before.rollout.noise_at


def test_other_pods_that_are_young_themselves_are_waited_for_once_more():
    situation = grown()
    others = {p.name for p in situation.others}
    pods = tuple(
        replace(p, evidence=p.evidence.model_copy(update={"ring": p.evidence.ring[-7:]})) if p.name in others else p
        for p in situation.seen.pods
    )
    after = account(replace(situation, seen=replace(situation.seen, pods=pods)))
    assert effect(after) == effect(situation.rollout)
    assert (prior(after).blocks, after.noise_at) == (6, situation.now)
    assert not due(after, situation, seconds=4 * 30 - 1)
    assert due(after, situation, seconds=4 * 30)


def due(stage: RolloutStatus, situation: Situation, *, seconds: float) -> bool:
    return lookback_due(stage, situation.spec, situation.now + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        pytest.param({}, True, id="six blocks' time has passed since the flip"),
        pytest.param({"state": RolloutState.WITHDRAWN}, False, id="the flag is not on"),
        pytest.param({"calibration": None}, False, id="nothing was frozen at the flip"),
        pytest.param({"flipped_at": None}, False, id="it was never on"),
    ],
)
def test_when_the_rings_are_asked_for(changes: dict, asked: bool):
    situation = grown()
    assert due(situation.rollout.model_copy(update=changes), situation, seconds=0) is asked


def test_a_clock_that_was_set_back_asks_again_rather_than_never():
    situation = grown(noise_at=grown().now)
    assert due(situation.rollout, situation, seconds=-1)
    assert not due(situation.rollout, situation, seconds=1)


def test_a_long_history_is_not_asked_again():
    situation = grown()
    measured = effect(situation.rollout).model_copy(update={"source": "Measured"})
    calibration = situation.rollout.calibration
    told = {"store": prior(situation.rollout).model_copy(update={"effect": measured})}
    stage = situation.rollout.model_copy(update={"calibration": calibration.model_copy(update={"operations": told})})
    assert not due(stage, situation, seconds=3600)
