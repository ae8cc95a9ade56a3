"""A person takes part in a rollout, with the command `memorystack`: pause, resume, abort, retry and promote on a real API server."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.kstatus import kstatus
from support.person import Person
from support.stacks import Stack

EVEN = {"cache": {"maxSize": 200}}
"""A flag that changes nothing of a stub's latency."""
HALF: list[dict[str, Any]] = [{"weight": 50, "minDuration": "1s"}, {"pause": {}}, {"weight": 75, "minDuration": "1s"}]
LONG = [{"weight": 25, "minDuration": "10m"}]


@pytest.fixture
def four(stack: Stack) -> Iterator[Stack]:
    """A stack of four pods under traffic, at rest."""
    stack.apply(replicas=4)
    stack.wait_idle()
    with stack.traffic(rate=80, seconds=600):
        yield stack


@pytest.fixture
def person(four: Stack, tmp_path: Path) -> Person:
    """An administrator."""
    return Person(four.plane.kubeconfig, tmp_path)


def asked(person: Person, stack: Stack, verb: str) -> dict[str, Any]:
    """The answer to a verb."""
    return person.json(verb, stack.name, "-n", stack.namespace)


def begin(stack: Stack, steps: list[dict[str, Any]], **fields: Any) -> None:
    stack.apply(features=EVEN, rollout={**stack.spec["rollout"], "steps": steps, **fields})


class Phases:
    """Each version of the stack from now on, as a watch tells them: none is missed."""

    def __init__(self, api: httpx.Client, stack: Stack) -> None:
        self._api, self._stack = api, stack
        self._from = stack.get()["metadata"]["resourceVersion"]
        self.order: list[str] = []
        """Phases, as they came."""
        self.health: set[tuple[str, str]] = set()
        """(phase, kstatus) of the versions whose spec had been read."""

    def read(self) -> None:
        """What came since the last reading; an API server forgets the past after a minute or so."""
        query = {"watch": "1", "fieldSelector": f"metadata.name={self._stack.name}", "resourceVersion": self._from}
        path = self._stack.path.rpartition("/")[0]
        with self._api.stream("GET", path, params={**query, "timeoutSeconds": "1"}) as answer:
            found = [json.loads(line)["object"] for line in answer.iter_lines()]
        for one in found:
            self._from = one["metadata"]["resourceVersion"]
            phase = one["status"]["phase"]
            if phase not in self.order[-1:]:
                self.order.append(phase)
            if one["status"].get("observedGeneration") == one["metadata"]["generation"]:
                self.health.add((phase, kstatus(one)))


def test_half_a_pause_an_abort_a_retry_and_the_end_then_tell_their_story_and_leave_stable_untouched(
    four: Stack, person: Person, api: httpx.Client
) -> None:
    """R2, and what GitOps tools and `kubectl wait` see in each phase."""
    stable, uids, phases = four.status["stable"], four.uids(), Phases(api, four)
    begin(four, HALF)
    four.wait_for("Paused")
    assert len(four.leased()) == 2
    four.assert_ready()
    phases.read()
    assert four.condition("Ready")["reason"] == "WaitingForPerson"
    assert asked(person, four, "abort")["reason"] == "Aborted"
    four.wait_for("Rejected")
    four.assert_ready()
    phases.read()
    assert (four.leased(), four.status["stable"]) == ([], stable)
    assert asked(person, four, "retry")["reason"] == "Retried"
    four.wait_for("Paused")
    phases.read()
    assert four.status["stable"] == stable
    assert asked(person, four, "resume")["reason"] == "Resumed"
    four.wait_ended(2)
    four.wait_idle()
    four.assert_ready()
    assert [(r["stage"], r["outcome"]) for r in four.status["history"]] == [("cache", "Aborted"), ("cache", "Promoted")]
    four.wait(lambda: four.events()[-1:] == ["RolloutCompleted"], "the end is not told")
    # The same words of another moment are a count in the first event.
    assert Counter(four.events()) == Counter(
        [
            *("RolloutStarted", "StageStarted", "StepStarted", "Aborted", "Retried"),
            *("RolloutStarted", "StageStarted", "StepStarted", "StepStarted", "StagePromoted", "RolloutCompleted"),
        ]
    )
    phases.read()
    order, health = phases.order, phases.health
    kept = [p for p, _ in groupby(p for p in order if p in {"Paused", "Rejected", "Progressing"})]
    assert kept == ["Progressing", "Paused", "Rejected", "Progressing", "Paused", "Progressing"]
    assert {h for p, h in health if p == "Paused"} == {"Current"}, "a wait for a person would time out in every sync"
    assert {h for p, h in health if p == "Progressing"} == {"InProgress"}
    assert ("Rejected", "Current") in health
    assert not [p for p, h in health if h == "Failed"]
    assert four.uids() == uids


def test_a_pause_when_it_lasts_past_the_timeout_then_waits_on_and_goes_to_the_next_step_when_told(
    four: Stack, person: Person
) -> None:
    """R3."""
    begin(four, HALF, analysis={"interval": "1s", "timeout": "1m"})
    four.wait_for("Paused")
    before = four.rollout
    # The clock of the timeout is turned on, instead of waiting for a minute.
    four.kubectl("patch", "mstack", four.name, "--subresource=status", "--type=merge", "-p", late(before))
    four.wait(lambda: four.rollout["stageSeconds"] >= 3600, "the clock was not taken over")
    threading.Event().wait(3)
    assert (four.phase, len(four.leased()), four.status.get("history") or []) == ("Paused", 2, [])
    assert four.rollout["id"] == before["id"]
    assert asked(person, four, "promote")["reason"] == "PromotedByHand"
    four.wait_idle()
    assert four.last["reason"] == "PromotedByHand"
    assert four.status["stable"]["features"]["cache"]["maxSize"] == 200


def late(before: dict[str, Any]) -> str:
    return json.dumps({"status": {"rollout": {**before, "stageSeconds": 3600.0}}})


@pytest.mark.parametrize("after_abort", [True, False], ids=["after an abort", "amid the analysis"])
def test_a_person_when_promoting_then_the_analysis_ends_and_all_is_at_the_target(
    four: Stack, person: Person, after_abort: bool
) -> None:
    """R4."""
    begin(four, LONG)
    four.wait(lambda: four.rollout.get("firstCanaryRequestAt"), "nothing is served")
    if after_abort:
        asked(person, four, "abort")
        four.wait_for("Rejected")
    assert asked(person, four, "promote")["reason"] == "PromotedByHand"
    four.wait_idle()
    assert four.status["stable"]["features"]["cache"]["maxSize"] == 200
    assert not four.rollout
    four.wait(lambda: not four.leased(), "a lease stays")
    assert four.events().count("RolloutStarted") == 1
    assert four.condition("RolloutHealthy")["status"] == "True"


def test_a_person_when_pausing_a_step_then_its_clock_stands_still_until_resumed(four: Stack, person: Person) -> None:
    begin(four, LONG)
    four.wait(lambda: four.rollout.get("firstCanaryRequestAt"), "nothing is served")
    assert asked(person, four, "pause")["reason"] == "Paused"
    four.wait_for("Paused")
    lent = four.leased()
    assert len(lent) == 1
    assert asked(person, four, "resume")["reason"] == "Resumed"
    four.wait_for("Progressing")
    assert four.leased() == lent
    done = person.memorystack("retry", four.name, "-n", four.namespace)
    assert done.returncode == 1, "nothing was rejected"
    assert "retry: " in done.stdout
    assert four.events()[:4] == ["RolloutStarted", "StageStarted", "Paused", "Resumed"]
