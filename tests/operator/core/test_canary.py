"""Which pods carry a step, how many, and which steps are walked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from memorystack_operator.api.spec import Step
from memorystack_operator.core.canary import choose, plan_of, pods_for, restarts_of, weight_at
from memorystack_operator.core.observe import PodSeen

BORN = datetime(2026, 1, 1, tzinfo=UTC)


def pod(number: int, **seen) -> PodSeen:
    return PodSeen(**{"name": f"mem-{number}", "uid": f"u{number}", "created_at": BORN, "ready": True, **seen})


def steps(*written: dict) -> list[Step]:
    return [Step.model_validate(one) for one in written]


def walked(*written: dict, replicas: int = 10) -> tuple[list[tuple[int, float]], str]:
    plan, note = plan_of(steps(*written), replicas)
    return [(step.weight, step.min_seconds) for step in plan], note


@pytest.mark.parametrize(
    ("weight", "replicas", "pods"),
    [
        (0, 3, 0),
        (1, 3, 1),
        (49, 3, 1),
        (50, 3, 2),
        (99, 3, 2),
        (24, 10, 2),
        (25, 10, 3),
        (99, 2, 1),
        (10, 200, 20),
        (99, 200, 198),
        (100, 200, 199),
    ],
)
def test_a_weight_takes_the_nearest_number_of_pods_at_least_one_and_never_all(weight: int, replicas: int, pods: int):
    assert pods_for(weight, replicas) == pods


def test_steps_that_take_different_numbers_of_pods_are_walked_as_they_are_written():
    assert walked({"weight": 10, "minDuration": "30s"}, {"pause": {}}, {"weight": 50}) == (
        [(10, 30.0), (0, 0.0), (50, 60.0)],
        "",
    )


@pytest.mark.parametrize(("first", "second"), [("90s", "20s"), ("20s", "90s")])
def test_steps_that_take_the_same_pods_are_one_that_lasts_as_long_as_the_longer(first: str, second: str):
    plan, note = walked({"weight": 10, "minDuration": first}, {"weight": 34, "minDuration": second}, replicas=3)
    assert plan == [(34, 90.0)]
    assert note == "merged, as they take the same number of 3 pods: 10 % and 34 %"


def test_of_three_steps_that_take_the_same_pods_each_is_named_with_the_one_before():
    plan, note = walked({"weight": 10}, {"weight": 20}, {"weight": 34}, {"weight": 67}, replicas=3)
    assert [weight for weight, _ in plan] == [34, 67]
    assert note.endswith("pods: 10 % and 20 %, 20 % and 34 %")


def test_a_pause_keeps_two_steps_apart_that_take_the_same_pods():
    plan, note = walked({"weight": 10}, {"pause": {}}, {"weight": 20}, replicas=3)
    assert [weight for weight, _ in plan] == [10, 0, 20]
    assert note == ""


def test_the_weight_in_force_at_a_pause_is_that_of_the_step_before_it():
    plan, _ = plan_of(steps({"pause": {}}, {"weight": 25}, {"pause": {}}, {"pause": {}}, {"weight": 50}), 10)
    assert [weight_at(plan, step) for step in range(5)] == [0, 25, 25, 25, 50]


def test_pods_that_carry_the_flag_already_go_on_carrying_it():
    pods = [pod(n) for n in range(6)]
    assert choose(pods, 2, ["mem-3", "mem-1", "mem-5"], "seed") == ("mem-3", "mem-1")
    assert choose(pods, 3, ["mem-4", "mem-2"], "seed")[:2] == ("mem-4", "mem-2")


@pytest.mark.parametrize("away", [{"ready": False}, {"name": "another"}])
def test_a_pod_that_is_gone_or_not_ready_is_replaced_by_one_that_is_ready(away: dict):
    pods = [pod(0, **away), pod(1), pod(2, ready=False)]
    assert "mem-1" in choose(pods, 2, ["mem-0"], "seed")
    assert not {"mem-0", "mem-2"} & set(choose(pods, 2, ["mem-0"], "seed"))


def test_the_pods_of_a_step_are_all_different_and_no_more_than_there_are():
    pods = [pod(n) for n in range(3)]
    assert sorted(choose(pods, 5, ["mem-1"], "seed")) == ["mem-0", "mem-1", "mem-2"]
    assert choose(pods, 0, (), "seed") == ()


@pytest.mark.parametrize("seed", ["a", "b", "c", "d"])
def test_the_pods_of_a_step_are_spread_over_the_nodes(seed: str):
    pods = [pod(n, node=f"node-{n % 3}") for n in range(9)]
    carried = choose(pods, 4, ["mem-0"], seed)
    nodes = [int(name.removeprefix("mem-")) % 3 for name in carried]
    assert sorted(nodes[:3]) == [0, 1, 2]
    assert len(set(carried)) == 4


def test_nodes_of_pods_that_go_on_carrying_the_flag_count():
    pods = [pod(0, node="a"), pod(1, node="a"), pod(2, node="a"), pod(3, node="b")]
    for seed in ("1", "2", "3", "4", "5"):
        assert choose(pods, 2, ["mem-0"], seed) == ("mem-0", "mem-3")


def test_the_lot_chooses_the_same_pods_for_one_seed_and_over_many_each_pod():
    pods = [pod(n, created_at=BORN + timedelta(seconds=n)) for n in range(4)]

    def lots(order: Sequence[PodSeen]) -> list[tuple[str, ...]]:
        return [choose(order, 1, (), f"seed {n}") for n in range(60)]

    assert lots(pods) == lots(list(reversed(pods)))
    assert {names[0] for names in lots(pods)} == {one.name for one in pods}


def test_of_two_pods_with_the_same_lot_the_older_carries_the_flag():
    twins = [pod(0, uid="same", created_at=BORN + timedelta(seconds=1)), pod(1, uid="same")]
    assert choose(twins, 1, (), "seed") == ("mem-1",)


def test_only_pods_that_restarted_are_kept_in_mind():
    assert restarts_of([pod(0), pod(1, restarts=2), pod(2, restarts=1)]) == {"mem-1": 2, "mem-2": 1}
