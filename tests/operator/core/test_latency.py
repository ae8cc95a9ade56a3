"""Quantiles for people: read from the ladder of edges, of one operation under one flags revision."""

from __future__ import annotations

import pytest

from memorystack_operator.core.latency import quantile_ms, total_of
from memorystack_runtime.contract import LADDER_MS, Counters, EvidenceReport, RevisionCounters


def counted(requests: int, *over: int, bad: int = 0) -> Counters:
    """`over` of the first edges; over the others nothing was."""
    return Counters(requests=requests, bad=bad, over=(*over, *(0 for _ in LADDER_MS[len(over) :])))


def report(flags: str, **operations: Counters) -> EvidenceReport:
    counters = (RevisionCounters(flags=flags, budgets="b", operations=operations),)
    told = {"pod": "mem-0", "uid": "u", "started_at": 1.0, "source": "lease", "flags": flags, "budgets": "b"}
    return EvidenceReport.model_validate({**told, "counters": counters})


def test_without_requests_there_is_no_quantile():
    assert quantile_ms(counted(0)) is None


@pytest.mark.parametrize(
    ("over", "q", "expected"),
    [
        ((0,), 0.95, LADDER_MS[0] * 0.95),
        ((0,), 0.5, LADDER_MS[0] * 0.5),
        ((5,), 0.95, LADDER_MS[0]),
        ((100, 0), 0.5, (LADDER_MS[0] + LADDER_MS[1]) / 2),
        ((100, 0), 0.75, LADDER_MS[0] + (LADDER_MS[1] - LADDER_MS[0]) * 0.75),
        ((60, 20), 0.6, (LADDER_MS[0] + LADDER_MS[1]) / 2),
    ],
)
def test_between_two_edges_the_quantile_is_interpolated(over: tuple[int, ...], q: float, expected: float):
    assert quantile_ms(counted(100, *over), q) == pytest.approx(expected)


def test_by_default_it_is_the_95th_percentile():
    counters = counted(200, 120, 7, 2)
    assert quantile_ms(counters) == quantile_ms(counters, 0.95) != quantile_ms(counters, 0.9)


def test_above_the_last_edge_the_last_edge_is_told():
    assert quantile_ms(counted(10, *(10 for _ in LADDER_MS))) == LADDER_MS[-1]


def test_processes_are_summed_for_one_operation_and_one_revision_and_unread_ones_count_nothing():
    reports = [
        report("new", store=counted(10, 4, 1, bad=2), recall=counted(50, 50)),
        None,
        report("new", store=counted(5, 1, bad=1)),
        report("old", store=counted(1000, 1000, bad=1000)),
        report("new", recall=counted(7)),
    ]
    assert total_of(reports, "store", "new") == counted(15, 5, 1, bad=3)
    assert total_of([None], "store", "new") == counted(0)
