"""What a person without a live view is told beside the events: that the stack serves, what became of each save, and what a
rollout waits for.

Knows: one report after the other. Must not know: how they are made, or printed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from memorystack_operator.local.report import Report

__all__ = ["News", "Waits"]

SILENCE: Final = timedelta(seconds=10)
"""That long a rollout is left without a word; its message changes with every request that is counted."""


class Waits:
    """What a rollout under way does or waits for: every ten seconds, if it is something else than the last time."""

    def __init__(self) -> None:
        self._since: datetime | None = None
        self._told = ""

    def of(self, report: Report) -> list[str]:
        """A sentence, or none."""
        status = report.status
        if status.rollout is None:
            self._since = None
            return []
        self._since = self._since or report.at
        text = f"{status.phase}: {status.message}"
        if report.at - self._since < SILENCE or text == self._told:
            return []
        self._since, self._told = report.at, text
        return [text]


class News:
    """Each thing is told when it changes, not again."""

    def __init__(self) -> None:
        self._last: Report | None = None
        self._served = False

    def of(self, report: Report) -> list[str]:
        """Sentences, most often none."""
        told = [*self._saves(report), *self._serving(report)]
        self._last = report
        return told

    def _saves(self, report: Report) -> Iterator[str]:
        last = self._last
        if report.refusal and report.refusal != (last.refusal if last else ""):
            yield f"refused, and what serves stays as it is: {report.refusal}"
        elif last and last.refusal and not report.refusal:
            yield f"{report.file} is valid again"
        elif last and last.status.observed_generation >= 0 and _generation(report) != _generation(last):
            yield f"{report.file} was saved: generation {_generation(report)}"
        if report.problem and report.problem != (last.problem if last else ""):
            yield report.problem

    def _serving(self, report: Report) -> Iterator[str]:
        ready = sum(pod.ready for pod in report.pods)
        wanted = len(report.pods)
        if ready == 0 or ready < wanted or report.status.stable is None or self._served:
            return
        self._served = True
        pods = "its pod is" if ready == 1 else f"all {ready} pods are"
        yield f"{report.name} serves at {report.gateway}: {pods} ready. Saving {report.file} applies it, Ctrl-C ends it"


def _generation(report: Report) -> int:
    return report.status.observed_generation
