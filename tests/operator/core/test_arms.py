"""From raw counters to increments: nothing twice, nothing lost."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from memorystack_operator.core.arms import Baseline, PodCounts, Window, advance
from memorystack_operator.core.evidence import Read, Tally
from memorystack_runtime.contract import Counters, RevisionCounters

WINDOW = Window(canary="new", stable="old", budgets="b", since=100.0)


def pod(
    uid: str,
    arm: str,
    flags: str,
    requests: int,
    bad: int = 0,
    failed: int = 0,
    started: float = 1.0,
    budgets: str = "b",
):
    counters = Counters(requests=requests, bad=bad, failed=failed)
    return PodCounts(
        uid, started, arm, (RevisionCounters(flags=flags, budgets=budgets, operations={"store": counters}),)
    )


def test_a_pod_met_for_the_first_time_gives_a_baseline_and_no_count():
    increment, baselines = advance((), [pod("a", "canary", "new", 50, 5)], WINDOW)
    assert increment.operations["store"] == Read()
    assert baselines[0].operations["store"].requests == 50


def test_a_pod_younger_than_the_stage_is_counted_from_its_first_request():
    increment, _ = advance((), [pod("a", "canary", "new", 50, 5, started=200.0)], WINDOW)
    assert increment.operations["store"].canary == Tally(50, 5)


def test_two_pods_of_two_arms_are_kept_apart_and_summed():
    first = [pod("a", "canary", "new", 10, 1), pod("b", "stable", "old", 20, 2), pod("c", "stable", "old", 30, 3)]
    _, baselines = advance((), first, WINDOW)
    second = [
        pod("a", "canary", "new", 15, 4, 1),
        pod("b", "stable", "old", 26, 2, 1),
        pod("c", "stable", "old", 31, 3, 1),
    ]
    increment, _ = advance(baselines, second, WINDOW)
    assert increment.operations["store"] == Read(Tally(5, 3), Tally(7, 0))
    assert increment.failures == Read(Tally(5, 1), Tally(7, 2))


def test_a_restarted_process_counts_from_zero():
    _, baselines = advance((), [pod("a", "canary", "new", 100, 9)], WINDOW)
    increment, _ = advance(baselines, [pod("a", "canary", "new", 7, 1, started=300.0)], WINDOW)
    assert increment.operations["store"].canary == Tally(7, 1)


def test_a_counter_that_fell_counts_from_zero():
    _, baselines = advance((), [pod("a", "canary", "new", 100, 9)], WINDOW)
    increment, _ = advance(baselines, [pod("a", "canary", "new", 7, 1)], WINDOW)
    assert increment.operations["store"].canary == Tally(7, 1)


def test_bad_ones_that_fell_alone_take_nothing_away():
    _, baselines = advance((), [pod("a", "canary", "new", 100, 9, 5), pod("b", "canary", "new", 10)], WINDOW)
    increment, _ = advance(
        baselines, [pod("a", "canary", "new", 110, 7, 3), pod("b", "canary", "new", 20, 4, 4)], WINDOW
    )
    assert increment.operations["store"].canary == Tally(20, 4)
    assert increment.failures.canary == Tally(20, 4)


def test_requests_of_other_revisions_do_not_count():
    _, baselines = advance((), [pod("a", "canary", "new", 0)], WINDOW)
    for other in (pod("a", "canary", "old", 50), pod("a", "canary", "new", 50, budgets="x")):
        increment, _ = advance(baselines, [other], WINDOW)
        assert increment.operations["store"].canary == Tally()


def test_an_unread_pod_keeps_its_baseline_and_its_next_counts_are_late():
    """What it served in two intervals is not compared with what the others served in one."""
    _, baselines = advance((), [pod("a", "canary", "new", 10), pod("b", "stable", "old", 10)], WINDOW)
    _, later = advance(baselines, [pod("b", "stable", "old", 15)], WINDOW)
    increment, _ = advance(
        advance(baselines, [pod("a", "canary", "new", 15)], WINDOW)[1],
        [pod("a", "canary", "new", 20), pod("b", "stable", "old", 40, 2)],
        WINDOW,
    )
    assert increment.operations["store"] == Read(Tally(5, 0), Tally(), Tally(), Tally(30, 2))
    increment, after = advance(later, [pod("a", "canary", "new", 40, 3), pod("b", "stable", "old", 20)], WINDOW)
    read = increment.operations["store"]
    assert (read.canary, read.stable, read.late_canary) == (Tally(), Tally(5, 0), Tally(30, 3))
    assert read.late
    increment, _ = advance(after, [pod("a", "canary", "new", 50, 3), pod("b", "stable", "old", 25)], WINDOW)
    assert increment.operations["store"] == Read(Tally(10, 0), Tally(5, 0))


def test_when_no_pod_was_read_all_tell_of_the_same_time_afterwards():
    _, baselines = advance((), [pod("a", "canary", "new", 10), pod("b", "stable", "old", 10)], WINDOW)
    _, later = advance(baselines, [], WINDOW)
    increment, _ = advance(later, [pod("a", "canary", "new", 40), pod("b", "stable", "old", 50)], WINDOW)
    assert increment.operations["store"] == Read(Tally(30, 0), Tally(40, 0))


def test_a_pod_that_is_gone_is_forgotten():
    _, baselines = advance((), [pod("a", "canary", "new", 10), pod("b", "stable", "old", 10)], WINDOW)
    _, later = advance(baselines, [pod("b", "stable", "old", 15)], replace(WINDOW, present={"b"}))
    assert [b.uid for b in later] == ["b"]


def test_a_request_that_fails_long_after_it_was_counted_as_slow_is_never_more_than_there_were():
    _, baselines = advance((), [pod("a", "canary", "new", 10, 10, 0)], WINDOW)
    increment, _ = advance(baselines, [pod("a", "canary", "new", 12, 12, 8)], WINDOW)
    assert increment.failures.canary == Tally(2, 2)


def test_baselines_are_small_and_those_of_an_older_release_are_read():
    _, baselines = advance((), [pod("a", "canary", "new", 10, 3, 1)], WINDOW)
    assert baselines[0].model_dump_json(by_alias=True) == '{"uid":"a","at":1.0,"flags":"new","n":{"store":[10,3,1]}}'
    old = '{"uid":"a","startedAt":1.0,"flags":"new","operations":{"store":{"requests":10,"bad":3,"failed":1}}}'
    assert Baseline.model_validate_json(old) == baselines[0]


@given(st.lists(st.integers(0, 50), min_size=2, max_size=12), st.integers(0, 11))
def test_a_restart_of_the_operator_neither_loses_nor_repeats_a_request(growth: list[int], at: int):
    """R15"""
    baselines: tuple[Baseline, ...] = ()
    total = seen = 0
    for i, more in enumerate(growth):
        total += more
        increment, baselines = advance(baselines, [pod("a", "canary", "new", total)], WINDOW)
        seen += increment.operations["store"].canary.requests
        if i == at:
            baselines = tuple(Baseline.model_validate_json(b.model_dump_json(by_alias=True)) for b in baselines)
    assert seen == total - growth[0]
