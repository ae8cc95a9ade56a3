"""One replica and its surge pod: when one is asked for, waited for, given up and removed, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from support.moments import canary_world, moment_of, with_rollout, with_status
from support.pods import FakePod
from support.world import FLAG, World, remembered, stack

from memorystack_operator.core.guards.surge import (
    left_alone,
    surge_pod,
    surge_pod_lost,
    surge_pod_not_needed,
    surge_pod_not_needed_any_more,
)
from memorystack_operator.core.observe import Observations, Trouble
from memorystack_operator.core.situation import Move, Outcome, Situation
from memorystack_operator.core.state import RolloutState
from memorystack_operator.core.surge import Surge, missing, received

NOT_MADE = "it has not been made yet"


@remembered
def alone(**spec) -> World:
    """A stack that serves, and a flag was edited a moment ago."""
    world = World(stack(**{"replicas": 1, **spec}))
    world.run(5)
    world.edit(features=FLAG)
    return world


def asked(situation: Situation, seconds: float = 5, **fields: object) -> Situation:
    """A surge pod was asked for so long ago."""
    surge = Surge(since=situation.now - timedelta(seconds=seconds)).model_copy(update=fields)
    return with_status(situation, surge=surge)


def given_up(situation: Situation, seconds: float) -> Situation:
    failed_at = situation.now - timedelta(seconds=seconds)
    return asked(situation, seconds, failed_at=failed_at, failure="it had no room")


def removed(why: str) -> Outcome:
    return Outcome(Move.RELEASE, "SurgePodRemoved", f"the surge pod is removed: {why}")


OWN = removed("the stack has pods of its own to compare")


# -- asked for, waited for, given up -----------------------------------------------


def test_one_replica_asks_for_a_pod_to_compare_with_and_several_do_not():
    text = "parallelIngest waits: one replica, so a second pod is started to compare with"
    assert surge_pod(moment_of(alone())) == Outcome(Move.SURGE, "SurgePod", text)
    assert surge_pod(moment_of(alone(replicas=2))) is None


def test_a_surge_pod_is_waited_for_until_it_is_warm():
    text = f"parallelIngest waits for the surge pod: {NOT_MADE}"
    assert surge_pod(asked(moment_of(alone()), 299)) == Outcome(Move.HOLD, "SurgePod", text)
    assert surge_pod(asked(moment_of(alone()), 299, warm=True)) is None


def test_after_five_minutes_it_is_given_up():
    text = f"one replica has no control arm, and its surge pod was not warm in time: {NOT_MADE}"
    assert surge_pod(asked(moment_of(alone()), 300)) == Outcome(Move.GIVE_UP, "NoControlArm", text)


def test_one_that_was_given_up_is_tried_again_after_ten_minutes():
    waits = "parallelIngest waits: it had no room; tried again after 10 minutes; or set spec.replicas to 2, or promote"
    assert surge_pod(given_up(moment_of(alone()), 599)) == Outcome(Move.HOLD, "NoControlArm", waits)
    assert surge_pod(given_up(moment_of(alone()), 600)).move is Move.SURGE


# -- removed -----------------------------------------------------------------------


def test_where_no_surge_pod_is_there_none_is_removed():
    assert surge_pod_not_needed(moment_of(alone())) is None
    assert surge_pod_not_needed_any_more(moment_of(alone(replicas=2))) is None


def test_it_stays_while_a_flag_waits_for_it():
    assert surge_pod_not_needed(asked(moment_of(alone()))) is None
    assert surge_pod_not_needed_any_more(asked(moment_of(alone()))) is None


def test_it_goes_when_no_flag_waits_or_people_pause():
    world = alone()
    paused = with_status(asked(moment_of(world)), paused=True)
    assert surge_pod_not_needed(paused) == removed("paused before the flag was tried")
    world.edit(features={})
    assert surge_pod_not_needed(asked(moment_of(world))) == removed("no flag waits to be tried")


@pytest.mark.parametrize("guard", [surge_pod_not_needed, surge_pod_not_needed_any_more])
def test_it_goes_when_the_stack_has_two_ready_pods_of_its_own(guard):
    world = alone(replicas=2)
    assert guard(asked(moment_of(world))) == OWN
    world.surging = [surge_of(world)]
    world.pods[1].ready = False
    assert guard(asked(moment_of(world))) is None


def test_an_autoscaler_may_change_its_mind_so_its_pods_are_not_enough_while_the_surge_pod_runs():
    world = alone(replicas=None, autoscaling={"minReplicas": 1, "maxReplicas": 4})
    world.scaled = 3
    world.scale()
    assert surge_pod_not_needed(asked(moment_of(world))) is None
    assert surge_pod_not_needed(given_up(moment_of(world), 5)) == OWN


# -- in the middle of a trial ------------------------------------------------------


def bereft(seconds: float = 5, **fields: object) -> Situation:
    """The original pod carries the flag, and nobody is left to compare with."""
    situation = moment_of(canary_world())
    return asked(replace(situation, seen=replace(situation.seen, pods=situation.canary)), seconds, **fields)


LOST = f"the surge pod is lost, and nobody is left to compare with: {NOT_MADE}"


def test_when_the_surge_pod_is_lost_the_flag_leaves_at_once():
    assert surge_pod_lost(bereft()) == Outcome(Move.WITHDRAW, "MetricsUnavailable", LOST)
    assert surge_pod_lost(with_rollout(bereft(), state=RolloutState.WITHDRAWN)) is None


def test_the_trial_ends_when_no_other_comes_in_five_minutes():
    withdrawn = with_rollout(bereft(300), state=RolloutState.WITHDRAWN)
    assert surge_pod_lost(withdrawn) == Outcome(Move.REVERT, "Superseded", LOST)
    assert surge_pod_lost(with_rollout(bereft(299), state=RolloutState.WITHDRAWN)) is None


def test_nothing_is_lost_while_the_surge_pod_is_warm_or_another_pod_is_there():
    assert surge_pod_lost(bereft(warm=True)) is None
    assert surge_pod_lost(asked(moment_of(canary_world()))) is None
    assert surge_pod_lost(moment_of(canary_world())) is None


def test_scaled_down_to_one_in_the_middle_of_a_stage_the_flag_is_tried_again():
    world = canary_world()
    assert left_alone(moment_of(world)) is None
    world.edit(replicas=1)
    text = "one replica is left, so parallelIngest is tried again with a surge pod to compare with"
    assert left_alone(moment_of(world)) == Outcome(Move.REVERT, "Superseded", text)
    assert left_alone(asked(moment_of(world))) is None


# -- what it lacks -----------------------------------------------------------------


def surge_of(world: World, *, requests: int = 0, **fields: object) -> FakePod:
    pod = FakePod("mem-canary-2", "uid-s", world.now.timestamp(), world.status.stable.revision, surge=True)
    for name, value in fields.items():
        setattr(pod, name, value)
    pod.serve(world.stack.spec.rollout.wire_budgets().revision, "store", requests, 0, 0)
    return pod


def seen(*pods: FakePod, troubles: Sequence[Trouble] = ()) -> tuple[Surge, Observations, World]:
    """Seven seconds after it was ready."""
    world = alone()
    world.surging = list(pods)
    ready = [pod for pod in pods if pod.ready]
    since = world.now - timedelta(seconds=7)
    surge = Surge(since=since, uid="uid-s" if pods else "", ready_since=since if ready else None)
    known, observations = received(surge, replace(world.observe(), troubles=tuple(troubles)), world.now)
    assert known is not None
    return known, observations, world


def lacking(*pods: FakePod, troubles: Sequence[Trouble] = ()) -> str:
    known, observations, world = seen(*pods, troubles=troubles)
    return missing(known, observations, world.now)


def test_what_a_surge_pod_lacks_is_told():
    world = alone()
    assert lacking() == NOT_MADE
    assert lacking(surge_of(world, ready=False)) == "mem-canary-2 is not ready"
    assert lacking(surge_of(world, readable=False)) == "the evidence of mem-canary-2 cannot be read"
    served = "mem-canary-2 has served 7 s and 12 requests; 10 s and 30, or 30 s with fewer, are needed"
    assert lacking(surge_of(world, requests=12)) == served


def test_what_keeps_the_surge_pod_from_starting_is_told_in_place_of_that():
    trouble = Trouble("PodsRefused", "Deployment mem-canary: exceeded quota: compute", surge=True)
    assert lacking(troubles=[trouble]) == trouble.message
    assert lacking(surge_of(alone(), ready=False), troubles=[trouble]) == trouble.message
    assert lacking(troubles=[replace(trouble, surge=False)]) == NOT_MADE
