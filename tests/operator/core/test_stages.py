"""From a spec and what serves: which flags are tried, one at a time, and in which order."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.world import FLAG, POOL, rollout, stack

from memorystack_operator.api.spec import Spec
from memorystack_operator.api.status import Rejection
from memorystack_operator.core.stages import canonical, differing, in_spec, pending, with_flag_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CACHE = {"cache": {"maxSize": 7, "ttl": "9s"}}
SERVING = stack().spec.features.flags()


def spec(*, on_reject: str = "Continue", order: tuple[str, ...] = (), **features) -> Spec:
    changed = rollout(onReject=on_reject, **({"order": list(order)} if order else {}))
    return stack(features=features, rollout=changed).spec


def rejection(wanted: Spec, flag: str, **fields: str) -> Rejection:
    """Of the flag's wanted value, on the template t1."""
    value = canonical(wanted.features.flags(), flag)
    found = {"stage": flag, "value": value, "template": "t1", "reason": "r", "message": "m", "at": NOW}
    return Rejection.model_validate({**found, **fields})


def names(stages) -> list[str]:
    return [stage.name for stage in stages]


def test_a_flags_value_reads_the_same_however_it_is_written():
    plain = stack(features={"cache": {"ttl": "1m", "maxSize": 5}}).spec.features.flags()
    other = stack(features={"cache": {"maxSize": 5, "ttl": "60s"}}).spec.features.flags()
    assert canonical(plain, "cache") == canonical(other, "cache") == '{"maxSize":5,"ttlMs":60000}'


def test_only_the_named_flag_is_taken_from_the_other_flags():
    wanted = spec(**FLAG, **POOL).features.flags()
    mixed = with_flag_of(SERVING, "parallelIngest", wanted)
    assert mixed.parallel_ingest == wanted.parallel_ingest != SERVING.parallel_ingest
    assert mixed.http_pool == SERVING.http_pool != wanted.http_pool
    assert mixed.cache == SERVING.cache


def test_each_flag_that_differs_is_a_stage_whose_target_changes_that_flag_alone():
    wanted = spec(**FLAG, **POOL)
    stages = differing(wanted, SERVING)
    assert names(stages) == ["httpPool", "parallelIngest"]
    for stage in stages:
        assert stage.value == canonical(wanted.features.flags(), stage.name)
        assert stage.target == with_flag_of(SERVING, stage.name, wanted.features.flags())
        assert stage.target != SERVING


def test_what_serves_already_is_no_stage():
    wanted = spec(**FLAG)
    assert differing(wanted, wanted.features.flags()) == ()


def test_flags_are_tried_in_the_specs_order_and_those_it_does_not_name_come_last():
    wanted = spec(order=("cache", "parallelIngest"), **FLAG, **POOL, **CACHE)
    assert names(differing(wanted, SERVING)) == ["cache", "parallelIngest", "httpPool"]


def test_a_rejected_flag_is_skipped_and_the_others_are_tried():
    wanted = spec(**FLAG, **POOL)
    assert names(pending(wanted, SERVING, [rejection(wanted, "httpPool")], "t1")) == ["parallelIngest"]


def test_when_a_rejection_stops_everything_no_flag_is_tried():
    wanted = spec(on_reject="Stop", **FLAG, **POOL)
    assert pending(wanted, SERVING, [rejection(wanted, "httpPool")], "t1") == ()
    assert names(pending(wanted, SERVING, [], "t1")) == ["httpPool", "parallelIngest"]


@pytest.mark.parametrize("other", [{"template": "t0"}, {"value": '{"enabled":true}'}, {"stage": "cache"}])
def test_a_rejection_of_another_template_value_or_flag_bars_nothing(other: dict):
    wanted = spec(on_reject="Stop", **FLAG, **POOL)
    barred = rejection(wanted, "httpPool", **other)
    assert names(pending(wanted, SERVING, [barred], "t1")) == ["httpPool", "parallelIngest"]


def test_a_rejection_is_forgotten_when_its_value_leaves_the_spec():
    wanted = spec(**POOL)
    stands = rejection(wanted, "httpPool")
    left = rejection(wanted, "httpPool", value='{"connections":2,"enabled":true}')
    unknown = rejection(wanted, "httpPool", stage="aFlagOfAnOlderRelease")
    assert in_spec(wanted, [left, stands, unknown]) == (stands,)
    assert in_spec(spec(), [stands]) == ()
