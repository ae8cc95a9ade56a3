"""What `memorystack up` tells where there is no live view, besides the events."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.world import settled_world

from memorystack_operator.cli.news import News
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
