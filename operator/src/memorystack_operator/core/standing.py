"""Where pairs of windows, or a reverse canary, stand, as people may want to see it: what is on where, and what it says.

Knows: a rollout and its spec. Must not know: how it is shown.
"""

from __future__ import annotations

from typing import Literal

from memorystack_operator.api.spec import Spec
from memorystack_operator.core.evidence import Evidence, Finding, Value
from memorystack_operator.core.limits import limits_of, switchback_level
from memorystack_operator.core.pairs import Pairs
from memorystack_operator.core.proving import Proving
from memorystack_operator.core.reverse import Reverse, compare
from memorystack_operator.core.state import RolloutState, RolloutStatus
from memorystack_operator.core.switchback import Switchback
from memorystack_operator.core.trial import CLEARED, Trial

__all__ = ["Lean", "Reversal", "Standing", "reversal_of", "standing_of"]


Way = Literal["harms", "cleared", "own", "shared", "proved", "regressed", "over", "same"]


class Lean(Value):
    """One way in which they may decide."""

    operation: str
    name: Way
    """Switchback, or a trial beside a proof: the flag harms, or is cleared. Proving: no harm of its own, none to shared
    parts, both together. Reverse canary: the promoted value is the worse one, and it is over budget; or there is no
    difference that matters."""
    fraction: float
    """Of the evidence that decides, 0 to 1 on the log scale."""
    holds: bool


class Standing(Value):
    """The windows under way."""

    kind: Literal["Switchback", "Proving"]
    pair: int
    """The one under way, from 1; dropped ones are among it."""
    window: int
    """1 or 2."""
    flags: Literal["on", "off", "waiting"]
    """Waiting: the world cannot be measured, so no window runs and the flags are off."""
    counting: bool
    """False: the flags are settling, and nothing is counted yet."""
    played: str
    """How the whole pairs went, in words."""
    leans: tuple[Lean, ...] = ()


class Reversal(Value):
    """A reverse canary under way: a promoted flag is asked, by comparison with its older value."""

    number: int
    """k: the k-th of this promotion."""
    operation: str
    """That was over budget."""
    pods: tuple[str, ...]
    """Chosen to have the older value."""
    flags: Literal["on", "off"]
    """On: these pods serve it. Off: not yet, or not now."""
    leans: tuple[Lean, ...] = ()


def reversal_of(spec: Spec, rollout: RolloutStatus | None) -> Reversal | None:
    """None: no two arms are compared about a promoted flag; the switchback on all pods that may follow has a standing."""
    if rollout is None or rollout.reverse is None or rollout.state is RolloutState.SWITCHBACK:
        return None
    test = rollout.reverse
    name = "failed requests" if rollout.failing else test.operation
    return Reversal(
        number=test.number,
        operation=name,
        pods=rollout.pods,
        flags="on" if rollout.flags_on else "off",
        leans=_compared(spec, name, test, rollout.asked) if rollout.asked else (),
    )


def _compared(spec: Spec, name: str, test: Reverse, evidence: Evidence) -> tuple[Lean, ...]:
    found = compare(test, evidence, spec)
    return (
        _lean(name, "regressed", found.regressed),
        _lean(name, "over", found.over),
        _lean(name, "same", found.same),
    )


def standing_of(spec: Spec, rollout: RolloutStatus | None) -> Standing | None:
    """None: no pair is under way."""
    if rollout is None:
        return None
    if rollout.state is RolloutState.SWITCHBACK and rollout.switchback:
        return _switchback(spec, rollout.switchback)
    if rollout.state is RolloutState.PROVING and rollout.proving:
        return _proving(spec, rollout, rollout.proving)
    return None


def _switchback(spec: Spec, test: Switchback) -> Standing:
    played = f"worse with the flag in {test.worse}, better in {test.better}, equal in {test.tied}"
    return _standing("Switchback", test, played, _trial(spec, test))


def _trial(spec: Spec, trial: Trial) -> tuple[Lean, ...]:
    harm = trial.finding(switchback_level(spec, trial.number))
    # Wealth that melts away speaks for the flag: the same scale, mirrored.
    clear = Finding(-trial.log_e, -CLEARED)
    return _lean(trial.operation, "harms", harm), _lean(trial.operation, "cleared", clear)


def _proving(spec: Spec, rollout: RolloutStatus, test: Proving) -> Standing:
    _, beta = limits_of(spec)
    leans: list[Lean] = []
    for name, proof in test.proofs.items():
        both = proof.finding(rollout.evidence[name].findings(1, beta).within.log_e, beta)
        leans += [
            _lean(name, "own", Finding(proof.own_log_e, both.needed)),
            _lean(name, "shared", Finding(proof.shared_log_e, both.needed)),
            _lean(name, "proved", both),
        ]
    if test.trial and test.trying:
        leans += _trial(spec, test.trial)
    return _standing("Proving", test, f"{test.pairs} whole", tuple(leans))


def _standing(kind: Literal["Switchback", "Proving"], test: Pairs, played: str, leans: tuple[Lean, ...]) -> Standing:
    return Standing(
        kind=kind,
        pair=test.pair + 1,
        window=2 if test.second else 1,
        flags="waiting" if test.waiting else "on" if test.on else "off",
        counting=test.counting_since is not None and not test.waiting,
        played=f"{played}{f', dropped {test.discarded}' if test.discarded else ''}",
        leans=leans,
    )


def _lean(operation: str, name: Way, finding: Finding) -> Lean:
    return Lean(operation=operation, name=name, fraction=round(finding.fraction, 3), holds=finding.holds)
