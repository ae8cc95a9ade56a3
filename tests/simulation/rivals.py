"""The documented rules of Argo Rollouts and Flagger, on the same traffic. Knows counts of the canary; nothing of our engine.

Argo Rollouts: a measurement fails when the query is over its threshold, and the run when the *total* of failed measurements
is above failureLimit (consecutiveErrorLimit counts measurements that give no value, which does not happen here).
Flagger: the canary is taken back when the *cumulative* failed checks reach the threshold. The query of both is the one that
their documentation uses: p95 of the canary over the window is above the budget, which is more than 5 % bad requests in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Final

import numpy as np
from simulation.course import Story
from simulation.traffic import TICK, Traffic

__all__ = ["RULES", "Rule", "watch"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One profile; `failures` is the number of failed measurements that ends it."""

    label: str
    interval: int
    window: int
    failures: int
    watch: int
    """Seconds until it promotes."""


RULES: Final = {
    "argo-fast": Rule("Argo Rollouts, fastest sensible (2 s, 5 s window, failureLimit 0)", 2, 5, 1, 120),
    "argo-guarded": Rule("Argo Rollouts, guarded (5 s, 10 s window, failureLimit 2)", 5, 10, 3, 120),
    "argo-documented": Rule("Argo Rollouts, documented example (5 min, failureLimit 3)", 300, 300, 4, 1800),
    "flagger-fast": Rule("Flagger, fastest (10 s floor, threshold 1)", 10, 10, 1, 120),
    "flagger-documented": Rule("Flagger, documented (1 min, threshold 5)", 60, 60, 5, 600),
}


def watch(rule: Rule, traffic: Traffic) -> Story:
    """One canary pod of four for the rule's time; the first measurement comes when the first window is full."""
    traffic.switch(0, on=True)
    step = gcd(rule.interval, rule.window)
    served = [traffic.serve(round(t / TICK), round((t + step) / TICK), (0,))[:, 0] for t in range(0, rule.watch, step)]
    sums = np.concatenate([np.zeros((1, 2), dtype=np.int64), np.array(served).cumsum(axis=0)])
    failed = 0
    for end in range(rule.window, rule.watch + 1, rule.interval):
        requests, bad = sums[end // step] - sums[(end - rule.window) // step]
        failed += bool(bad > 0.05 * requests)
        if failed >= rule.failures:
            return Story("RolledBack", "Rule", float(end), int(sums[end // step][1]), int(sums[end // step][0]))
    return Story("Promoted", "Rule passed", float(rule.watch), int(sums[-1][1]), int(sums[-1][0]))
