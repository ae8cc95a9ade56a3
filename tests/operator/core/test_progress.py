"""The printer columns tell the story in one line, and rest while the stack does."""

from __future__ import annotations

from support.world import FLAG, rollout, settled_world


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
