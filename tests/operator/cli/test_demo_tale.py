"""The tale of the demo beside a world of its own: two edits, each until its verdict."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.running import RunningWorld
from support.world import World, settled_world

from memorystack_operator.cli.story import story
from memorystack_operator.cli.story.check import verdict_on
from memorystack_operator.cli.story.report import DemoReport
from memorystack_operator.cli.story.story import Story
from memorystack_operator.cli.story.watch import Watch
from memorystack_operator.local.errors import LocalError

SPEC = "parallelIngest: {concurrency: 0}\nhttpPool: {enabled: false, connections: 10, keepAlive: 4s}\n"


def saved(world: World, text: str) -> None:
    features = {"parallelIngest": {"concurrency": 4}}
    if "enabled: true" in text:
        features["httpPool"] = {"enabled": True, "connections": 1}
        world.bad["store", "canary"] = 0.6
    world.edit(features=features)


def slow_for_a_moment(world: World, text: str) -> None:
    """Everybody is slow just when the first flag is tried."""
    saved(world, text)
    if "enabled: true" not in text:
        for key in world.bad:
            world.bad[key] = 0.5


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the story; with what it said."""

    async def tell(save=saved, each=lambda _: None, spec: str = SPEC) -> tuple[Story, list[str]]:
        file = tmp_path / "stack.yaml"
        file.write_text(spec)
        running = RunningWorld(settled_world(rate=60), file, save)
        said: list[str] = []

        async def sleep(seconds: float) -> None:
            each(running.world)
            await running.sleep(seconds)

        monkeypatch.setattr(story, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
        monkeypatch.setattr(story, "time", SimpleNamespace(monotonic=lambda: running.world.now.timestamp()))
        monkeypatch.setattr(story, "picture", lambda *_: "a frame")
        monkeypatch.setattr(story, "gather_history", no_history)
        tale = Story(file, said.append, lambda: Watch(tmp_path / "load.json"))
        await tale.tell(running)
        return tale, said

    return tell


async def no_history(_stack: object, _say: object) -> dict:
    return {}


async def test_a_good_flag_is_promoted_and_a_bad_one_taken_back(told):
    tale, said = await told()
    good, bad = tale.changes
    assert (good.outcome, bad.outcome) == ("Promoted", "RolledBack")
    report = DemoReport(started_at="2026-01-01T00:00:00Z", changes=tale.changes)
    assert verdict_on(report) == []
    assert tale.frame == "a frame"
    assert any("every pod after" in line for line in said)


async def test_a_flag_that_a_slow_moment_has_withdrawn_is_followed_to_its_verdict(told, monkeypatch):
    """The switchback takes longer than the time of an undisturbed trial."""
    monkeypatch.setattr(story, "VERDICT_SECONDS", 100.0)

    def well_again(world: World) -> None:
        if world.phase == "Withdrawn":
            for key in world.bad:
                world.bad[key] = 0.0

    tale, _ = await told(slow_for_a_moment, well_again)
    assert [change.outcome for change in tale.changes] == ["Promoted", "RolledBack"]
    assert tale.changes[0].withdrawals == 1


async def test_without_a_verdict_the_second_flag_is_not_tried(told, monkeypatch):
    monkeypatch.setattr(story, "VERDICT_SECONDS", 3.0)
    tale, said = await told()
    assert [change.outcome for change in tale.changes] == ["NoVerdict"]
    assert "the story ends here" in said[-1]


async def test_a_file_without_the_line_that_is_edited_is_refused(told):
    with pytest.raises(LocalError, match="concurrency: 0"):
        await told(spec="nothing\n")
