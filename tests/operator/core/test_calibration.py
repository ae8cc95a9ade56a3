"""Design effects and margins from the pods' own rings."""

from __future__ import annotations

from datetime import timedelta
from math import inf, sqrt

import numpy as np
import pytest

from memorystack_operator.core import dispersion
from memorystack_operator.core.calibration import ASSUMED_PHI, Calibration, calibrate, room_of
from memorystack_operator.core.chi_square import cdf, lower_decile
from memorystack_operator.core.dispersion import edge_of
from memorystack_operator.core.evidence import DesignEffect
from memorystack_operator.core.history import Cell, Scope, cut, cut_long
from memorystack_runtime.contract import LADDER_MS, Counters, EvidenceReport, RevisionCounters, Snapshot

NOW = 30_000.0


def over_of(requests: int, bad: int, at_100: int) -> tuple[int, ...]:
    return tuple(requests if ms < 50 else at_100 if ms < 250 else bad for ms in LADDER_MS)


def reports(
    rates: dict[str, list[tuple[int, int, int]]], flags: str = "old", operation: str = "store"
) -> list[EvidenceReport]:
    """Per pod a list of blocks (requests, bad, over 100 ms), oldest first; rings on whole half minutes."""
    made = []
    for uid, blocks in rates.items():
        total, ring = np.zeros(3, dtype=int), []
        for i in range(len(blocks) + 1):
            counters = Counters(requests=int(total[0]), bad=int(total[1]), over=over_of(*map(int, total)))
            book = RevisionCounters(flags=flags, budgets="b", operations={operation: counters})
            ring.append(Snapshot(age_seconds=30.0 * (len(blocks) - i), counters=(book,)))
            if i < len(blocks):
                total += np.array(blocks[i])
        made.append(
            EvidenceReport(
                pod=uid, uid=uid, started_at=0, flags=flags, source="file", budgets="b",
                counters=ring[-1].counters, ring=tuple(ring),
            )
        )  # fmt: skip
    return made


def alike(blocks: int, requests: int = 200, share: float = 0.06, bad: float = 0.0, pods: int = 3, seed: int = 1):
    chance = np.random.default_rng(seed)

    def block():
        b = int(chance.binomial(requests, bad))
        return requests, b, max(b, int(chance.binomial(requests, share)))

    return {f"p{i}": [block() for _ in range(blocks)] for i in range(pods)}


def of(rates, *, waited: float = 0, chosen=("p0",), previous=None, budgets=None, since: float = -inf) -> Calibration:
    return calibrate(
        reports(rates), budgets or {"store": 250}, flags="old", chosen=set(chosen), now=NOW,
        waited=timedelta(seconds=waited), previous=previous, since=since,
    )  # fmt: skip


@pytest.mark.parametrize(("bad", "mostly_bad"), [(0, False), (99, False), (100, False), (101, True), (200, True)])
def test_arms_are_compared_by_the_fewer_kind_of_requests_as_it_was_before_the_flip(bad: int, mostly_bad: bool):
    rates = {f"p{i}": [(200, bad, bad)] * 12 for i in range(3)}
    assert of(rates).operations["store"].effect.mostly_bad is mostly_bad


def test_what_is_carried_from_another_stage_is_compared_as_the_history_since_says():
    old = of({f"p{i}": [(200, 180, 190)] * 12 for i in range(3)})
    assert old.operations["store"].effect.mostly_bad
    found = of(alike(4), previous=old).operations["store"].effect
    assert (found.source, found.mostly_bad) == ("Carried", False)
    assert found.message == "as before the last stage, since the history is short"


@pytest.mark.parametrize(("blocks", "factor"), [(4, 3.76), (40, 1.377)])
def test_the_chi_square_factor_is_the_known_one(blocks: int, factor: float):
    """verdict.md 7: 3.8 for four blocks, 1.38 for forty"""
    assert blocks / lower_decile(blocks) == pytest.approx(factor, abs=0.005)


