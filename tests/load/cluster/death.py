"""The operator is killed while a bad flag is on its canary, and nobody comes in its place: for how long do users suffer?

Knows: signals and answers. Must not know: leases; that a pod gives its flags up by itself is what shows here.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from load.bars import Bar
from load.cluster.canary import BUDGET_MS, SICK, revision_of
from load.cluster.experiment import Experiment
from load.cluster.figures import Run, about, median, sound, values
from load.cluster.ground import Answered, Ground, rollout_of, stub_env
from support.stacks import BAD
from support.traffic import Answer

__all__ = ["DEATH"]

BREACH: Final = 3
"""Bad answers under the flag that users have got when it happens."""
WATCHED_SECONDS: Final = 45.0


@contextmanager
def _ground_itself(ground: Ground) -> Iterator[Ground]:
    yield ground


def _killed(ground: Ground, number: int) -> dict[str, Any]:
    """Each run has an operator of its own."""
    spec = {"replicas": 4, "rollout": rollout_of(25), "template": stub_env([SICK], 4)}
    with ground.home() as home, home.stack("killed", **spec) as stack, home.traffic(stack, number) as traffic:
        time.sleep(3)
        stack.apply(features=BAD)
        wanted = revision_of(stack)
        stack.wait(lambda: len(_bad(traffic, wanted)) >= BREACH, "no bad answer comes")
        home.operator.end(signal.SIGKILL)
        died = time.time()
        status = stack.status
        time.sleep(WATCHED_SECONDS)
        bad = _bad(traffic, wanted)
        lately = [a for a in traffic.answers if a.flags == wanted and a.at > died]
        return {
            "lastBadAnswer": round(max(a.at for a in bad) - died, 3),
            "lastAnswerUnderTheFlag": round(max((a.at for a in lately), default=died) - died, 3),
            "badAnswersAfter": sum(a.at > died for a in bad),
            "state": (status.get("rollout") or {}).get("state", ""),
        }


def _bad(traffic: Answered, revision: str) -> list[Answer]:
    return [a for a in tuple(traffic.answers) if a.flags == revision and not a.good(BUDGET_MS)]


def _bars(runs: Sequence[Run]) -> list[Bar]:
    last = values(runs, "lastAnswerUnderTheFlag")
    amid = sum(run["state"] == "Progressing" for run in sound(runs))
    return [
        Bar("operators killed before their verdict", amid, "=", len(runs)),
        Bar(
            "kill to last answer under the flag, latest of all runs",
            max(last, default=None),
            "<=",
            30,
            "s",
            about(last),
        ),
    ]


def _figures(runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "kill to last bad answer, median, s": median(values(runs, "lastBadAnswer")),
        "bad answers after the kill, median": median(values(runs, "badAnswersAfter")),
    }


DEATH: Final = Experiment(
    key="f",
    title="The operator is killed with the bad flag on its canary, and stays away",
    conditions="as in a; SIGKILL after the third bad answer; each run has an operator of its own",
    runs=5,
    place=_ground_itself,
    run=_killed,
    bars=_bars,
    figures=_figures,
    at_once=5,
)
