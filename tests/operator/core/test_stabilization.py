"""The watch's own arithmetic: slices from two rings, the detector, whom to ask, and the mirrored comparison."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from functools import partial
from math import comb, exp, log

import pytest
from support.world import rollout, stack

from memorystack_operator.core.evidence import DesignEffect, Evidence, Read, Tally
from memorystack_operator.core.limits import switchback_level
from memorystack_operator.core.reverse import RELEVANT, Answer, Reverse, answer_of, between
from memorystack_operator.core.slices import Book, Slice, pooled
from memorystack_operator.core.stabilization import (
    OverBudget,
    Promotion,
    Watch,
    look,
    phi_at,
    slow,
    threshold,
)
from memorystack_operator.core.stages import canonical
from memorystack_runtime.contract import (
    Counters,
    EvidenceReport,
    Features,
    ParallelIngest,
    RevisionCounters,
    Snapshot,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SLOT = NOW.timestamp() // 30


def counted(requests: int, bad: int, flags: str = "f", budgets: str = "b") -> tuple[RevisionCounters, ...]:
    return (
        RevisionCounters(flags=flags, budgets=budgets, operations={"recall": Counters(requests=requests, bad=bad)}),
    )


def report(uid: str, ring: dict[int, tuple], long_ring: dict[int, tuple] | None = None) -> EvidenceReport:
    """Rings by their age in half minutes."""

    def made(points: dict[int, tuple]) -> tuple[Snapshot, ...]:
        return tuple(
            Snapshot(age_seconds=30.0 * age + 0.4, counters=points[age]) for age in sorted(points, reverse=True)
        )

    return EvidenceReport(
        pod=uid,
        uid=uid,
        started_at=0.0,
        flags="f",
        source="file",
        budgets="b",
        counters=(),
        ring=made(ring),
        long_ring=made(long_ring or {}),
    )


def cut(*reports: EvidenceReport, since: float = 0.0, operation="recall") -> list[tuple[float, int, int]]:
    """(age of the end in half minutes, requests, bad) of each slice."""
    found = pooled(reports, Book("f", "b"), partial(slow, operation), since=since, now=NOW.timestamp())
    return [((NOW.timestamp() - s.begin - s.seconds) / 30, s.tally.requests, s.tally.bad) for s in found]


def test_slices_add_up_all_pods_whichever_were_there():
    whole = report("a", {2: counted(0, 0), 1: counted(10, 1), 0: counted(30, 2)})
    young = report("b", {1: counted(0, 0), 0: counted(5, 5)})
    assert cut(whole, young) == [(1.0, 10, 1), (0.0, 25, 6)]


def test_slices_before_the_promotion_are_left_out():
    whole = report("a", {2: counted(0, 0), 1: counted(10, 1), 0: counted(30, 2)})
    assert cut(whole, since=NOW.timestamp() - 31) == [(0.0, 20, 1)]
    assert cut(whole, since=NOW.timestamp() - 30) == [(0.0, 20, 1)]
    assert cut(whole, since=NOW.timestamp() - 29) == []


@pytest.mark.parametrize(
    ("ring", "expected"),
    [
        ({2: (), 1: counted(10, 1), 0: counted(30, 2)}, [(1.0, 10, 1), (0.0, 20, 1)]),
        ({2: counted(5, 5, flags="old"), 1: counted(7, 7, budgets="old"), 0: counted(3, 0)}, [(0.0, 3, 0)]),
        ({2: counted(10, 1), 1: counted(4, 0), 0: counted(6, 1)}, [(0.0, 2, 1)]),
        ({5: counted(10, 1), 0: counted(60, 1)}, []),
        ({1: counted(10, 1), 0: counted(10, 1)}, []),
        ({0: counted(10, 1)}, []),
        ({}, []),
    ],
    ids=["began", "other revisions", "fell", "gap", "no traffic", "one point", "empty"],
)
def test_a_pod_s_line_gives_only_what_its_counters_prove(ring: dict, expected: list):
    assert cut(report("a", ring)) == expected


def test_the_long_ring_serves_where_the_short_one_does_not_reach():
    ring = {1: counted(100, 3), 0: counted(110, 4)}
    assert cut(report("a", ring, {40: counted(0, 0), 20: counted(50, 1), 0: counted(110, 4)})) == [
        (20.0, 50, 1),
        (0.0, 10, 1),
    ]


def test_an_operation_that_no_pod_counted_has_no_slices():
    assert cut(report("a", {1: counted(1, 0), 0: counted(2, 0)}), operation="store") == []


def slices(*shares: float, requests: int = 1000) -> list[Slice]:
    begin = NOW.timestamp() - 30 * len(shares)
    return [Slice(begin + 30 * i, 30, Tally(requests, round(requests * p))) for i, p in enumerate(shares)]


MEASURED = partial(phi_at, DesignEffect(phi_abs=5.0, rate=1000 / 30, source="Measured"))


@pytest.mark.parametrize(
    ("shares", "over", "well"),
    [
        ([0.02] * 60, False, True),
        ([0.02] * 50 + [0.15] * 10, True, False),
        ([0.02] * 50 + [0.15] * 6 + [0.02] * 5, False, False),
        ([0.15] * 10 + [0.02] * 30, False, True),
        ([], False, False),
    ],
    ids=["healthy", "late", "outage just over", "outage long over", "nothing"],
)
def test_an_alarm_needs_evidence_and_two_bad_minutes_and_ends_after_ten_good_ones(
    shares: list[float], over: bool, well: bool
):
    sight = look(slices(*shares), MEASURED, log(2880), NOW)
    assert (sight.over, sight.well) == (over, well)


def test_a_handful_of_bad_requests_is_no_alarm():
    assert not look(slices(1.0, requests=20), MEASURED, 0.0, NOW).over


def test_the_detector_is_the_sum_over_all_starts_of_the_likelihood_ratio_since():
    """R_n = sum over k of prod from k to n, for each odds ratio of the grid; here by its definition."""
    from memorystack_operator.core.bets import ROLL, log_ratio

    pieces = slices(0.02, 0.09, 0.11)
    gains = [[log_ratio(s.tally.bad, s.tally.requests, r, 0.05) / 5.0 for s in pieces] for r in ROLL]
    direct = sum(sum(exp(sum(g[k:])) for k in range(3)) for g in gains) / len(ROLL)
    assert look(pieces, MEASURED, 1.0, NOW).finding.log_e == pytest.approx(log(direct))


@pytest.mark.parametrize(
    ("effect", "phi"),
    [
        (None, 10.0),
        (DesignEffect(phi_abs=10.0), 10.0),
        (DesignEffect(phi_abs=4.0, source="Short", rate=1000 / 30), 4.0),
        (DesignEffect(phi_abs=4.0, source="Measured", rate=1000 / 60), 7.0),
    ],
    ids=["unknown", "assumed", "at its rate", "at twice its rate"],
)
def test_each_slice_is_tempered_by_the_design_effect_at_its_own_rate(effect: DesignEffect | None, phi: float):
    from memorystack_operator.core.bets import ROLL, log_ratio

    (piece,) = slices(0.1)
    expected = log(sum(exp(log_ratio(100, 1000, r, 0.05) / phi) for r in ROLL) / len(ROLL))
    assert look([piece], partial(phi_at, effect), 1.0, NOW).finding.log_e == pytest.approx(expected)


def test_the_threshold_grows_with_the_stabilization_and_with_the_budgets():
    month = threshold(stack().spec)
    assert month == pytest.approx(log(86_400 * 2))
    one = rollout(budgets=[{"operation": "recall", "p95": "250ms"}], stabilization="0s")
    assert threshold(stack(rollout=one).spec) == pytest.approx(log(2880))


def test_a_stack_exactly_at_its_budget_meets_few_alarms_in_a_month():
    """Mean run to a false alarm >= A slices: over 20 runs of A/10 slices two alarms are expected at most."""
    chance, alarms, needed = random.Random(5), 0, log(2880)
    for _ in range(20):
        shares = [sum(chance.random() < 0.05 for _ in range(60)) / 60 for _ in range(288)]
        pieces = slices(*shares, requests=60)
        alarms += look(pieces, lambda _: 1.0, needed, NOW).finding.holds
    assert alarms <= 5


CACHE = Features()
FASTER = Features(parallel_ingest=ParallelIngest(concurrency=4))


def promotion(stage: str = "parallelIngest", features: Features = FASTER, **fields) -> Promotion:
    return Promotion(**{"stage": stage, "value": canonical(features, stage), "before": Features(), "at": NOW, **fields})


OVER = OverBudget(operation="recall", since=NOW, message="")


@pytest.mark.parametrize(
    ("changes", "watch", "minutes", "due"),
    [
        ({}, {}, 4, False),
        ({}, {}, 5, True),
        ({"paired": True}, {}, 0, True),
        ({"paired": True, "at": NOW - timedelta(hours=2)}, {}, 1, False),
        ({}, {"tried": ("cache",)}, 0, True),
        ({}, {"rest_until": NOW + timedelta(minutes=30)}, 20, False),
        ({}, {"rest_until": NOW + timedelta(minutes=30)}, 30, True),
        ({}, {"over": None}, 60, False),
    ],
    ids=["short", "lasting", "paired", "paired long ago", "next flag", "rests", "rested", "not over"],
)
def test_a_flag_is_asked_when_the_trouble_lasts_and_at_once_after_a_paired_promotion(
    changes: dict, watch: dict, minutes: int, due: bool
):
    made = Watch.model_validate({"over": OVER, **watch})
    assert made.due(promotion(**changes), NOW + timedelta(minutes=minutes)) is due


def test_who_may_be_asked_newest_first():
    spec = stack(features={"parallelIngest": {"concurrency": 4}, "cache": {"maxSize": 500}}).spec
    serving = spec.features.flags()
    watch = (
        Watch()
        .promoted(promotion())
        .promoted(promotion("cache", serving), promotion("httpPool", serving, by_hand=True))
    )
    assert [p.stage for p in watch.promotions] == ["parallelIngest", "cache", "httpPool"]
    seen = watch.watched(spec, serving, NOW)
    assert [p.stage for p in watch.open_to_question(seen, "recall")] == ["cache", "parallelIngest"]
    tried = watch.model_copy(update={"tried": ("cache",)})
    assert [p.stage for p in tried.open_to_question(seen, "recall")] == ["parallelIngest"]
    still = watch.promoted(promotion("cache", serving, still_over=("recall",)))
    assert [p.stage for p in still.open_to_question(still.watched(spec, serving, NOW), "recall")] == ["parallelIngest"]
    assert [p.stage for p in watch.watched(spec, Features(), NOW)] == ["httpPool"]
    assert watch.watched(spec, serving, NOW + timedelta(hours=720)) == ()


def test_the_rest_doubles_with_each_question_up_to_a_day():
    watch, rests = Watch().promoted(promotion()), []
    for _ in range(7):
        watch = watch.asking("parallelIngest")
        watch = watch.kept("parallelIngest", NOW, watch.promotions)
        rests.append((watch.rest_until - NOW) / timedelta(hours=1))
    assert rests == [1, 2, 4, 8, 16, 24, 24]
    assert watch.promoted(promotion()).promotions[0].asked == 0


def test_while_another_flag_is_left_the_watch_does_not_rest():
    watch = Watch(promotions=(promotion(), promotion("cache"))).asking("cache")
    watch = watch.kept("cache", NOW, watch.promotions)
    assert (watch.tried, watch.rest_until) == (("cache",), None)


def reads(older: float, promoted: float, count: int, seed: int, requests: int = 50) -> list[Read]:
    chance = random.Random(seed)

    def arm(p: float) -> Tally:
        return Tally(requests, sum(chance.random() < p for _ in range(requests)))

    return [Read(arm(older), arm(promoted)) for _ in range(count)]


def answer(older: float, promoted: float, *, seed: int = 1, count: int = 400, number: int = 1) -> tuple[Answer, int]:
    evidence, reverse, spec = Evidence(effect=DesignEffect(phi_rel=1.3)), blank(number), stack().spec
    for k, read in enumerate(reads(older, promoted, count, seed)):
        grown = evidence.add(read)
        assert between(evidence, grown) == read
        evidence, reverse = grown, reverse.after(read, evidence.effect)
        found = answer_of(reverse, evidence, spec, out_of_time=False)
        if found is not Answer.OPEN:
            return found, k
    return answer_of(reverse, evidence, spec, out_of_time=True), count


def blank(number: int = 1) -> Reverse:
    return Reverse(number=number, operation="recall", promoted_at=NOW)


@pytest.mark.parametrize(
    ("older", "promoted", "expected"),
    [
        (0.01, 0.15, Answer.LATE_REGRESSION),
        (0.05, 0.12, Answer.LATE_REGRESSION),
        (0.50, 0.10, Answer.WORSE_BEFORE),
        (0.20, 0.20, Answer.BOTH_OVER),
        (0.03, 0.03, Answer.NO_DIFFERENCE),
        (0.0, 0.0, Answer.NO_DIFFERENCE),
    ],
)
def test_what_the_two_arms_say(older: float, promoted: float, expected: Answer):
    assert answer(older, promoted)[0] is expected


def test_better_within_the_budget_is_no_regression():
    """The trigger was the budget: a promoted value that keeps it is not taken back for being a little worse."""
    assert answer(0.005, 0.03)[0] is not Answer.LATE_REGRESSION


def test_before_thirty_requests_nothing_is_said_and_without_any_the_time_runs_out():
    spec = stack().spec
    assert answer_of(blank(), Evidence(), spec, out_of_time=False) is Answer.OPEN
    assert answer_of(blank(), Evidence(), spec, out_of_time=True) is Answer.NO_DIFFERENCE


def test_a_later_question_needs_more_evidence():
    first, tenth = (switchback_level(stack().spec, k) for k in (1, 10))
    assert tenth == pytest.approx(first / 100)
    assert answer(0.01, 0.15, number=10)[1] >= answer(0.01, 0.15)[1]


def test_the_margin_of_the_pods_own_odds_moves_the_bar():
    read = Read(Tally(100, 15), Tally(100, 19))
    plain = blank().after(read, DesignEffect())
    tolerant = blank().after(read, DesignEffect(mirrored_margin=0.5))
    assert tolerant.same > plain.same
    assert blank().after(Read(Tally(0, 0), Tally(9, 9)), DesignEffect()).same == 0.0


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_a_harmful_value_is_not_acquitted_however_many_requests_are_bad(share: float):
    """Exact: where its odds are just those that matter, the evidence of "no difference" has a mean of 1."""
    canary, stable = 6, 9
    older = share / RELEVANT / (1 - share + share / RELEVANT)
    mean = 0.0
    for x, y in itertools.product(range(canary + 1), range(stable + 1)):
        chance = comb(canary, x) * older**x * (1 - older) ** (canary - x)
        chance *= comb(stable, y) * share**y * (1 - share) ** (stable - y)
        mean += chance * exp(blank().after(Read(Tally(canary, x), Tally(stable, y)), DesignEffect()).same)
    assert mean == pytest.approx(1.0, abs=1e-6)


def test_equal_arms_over_budget_are_hardly_ever_a_late_regression():
    """Nominal 0.3 % for the first question; 200 runs of up to 60 reads."""
    wrong = sum(answer(0.12, 0.12, seed=seed, count=60)[0] is Answer.LATE_REGRESSION for seed in range(200))
    assert wrong <= 3
