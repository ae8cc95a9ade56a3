"""A bad flag against a healthy stack: how soon it is found, and what users had to bear. Four pods, and twenty.

Knows: bars of issue "Speed". Must not know: how a run is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from load.bars import Bar
from load.cluster.canary import SICK, reverted
from load.cluster.experiment import Experiment
from load.cluster.figures import Run, about, median, nearest_rank, sound, values
from load.cluster.ground import Home, rollout_of, stub_env

__all__ = ["FOUR_PODS", "NODE", "TWENTY_PODS", "caught"]

RING: Final = 1800.0
"""Seconds. With six minutes of five requests per second a pod's own odds are known too badly to be quick."""


def caught(runs: Sequence[Run]) -> Bar:
    """All of them."""
    good = [r for r in sound(runs) if (r["outcome"], r["reason"]) == ("RolledBack", "P95OverBudget")]
    return Bar("runs in which the bad flag was taken back", len(good), "=", len(runs), "")


def _four(home: Home, number: int) -> dict[str, Any]:
    spec = {"replicas": 4, "rollout": rollout_of(25), "template": stub_env([SICK], 4)}
    with home.stack("four", **spec) as stack:
        return reverted(home, stack, number)


def _twenty(home: Home, number: int) -> dict[str, Any]:
    spec = {"replicas": 20, "rollout": rollout_of(5), "template": stub_env([SICK], 20, historySeconds=RING)}
    with home.stack("twenty", **spec) as stack:
        return {name: value for name, value in reverted(home, stack, number).items() if name != "writes"}


def _bars_of_four(runs: Sequence[Run]) -> list[Bar]:
    verdicts, bad = values(runs, "verdict"), values(runs, "badAboveHealthy")
    late, first = values(runs, "lastBadAfterVerdict"), values(runs, "firstCanaryAnswer")
    return [
        caught(runs),
        Bar("apply to verdict, median", median(verdicts), "<=", 8, "s", about(verdicts)),
        Bar("apply to verdict, p95", nearest_rank(verdicts, 0.95), "<=", 15, "s"),
        Bar(
            "last bad answer after the verdict, latest of all runs", max(late, default=None), "<=", 1, "s", about(late)
        ),
        Bar("bad answers above healthy, median", median(bad), "<=", 25, "", about(bad)),
        Bar("apply to first canary answer, latest of all runs", max(first, default=None), "<=", 2, "s", about(first)),
    ]


def _bars_of_twenty(runs: Sequence[Run]) -> list[Bar]:
    verdicts = values(runs, "verdict")
    return [
        caught(runs),
        Bar("apply to verdict, median", median(verdicts), "<=", 20, "s", about(verdicts)),
        Bar("apply to verdict, p95", nearest_rank(verdicts, 0.95), "<=", 45, "s"),
    ]


def _figures(runs: Sequence[Run]) -> dict[str, Any]:
    found = {
        "apply to last bad answer, median, s": median(values(runs, "lastBadAnswer")),
        "apply to first canary answer, median, s": median(values(runs, "firstCanaryAnswer")),
        "last bad answer after the verdict, median, s": median(values(runs, "lastBadAfterVerdict")),
    }
    return {name: value for name, value in found.items() if value is not None}


def _figures_and_bad_answers(runs: Sequence[Run]) -> dict[str, Any]:
    return {**_figures(runs), "bad answers above healthy, median": median(values(runs, "badAboveHealthy"))}


def _figures_and_writes(runs: Sequence[Run]) -> dict[str, Any]:
    writes = [run["writes"] for run in sound(runs) if "writes" in run]
    if not writes:
        return _figures(runs)
    kinds = sorted({kind for one in writes for kind in one})
    each = {f"API writes per rollout: {kind}, median": median([w.get(kind, 0) for w in writes]) for kind in kinds}
    return {**_figures(runs), "API writes per rollout, median": median([sum(w.values()) for w in writes]), **each}


FOUR_PODS: Final = Experiment(
    key="a",
    title="A bad flag on one of four pods, on the API server",
    conditions=(
        "4 stub pods, 100 requests/s, healthy p95 150 ms, with the flag 375 ms, budget 250 ms; each run a new stack with six "
        "minutes of history in blocks of 30 s; one step of 25 %, all else by default"
    ),
    runs=20,
    place=lambda ground: ground.home(),
    run=_four,
    bars=_bars_of_four,
    figures=_figures_and_writes,
)
NODE: Final = replace(FOUR_PODS, key="b", title="The same on a real node (kubelet, containerd)", runs=5, node=True)
TWENTY_PODS: Final = Experiment(
    key="e",
    title="A bad flag on one of twenty pods",
    conditions=(
        "20 stub pods, 100 requests/s of which the canary gets 5; latencies and budget as in a; each run a new stack with half an "
        "hour of history, as much as a pod keeps in blocks of 30 s; one step of 5 %"
    ),
    runs=20,
    place=lambda ground: ground.home(),
    run=_twenty,
    bars=_bars_of_twenty,
    figures=_figures_and_bad_answers,
)
