"""One cell of the tables: an environment, a stack, a flag and who judges it; run many times, and summed up.

Knows: how one run is made and what is kept of it. Must not know: which cells there are, or what they should show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from simulation import rivals
from simulation.course import Course, Story
from simulation.noise import NOISES, Noise
from simulation.priors import prior_of
from simulation.stacks import FLAG, THREE_FLAGS, stack
from simulation.traffic import NO_EFFECT, Effect, Traffic
from simulation.whole import Whole

from memorystack_operator.api.spec import MemoryStack

__all__ = ["Cell", "Summary", "play", "quantile", "summary"]

FLAGS: Final = {"whole": "one", "stages": "three", "reverse": "one"}
"""Judges that are the whole `decide`, and what changes in the spec."""
RINGED: Final = ("stages", "reverse")
"""Those that need the pods' rings after the flip, too."""
WATCHED: Final = 3600.0
"""Seconds for which a stack that turned bad after 100 % is followed."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is run. `study` and `case` name it in the tables."""

    study: str
    case: str
    noise: str
    p: float
    """Long-run bad share of the stack without the flag."""
    runs: int
    effect: Effect = NO_EFFECT
    judge: str = "course"
    """course | switchback | whole | stages | reverse | agree, or the key of a rival's rule."""
    analysis: tuple[tuple[str, str], ...] = ()
    history_hours: float = 0.0
    """Of the second ring; 0: none."""
    phi_rel: float | None = None
    """In place of the measured one."""
    weights: tuple[int, ...] = ()
    """Of the steps; empty: the documented default."""

    @property
    def environment(self) -> Noise:
        """By its key."""
        return next(n for n in NOISES if n.key == self.noise)

    @property
    def key(self) -> str:
        """Unique among all cells."""
        return f"{self.study}/{self.case}/{self.noise}/{self.p}/{self.judge}"

    @property
    def stream(self) -> str:
        """The seed's name: cells with the same environment, stack and flag meet the same traffic, whoever judges it."""
        return f"{self.noise}|{self.p}|{self.effect}|{self.history_hours}"


@dataclass(frozen=True, slots=True)
class Summary:
    """What is kept of a cell's runs."""

    runs: int
    outcomes: dict[str, int]
    reasons: dict[str, int]
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """Per reason: sorted seconds from the flip to the end."""
    bad: dict[str, list[int]] = field(default_factory=dict)
    """Per reason: sorted bad answers by the canary until then."""
    withdrawn: int = 0
    """Runs in which the flags were withdrawn at least once."""
    switchback: list[float] = field(default_factory=list)
    """Seconds of the last switchback where it convicted."""
    proved: int = 0
    """Promotions that came out of the phase `Proving`."""

    def count(self, *reasons: str) -> int:
        """Runs that ended for one of these reasons."""
        return sum(self.reasons.get(r, 0) for r in reasons)

    def within(self, seconds: float, *reasons: str) -> int:
        """Of them, those that ended by then."""
        return sum(s <= seconds for r in reasons for s in self.seconds.get(r, ()))

    def time(self, q: float, *reasons: str) -> float | None:
        """Quantile of the seconds to one of these ends; None where fewer runs than that came to it."""
        found = sorted(s for r in reasons for s in self.seconds.get(r, ()))
        return quantile(found, q, self.runs)

    def answers(self, q: float, *reasons: str) -> float | None:
        """Quantile of the canary's bad answers, likewise."""
        found = sorted(float(b) for r in reasons for b in self.bad.get(r, ()))
        return quantile(found, q, self.runs)


def quantile(found: Sequence[float], q: float, runs: int) -> float | None:
    """The value that a share `q` of all runs does not exceed, where the runs that are not in `found` never ended."""
    index = max(0, min(runs, round(q * runs + 0.4999)) - 1)
    return found[index] if index < len(found) else None


def play(cell: Cell, run: int) -> list[Story]:
    """One run; several stories where several things are compared."""
    traffic = Traffic(cell.stream, run, cell.environment, cell.p, cell.effect, ladder=cell.judge in RINGED)
    if cell.judge in rivals.RULES:
        return [rivals.watch(rivals.RULES[cell.judge], traffic)]
    past = traffic.remember(cell.history_hours)
    if cell.judge in FLAGS:
        whole = Whole(_stack(cell, run), _stack(cell, run, FLAGS[cell.judge]), traffic, past)
        return [whole.run_on(cell.effect.late, WATCHED) if cell.judge == "reverse" else whole.run()]
    course = Course(_stack(cell, run), traffic, prior_of(past), phi_rel=cell.phi_rel)
    if cell.judge == "switchback":
        return [course.switchback_alone()]
    if cell.judge != "agree":
        return [course.run()]
    again = Traffic(cell.stream, run, cell.environment, cell.p, cell.effect)
    whole = Whole(_stack(cell, run), _stack(cell, run, "one"), again, again.remember(cell.history_hours))
    course.seed = whole.seed
    return [course.run(), whole.run()]


def summary(stories: Sequence[Story]) -> Summary:
    """Order does not matter, so neither does the number of workers."""
    reasons = sorted({s.reason for s in stories})
    return Summary(
        runs=len(stories),
        outcomes=dict(sorted(Counter(s.outcome for s in stories).items())),
        reasons=dict(sorted(Counter(s.reason for s in stories).items())),
        seconds={r: sorted(s.seconds for s in stories if s.reason == r) for r in reasons},
        bad={r: sorted(s.canary_bad for s in stories if s.reason == r) for r in reasons},
        withdrawn=sum(s.withdrawals > 0 for s in stories),
        switchback=sorted(s.switchback_seconds for s in stories if s.reason == "HarmsSharedDependency"),
        proved=sum(s.proving for s in stories),
    )


def _stack(cell: Cell, run: int, flags: str = "") -> MemoryStack:
    """Of its own uid, from which the lots are drawn."""
    features = {"": None, "one": FLAG, "three": THREE_FLAGS}[flags]
    return stack(f"sim-{run}", features, cell.weights, **dict(cell.analysis))
