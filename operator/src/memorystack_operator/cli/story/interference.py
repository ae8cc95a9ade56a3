"""Two stories about a shared embedder: a flag that floods it, and an embedder that falters by itself.

Knows: when to edit, when to disturb, and where to read what the operator did. Must not know: what that should be.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import httpx

from memorystack_operator.api.status import SwitchbackResult
from memorystack_operator.cli.story.report import Record, Starvation, Told
from memorystack_operator.cli.story.stages import Figures, edit, figures, gather_history, until_ready
from memorystack_operator.cli.story.watch import Watch
from memorystack_operator.core.records import trial_of
from memorystack_operator.core.state import RolloutState, RolloutStatus
from memorystack_operator.local.up import Stack

__all__ = ["TRIALS", "InterferenceReport", "Tale", "Trial", "TrialReport", "problems_of"]

TRIAL_SECONDS: Final = 420.0
WITHDRAWN_WITHIN: Final = 60.0
FLAP_SECONDS: Final = 2.0
FLAP_EVERY: Final = 90.0
FLAP_MS: Final = 250.0
ALL_OFF: Final = ("parallelIngest: {concurrency: 0}", "maxSize: 100")
"""The lines of the file that a trial may change, as they stand before."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One edit of the file, and whether the embedder falters while it is judged."""

    name: str
    stage: str
    edit: tuple[str, str]
    flaps: bool
    guilty: bool


FLOODING: Final = Trial(
    "flooding", "parallelIngest", (ALL_OFF[0], "parallelIngest: {concurrency: 64}"), flaps=False, guilty=True
)
FLAPPING: Final = Trial("flapping", "cache", (ALL_OFF[1], "maxSize: 200"), flaps=True, guilty=False)
TRIALS: Final = (FLOODING, FLAPPING)


class TrialReport(Record):
    """What became of one trial."""

    name: str
    stage: str
    guilty: bool
    """Whether the flag is what harms the shared part."""
    before: Figures = {}
    withdrawn_reason: str = ""
    flip_to_withdrawal_seconds: float | None = None
    outcome: str = "NoVerdict"
    """Cleared: the switchback found the environment to be the cause, and the step went on."""
    reason: str = ""
    message: str = ""
    withdrawal_to_outcome_seconds: float | None = None
    switchback: SwitchbackResult | None = None
    starvation: Starvation = Starvation()


class InterferenceReport(Record):
    """Both trials."""

    version: Literal[1] = 1
    engine: str = ""
    """Hash of the engine that made it."""
    started_at: datetime
    seconds: float = 0.0
    cores: int = 0
    trials: tuple[TrialReport, ...] = ()
    load: dict[str, Any] = {}
    outcome: Told = "Unexpected"


def problems_of(report: InterferenceReport, wanted: Sequence[Trial] = TRIALS) -> list[str]:
    """Every way in which a guilty flag was not convicted in time, or an innocent one was."""
    problems = [f"{t.name}: was not tried" for t in wanted if t.name not in {r.name for r in report.trials}]
    return problems + [problem for trial in report.trials for problem in _problems_of_trial(trial)]


def _problems_of_trial(trial: TrialReport) -> list[str]:
    problems = []
    expected = ("RolledBack", "HarmsSharedDependency") if trial.guilty else ("Cleared", "EnvironmentCleared")
    if (trial.outcome, trial.reason) != expected:
        problems.append(f"{trial.name}: {trial.outcome} ({trial.reason}), expected {expected[1]}: {trial.message}")
    if trial.flip_to_withdrawal_seconds is None:
        problems.append(f"{trial.name}: the flag was never withdrawn")
    elif trial.guilty and trial.flip_to_withdrawal_seconds > WITHDRAWN_WITHIN:
        problems.append(f"{trial.name}: withdrawn only {trial.flip_to_withdrawal_seconds:.0f} s after the flip")
    proved = trial.switchback is not None and trial.switchback.log_e >= trial.switchback.needed
    if trial.guilty is not proved:
        problems.append(f"{trial.name}: the pairs of windows {'prove nothing' if trial.guilty else 'convict it'}")
    return problems


