"""Promotion under bursts: flags go on and off in pairs of windows until two keys say that the budget will be kept.

The noise of the whole stack hides the canary's own share, but not what the flag changes: neither against the others at
the same time (key 1, its own harm), nor against itself a moment ago (key 2, harm to a shared part). Both are proved to
be smaller than the room that the stack's past leaves below its budget (verdict.md 10). It assumes that the flag's effect
on shared parts ends with the request: a harm that outlasts the windows without the flag cannot be seen here.

Under bursts even a healthy stack looks over its budget now and then. Plain must then take the flag back and ask a
switchback; here the flag already goes on and off by lot, so being over on both arms takes nothing back: from the next
pair on a trial bets against the flag, on the same windows as the keys and with a stake of its own. That is sound: the
order of a pair is drawn without looking, both look at a pair only when it is whole, and each of them bets on it once, so
each keeps its own error bound; the trial counts as one of the rollout's switchbacks and has the level of its number. It
is no less careful either: a withdrawn flag, too, is on half of the time while a switchback asks, and the trial begins a
minute of waiting sooner. Where the canary alone is over for a minute the trial compares its difference from the others,
and what is plainly worse is convicted at once, as ever.

Knows: counts of pairs and bets on them. Must not know: pods, leases, or what follows from the outcome.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from math import ceil, exp, floor, lgamma, log, pi, sqrt, tanh
from typing import ClassVar, Final, Self

from memorystack_operator.core.bets import log_mean_exp, log_sum_exp
from memorystack_operator.core.evidence import Finding, Read, Tally, Value
from memorystack_operator.core.noncentral import log_partition
from memorystack_operator.core.pairs import SHORT, Lengths, Mark, PairPlan, Pairs
from memorystack_operator.core.room import Room
from memorystack_operator.core.trial import Trial
from memorystack_runtime.contract import Operation

__all__ = ["GUESSES", "Proof", "Proving", "combined", "deviation", "own_gains", "stake"]

GUESSES: Final = (-0.3, 0.0, 0.4)
"""Fractions of log g at which key 1 bets that the canary stands against the others: a bit better, alike, a bit worse."""
SHRUNK: Final = 0.5
"""Of a switchback's short windows, in seconds and requests: the closer two windows lie together, the less of the
environment's own noise is between them. verdict.md 10 goes not below 400 requests, as its second key wins by windows in
which nothing was bad; this one does not. Simulated, healthy at 3 % under common noise of 12 s: 89 % of 150 rollouts are
promoted in half an hour; with whole windows key 2 alone needs longer than that in 31 %.
"""
TYPICAL: Final = 1.0
"""Mean size of a pair's difference of log odds that is expected at first: pairs are played where bursts hide the rest."""
TYPICAL_PAIRS: Final = 10
"""How many pairs that expectation counts for."""
BOLDEST: Final = 0.9
"""Largest part of the wealth that is put on one pair: a single unlucky one must not ruin the key."""
KEYS: Final = 2 / 3
"""Share of the stake that lies on the two keys; the rest lies on what `Plain` would need."""
Three = tuple[float, float, float]