@pytest.mark.parametrize("df", [1, 2, 3, 10, 101, 300, 400])
def test_the_quantile_is_where_the_distribution_is_a_tenth(df: int):
    assert lower_decile(df) < df
    if df <= 300:
        assert cdf(lower_decile(df), df) == pytest.approx(0.1, abs=1e-6)
    assert cdf(0.0, df) == 0.0


def test_the_two_ways_to_the_quantile_meet():
    assert lower_decile(301) - lower_decile(300) == pytest.approx(0.95, abs=0.1)


def test_four_blocks_are_enough_and_pay_twice_the_limit():
    found = of(alike(4))
    assert found.ready
    prior = found.operations["store"]
    assert prior.effect.source == "Short"
    assert prior.blocks == 4
    assert prior.effect.phi_rel >= 2.0
    assert not prior.over_budget_before


def test_many_blocks_measure_independent_pods_close_to_one():
    effects = [of(alike(40, seed=s)).operations["store"].effect for s in range(5)]
    assert all(e.source == "Measured" for e in effects)
    assert 1.0 <= np.median([e.phi_rel for e in effects]) < 2.2
    assert 1.0 <= np.median([e.phi_abs for e in effects]) < 2.2


def test_bursts_common_to_all_pods_raise_the_effect_over_time_only():
    blocks = alike(20)
    for uid in blocks:
        blocks[uid] = [(n, b, 60 if i % 5 == 0 else o) for i, (n, b, o) in enumerate(blocks[uid])]
    effect = of(blocks).operations["store"].effect
    assert effect.phi_abs > 4 * effect.phi_rel


def test_bursts_of_single_pods_raise_the_effect_between_pods():
    blocks = alike(20)
    for k, uid in enumerate(blocks):
        blocks[uid] = [(n, b, 60 if i % 3 == k else o) for i, (n, b, o) in enumerate(blocks[uid])]
    assert of(blocks).operations["store"].effect.phi_rel > 5


def test_less_than_four_blocks_wait_and_ten_minutes_assume():
    young = alike(2)
    assert not of(young).ready
    assert "store" in of(young).message
    patient = of(young, waited=601)
    assert patient.ready
    effect = patient.operations["store"].effect
    assert (effect.phi_abs, effect.phi_rel, effect.source) == (ASSUMED_PHI, ASSUMED_PHI, "Assumed")
    assert "too little traffic" in effect.message


def test_blocks_of_little_traffic_are_merged_until_they_say_something():
    found = of(alike(12, requests=60))
    assert found.operations["store"].blocks < 12


def test_a_silent_operation_is_not_waited_for():
    quiet = {f"p{i}": [(0, 0, 0)] * 5 for i in range(3)}
    assert not of(quiet, waited=10).ready
    found = of(quiet, waited=60)
    assert found.ready
    assert found.operations["store"].requests == 0


@pytest.mark.parametrize(("bad", "before"), [(0.02, False), (0.3, True), (0.95, True)])
def test_over_budget_before_is_the_share_of_the_whole_history(bad: float, before: bool):
    assert of(alike(12, bad=bad, share=bad)).operations["store"].over_budget_before is before


def test_the_margin_is_what_the_chosen_pod_differs_by_already():
    blocks = alike(12)
    blocks["p0"] = [(n, b, 30) for n, b, _ in blocks["p0"]]
    effect = of(blocks).operations["store"].effect
    assert 1.5 < effect.margin <= 3.0
    better = of(blocks, chosen=("p1",)).operations["store"].effect
    assert better.mirrored_margin < 1.0
    alone = of(blocks, chosen=()).operations["store"].effect
    assert (alone.margin, alone.mirrored_margin) == (1.0, 1.0)


def test_after_a_promotion_the_old_effects_serve_and_the_share_is_the_new_one():
    old = of(alike(12, bad=0.5, share=0.5))
    fresh = of(alike(1), previous=old)
    assert fresh.ready
    prior = fresh.operations["store"]
    assert prior.effect.source == "Carried"
    assert prior.effect.phi_rel == old.operations["store"].effect.phi_rel
    assert not prior.over_budget_before


