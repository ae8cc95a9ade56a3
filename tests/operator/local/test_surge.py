"""R20 on one machine: `replicas: 1`, and a flag is judged by comparison with a second process that then ends."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.up import STACK, Up

from memorystack_operator.core.calibration import Calibration, Prior
from memorystack_operator.core.evidence import DesignEffect

ALONE = STACK.replace("replicas: 2", "replicas: 1").replace(
    "steps: [{weight: 50, minDuration: 5s}]",
    "budgets: [{operation: recall, p95: 5s}]\n    steps: [{weight: 10, minDuration: 2s}]",
)
"""Under a budget that two busy cores do not break."""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    made = Up(tmp_path)
    made.file.write_text(ALONE)
    yield made
    if made.process and made.process.poll() is None:
        made.end(signal.SIGKILL)


def start(up: Up) -> None:
    up.launch()
    up.wait(lambda: up.report and up.report.status.phase == "Idle" and up.ready == 1, "not ready")


def has_promoted_before(up: Up) -> None:
    """The design effect of an earlier promotion is on record, so that one block of history suffices."""
    path = up.state / "mem" / "status.json"
    known = Calibration(operations={"recall": Prior(effect=DesignEffect(source="Measured"), blocks=20)}, ready=True)
    record = json.loads(path.read_text())
    record["status"]["calibration"] = known.model_dump(mode="json", by_alias=True)
    path.write_text(json.dumps(record))
    (up.state / "mem" / "report.json").unlink()


def test_a_flag_of_a_single_pod_when_it_is_edited_then_is_judged_beside_a_surge_process_that_ends(up: Up):
    start(up)
    up.wait(up.store, "not acknowledged")
    assert up.end() == 0
    has_promoted_before(up)
    start(up)
    (original,) = (p.name for p in up.report.pods)
    up.edit("concurrency: 0", "concurrency: 4")
    with up.load("--seconds", "300", "--recalls", "15", "--stores", "0"):
        up.wait(lambda: up.ready == 2, "no surge process serves")
        assert {p.name for p in up.report.pods} == {original, "mem-canary-1"}
        up.wait(lambda: lent(up), "the flag does not come on", 180)
        assert lent(up) == (original,)
        up.wait(lambda: up.report.status.history, "no verdict", 180)
        up.wait(lambda: [p.name for p in up.report.pods] == [original], "the surge process stays")
    last = up.report.status.history[-1]
    assert (last.outcome, last.stage) == ("Promoted", "parallelIngest"), last.message
    assert last.judged["recall"].stable_requests > 0
    assert up.config()["features"]["parallelIngest"] == {"concurrency": 4}
    for reason in ("SurgePodStarted", "RolloutStarted", "SurgePodRemoved"):
        assert up.events().count(reason) == 1, reason
    assert up.end() == 0


def lent(up: Up) -> tuple[str, ...]:
    """The pods that hold the flag."""
    rollout = up.report.status.rollout
    return rollout.pods if rollout and rollout.flags_on and rollout.applied_at else ()
