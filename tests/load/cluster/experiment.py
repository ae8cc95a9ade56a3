"""What an experiment is, and how its runs are carried out: one after the other, or several at once where the machine carries it.

Knows: runs and bars. Must not know: what is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from load.bars import Bar
from load.cluster.figures import Run
from load.cluster.headroom import Headroom

__all__ = ["Experiment", "Outcome", "carry_out"]


@dataclass(frozen=True)
class Experiment:
    """A question with bars."""

    key: str
    title: str
    conditions: str
    """A sentence."""
    runs: int
    place: Callable[[Any], AbstractContextManager[Any]]
    """Of the ground: what all runs share."""
    run: Callable[[Any, int], dict[str, Any]]
    """In that place, the how-manieth."""
    bars: Callable[[Sequence[Run]], list[Bar]]
    figures: Callable[[Sequence[Run]], dict[str, Any]] = lambda _runs: {}
    """What is published without a bar."""
    at_once: int = 1
    node: bool = False
    """Runs on a real node, and not on an API server alone."""


@dataclass(frozen=True)
class Outcome:
    """Of one experiment."""

    experiment: Experiment
    at: str
    seconds: float
    machine: dict[str, Any]
    runs: Sequence[Run]

    @property
    def bars(self) -> list[Bar]:
        return self.experiment.bars(self.runs)

    @property
    def figures(self) -> dict[str, Any]:
        return self.experiment.figures(self.runs)


def carry_out(experiment: Experiment, ground: Any, runs: int, say: Callable[[str], None]) -> Outcome:
    """A run that fails is in the outcome, with the reason."""
    at, began = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    done: dict[int, Run] = {}
    with (
        experiment.place(ground) as place,
        Headroom() as headroom,
        ThreadPoolExecutor(experiment.at_once, f"run-{experiment.key}") as threads,
    ):
        waiting = {threads.submit(_one, experiment, place, number): number for number in range(runs)}
        say(f"{experiment.key}: {experiment.title}: {runs} runs, {min(runs, experiment.at_once)} at once")
        for future in as_completed(waiting):
            number = waiting[future]
            done[number] = future.result()
            say(f"{experiment.key}: {len(done)} of {runs} done: {_brief(done[number])}")
    taken = round(time.monotonic() - began, 1)
    return Outcome(experiment, at, taken, headroom.found, [done[number] for number in sorted(done)])


def _one(experiment: Experiment, place: Any, number: int) -> dict[str, Any]:
    try:
        return experiment.run(place, number)
    # pytest.fail, which a helper of the tests uses, is no Exception.
    except (Exception, pytest.fail.Exception) as error:
        return {"problem": f"{type(error).__name__}: {error}"}


def _brief(run: Run) -> str:
    if "problem" in run:
        return str(run["problem"])[:2000]
    return ", ".join(f"{name} {value}" for name, value in run.items() if isinstance(value, (int, float, str)))[:400]