def test_after_a_promotion_at_least_100_requests_and_one_block_are_waited_for():
    old = of(alike(12))
    assert not of(alike(1, requests=20), previous=old).ready
    assert not of({f"p{i}": [] for i in range(3)}, previous=old).ready


def test_a_ladder_without_any_dispersion_is_an_answer_and_no_wait():
    found = of({f"p{i}": [(100, 0, 0)] * 4 for i in range(3)})
    assert found.ready
    assert found.operations["store"].effect.phi_rel == 1.0


def test_failed_requests_use_the_largest_effect():
    found = of(alike(8))
    assert found.failures.phi_rel == found.operations["store"].effect.phi_rel


def test_no_variance_at_all_gives_the_smallest_effect():
    flat = {f"p{i}": [(200, 12, 12)] * 12 for i in range(3)}
    effect = of(flat).operations["store"].effect
    assert effect.phi_rel == 1.0
    assert effect.phi_abs == 1.0


def test_one_pod_alone_still_has_blocks():
    found = of(alike(12, pods=1), chosen=())
    assert found.operations["store"].blocks == 12


def test_all_bad_gives_no_division_by_nothing():
    found = of({f"p{i}": [(50, 50, 50)] * 6 for i in range(3)}, waited=700)
    assert found.ready


def test_blocks_of_other_revisions_and_half_known_blocks_do_not_count():
    whole = reports(alike(6))
    assert len(cut(whole, Scope("store", "old", NOW, 250)).blocks) == 6
    assert cut(whole, Scope("store", "new", NOW, 250)).blocks == ()
    short = [whole[0], whole[1], whole[2].model_copy(update={"ring": whole[2].ring[3:]})]
    assert len(cut(short, Scope("store", "old", NOW, 250)).blocks) == 3


def wandering(blocks: int, tau: float, seed: int) -> dict[str, list[tuple[int, int, int]]]:
    """Common noise whose correlation time in blocks of 30 s is `tau`: long blocks show more of it than short ones."""
    chance, mood, made = np.random.default_rng(seed), 0.0, {f"p{i}": [] for i in range(3)}
    for _ in range(blocks):
        keep = np.exp(-1 / tau)
        mood = keep * mood + np.sqrt(1 - keep**2) * chance.normal(0, 0.5)
        share = min(0.9, 0.06 * np.exp(mood))
        for rows in made.values():
            rows.append((200, 0, int(chance.binomial(200, share))))
    return made


def test_noise_that_outlasts_a_short_block_is_found_by_the_longest():
    """verdict.md 1.6: the largest over blocks of 30, 60 and 120 s"""
    rates = wandering(59, 3.0, 5)
    whole = of(rates).operations["store"].effect
    blocks = [{uid: rows[i][::2] for uid, rows in rates.items()} for i in range(59)]
    shortest = limits_of_blocks(blocks)
    assert whole.phi_abs > 1.2 * shortest
    assert "30, 60, 120 s" in whole.message
    assert "30, 60 s" in of(wandering(25, 3.0, 5)).operations["store"].effect.message


def limits_of_blocks(blocks: list[dict[str, tuple[int, int]]]) -> float:
    return dispersion._limits(blocks)[0]


@pytest.mark.parametrize(("share", "predicted"), [(0.1, 19.3), (0.25, 46.7), (0.5, 92.4), (1.0, 183.8)])
def test_the_design_effect_over_time_grows_with_the_rate_of_the_arm(share: float, predicted: float):
    """verdict.md 1.6: 10, 25, 50, 100 requests/s of a stack at 100"""
    measured = DesignEffect(phi_abs=183.8, phi_rel=2.0, rate=100, source="Measured")
    assert measured.for_share(share).phi_abs == pytest.approx(predicted, rel=0.01)
    assert measured.for_share(share).phi_rel == 2.0
    assert DesignEffect(phi_abs=10, source="Assumed").for_share(share).phi_abs == 10


