"""The printer columns tell the story in one line, and rest while the stack does."""

from __future__ import annotations

import pytest
from support.moments import canary_world, moment_of, with_rollout, with_status
from support.world import FLAG, rollout, settled_world

from memorystack_operator.api.status import ArmCounts, Progress, RolloutRecord
from memorystack_operator.core.progress import progress_of
from memorystack_operator.core.situation import Situation
from memorystack_operator.core.state import PlannedStep, RolloutState
from memorystack_operator.core.surge import Surge

PLAN = (PlannedStep(weight=34), PlannedStep(weight=0), PlannedStep(weight=67))


@pytest.fixture
def trying() -> Situation:
    """The first of three steps is under way, and nothing was judged before."""
    return with_rollout(moment_of(canary_world()), plan=PLAN)


def record(*, recall: float | None = 120.4, store: float | None = 80.0) -> RolloutRecord:
    moment = canary_world().now
    told = {"outcome": "Promoted", "reason": "WithinBudget", "message": "m", "value": "{}"}
    times = {"changed_at": moment, "started_at": moment, "ended_at": moment}
    judged = {"recall": ArmCounts(canary_p95_ms=recall), "store": ArmCounts(canary_p95_ms=store)}
    return RolloutRecord(id="r", stage="cache", judged=judged, **told, **times)


def test_the_columns_follow_a_stage_and_keep_the_last_verdict():
    world = settled_world()
    world.edit(features=FLAG)
    assert world.run(300, until=lambda w: w.phase == "Progressing")
    assert (world.status.progress.step, world.status.progress.weight) == ("parallelIngest 1/1", "34%")
    assert world.run(600, until=lambda w: w.phase == "Idle")
    resting = world.status.progress
    assert (resting.step, resting.weight) == ("", "")
    assert "recall " in resting.p95
    assert resting.p95.count("ms") == 2
    world.run(60)
    assert world.status.progress == resting


def test_a_pause_keeps_the_weight_of_the_step_before_it():
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "1s"}, {"pause": {}}]))
    assert world.run(900, until=lambda w: w.phase == "Paused")
    assert (world.status.progress.step, world.status.progress.weight) == ("parallelIngest 2/2", "34%")


@pytest.mark.parametrize(("step", "weight"), [(0, "34%"), (1, "34%"), (2, "67%")], ids=["first", "pause", "last"])
def test_the_columns_tell_the_step_and_the_weight_in_force(trying: Situation, step: int, weight: str):
    found = progress_of(with_rollout(trying, step=step).status)
    assert found == Progress(step=f"parallelIngest {step + 1}/3", weight=weight)


def test_a_pause_before_any_step_has_no_weight_yet(trying: Situation):
    assert progress_of(with_rollout(trying, plan=PLAN[1:]).status).weight == "0%"


def test_while_the_flags_are_off_no_request_meets_them(trying: Situation):
    found = progress_of(with_rollout(trying, state=RolloutState.WITHDRAWN).status)
    assert found == Progress(step="parallelIngest 1/3", weight="0%")


def test_with_a_surge_pod_half_of_the_requests_meet_the_flag_whatever_the_step_says(trying: Situation):
    there = with_status(trying, surge=Surge(since=trying.now))
    assert progress_of(there.status).weight == "50%"


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (record(), "recall 120ms, store 80ms"),
        (record(recall=None), "store 80ms"),
        (record(recall=None, store=None), ""),
    ],
    ids=["both", "one", "none"],
)
def test_the_p95_at_the_last_verdict_is_told_of_each_operation_that_was_read(
    trying: Situation, last: RolloutRecord, told: str
):
    older = record(recall=900.0)
    judged = with_status(trying, history=(older, last))
    assert progress_of(judged.status).p95 == told
    assert progress_of(with_status(judged, rollout=None).status) == Progress(p95=told)
