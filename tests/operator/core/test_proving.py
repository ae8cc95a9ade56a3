"""The two keys of a proof by pairs: fair where the flag harms by as much as there is room, and quick where it does not."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import exp, lgamma, log, pi, sqrt, tanh

import pytest

from memorystack_operator.core.evidence import Read, Tally
from memorystack_operator.core.noncentral import log_partition
from memorystack_operator.core.proving import Proof, Proving, combined, deviation, own_gains, stake
from memorystack_operator.core.room import Room, student95
from memorystack_operator.core.trial import BETS, Answer, Trial

START = datetime(2026, 1, 1, tzinfo=UTC)
HALF = Room(limit=0.0256, hours=6.0, requests=2_000_000)
"""g = 2: the odds of a bad request may double."""


def fresh(room: Room = HALF, **fields) -> Proving:
    base = {
        "number": 0,
        "seed": "s",
        "rate": 100.0,
        "epoch": 1,
        "started_at": START,
        "since": START,
        "last_read": START,
        "proofs": {"store": Proof.begin(room, 1.0)},
    }
    return Proving(**{**base, **fields})


def read(canary_bad: int, stable_bad: int, requests: int = 100) -> dict[str, Read]:
    return {"store": Read(Tally(requests, canary_bad), Tally(3 * requests, stable_bad))}


@pytest.mark.parametrize(
    ("limit", "ratio", "usable"),
    [(0.0256, 2.003, True), (0.05, 1.0, False), (0.046, 1.0916, False), (0.0455, 1.104, True), (0.001, 8.0, True),
     (0.0, 8.0, True), (1.0, 0.0, False)],
)  # fmt: skip
def test_the_room_is_what_the_odds_may_be_multiplied_by(limit: float, ratio: float, usable: bool):
    room = Room(limit=limit)
    assert room.ratio == pytest.approx(ratio, rel=1e-3)
    assert room.usable is usable


@pytest.mark.parametrize(
    ("past", "phi", "limit"),
    [
        (Tally(1000, 30), 1.0, 0.0403),
        (Tally(1000, 30), 10.0, 0.0727),
        (Tally(1000, 0), 1.0, 0.0027),
        (Tally(), 5.0, 1.0),
    ],
)
def test_the_limit_of_the_long_run_is_wilsons_at_the_effective_number(past: Tally, phi: float, limit: float):
    assert Room.of(past, phi, 1.0).limit == pytest.approx(limit, abs=2e-4)


def test_a_room_remembers_the_hours_and_the_requests_that_it_comes_from():
    room = Room.of(Tally(1000, 30), 1.0, 1.23456)
    assert (room.hours, room.requests) == (1.235, 1000)
    assert Room.of(Tally(), 1.0, 5.0) == Room(limit=1.0, hours=0.0, requests=0)


def test_a_handful_of_bad_requests_leaves_a_limit_below_one():
    assert 0.9 < Room.of(Tally(30, 30), 1.0, 1.0).limit <= 1.0


@pytest.mark.parametrize(("df", "quantile"), [(10, 1.8125), (29, 1.6991), (35, 1.6896), (143, 1.6556)])
def test_students_quantile_is_that_of_the_tables(df: int, quantile: float):
    assert student95(df) == pytest.approx(quantile, abs=2e-3)


def test_an_estimated_design_effect_takes_students_limit():
    past = Tally(60_000, 1800)
    assert Room.of(past, 100.0, 6.0, student95(35)).limit > Room.of(past, 100.0, 6.0).limit


@pytest.mark.parametrize("bad", [1, 3, 30])
@pytest.mark.parametrize("canary", [10, 25])
def test_key_1_is_a_fair_game_where_the_canarys_odds_are_the_room_times_the_others(bad: int, canary: int):
    """Exact: the mean of each likelihood ratio over the noncentral hypergeometric distribution is 1."""
    room, stable = log(1.6), 75
    null = log_partition(canary, stable, bad, room)
    chances = [
        exp(log_partition(canary, 0, x, room) + log_partition(0, stable, bad - x, room) - null)
        for x in range(max(0, bad - stable), min(bad, canary) + 1)
    ]
    assert sum(chances) == pytest.approx(1.0)
    for guess in range(3):
        gains = [
            exp(own_gains(Read(Tally(canary, x), Tally(stable, bad - x)), room)[guess])
            for x in range(max(0, bad - stable), min(bad, canary) + 1)
        ]
        assert sum(p * g for p, g in zip(chances, gains, strict=True)) == pytest.approx(1.0)
        assert gains == sorted(gains, reverse=True)


@pytest.mark.parametrize(
    "nothing", [Read(), Read(Tally(10, 0), Tally(10, 0)), Read(Tally(10, 3)), Read(Tally(), Tally(10, 3))]
)
def test_a_reading_that_compares_nothing_changes_no_key(nothing: Read):
    assert own_gains(nothing, 0.5) == (0.0, 0.0, 0.0)


def test_key_1_is_tempered_by_the_design_effect_between_pods():
    plain, tempered = Proof.begin(HALF, 1.0), Proof.begin(HALF, 4.0)
    one = Read(Tally(100, 2), Tally(300, 12))
    for whole, part in zip(plain.counted(one, on=True).own, tempered.counted(one, on=True).own, strict=True):
        assert part == pytest.approx(whole / 4)


def test_pods_that_were_better_before_leave_less_room_for_the_canarys_own_harm():
    assert Proof.begin(HALF, 1.0, 0.9).own_room == pytest.approx(HALF.log_ratio + log(0.9), abs=1e-6)
    assert Proof.begin(HALF, 1.0, 0.9).usable
    assert not Proof.begin(HALF, 1.0, 0.4).usable


def chances(requests: int, share: float) -> list[tuple[int, float]]:
    """Of each number of bad requests."""
    return [
        (x, exp(lgamma(requests + 1) - lgamma(x + 1) - lgamma(requests - x + 1) + x * log(share) + (requests - x) * log(1 - share)))
        for x in range(requests + 1)
    ]  # fmt: skip


def mean_over_the_lot(play: Callable[[Tally, Tally], float], shares: tuple[float, float], harm: float) -> float:
    """Exact: what is won in a pair whose two windows have these shares without the flag, which multiplies odds by `harm`."""
    total = 0.0
    for on, off in (shares, shares[::-1]):
        worse = harm * on / (1 - on + harm * on)
        total += sum(
            p * q * play(Tally(60, x), Tally(60, y)) / 2 for x, p in chances(60, worse) for y, q in chances(60, off)
        )
    return total


ENVIRONMENTS = [(0.001, 0.001), (0.001, 0.03), (0.02, 0.02), (0.05, 0.005), (0.1, 0.2), (0.4, 0.4)]


@pytest.mark.parametrize("shares", ENVIRONMENTS)
def test_key_2_is_a_fair_game_whatever_the_environment_did(shares: tuple[float, float]):
    """At odds times exactly the room nothing is won, from windows that hardly see a bad request to ones full of them."""
    room = log(1.8)
    assert mean_over_the_lot(lambda on, off: stake(on, off, room, 0.6), shares, 1.8) == pytest.approx(0.0, abs=0.004)
    assert mean_over_the_lot(lambda on, off: stake(on, off, room, 0.6), shares, 2.5) < 0.001
    assert mean_over_the_lot(lambda on, off: stake(on, off, room, 0.6), shares, 1.0) > 0.001


def test_the_sign_of_the_difference_of_log_odds_would_win_where_next_to_nothing_was_bad():
    """Why bad requests are struck out instead: verdict.md 10 counts a pair without any as one that rose by less than g."""

    def sign(on: Tally, off: Tally) -> float:
        return 1.0 if deviation(on, off, log(1.8)) > 0 else -1.0

    assert mean_over_the_lot(sign, (0.001, 0.001), 1.8) > 0.8
    assert abs(mean_over_the_lot(lambda on, off: stake(on, off, log(1.8), 0.6), (0.001, 0.001), 1.8)) < 1e-3


def test_a_bet_falls_with_what_was_bad_under_the_flag_and_never_ruins_the_key():
    """Falling: so that a flag which harms by more than the room can only lose by it."""
    bets = [stake(Tally(400, on), Tally(400, 40), 1.0, 0.8) for on in range(401)]
    assert all(more <= fewer + 1e-9 for fewer, more in itertools.pairwise(bets))
    assert (max(bets), min(bets)) == (pytest.approx(0.9), pytest.approx(-0.9))
    assert stake(Tally(400, 0), Tally(400, 0), 0.5, 1.0) == 0.0
    assert 0 < stake(Tally(400, 40), Tally(400, 40), 0.5, 2.0) < stake(Tally(400, 40), Tally(400, 40), 0.5, 1.0)


@pytest.mark.parametrize("bad", [1, 40, 6_000])
def test_a_bet_on_many_requests_is_that_of_their_mean(bad: int):
    """The sum over what may be struck out leaves its far tails away, and only them."""
    at_mean = tanh(0.5 * (2 / pi) * 0.5)
    found = stake(Tally(400_000, bad), Tally(400_000, bad), 0.5, 1.0)
    assert found == pytest.approx(at_mean, rel=1.5 / sqrt(bad))


def pair(proof: Proof, on: int, off: int) -> Proof:
    """Of 400 requests in each window."""
    first = proof.counted(Read(Tally(100), Tally(300, on)), on=True).turned()
    return first.counted(Read(Tally(100), Tally(300, off)), on=False).paired(first_on=True)


def test_how_much_a_pair_may_win_is_fixed_by_the_pairs_before_it():
    one, other = pair(Proof.begin(HALF, 1.0), 10, 10), pair(Proof.begin(HALF, 1.0), 90, 10)
    assert one.typical < Proof.begin(HALF, 1.0).typical < other.typical
    assert (one.played, one.within, other.within) == (1, 1, 0)
    same = Tally(400, 10)
    assert exp(one.wealth) == pytest.approx(1 + stake(same, same, HALF.log_ratio, 1.0))
    assert exp(other.wealth) < 1
    again = pair(other, 10, 10)
    assert exp(again.wealth - other.wealth) == pytest.approx(1 + stake(same, same, HALF.log_ratio, other.typical))
    assert pair(one, 0, 0).typical == one.typical  # nothing was bad, nothing is learnt


def test_key_2_forgets_no_harm_that_is_larger_than_the_room_and_proves_that_there_is_none():
    """Environments of any size before the lot: noise that doubles or halves the odds leaves the proof its direction."""
    random.seed(7)
    for harm, least, most in ((1.0, 3.0, 99.0), (2.5, -99.0, 0.0)):
        proof = Proof.begin(HALF, 1.0)
        for _ in range(200):
            on, off = (20 * exp(random.gauss(0, 0.7)) for _ in range(2))
            proof = pair(proof, round(harm * on), round(off))
        assert least < proof.shared_log_e < most


def test_a_rise_by_exactly_the_room_wins_nothing_and_is_not_within():
    assert deviation(Tally(100, 20), Tally(100, 20), 0.0) == 0.0
    same = Proof.begin(HALF, 1.0).model_copy(update={"room": Room(limit=0.05)}).turned().paired(first_on=True)
    assert same.within == 0
    assert same.shared_log_e == 0.0


def test_both_keys_must_be_turned_and_plain_helps():
    assert combined(0.0, 100.0, 0.0) == pytest.approx(0.0)
    assert combined(-50.0, log(30.0), 50.0) == pytest.approx(log(20.0))
    assert combined(log(60.0), -50.0, 0.0) == pytest.approx(log(20.0))
    assert not Proof.begin(HALF, 1.0).finding(0.0, 0.05).holds
    assert Proof.begin(HALF, 1.0).finding(log(60.0), 0.05).holds


def test_key_1_counts_the_windows_with_the_flags_only_and_settling_counts_nowhere():
    test, now, seen = fresh(), START, []
    while test.pairs < 6:
        now += min(timedelta(seconds=0.5), test.due(now) or timedelta(seconds=0.5))
        before = test
        test = test.after(read(1, 20), now, fit=True, in_place=True, epoch=1)
        moved = test.proofs["store"].own != before.proofs["store"].own
        seen.append((before.on, before.counting_since is not None, moved))
    assert {moved for on, counting, moved in seen if on and counting} == {True}
    assert {moved for on, counting, moved in seen if not (on and counting)} == {False}


def test_windows_are_half_of_a_switchbacks_and_wait_for_the_longest_budget():
    """And they stay so: 2 s or 200 requests, 1 s to settle."""
    assert {fresh(pair=pair).plan.settle_seconds for pair in range(100)} == {1.0}
    assert max(fresh(pair=pair).plan.counted_seconds for pair in range(100)) <= 2 * 4 / 3 + 0.01
    assert 20 * 2 / 3 - 0.01 <= fresh(rate=10.0, pair=3).plan.counted_seconds <= 20 * 4 / 3 + 0.01
    assert fresh(settle_floor=2.5).plan.settle_seconds == 2.5


@pytest.mark.parametrize("trouble", ["late", "back", "elsewhere", "unfit", "astray"])
def test_trouble_in_a_window_drops_the_pair_and_keeps_what_was_bet(trouble: str):
    test, now = fresh(), START
    while test.pairs < 3 or test.counting_since is None or not test.second:
        now += test.due(now) or timedelta(seconds=0.5)
        test = test.after(read(1, 6), now, fit=True, in_place=True, epoch=1)
    kept = test.proofs["store"]
    now += {"late": timedelta(seconds=30), "back": timedelta(hours=-1)}.get(trouble, timedelta(seconds=0.5))
    after = test.after(
        read(50, 50),
        now,
        fit=trouble != "unfit",
        in_place=trouble != "astray",
        epoch=2 if trouble == "elsewhere" else 1,
    )
    assert (after.pair, after.discarded, after.pairs) == (test.pair + 1, test.discarded + 1, test.pairs)
    assert after.proofs["store"] == kept.cleared()
    assert after.waiting is (trouble == "unfit")
    assert after.on is (after.plan.first_on and trouble != "unfit")


def test_while_the_world_is_not_fit_nothing_moves():
    test, now = fresh(), START
    for _ in range(5):
        now += timedelta(seconds=1)
        test = test.after(read(1, 1), now, fit=False, in_place=True, epoch=1)
    assert (test.pair, test.discarded, test.on) == (1, 1, False)
    again = test.after(read(1, 1), now + timedelta(seconds=1), fit=True, in_place=True, epoch=1)
    assert (again.pair, again.waiting) == (1, False)


def tried(test: Proving, pairs: int, *, harm: int = 40, of: Trial | None = None) -> Proving:
    """Whole pairs in which the canary has `harm` bad requests more with the flags on; `of` begins in the first window."""
    now = test.last_read
    while test.pairs < pairs:
        now += test.due(now) or timedelta(seconds=0.5)
        test = test.after(read(5 + harm * test.on, 15), now, fit=True, in_place=True, epoch=1)
        if of and test.trial is None and test.counting_since:
            test = test.suspecting(of)
    return test


def trial(**fields) -> Trial:
    return Trial(**{"number": 1, "operation": "store", "pooled": True, **fields})


def test_a_trial_bets_on_the_pairs_after_the_one_in_which_it_began():
    """Of the pair under way the order, and perhaps half of the counts, are known."""
    for pairs, bet in ((1, 0), (2, 1), (12, 11)):
        test = tried(fresh(), pairs, of=trial())
        assert test.pairs == pairs
        assert (test.trial.worse, test.trial.better, test.trial.tied) == (bet, 0, 0)


def test_the_trial_and_the_keys_bet_on_each_pair_once_and_leave_each_other_alone():
    alone, both = tried(fresh(), 9), tried(fresh(trial=trial(), trying=True), 9)
    assert both.proofs == alone.proofs
    assert both.trial.worse == 9
    assert both.trial.log_e == pytest.approx(log(sum((1 + bet) ** 9 for bet in BETS) / 3))


def test_without_suspicion_the_trial_stands_still():
    over = fresh(trial=trial(worse=3, wealth=(1.0, 2.0, 3.0)))
    assert tried(over, 5).trial == over.trial
    held = tried(fresh(trial=trial(), trying=True), 4)
    assert tried(held.unsuspecting(), 8).trial == held.trial


@pytest.mark.parametrize(("pooled", "answer"), [(True, Answer.CLEARED), (False, Answer.HARMS)])
def test_a_canary_alone_over_budget_is_tried_by_its_difference_from_the_others(pooled: bool, answer: Answer):
    """The others get better by as much as the canary gets worse: no harm to both, and harm of its own."""
    test, now = fresh(trial=trial(pooled=pooled), trying=True), START
    while test.pairs < 12:
        now += test.due(now) or timedelta(seconds=0.5)
        counted = read(20, 10) if test.on else read(10, 30)
        test = test.after(counted, now, fit=True, in_place=True, epoch=1)
    assert test.trial.answer(0.003) is answer


def test_a_dropped_pair_is_not_bet_on_by_the_trial():
    test, now = fresh(trial=trial(), trying=True), START
    while not (test.second and test.counting_since):
        now += test.due(now) or timedelta(seconds=0.5)
        test = test.after(read(50, 50), now, fit=True, in_place=True, epoch=1)
    assert test.trial.first.pooled.bad > 0
    late = test.after(read(50, 50), now + timedelta(seconds=30), fit=True, in_place=True, epoch=1)
    assert late.trial == trial()


def test_json_gives_the_same_state():
    test, now = fresh(), START
    for _ in range(40):
        now += test.due(now) or timedelta(seconds=0.5)
        test = test.after(read(2, 5), now, fit=True, in_place=True, epoch=1)
    test = tried(test.suspecting(trial(number=2)), 16)
    text = test.model_dump_json(by_alias=True)
    assert Proving.model_validate_json(text) == test
    assert test.trial.worse > 3
    assert len(text) < 1900


def played(chance: random.Random, own: float, shared: float, seconds: int) -> bool:
    """100 requests a second at .02 without the flag, in noise that is common to both arms; read each second."""
    test, now, mood = fresh(seed=str(chance.random())), START, 0.0
    while now < START + timedelta(seconds=seconds):
        mood = 0.92 * mood + chance.gauss(0, 0.15)
        step = min(timedelta(seconds=1), test.due(now) or timedelta(seconds=1))
        n, base = max(1, round(25 * step.total_seconds())), 0.02 * exp(mood)
        base *= shared if test.on else 1.0
        bad = sum(chance.random() < base * (own if test.on else 1.0) for _ in range(n))
        others = sum(chance.random() < base for _ in range(3 * n))
        now += step
        counted = {"store": Read(Tally(n, bad), Tally(3 * n, others))}
        test = test.after(counted, now, fit=True, in_place=True, epoch=1)
        if test.proofs["store"].finding(0.0, 0.05).holds:
            return True
    return False


@pytest.mark.parametrize(
    ("own", "shared", "proved"), [(1.0, 1.0, 9), (2.2, 1.0, 0), (1.0, 2.2, 0)], ids=["healthy", "own", "shared"]
)
def test_a_healthy_flag_is_proved_in_minutes_and_a_harmful_one_is_not(own: float, shared: float, proved: int):
    """`make simulate` has the rates"""
    chance = random.Random(11)
    found = sum(played(chance, own, shared, 900) for _ in range(10))
    assert found >= proved if proved else found == 0