def test_the_rate_is_on_record():
    assert of(alike(12, requests=300)).operations["store"].effect.rate == pytest.approx(30.0)


def test_what_happened_before_the_last_half_hour_is_not_before_the_flip():
    old = [(200, 150, 180)] * 40
    calm = [(200, 0, 12)] * 59
    found = of({f"p{i}": [*old, *calm] for i in range(3)})
    assert found.operations["store"].over_budget_before
    made = reports({f"p{i}": [*old, *calm] for i in range(3)})
    kept = [r.model_copy(update={"ring": r.ring[-60:]}) for r in made]
    budgets = {"store": 250}
    recent = calibrate(kept, budgets, flags="old", chosen={"p0"}, now=NOW, waited=timedelta(0))
    assert not recent.operations["store"].over_budget_before
    assert recent.operations["store"].requests == 59 * 3 * 200


def test_json_from_before_the_rate_was_known_is_still_read():
    old = DesignEffect.model_validate({"phiAbs": 3.0, "phiRel": 2.0, "source": "Measured"})
    assert (old.rate, old.phi_abs) == (0.0, 3.0)


@pytest.mark.parametrize(
    ("bad", "steps", "edge"),
    [
        (30, {160: 400, 1000: 30}, None),
        (29, {125: 90, 160: 70, 200: 40, 1000: 29}, 200),
        (5, {100: 200, 125: 55, 160: 48, 200: 10, 1000: 5}, 160),
        (5, {100: 400, 125: 200, 200: 29, 1000: 5}, 125),
        (0, {5: 10, 1000: 0}, 5),
        (900, {250: 900, 1000: 450}, None),
        (901, {250: 901, 320: 850, 400: 600, 500: 450, 1000: 10}, 500),
        (1000, {1000: 1000}, 320),
    ],
    ids=["3 % at the budget", "nearest to 5 %", "either side", "never below 3 %", "nothing reaches 3 %", "90 % over",
         "nearest to 50 % above", "all over"],
)  # fmt: skip
def test_design_effects_are_taken_at_a_share_near_5_percent(bad: int, steps: dict[int, int], edge: int | None):
    """verdict.md 1.6; `steps` give the requests of 1000 that took longer than each edge up to the named one"""
    over = tuple(steps[min(upto for upto in steps if upto >= ms)] for ms in LADDER_MS)
    found = edge_of(Cell(1000, bad, over), 250)
    assert (None if found is None else LADDER_MS[found]) == edge


def test_of_nothing_served_the_edge_is_the_budget():
    assert edge_of(Cell(0, 0, (0,) * len(LADDER_MS)), 250) is None


def test_after_a_promotion_what_the_canary_served_before_does_not_count():
    """verdict.md 7: share, over-before and margin come from the time since; the chosen pod was the canary"""
    rates = alike(4)
    rates["p0"] = [(200, 190, 195)] * 2 + rates["p0"][2:]
    before = of(rates, previous=of(alike(12)))
    assert before.operations["store"].over_budget_before
    after = of(rates, previous=of(alike(12)), since=NOW - 60.0)
    prior = after.operations["store"]
    assert after.ready
    assert (prior.share, prior.requests, prior.over_budget_before) == (0.0, 2 * 3 * 200, False)
    assert prior.effect.margin < before.operations["store"].effect.margin
    assert prior.effect.source == "Carried"
    assert not of(rates, previous=of(alike(12)), since=NOW - 20.0).ready


def test_ten_blocks_after_a_promotion_are_measured_anew():
    old = of(alike(12))
    assert of(alike(12, seed=2), previous=old, since=NOW - 290.0).operations["store"].effect.source == "Carried"
    assert of(alike(12, seed=2), previous=old, since=NOW - 300.0).operations["store"].effect.source == "Measured"


