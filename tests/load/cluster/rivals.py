"""Beside Argo Rollouts and Flagger: their figures as they were measured earlier, and ours from the report.

Knows: rivals' numbers and names of our rows. Must not know: how ours came about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from load.cluster.figures import about, median, values

__all__ = ["comparison"]

HEAD: Final = (
    "| | first canary answer | verdict | last bad answer | bad answers above healthy | false rollbacks under bursts |\n"
    "|---|---|---|---|---|---|"
)
BAD_FLAG: Final = (
    "| Argo Rollouts, fastest sensible (1 of 4 pods, every 2 s over 5 s, failureLimit 0) | 3.3 | 7.9 (5.4-9.9) | 8.4 | 22 | 10 of 13 |",
    "| Argo Rollouts, guarded (every 5 s over 10 s, failureLimit 2) | 2.9 | 17.5 (14.3-25) | 18.3 | 71 | 0 of 7; 2 of 12 when the machine starved |",
    "| Argo Rollouts, as its documentation shows | 2.8 | 1501 | 1508 | 2222 at 20 requests/s | - |",
    "| Flagger, fastest (10 s, threshold 1, 25 %) with an ideal gateway | 14.9 | 34.9 (33-44) | 34.9 | 95 | 0 of 6 |",
    "| Flagger, as its documentation shows | 91 | 451 | 451 | 133 at 20 requests/s | - |",
)


def comparison(experiments: Mapping[str, Any]) -> str:
    """Two tables; a dash where ours was not measured."""
    rows = [HEAD, *(_row(experiments, key, name) for key, name in (("a", "API server"), ("b", "node"))), *BAD_FLAG]
    cases = ["| | Argo Rollouts | Flagger | MemoryStack |", "|---|---|---|---|"]
    cases += [f"| {what} | {argo} | {flagger} | {ours(experiments)} |" for what, argo, flagger, ours in CASES]
    return "\n".join(rows) + "\n\n" + "\n".join(cases)


def _row(experiments: Mapping[str, Any], key: str, name: str) -> str:
    runs = experiments.get(key, {}).get("runs", ())
    blamed = _rolled_back(experiments, "c") if key == "a" else "-"
    cells = [_middle(runs, what) for what in ("firstCanaryAnswer", "verdict", "lastBadAnswer", "badAboveHealthy")]
    return f"| **MemoryStack, a flag on 1 of 4 pods ({name})** | {' | '.join(cells)} | {blamed} |"


def _middle(runs: Sequence[Mapping[str, Any]], what: str) -> str:
    """Median, and the extremes."""
    numbers = values(runs, what)
    middle = median(numbers)
    if middle is None:
        return "-"
    ends = about(numbers)
    return f"{middle:.1f} ({ends['least']:.1f}-{ends['most']:.1f})"


def _rolled_back(experiments: Mapping[str, Any], key: str) -> str:
    runs = experiments.get(key, {}).get("runs", ())
    return f"{sum(run.get('outcome') == 'RolledBack' for run in runs)} of {len(runs)}" if runs else "-"


def _convicted(experiments: Mapping[str, Any]) -> str:
    return _rolled_back(experiments, "d")


def _killed(experiments: Mapping[str, Any]) -> str:
    last = values(experiments.get("f", {}).get("runs", ()), "lastAnswerUnderTheFlag")
    return f"{max(last):.1f} s after the kill, without its return" if last else "-"


def _idle(experiments: Mapping[str, Any]) -> str:
    runs = [run for run in experiments.get("g", {}).get("runs", ()) if run.get("stacks") == 200]
    if not runs:
        return "-"
    most = max(runs[0]["megabytes"], runs[0]["megabytesAfterRestart"])
    return f"{most / 1.048576:.0f} MiB, {runs[0]['cores']:.3f} cores"


CASES: Final = (
    ("all pods slow while a healthy canary runs: rolled back", "6 of 6", "5 of 5", _convicted),
    (
        "the controller is killed with the bad canary serving: bad answers end",
        "with its return",
        "21 s after its return",
        _killed,
    ),
    ("200 idle objects: memory, CPU", "113 MiB, 0.001 cores", "77 MiB, 0.16 cores", _idle),
)
