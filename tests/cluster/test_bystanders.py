"""Everybody is slow: because of the flag, or of an environment that falters by itself? The switchback on a real API server.

Both cases run side by side, since they spend their minutes waiting for windows of time: each stack has its own dependency, which its
pods call for every request.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from support.stacks import EVEN, Stack
from support.stub.shared import SharedDependency
from support.traffic import Traffic

pytestmark = pytest.mark.long

RATE = 60.0
"""Requests per second: a fifth of the dependency's time at one unit each, and twice its time when a third of them take thirty."""
UNITS_MS = 3.0
FALTERING_MS = 40.0
FLOODING = [{"when": EVEN, "p95Ms": 60, "units": 30}, {"p95Ms": 60, "units": 1}]
HARMLESS = [{"p95Ms": 60, "units": 1}]
LONGEST = 400.0
"""Seconds: a minute within budget, then pairs of windows of five seconds each."""


@contextmanager
def tried(stack: Stack, dependency: SharedDependency, rules: list[dict[str, Any]]) -> Iterator[Traffic]:
    """In a long step with the flag on the canary, under traffic."""
    behaviour = {"rules": rules, "shared": dependency.address, "historyRate": RATE / 3}
    stack.apply(
        rollout={**stack.spec["rollout"], "steps": [{"weight": 34, "minDuration": "30m"}]},
        template={"env": [{"name": "STUB_BEHAVIOUR", "value": json.dumps(behaviour)}]},
    )
    stack.wait_idle()
    with stack.traffic(RATE, 2 * LONGEST) as traffic:
        stack.apply(features=EVEN)
        stack.wait(lambda: stack.rollout.get("flippedAt"), "the flag is not tried")
        yield traffic


def withdrawn(stack: Stack) -> float:
    """Seconds from the flip until the flag was taken back, without a verdict."""
    stack.wait(lambda: stack.rollout.get("state") == "Withdrawn", "the flag is not withdrawn")
    rollout = stack.rollout
    assert rollout["withdrawnReason"] == "EnvironmentOverBudget"
    since, flipped = (datetime.fromisoformat(rollout[key]) for key in ("stateSince", "flippedAt"))
    return (since - flipped).total_seconds()


def test_everybody_when_slow_then_the_flag_that_floods_is_convicted_and_the_bystander_is_cleared(
    new_stack: Callable[[], Stack],
) -> None:
    """R5c."""
    guilty, bystander = new_stack(), new_stack()
    with (
        SharedDependency(UNITS_MS) as flooded,
        SharedDependency(UNITS_MS) as faltered,
        tried(guilty, flooded, FLOODING) as traffic,
        tried(bystander, faltered, HARMLESS),
    ):
        faltered.ms_per_unit = FALTERING_MS
        pods = guilty.uids()
        assert withdrawn(guilty) < 60
        withdrawn(bystander)
        faltered.ms_per_unit = UNITS_MS
        guilty.wait_for("Rejected", seconds=LONGEST)
        bystander.wait(lambda: bystander.rollout.get("state") == "Progressing", "nobody is cleared", LONGEST)
        told = time.time()
        bystander.wait(lambda: bystander.leased() == bystander.rollout["pods"], "the step does not go on")
        guilty.wait(lambda: traffic.answers[-1].at > told + 5, "no answer")
        lately = [answer.good(250) for answer in traffic.answers if answer.at > told + 2]
    assert (guilty.last["outcome"], guilty.last["reason"]) == ("RolledBack", "HarmsSharedDependency")
    assert re.search(r"in \d+ of \d+ pairs recall was worse with the flag on than off", guilty.last["message"])
    assert guilty.condition("RolloutHealthy")["status"] == "False"
    assert guilty.leased() == []
    assert (guilty.uids(), sum(lately) / len(lately)) == (pods, pytest.approx(1, abs=0.05))
    begun = ["RolloutStarted", "StageStarted", "FlagsWithdrawn", "SwitchbackStarted"]
    assert guilty.events() == [*begun, "RolledBack"]
    assert bystander.events() == [*begun, "Resumed"]
    assert not bystander.status.get("rejected")
    assert not bystander.status.get("history")