class Proof(Value):
    """The two keys of one operation."""

    room: Room
    own_room: float
    """log of what the canary's odds may be against the others': g, times what its pods were better by before (<= 1)."""
    phi_rel: float
    own: Three = (0.0, 0.0, 0.0)
    """Key 1: logarithms of three products of likelihood ratios, one for each guess."""
    wealth: float = 0.0
    """Key 2, logarithm."""
    sizes: float = 0.0
    """Sum of how far the rise of the odds was from the room, either way, in log odds, over the pairs in `played`."""
    played: int = 0
    """Pairs with any bad request: the others tell nothing."""
    within: int = 0
    """Pairs in which the odds rose by less than g."""
    first_requests: int = 0
    first_bad: int = 0
    requests: int = 0
    bad: int = 0
    """Both arms together, in the first window of the pair under way and in the one under way."""

    @classmethod
    def begin(cls, room: Room, phi_rel: float, mirrored_margin: float = 1.0) -> Self:
        """With nothing bet yet; `mirrored_margin` as in `DesignEffect`."""
        own_room = room.log_ratio + log(mirrored_margin)
        return cls(room=room, own_room=round(own_room, 6), phi_rel=phi_rel)

    @property
    def usable(self) -> bool:
        """Room is left on both sides."""
        return self.room.usable and self.own_room > 0

    @property
    def own_log_e(self) -> float:
        """Evidence that the canary's own harm is smaller than the room."""
        return log_mean_exp(self.own)

    @property
    def shared_log_e(self) -> float:
        """Evidence that the harm to both arms is."""
        return self.wealth

    @property
    def typical(self) -> float:
        """Mean size of the deviations so far, the pair under way not included."""
        return (TYPICAL * TYPICAL_PAIRS + self.sizes) / (TYPICAL_PAIRS + self.played)

    def finding(self, within: float, beta: float) -> Finding:
        """Together with Plain's log e `within`, against 1 / `beta`."""
        return Finding(combined(within, self.own_log_e, self.shared_log_e), log(1 / beta))

    def counted(self, read: Read, *, on: bool) -> Self:
        """With one more reading inside a window; key 1 counts where the flags are on."""
        both = read.canary + read.stable
        grown = {"requests": self.requests + both.requests, "bad": self.bad + both.bad}
        if not on:
            return self.model_copy(update=grown)
        gains = own_gains(read, self.own_room)
        own = tuple(old + gain / self.phi_rel for old, gain in zip(self.own, gains, strict=True))
        return self.model_copy(update={**grown, "own": own})

    def turned(self) -> Self:
        """The first window of a pair is over."""
        return self.model_copy(update={"first_requests": self.requests, "first_bad": self.bad, "requests": 0, "bad": 0})

    def paired(self, *, first_on: bool) -> Self:
        """Both windows are over: key 2 bets on their difference."""
        one, other = Tally(self.first_requests, self.first_bad), Tally(self.requests, self.bad)
        on, off = (one, other) if first_on else (other, one)
        fell_short = deviation(on, off, self.room.log_ratio)
        told = on.bad + off.bad > 0
        bet = stake(on, off, self.room.log_ratio, self.typical)
        return self.cleared().model_copy(
            update={
                "wealth": self.wealth + log(1 + bet),
                "sizes": self.sizes + abs(fell_short) * told,
                "played": self.played + told,
                "within": self.within + (fell_short > 0),
            }
        )

    def cleared(self) -> Self:
        """Without the windows under way."""
        return self.model_copy(update={"first_requests": 0, "first_bad": 0, "requests": 0, "bad": 0})


class Proving(Pairs):
    """State of one step's proof; `number` is the step."""

    lengths: ClassVar[Lengths] = SHORT

    proofs: dict[Operation, Proof]
    pairs: int = 0
    """Whole ones."""
    trial: Trial | None = None
    """Of the flag as the cause of a slow stack: the one under way, or the last."""
    trying: bool = False
    """The trial is under way."""
    tried_from: int = 0
    """First pair that the trial bets on: it must not begin with one of which something is known."""

    @property
    def plan(self) -> PairPlan:
        """Of the pair under way."""
        whole = super().plan
        return whole.model_copy(update={"counted_seconds": round(whole.counted_seconds * SHRUNK, 3)})

    def after(self, reads: Mapping[Operation, Read], now: datetime, *, fit: bool, in_place: bool, epoch: int) -> Self:
        """After one reading of all operations, whose counts are those since the reading before; see `Pairs.moved`."""
        plan, on = self.plan, self.on
        moved, mark = self.moved(now, fit=fit, in_place=in_place, epoch=epoch)
        if mark is Mark.IDLE:
            return moved
        if self.trial and self.trying and self.pair >= self.tried_from:
            heard = self.trial.heard(reads[self.trial.operation], mark, first_on=plan.first_on)
            moved = moved.model_copy(update={"trial": heard})
        if mark is Mark.DROPPED:
            return moved._with({name: proof.cleared() for name, proof in self.proofs.items()})
        proofs = {name: proof.counted(reads[name], on=on) for name, proof in self.proofs.items()}
        if mark is Mark.TURNED:
            proofs = {name: proof.turned() for name, proof in proofs.items()}
        if mark is Mark.PAIRED:
            proofs = {name: proof.paired(first_on=plan.first_on) for name, proof in proofs.items()}
        return moved._with(proofs, self.pairs + (mark is Mark.PAIRED))

    def suspecting(self, trial: Trial) -> Self:
        """From the next pair on the flag is on trial, too."""
        return self.model_copy(update={"trial": trial, "trying": True, "tried_from": self.pair + 1})

    def unsuspecting(self) -> Self:
        """The trial is over, the proof goes on."""
        return self.model_copy(update={"trying": False})

    def _with(self, proofs: Mapping[Operation, Proof], pairs: int | None = None) -> Self:
        return self.model_copy(update={"proofs": proofs, "pairs": self.pairs if pairs is None else pairs})


