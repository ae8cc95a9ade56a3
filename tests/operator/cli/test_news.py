"""What `memorystack up` tells where there is no live view, besides the events."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from support.world import settled_world

from memorystack_operator.cli.news import News, Waits
from memorystack_operator.cli.screen import Screen
from memorystack_operator.core.status import Status
from memorystack_operator.local.errors import LocalError
from memorystack_operator.local.report import PodView, Report

STABLE = settled_world(5).status.stable


def report(ready: int = 2, pods: int = 2, generation: int = 1, **fields) -> Report:
    views = tuple(
        PodView(
            name=f"m-{i}", address="a", internal_url="u", ready=i < ready, arm="stable", flags="f", restarts=0, lag_ms=0
        )
        for i in range(pods)
    )
    status = {"observedGeneration": generation, "stable": STABLE}
    base = {"name": "m", "file": "s.yaml", "gateway": "http://here", "at": datetime.now(UTC), "status": status}
    return Report(**{**base, "pods": views, **fields})


def test_that_it_serves_is_told_once_and_only_when_every_pod_is_ready():
    news = News()
    assert news.of(report(pods=0)) == []
    assert news.of(report(ready=1)) == []
    (told,) = news.of(report())
    for part in ("m serves at http://here", "all 2 pods are ready", "Saving s.yaml", "Ctrl-C"):
        assert part in told
    assert news.of(report(ready=1)) == []
    assert news.of(report()) == []


def test_one_pod_is_not_called_all():
    assert "its pod is ready" in News().of(report(ready=1, pods=1))[0]


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ({"generation": 2}, ["s.yaml was saved: generation 2"]),
        ({"refusal": "spec.x: no"}, ["refused, and what serves stays as it is: spec.x: no"]),
        ({"problem": "no python"}, ["no python"]),
        ({}, []),
    ],
)
def test_what_changes_is_told_once(after: dict, told: list[str]):
    news = News()
    news.of(report())
    assert news.of(report(**after)) == told
    assert news.of(report(**after)) == []


def test_a_file_that_is_mended_is_said_to_be_valid_again():
    news = News()
    news.of(report(refusal="spec.x: no"))
    assert news.of(report(generation=2)) == ["s.yaml is valid again"]


def test_a_restarted_stack_does_not_tell_its_old_generation_as_a_save():
    news = News()
    news.of(report(generation=-1, ready=0))
    assert not any("saved" in line for line in news.of(report(generation=7)))


# -- waits --------------------------------------------------------------------


def in_canary() -> Status:
    world = settled_world()
    world.edit(features={"parallelIngest": {"concurrency": 4}})
    world.run(60, until=lambda w: w.status.rollout is not None)
    return world.status


CANARY = in_canary()
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def told(waits: Waits, seconds: float, message: str = "2 of 6 blocks", **status) -> list[str]:
    at = BEGIN + timedelta(seconds=seconds)
    changed = {"message": message, "rollout": CANARY.rollout, **status}
    return waits.of(report(at=at, status=CANARY.model_copy(update=changed)))


def test_a_rollout_that_waits_says_so_every_ten_seconds_while_it_has_something_else_to_say():
    waits = Waits()
    assert told(waits, 0) == told(waits, 9.5) == []
    assert told(waits, 10) == [f"{CANARY.phase}: 2 of 6 blocks"]
    assert told(waits, 19.5, "3 of 6 blocks") == []
    assert told(waits, 20) == []
    assert told(waits, 20.5, "3 of 6 blocks") == [f"{CANARY.phase}: 3 of 6 blocks"]


def test_a_stack_at_rest_is_silent_and_the_next_rollout_has_ten_seconds_of_its_own():
    waits = Waits()
    assert told(waits, 0, rollout=None) == told(waits, 60, rollout=None) == []
    assert told(waits, 60) == []
    assert told(waits, 70) == [f"{CANARY.phase}: 2 of 6 blocks"]
    assert told(waits, 80, rollout=None) == []
    assert told(waits, 85, "3 of 6 blocks") == []


class WaitingStack:
    """Every look at it comes eleven seconds after the last."""

    looks = 0

    def report(self) -> Report:
        self.looks += 1
        status = CANARY.model_copy(update={"message": f"look {self.looks}"})
        return report(at=BEGIN + timedelta(seconds=11 * self.looks), status=status)


async def test_beside_a_story_the_waits_are_printed_and_its_failure_is_passed_on(capsys: pytest.CaptureFixture[str]):
    async def story(stack: WaitingStack) -> None:
        while stack.looks < 2:
            await asyncio.sleep(0.01)
        raise LocalError("the story broke")

    with pytest.raises(LocalError, match="the story broke"):
        await asyncio.wait_for(Screen("plain").show(WaitingStack(), story), 10)
    assert capsys.readouterr().out == f"{CANARY.phase}: look 2\n"
