"""The tale of demo-interference beside a world of its own: who edits, who disturbs, and what is written down."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.running import RunningWorld
from support.world import FLAG, World, settled_world

from memorystack_operator.cli.story import interference
from memorystack_operator.cli.story.interference import TRIALS, Tale
from memorystack_operator.cli.story.watch import Watch
from memorystack_operator.local.errors import LocalError

SPEC = "parallelIngest: {concurrency: 0}\ncache: {maxSize: 100}\n"
FLOODING, FLAPPING = TRIALS
really = asyncio.sleep


def saved(world: World, text: str) -> None:
    if "concurrency: 64" in text:
        world.edit(features={"parallelIngest": {"concurrency": 64}})
        world.shared = 0.3
    elif "maxSize: 200" in text:
        world.edit(features={"cache": {"maxSize": 200}})
        world.shared = 0.0


class Control:
    """The embedder's `/control`: a late embedder makes every pod of the world slow."""

    def __init__(self, world: World, heard: list[float]) -> None:
        self._world = world
        self._heard = heard

    async def __aenter__(self) -> Control:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def get(self, url: str) -> SimpleNamespace:
        assert url.endswith("/control")
        return SimpleNamespace(json=lambda: {"latency_ms": 60.0})

    async def put(self, _url: str, *, json: dict) -> None:
        self._heard.append(json["latency_ms"])
        for key in self._world.bad:
            self._world.bad[key] = 0.6 if json["latency_ms"] > 100 else 0.0


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunningWorld:
    file = tmp_path / "stack.yaml"
    file.write_text(SPEC)
    running = RunningWorld(settled_world(rate=60), file, saved)
    patched = SimpleNamespace(**{**vars(asyncio), "sleep": running.sleep})
    monkeypatch.setattr(interference, "asyncio", patched)
    client = SimpleNamespace(AsyncClient=lambda **_: Control(running.world, running.heard))
    monkeypatch.setattr(interference, "httpx", client)
    monkeypatch.setattr(interference, "gather_history", no_history)
    return running


async def no_history(_stack: object, _say: object) -> dict:
    return {}


def tale(stack: RunningWorld, tmp_path: Path, *trials) -> tuple[Tale, list[str]]:
    said: list[str] = []
    return Tale(trials, stack.file, said.append, lambda: Watch(tmp_path / "load.json")), said


async def test_both_trials_are_told_in_one_stack_and_the_second_edit_takes_the_first_back(stack, tmp_path: Path):
    """R5c"""
    told, said = tale(stack, tmp_path, *TRIALS)
    await told.tell(stack)
    guilty, innocent = told.reports
    assert (guilty.outcome, guilty.reason) == ("RolledBack", "HarmsSharedDependency")
    assert guilty.flip_to_withdrawal_seconds < 60
    assert guilty.switchback.log_e >= guilty.switchback.needed
    assert (innocent.outcome, innocent.reason) == ("Cleared", "EnvironmentCleared")
    assert innocent.switchback.log_e < 0
    assert stack.file.read_text() == SPEC.replace("maxSize: 100", "maxSize: 200")
    assert guilty.before["recall"]["p95Ms"] == 80.0
    assert guilty.starvation.starved is False
    assert any("withdrawn" in line for line in said)


async def test_the_embedder_falters_only_while_its_trial_runs(stack, tmp_path: Path):
    told, said = tale(stack, tmp_path, FLAPPING)
    await told.tell(stack)
    assert set(stack.heard) == {310.0, 60.0}
    assert any("answers 250 ms later for 2 s" in line for line in said)
    heard = len(stack.heard)
    for _ in range(50):
        await really(0)
    assert len(stack.heard) == heard


async def test_a_trial_without_an_answer_in_its_time_is_reported_as_no_verdict(
    stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(interference, "TRIAL_SECONDS", 0.0)
    told, said = tale(stack, tmp_path, FLOODING)
    await told.tell(stack)
    assert told.reports[0].outcome == "NoVerdict"
    assert any("never withdrawn" in line for line in said)


async def test_a_file_without_the_line_that_is_edited_is_refused(stack, tmp_path: Path):
    stack.file.write_text("nothing\n")
    told, _ = tale(stack, tmp_path, FLOODING)
    with pytest.raises(LocalError, match="concurrency: 0"):
        await told.tell(stack)


async def test_a_flag_of_another_stage_is_not_taken_for_the_trials(stack, tmp_path: Path):
    """A world in which something else was promoted before."""
    stack.world.edit(features=FLAG)
    assert stack.world.run(200, until=lambda w: bool(w.status.history))
    stack.world.run(5)
    told, _ = tale(stack, tmp_path, FLAPPING)
    await told.tell(stack)
    assert told.reports[0].stage == "cache"
