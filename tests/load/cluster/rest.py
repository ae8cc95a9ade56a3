"""Many stacks at rest: what the operator holds and uses, how long a round takes, and how soon it is back after a restart.

Knows: the operator's own metrics, and the process as the machine sees it. Must not know: how it keeps what it knows.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import httpx
from load.bars import Bar
from load.cluster import herd
from load.cluster.experiment import Experiment
from load.cluster.figures import Run, values
from load.cluster.ground import Ground, Served
from support.operating import Operator
from support.stacks import Stack

__all__ = ["REST", "quantile"]

COUNTS: Final = (200, 500)
SETTLE_SECONDS: Final = 10.0
WATCHED_SECONDS: Final = 30.0
LONGEST_SECONDS: Final = 420.0
AT_ONCE: Final = 8
_BUCKET: Final = re.compile(
    r'^controller_runtime_reconcile_time_seconds_bucket\{.*le="([^"]+)".*\} (\S+)$', re.MULTILINE
)


@contextmanager
def _herd(ground: Ground) -> Iterator[Ground]:
    """A node for all runs."""
    log = ground.folder / "herd.log"
    command = [sys.executable, "-m", "load.cluster.herd", str(ground.plane.kubeconfig)]
    with log.open("ab") as lines:
        process = subprocess.Popen(command, stderr=lines)
    try:
        yield ground
    finally:
        process.terminate()
        process.wait(30)


def _at_rest(ground: Ground, number: int) -> dict[str, Any]:
    count = COUNTS[number % len(COUNTS)]
    with ground.home() as home:
        began = time.monotonic()
        _make(home, count)
        _wait_until_all_rest(home, count)
        ready = time.monotonic() - began
        time.sleep(SETTLE_SECONDS)
        rest = _usage(home.operator)
        since = time.time()
        home.operator.end(signal.SIGKILL)
        steady = _restarted(home.operator, count)
        rounds = _rounds(home.operator)
        again = _usage(home.operator)
        return {
            "stacks": count,
            "createSeconds": round(ready, 1),
            "megabytes": rest["megabytes"],
            "cores": rest["cores"],
            "restartSeconds": round(steady, 1),
            "roundsAtRestart": rounds[0],
            "reconcileSecondsP99": rounds[1],
            "megabytesAfterRestart": again["megabytes"],
            "coresAfterRestart": again["cores"],
            "writesAtRestart": home.writes(since, time.time()),
        }


def _make(home: Served, count: int) -> None:
    pod = {"nodeSelector": {herd.LABEL: "true"}}
    stacks = [
        Stack(home.plane, home.api, home.namespace, f"s{n}", replicas=1, image="memorystack-still:1", template=pod)
        for n in range(count)
    ]

    def one(stack: Stack) -> None:
        home.api.post(stack.path.rpartition("/")[0], json=stack.manifest()).raise_for_status()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(one, stacks))


def _wait_until_all_rest(home: Served, count: int) -> None:
    path = f"/apis/memorystack.dev/v1alpha1/namespaces/{home.namespace}/memorystacks"

    def idle() -> bool:
        items = home.api.get(path).raise_for_status().json()["items"]
        return sum(item.get("status", {}).get("phase") == "Idle" for item in items) == count

    home.operator.until(lambda: (time.sleep(1), idle())[1], "the stacks do not come to rest", LONGEST_SECONDS)


def _usage(operator: Operator) -> dict[str, float]:
    """Over half a minute: the most memory that was seen, and CPU seconds per second."""
    before, most, began = operator.usage()[0], 0.0, time.monotonic()
    while time.monotonic() - began < WATCHED_SECONDS:
        time.sleep(1)
        most = max(most, operator.usage()[1])
    cores = (operator.usage()[0] - before) / (time.monotonic() - began)
    return {"megabytes": round(most, 1), "cores": round(cores, 4)}


def _restarted(operator: Operator, count: int) -> float:
    """Seconds from its start until it has looked at every stack and nothing is due; its turn must run out first."""
    began = time.monotonic()
    operator.start()
    operator.until(lambda: operator.asked("/readyz") == 200, "it does not come back", LONGEST_SECONDS)
    operator.until(lambda: _steady(operator, count), "it does not become steady", LONGEST_SECONDS)
    return time.monotonic() - began


def _steady(operator: Operator, count: int) -> bool:
    rounds = operator.metric('controller_runtime_reconcile_total{controller="memorystack",result="requeue_after"}')
    waiting = operator.metric('workqueue_depth{name="memorystack"}')
    running = operator.metric('controller_runtime_active_workers{controller="memorystack"}')
    return rounds >= count and not waiting and not running


def _rounds(operator: Operator) -> tuple[int, float | None]:
    """How many there were since the start, and the upper edge of the bucket that holds the 99th percentile."""
    text = httpx.get(f"http://127.0.0.1:{operator.port}/metrics", timeout=10, trust_env=False).text
    buckets = [(float(edge), float(found)) for edge, found in _BUCKET.findall(text)]
    return int(buckets[-1][1]), quantile(buckets, 0.99)


def quantile(buckets: Sequence[tuple[float, float]], share: float) -> float | None:
    """Of cumulative buckets: the least upper edge that at least this share lies below; None where there is no number for it."""
    total = buckets[-1][1]
    edge = next(edge for edge, found in buckets if found >= share * total)
    return None if edge == float("inf") or not total else edge


def _bars(runs: Sequence[Run]) -> list[Bar]:
    small, big = ([run for run in runs if run.get("stacks") == count] for count in COUNTS)

    def most(some: Sequence[Run], *names: str) -> float | None:
        return max((v for name in names for v in values(some, name)), default=None)

    return [
        Bar("200 stacks: memory", most(small, "megabytes", "megabytesAfterRestart"), "<=", 113, "MB"),
        Bar("200 stacks: CPU", most(small, "cores", "coresAfterRestart"), "<=", 0.05, "cores"),
        Bar("500 stacks: memory", most(big, "megabytes", "megabytesAfterRestart"), "<", 200, "MB"),
        Bar("500 stacks: a round at p99 is below", most(big, "reconcileSecondsP99"), "<=", 1, "s"),
        Bar("500 stacks: SIGKILL and restart to steady", most(big, "restartSeconds"), "<", 60, "s"),
    ]


def _figures(runs: Sequence[Run]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for run in runs:
        if "problem" not in run:
            found[f"{run['stacks']} stacks: CPU over half a minute, cores"] = run["cores"]
            found[f"{run['stacks']} stacks: writes at a restart"] = sum(run["writesAtRestart"].values())
    return found


REST: Final = Experiment(
    key="g",
    title="Stacks at rest",
    conditions=(
        "200 and 500 stacks of one pod, no traffic; a pod is an address that a single process answers for, as the machine would "
        "not carry 500 pods; memory is the largest resident size in half a minute, before and after a SIGKILL and a new start"
    ),
    runs=len(COUNTS),
    place=_herd,
    run=_at_rest,
    bars=_bars,
    figures=_figures,
)