def test_an_edited_budget_does_not_spoil_the_past_where_it_is_an_edge_of_the_ladder():
    made = reports(alike(12, share=0.3))
    found = {
        ms: calibrate(made, {"store": ms}, flags="old", chosen={"p0"}, now=NOW, waited=timedelta(0)).operations["store"]
        for ms in (200, 250, 400)
    }
    assert found[200].share == pytest.approx(0.3, abs=0.03)
    assert (found[250].share, found[400].share) == (0.0, 0.0)
    assert found[200].over_budget_before


def long_reports(shares: list[float], requests: int = 6000) -> list[EvidenceReport]:
    """Ten-minute blocks of three pods at these bad shares, and a short ring of the last half minute."""
    made = []
    for uid in ("p0", "p1", "p2"):
        total, ring = np.zeros(3, dtype=int), []
        for i in range(len(shares) + 1):
            counters = Counters(requests=int(total[0]), bad=int(total[1]), over=over_of(*map(int, total)))
            book = RevisionCounters(flags="old", budgets="b", operations={"store": counters})
            ring.append(Snapshot(age_seconds=600.0 * (len(shares) - i), counters=(book,)))
            if i < len(shares):
                bad = round(requests * shares[i])
                total += np.array((requests, bad, bad))
        made.append(
            EvidenceReport(
                pod=uid, uid=uid, started_at=0, flags="old", source="file", budgets="b",
                counters=ring[-1].counters, ring=ring[-1:], long_ring=tuple(ring),
            )
        )  # fmt: skip
    return made


def test_the_second_ring_tells_the_long_run_share():
    """verdict.md 10: U from up to a day of ten-minute totals, at the effective number of requests"""
    made, scope = long_reports([0.03] * 36), Scope("store", "old", NOW, 250)
    room = room_of(made, scope, 100.0)
    assert (room.hours, room.requests) == (6.0, 36 * 3 * 6000)
    assert 0.03 < room.limit < 0.036
    assert room_of(long_reports([0.03] * 3), scope, 100.0).limit > 0.04
    assert len(cut_long(made, scope).blocks) == 36


def test_thirty_long_blocks_tell_by_themselves_how_sure_their_mean_is():
    """What the last half hour says of bursts is the same doubt; with fewer blocks there is nothing else."""
    scope = Scope("store", "old", NOW, 250)
    many, few = long_reports([0.02, 0.04] * 15), long_reports([0.02, 0.04] * 14)
    assert room_of(many, scope, 1.0).limit == room_of(many, scope, 500.0).limit
    assert room_of(few, scope, 1.0).limit < room_of(few, scope, 500.0).limit
    mean, spread = 0.03, 0.01 * sqrt(30 / 29)
    assert room_of(many, scope, 1.0).limit == pytest.approx(mean + 1.699 * spread / sqrt(30), abs=2e-4)


def test_noise_of_hours_is_found_by_ten_minute_blocks_and_leaves_less_room():
    scope = Scope("store", "old", NOW, 250)
    slow, calm = [0.01] * 18 + [0.05] * 18, [0.03] * 36
    assert room_of(long_reports(slow), scope, 10.0).limit > room_of(long_reports(calm), scope, 10.0).limit + 0.003
    assert room_of(long_reports(slow[14:22]), scope, 10.0).limit == room_of(long_reports(calm[:8]), scope, 10.0).limit


def test_without_a_second_ring_the_first_one_tells():
    made = reports(alike(12, bad=0.03))
    room = room_of(made, Scope("store", "old", NOW, 250), 1.0)
    assert (room.hours, room.requests) == (0.1, 12 * 3 * 200)
    assert room_of(made, Scope("store", "old", NOW, 250, since=NOW + 1), 1.0).limit == 1.0


def test_the_room_is_frozen_with_the_prior():
    room = of(alike(12, bad=0.02)).operations["store"].room
    assert room.usable
    assert room.requests == 12 * 3 * 200
