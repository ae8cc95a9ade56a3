"""A flag that changes nothing: is it blamed for bursts, or for an environment that makes everybody slow?

Knows: bars of issue "Speed". Must not know: how a flag is judged.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import httpx
from load.bars import Bar
from load.cluster.canary import SICK_MS
from load.cluster.experiment import Experiment
from load.cluster.figures import Run, about, sound, values
from load.cluster.ground import Home, rollout_of, stub_env
from support.stacks import Stack

__all__ = ["BURSTS", "SLOW_PODS"]

EVEN: Final = {"cache": {"maxSize": 200}}
"""A flag that changes nothing of a stub's latency."""
CANARY_SECONDS: Final = 61.0
STEP_SECONDS: Final = 63
"""The step's: a run that is promoted shows its sixty seconds, too, though its looks at the status come late."""
LONGEST_SECONDS: Final = 240.0
SLOW_SECONDS: Final = 90.0
BURST: Final = {"everySeconds": 20, "seconds": 2, "factor": 2}


def _bursts(home: Home, number: int) -> dict[str, Any]:
    """The run ends when the canary has served for a minute, whatever was decided by then."""
    template = stub_env([], 4, burst=BURST)
    with (
        home.stack("burst", replicas=4, rollout=rollout_of(25, STEP_SECONDS), template=template) as stack,
        home.traffic(stack, number),
    ):
        time.sleep(3)
        stack.apply(features=EVEN)
        served = _follow(stack, lambda seconds: seconds >= CANARY_SECONDS, LONGEST_SECONDS)
        return {"canarySeconds": round(served, 1), **_ended(stack)}


def _slow_pods(home: Home, number: int) -> dict[str, Any]:
    """All pods become slow while the canary serves; a minute and a half of it is watched."""
    rollout = rollout_of(25, 600)
    with (
        home.stack("slow", replicas=4, rollout=rollout, template=stub_env([], 4)) as stack,
        home.traffic(stack, number) as traffic,
    ):
        time.sleep(3)
        stack.apply(features=EVEN)
        stack.wait(lambda: stack.counted >= 100, "the canary does not serve")
        slow = json.dumps({"rules": [{"p95Ms": SICK_MS}]})
        for pod in stack.pods():
            httpx.put(f"http://{pod['status']['podIP']}:9090/control", content=slow, trust_env=False).raise_for_status()
        since = time.time()
        time.sleep(SLOW_SECONDS)
        lately = [a for a in traffic.answers if a.at > since + 2]
        share = sum(not a.good(250) for a in lately) / len(lately)
        return {"badSharePercent": round(100 * share, 1), **_ended(stack)}


def _follow(stack: Stack, enough: Callable[[float], bool], longest: float) -> float:
    """Seconds that the canary had the flag, added up from looks at the status."""
    end, served, before = time.monotonic() + longest, 0.0, time.monotonic()
    while time.monotonic() < end and not enough(served):
        time.sleep(0.25)
        status, now = stack.status, time.monotonic()
        rollout = status.get("rollout") or {}
        if rollout.get("state") == "Progressing" and rollout.get("appliedAt"):
            served += now - before
        before = now
        if status.get("history"):
            break
    return served


def _ended(stack: Stack) -> dict[str, Any]:
    status = stack.status
    rollout = status.get("rollout") or {}
    line = (status.get("history") or [{}])[-1]
    return {
        "outcome": line.get("outcome", "Open"),
        "reason": line.get("reason", "") or rollout.get("reason", ""),
        "state": rollout.get("state", ""),
        "withdrawals": rollout.get("withdrawals", line.get("withdrawals", 0)),
        "message": status.get("message", ""),
    }


def _blamed(runs: Sequence[Run], name: str) -> list[Bar]:
    """`Worse`, `P95OverBudget`, `HarmsSharedDependency`: whatever the reason, an innocent flag was rejected."""
    blamed = sum(run["outcome"] == "RolledBack" for run in sound(runs))
    return [Bar("runs carried out", len(sound(runs)), "=", len(runs)), Bar(name, blamed, "=", 0, f"of {len(runs)}")]


def _bars_of_bursts(runs: Sequence[Run]) -> list[Bar]:
    seconds = values(runs, "canarySeconds")
    least = Bar("canary time, least of all runs", min(seconds, default=None), ">=", 60, "s", about(seconds))
    return [*_blamed(runs, "false rollbacks"), least]


def _bars_of_slow_pods(runs: Sequence[Run]) -> list[Bar]:
    return _blamed(runs, "innocent flags convicted")


def _figures(runs: Sequence[Run]) -> dict[str, Any]:
    ends = Counter(" ".join(filter(None, (r["outcome"], r["state"], r["reason"]))) for r in sound(runs))
    withdrawn = sum(run["withdrawals"] > 0 for run in sound(runs))
    return {**{f"ended as {end}": n for end, n in sorted(ends.items())}, "runs with a withdrawal": withdrawn}


BURSTS: Final = Experiment(
    key="c",
    title="A flag that changes nothing, under bursts",
    conditions=(
        "4 stub pods, 100 requests/s, p95 150 ms; latencies are doubled in all pods for 2 s in every 20 s, in the history "
        "too; at least 60 s with the flag on the canary in each run"
    ),
    runs=30,
    place=lambda ground: ground.home(),
    run=_bursts,
    bars=_bars_of_bursts,
    figures=_figures,
    at_once=5,
)
SLOW_PODS: Final = Experiment(
    key="d",
    title="A flag that changes nothing, while all pods become slow",
    conditions=(
        "4 stub pods, 100 requests/s; after 100 requests of the canary every pod's p95 goes from 150 to 375 ms and stays "
        "there; 90 s of it are watched"
    ),
    runs=10,
    place=lambda ground: ground.home(),
    run=_slow_pods,
    bars=_bars_of_slow_pods,
    figures=_figures,
    at_once=5,
)