class Tale:
    """Told beside a running stack; `reports` is filled as trials end."""

    def __init__(
        self, trials: Sequence[Trial], file: Path, say: Callable[[str], None], start_load: Callable[[], Watch]
    ) -> None:
        self.reports: list[TrialReport] = []
        self.cores = 0
        self._trials = trials
        self._file = file
        self._say = say
        self._start_load = start_load

    async def tell(self, stack: Stack) -> None:
        """Returns when the operator has made up its mind about each trial, or has had seven minutes for it."""
        await until_ready(stack)
        self.cores = stack.machine.headroom.cores
        original = self._file.read_text()
        watch = self._start_load()
        self._say("all flags off, traffic begins: every pod's own history is the yardstick (two to three minutes)")
        await gather_history(stack, self._say)
        for trial in self._trials:
            before = figures(stack)
            watch.begin()
            edit(self._file, original, *trial.edit)
            self._say(f"({trial.name}) {trial.edit[1]} is saved to the file")
            found = await _Following(trial, self._say).follow(stack, watch)
            self.reports.append(found.model_copy(update={"before": before, "starvation": watch.end()}))
            self._say(told(self.reports[-1]))


class _Following:
    """One trial from its edit to the operator's answer."""

    def __init__(self, trial: Trial, say: Callable[[str], None]) -> None:
        self._trial = trial
        self._say = say
        self._report = TrialReport(name=trial.name, stage=trial.stage, guilty=trial.guilty)
        self._withdrawn_at: datetime | None = None
        self._disturbing: asyncio.Task[None] | None = None

    async def follow(self, stack: Stack, watch: Watch) -> TrialReport:
        until = time.monotonic() + TRIAL_SECONDS
        try:
            while time.monotonic() < until:
                await asyncio.sleep(0.25)
                watch.look(stack)
                ended = self._look(stack)
                if ended:
                    return ended
            return self._report
        finally:
            if self._disturbing:
                self._disturbing.cancel()
                await asyncio.gather(self._disturbing, return_exceptions=True)

    def _look(self, stack: Stack) -> TrialReport | None:
        """The report, once the trial has its answer."""
        rollout = stack.status.rollout
        if rollout and rollout.stage == self._trial.stage:
            self._see(rollout, stack)
            if rollout.switchback and rollout.state is RolloutState.PROGRESSING:
                result = trial_of(rollout, stack.source.stack.spec)
                return self._ended("Cleared", "EnvironmentCleared", rollout.message, result)
        record = next((r for r in stack.status.history if r.stage == self._trial.stage), None)
        return self._ended(record.outcome, record.reason, record.message, record.switchback) if record else None

    def _see(self, rollout: RolloutStatus, stack: Stack) -> None:
        if not rollout.flipped_at:
            return
        if self._trial.flaps and not self._disturbing:
            self._disturbing = asyncio.create_task(self._disturb(stack))
        if rollout.state is RolloutState.WITHDRAWN and not self._withdrawn_at:
            self._withdrawn_at = rollout.state_since
            after = round((rollout.state_since - rollout.flipped_at).total_seconds(), 1)
            changes = {"withdrawn_reason": rollout.withdrawn_reason, "flip_to_withdrawal_seconds": after}
            self._report = self._report.model_copy(update=changes)

    def _ended(self, outcome: str, reason: str, message: str, switchback: SwitchbackResult | None) -> TrialReport:
        since = self._withdrawn_at
        return self._report.model_copy(
            update={
                "outcome": outcome,
                "reason": reason,
                "message": message,
                "withdrawal_to_outcome_seconds": since and round((datetime.now(UTC) - since).total_seconds(), 1),
                "switchback": switchback,
            }
        )

    async def _disturb(self, stack: Stack) -> None:
        """The embedder answers late for a few seconds, again and again, whatever the flag does."""
        url = f"{stack.engines.urls['embedder']}/control"
        async with httpx.AsyncClient(trust_env=False) as client:
            usual = (await client.get(url)).json()["latency_ms"]
            while True:
                await asyncio.sleep(5)
                self._say(f"    the embedder answers {FLAP_MS:g} ms later for {FLAP_SECONDS:g} s")
                await client.put(url, json={"latency_ms": usual + FLAP_MS})
                await asyncio.sleep(FLAP_SECONDS)
                await client.put(url, json={"latency_ms": usual})
                await asyncio.sleep(FLAP_EVERY - FLAP_SECONDS - 5)


def told(trial: TrialReport) -> str:
    """One sentence for people."""
    if trial.flip_to_withdrawal_seconds is None:
        return f"    {trial.outcome}: never withdrawn. {trial.message}"
    took = f", {trial.withdrawal_to_outcome_seconds:.0f} s later" if trial.withdrawal_to_outcome_seconds else ""
    return (
        f"    withdrawn {trial.flip_to_withdrawal_seconds:.0f} s after the flip ({trial.withdrawn_reason}){took} "
        f"{trial.outcome} ({trial.reason}): {trial.message}"
    )