def combined(within: float, own: float, shared: float) -> float:
    """log of E_ok / 3 + 2/3 min(key 1, key 2): a mean of e-values is one, and both keys must be turned."""
    return log_sum_exp((log(1 - KEYS) + within, log(KEYS) + min(own, shared)))


def own_gains(read: Read, own_room: float) -> Three:
    """Log likelihood ratios of the three guesses against odds of exp(`own_room`) times the others', not tempered yet.

    Of the K bad requests in both arms x fell on the canary. The ratio falls in x, so it is a fair bet against any larger
    odds too.
    """
    canary, stable = read.canary, read.stable
    bad = canary.bad + stable.bad
    if not (bad and canary.requests and stable.requests):
        return 0.0, 0.0, 0.0

    def log_z(log_odds: float) -> float:
        return log_partition(canary.requests, stable.requests, bad, log_odds)

    null = log_z(own_room)
    low, middle, high = (canary.bad * (f - 1) * own_room + null - log_z(f * own_room) for f in GUESSES)
    return low, middle, high


def stake(on: Tally, off: Tally, log_room: float, typical: float) -> float:
    """What one pair wins or loses, as a part of the wealth: fair, however few the bad requests are.

    If the flag multiplies the odds by exactly the room, and each bad request of the window with the flag is struck out
    by chance at that rate, what is left and what the other window had are exchanged by the lot alone. A bet that changes
    its sign when they are exchanged is a fair one, whatever the environment does, and so is its mean over all ways of
    striking out, which is exact and no matter of chance. Two windows without any bad request win nothing. The bet grows
    with the difference, by the likelihood ratio of its two signs where differences are normal, with the spread seen
    before the pair; so it is a losing game where the flag harms more than the room allows.
    """
    variance, other = pi / 2 * typical**2, _log_odds(off)
    bets = (
        (chance, tanh(log_room * (other - _log_odds(Tally(on.requests, left))) / variance))
        for left, chance in _struck(on.bad, _kept(on + off, log_room))
    )
    return sum(chance * max(-BOLDEST, min(BOLDEST, bet)) for chance, bet in bets)


def _kept(both: Tally, log_room: float) -> float:
    """Share of the bad requests with the flag that would be bad without it: 1/g where they are rare.

    Of a pair with odds g o and o, where both windows together show the odds between them, sqrt(g) o.
    """
    odds, room = exp(_log_odds(both) - log_room / 2), exp(log_room)
    return min(1.0, (1 + room * odds) / (room * (1 + odds)))


def _struck(bad: int, kept: float) -> Iterator[tuple[int, float]]:
    """How many are left of `bad` if each is kept with this chance: the binomial distribution, without its far tails."""
    if kept >= 1 or bad == 0:
        yield bad, 1.0
        return
    reach = 7 * sqrt(bad * kept * (1 - kept)) + 7
    low, high = max(0, floor(bad * kept - reach)), min(bad, ceil(bad * kept + reach))
    at_low = lgamma(bad + 1) - lgamma(low + 1) - lgamma(bad - low + 1)
    chance = exp(at_low + low * log(kept) + (bad - low) * log(1 - kept))
    for left in range(low, high + 1):
        yield left, chance
        chance *= (bad - left) / (left + 1) * kept / (1 - kept)


def deviation(on: Tally, off: Tally, log_room: float) -> float:
    """By how much less than the room the log odds rose with the flags on; negative: by more."""
    return log_room - (_log_odds(on) - _log_odds(off))


def _log_odds(tally: Tally) -> float:
    return log((tally.bad + 0.5) / (tally.requests - tally.bad + 0.5))
