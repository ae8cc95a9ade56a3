"""The switchback's bets: a fair game under any environment, and a quick one where there is harm."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from math import exp, log

import pytest

from memorystack_operator.core.evidence import Read, Tally
from memorystack_operator.core.pairs import pair_plan
from memorystack_operator.core.switchback import Answer, Switchback
from memorystack_operator.core.trial import level_of

START = datetime(2026, 1, 1, tzinfo=UTC)


def fresh(**fields) -> Switchback:
    base = {
        "number": 1,
        "seed": "s",
        "operation": "recall",
        "pooled": True,
        "rate": 100.0,
        "epoch": 1,
        "started_at": START,
        "since": START,
        "last_read": START,
    }
    return Switchback(**{**base, **fields})


def read(canary_bad: int, stable_bad: int, requests: int = 100) -> Read:
    return Read(Tally(requests, canary_bad), Tally(3 * requests, stable_bad))


def pairs(test: Switchback, outcomes: str) -> Switchback:
    """Plays whole pairs: `w` worse with the flag, `b` better, `=` the same."""
    now = test.last_read
    for outcome in outcomes:
        harm = {"w": (40, 0), "b": (0, 40), "=": (5, 5)}[outcome]
        pair = test.pair
        while test.pair == pair:
            now += test.due(now) or timedelta(seconds=0.5)
            counted = read(harm[0] if test.on else harm[1], 0)
            test = test.after(counted, now, fit=True, in_place=True, epoch=1)
    return test


@pytest.mark.parametrize("number", [1, 2, 3])
def test_all_switchbacks_together_spend_no_more_than_their_half(number: int):
    assert sum(level_of(0.005, k) for k in range(1, 2000)) == pytest.approx(0.005, rel=1e-3)
    assert level_of(0.005, number) == pytest.approx(0.005 * 0.6079 / number**2, rel=1e-3)


@pytest.mark.parametrize(("half", "needed"), [(0.005, 11), (0.025, 8)])
def test_how_many_pairs_in_a_row_convict(half: float, needed: int):
    """alpha .01 and .05; verdict.md 6 names 10 and 7 for its single bet of .9"""
    level = level_of(half, 1)
    assert pairs(fresh(), "w" * (needed - 1)).answer(level) is Answer.OPEN
    assert pairs(fresh(), "w" * needed).answer(level) is Answer.HARMS


@pytest.mark.parametrize("sign", ["b", "="])
def test_six_pairs_that_are_not_worse_clear_the_flag(sign: str):
    assert pairs(fresh(), sign * 5).answer(0.01) is Answer.OPEN
    assert pairs(fresh(), sign * 6).answer(0.01) is Answer.CLEARED


def test_the_game_is_fair_whatever_the_environment_did():
    """Exact: over all orders of eight pairs, each worse or better by the lot alone, the mean wealth is 1."""
    mean = sum(exp(pairs(fresh(), "".join(o)).log_e) for o in itertools.product("wb", repeat=8)) / 2**8
    assert mean == pytest.approx(1.0)


def test_orders_are_balanced_and_lengths_stay_in_their_bounds():
    plans = [pair_plan("s", 1, pair, 100.0) for pair in range(12)] + [
        pair_plan(f"{i}", 1, 0, 100.0) for i in range(2000)
    ]
    assert all(4 * 2 / 3 <= p.counted_seconds <= 4 * 4 / 3 and p.settle_seconds == 1 for p in plans)
    assert 0.45 < sum(p.first_on for p in plans) / len(plans) < 0.55
    assert len({p.counted_seconds for p in plans}) > 1000
    assert pair_plan("s", 1, 3, 100.0) == pair_plan("s", 1, 3, 100.0)
    assert pair_plan("s", 2, 3, 100.0) != pair_plan("s", 1, 3, 100.0)


@pytest.mark.parametrize(
    ("pair", "rate", "counted", "settle"),
    [(23, 100, 4, 1), (24, 100, 8, 2), (99, 100, 8, 2), (0, 40, 10, 1), (0, 2, 60, 1), (0, 0, 60, 1)],
)
def test_windows_grow_and_last_until_four_hundred_requests_are_expected(
    pair: int, rate: float, counted: float, settle: float
):
    plan = pair_plan("s", 1, pair, rate)
    assert counted * 2 / 3 - 0.01 <= plan.counted_seconds <= counted * 4 / 3 + 0.01
    assert plan.settle_seconds == settle


def test_both_windows_of_a_pair_are_equally_long_and_settling_is_not_counted():
    test, now, seen = fresh(), START, []
    while test.pair == 0:
        now += min(timedelta(seconds=0.25), test.due(now) or timedelta(seconds=0.25))
        before = test
        test = test.after(read(1, 1), now, fit=True, in_place=True, epoch=1)
        seen.append((before.second, before.counting_since is not None, before.on))
    first = [s for s in seen if not s[0]]
    second = [s for s in seen if s[0]]
    assert abs(sum(c for _, c, _ in first) - sum(c for _, c, _ in second)) <= 1
    assert {on for _, _, on in first} == {fresh().plan.first_on}
    assert {on for _, _, on in second} == {not fresh().plan.first_on}


def test_a_canary_alone_is_judged_by_its_difference_from_the_others():
    """The environment moves both arms in the on-windows, and that must not count."""

    def play(pooled: bool) -> Switchback:
        test, now = fresh(pooled=pooled), START
        for _ in range(400):
            now += test.due(now) or timedelta(seconds=0.5)
            counted = read(30, 90) if test.on else read(3, 6)
            test = test.after(counted, now, fit=True, in_place=True, epoch=1)
        return test

    assert play(pooled=True).answer(0.001) is Answer.HARMS
    assert play(pooled=False).answer(0.001) is Answer.CLEARED


def test_a_late_reading_spoils_the_pair():
    test = fresh()
    now = START + test.due(START)
    test = test.after(read(0, 0), now, fit=True, in_place=True, epoch=1)
    late = now + test.due(now) + timedelta(seconds=10)
    after = test.after(read(50, 50), late, fit=True, in_place=True, epoch=1)
    assert (after.pair, after.discarded, after.wealth) == (1, 1, (0.0, 0.0, 0.0))


def test_flags_that_do_not_settle_spoil_the_pair_after_three_seconds():
    test, now = fresh(), START
    for _ in range(3):
        now += timedelta(seconds=1)
        test = test.after(read(0, 0), now, fit=True, in_place=False, epoch=1)
    assert (test.pair, test.counting_since) == (0, None)
    for _ in range(2):
        now += timedelta(seconds=1)
        test = test.after(read(0, 0), now, fit=True, in_place=False, epoch=1)
    assert (test.pair, test.discarded) == (1, 1)


def test_json_gives_the_same_state():
    test = pairs(fresh(), "wwb=w")
    again = Switchback.model_validate_json(test.model_dump_json(by_alias=True))
    assert again == test
    assert (again.worse, again.better, again.tied) == (3, 1, 1)


def play(chance: random.Random, on: float, off: float, noise: float, limit: int) -> tuple[Answer, float]:
    """100 requests a second, a bad share that wanders in common, read each second; minutes until it is decided."""
    test, now, level, mood = fresh(seed=str(chance.random())), START, level_of(0.005, 1), 0.0
    for _ in range(limit):
        mood = 0.92 * mood + chance.gauss(0, noise)
        p = min(0.9, (on if test.on else off) * exp(mood))
        step = min(timedelta(seconds=1), test.due(now) or timedelta(seconds=1))
        n = round(25 * step.total_seconds())
        bad, others = (sum(chance.random() < p for _ in range(m)) for m in (n, 3 * n))
        now += step
        test = test.after(Read(Tally(n, bad), Tally(3 * n, others)), now, fit=True, in_place=True, epoch=1)
        if test.answer(level) is not Answer.OPEN:
            break
    return test.answer(level), (now - START).total_seconds() / 60


def test_harm_is_convicted_within_six_minutes_and_innocence_is_not():
    """verdict.md 10: .02 -> .15, in noise that is common to both arms; `make simulate` has the rates"""
    chance = random.Random(7)
    harmed = [play(chance, 0.15, 0.02, 0.3, 400) for _ in range(20)]
    assert [answer for answer, _ in harmed] == [Answer.HARMS] * 20
    assert max(minutes for _, minutes in harmed) < 6
    innocent = [play(chance, 0.03, 0.03, 0.3, 900)[0] for _ in range(20)]
    assert Answer.HARMS not in innocent
    assert log(1 / level_of(0.005, 1)) > 5.7
