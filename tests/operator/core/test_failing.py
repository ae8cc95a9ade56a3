"""What the watch over failed requests counts; its detector is in test_stabilization.py, too."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from memorystack_operator.core.calibration import Calibration, Prior
from memorystack_operator.core.evidence import DesignEffect, Tally
from memorystack_operator.core.failing import effect_of, failed, most_failing
from memorystack_operator.core.slices import Book, Slice, pooled
from memorystack_operator.core.stabilization import look
from memorystack_runtime.contract import Counters, EvidenceReport, RevisionCounters, Snapshot

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BOOK = Book("f", "b")


def counters(flags: str = "f", **operations: tuple[int, int, int]) -> RevisionCounters:
    """(requests, bad, failed) of each operation."""
    made = {name: Counters(requests=n, bad=bad, failed=failed) for name, (n, bad, failed) in operations.items()}
    return RevisionCounters(flags=flags, budgets="b", operations=made)


def report(
    *ring: tuple[int, RevisionCounters], long_ring: tuple[tuple[int, RevisionCounters], ...] = ()
) -> EvidenceReport:
    """Snapshots as (age in half minutes, counters)."""

    def made(points: tuple[tuple[int, RevisionCounters], ...]) -> tuple[Snapshot, ...]:
        return tuple(Snapshot(age_seconds=30.0 * age, counters=(found,)) for age, found in points)

    return EvidenceReport(
        pod="a",
        uid="a",
        started_at=0.0,
        flags="f",
        source="file",
        budgets="b",
        counters=(ring[-1][1],) if ring else (),
        ring=made(ring),
        long_ring=made(long_ring),
    )


def cut(*reports: EvidenceReport, since: float = 0.0) -> list[tuple[float, float, Tally]]:
    """(age of the end in half minutes, seconds, counts) of each slice."""
    found = pooled(reports, BOOK, failed, since=since, now=NOW.timestamp())
    return [((NOW.timestamp() - s.begin - s.seconds) / 30, s.seconds, s.tally) for s in found]


def slices(*shares: float, requests: int = 1000) -> list[Slice]:
    """Half minutes up to now."""
    begin = NOW.timestamp() - 30 * len(shares)
    return [Slice(begin + 30 * k, 30.0, Tally(requests, round(p * requests))) for k, p in enumerate(shares)]


def test_all_operations_of_all_pods_count_and_of_each_only_what_failed():
    one = report((1, counters(recall=(10, 9, 1), store=(5, 5, 0))), (0, counters(recall=(20, 19, 2), store=(9, 9, 3))))
    two = report((1, counters()), (0, counters(get=(7, 7, 7))))
    assert cut(one, two) == [(0.0, 30.0, Tally(21, 11))]
    assert most_failing([one, two], BOOK) == "get"
    assert most_failing([one], BOOK) == "store"


def test_other_flags_and_what_was_before_the_promotion_do_not_count():
    whole = report((2, counters(recall=(0, 0, 0))), (1, counters(recall=(9, 9, 9))), (0, counters(recall=(19, 9, 9))))
    assert cut(whole, since=NOW.timestamp() - 31) == [(0.0, 30.0, Tally(10, 0))]
    other = report((1, counters("x", recall=(0, 0, 0))), (0, counters("x", recall=(9, 9, 9))))
    assert cut(other) == []


def test_a_counter_that_fell_and_a_gap_prove_nothing():
    fell = report((2, counters(recall=(50, 5, 5))), (1, counters(recall=(10, 1, 1))), (0, counters(recall=(30, 2, 2))))
    assert cut(fell) == [(0.0, 30.0, Tally(20, 1))]
    gap = report((3, counters(recall=(0, 0, 0))), (0, counters(recall=(30, 2, 2))))
    assert cut(gap) == []


def test_ten_minutes_of_the_day_before_are_taken_where_half_minutes_do_not_reach():
    long = ((41, counters(recall=(0, 0, 0))), (21, counters(recall=(400, 8, 8))), (1, counters(recall=(900, 9, 9))))
    whole = report((1, counters(recall=(900, 9, 9))), (0, counters(recall=(910, 9, 9))), long_ring=long)
    assert cut(whole) == [(21.0, 600.0, Tally(400, 8)), (1.0, 600.0, Tally(500, 1)), (0.0, 30.0, Tally(10, 0))]


@pytest.mark.parametrize(
    ("shares", "over", "well"),
    [
        ([0.005] * 60, False, True),
        ([0.005] * 40 + [0.03] * 20, True, False),
        ([0.005] * 50 + [0.03] * 8 + [0.0] * 5, False, False),
        ([0.03] * 10 + [0.0] * 30, False, True),
        ([], False, False),
    ],
    ids=["healthy", "failing", "just over", "long over", "nothing"],
)
def test_an_alarm_needs_evidence_and_two_bad_minutes_and_ends_after_ten_good_ones(
    shares: list[float], over: bool, well: bool
):
    found = look(slices(*shares), lambda _: 10.0, 8.0, NOW, 0.01)
    assert (found.over, found.well) == (over, well)


def test_a_handful_of_failures_is_no_alarm():
    assert not look(slices(1.0, requests=20), lambda _: 1.0, 0.0, NOW, 0.01).over


@pytest.mark.parametrize(("phis", "phi"), [([], 10.0), ([1.3, 4.0], 10.0), ([1.3, 66.0], 66.0)])
def test_the_evidence_is_tempered_by_the_largest_design_effect_known_or_by_ten(phis: list[float], phi: float):
    names = ("recall", "store")
    known = {n: Prior(effect=DesignEffect(phi_abs=p)) for n, p in zip(names, phis, strict=False)}
    made = Calibration(operations=known, failures=DesignEffect(), ready=True, message="")
    assert effect_of(made) == phi
    assert effect_of(None) == 10.0
