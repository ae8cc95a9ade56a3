"""Baselines in a status: nothing is lost on the way, and what was not written by the operator is refused with a reason."""

from __future__ import annotations

from base64 import b64encode
from zlib import compress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from support.world import FLAG, rollout, settled_world

from memorystack_operator.core import Status
from memorystack_operator.core.arms import Baseline, Counts
from memorystack_operator.core.packing import packed, unpacked
from memorystack_runtime.contract import OPERATIONS

COUNTS = st.builds(Counts, *[st.integers(0, 10**12)] * 3)
BASELINES = st.builds(
    Baseline,
    uid=st.text(max_size=40),
    at=st.floats(0, 4e9),
    flags=st.sampled_from(["v1-a", "v1-b", ""]),
    n=st.dictionaries(st.sampled_from(OPERATIONS), COUNTS),
    missed=st.booleans(),
)


@given(st.lists(BASELINES, max_size=6))
def test_what_was_packed_comes_back_as_it_was(baselines: list[Baseline]):
    assert unpacked(packed(baselines)) == tuple(baselines)


def test_a_status_keeps_its_baselines_through_json_as_one_text():
    world = settled_world()
    world.edit(features=FLAG, rollout=rollout(steps=[{"weight": 34, "minDuration": "100s"}]))
    assert world.run(20, until=lambda w: bool(w.flagged))
    world.run(5)
    text = world.status.model_dump(mode="json", by_alias=True)
    assert isinstance(text["rollout"]["baselines"], str)
    assert Status.model_validate(text).rollout.baselines == world.status.rollout.baselines
    assert len(world.status.rollout.baselines) == 3


OTHER = b64encode(compress(b'{"flags": [], "rows": [["a", 1.0, 0, 0]]}')).decode()


@pytest.mark.parametrize("text", ["no base64 at all", b64encode(b"not compressed").decode(), OTHER])
def test_what_the_operator_did_not_write_is_refused_by_name(text: str):
    world = settled_world()
    world.edit(features=FLAG)
    assert world.run(20, until=lambda w: bool(w.flagged))
    body = world.status.model_dump(mode="json", by_alias=True)
    body["rollout"]["baselines"] = text
    with pytest.raises(ValidationError, match="baselines in the status cannot be read"):
        Status.model_validate(body)


def test_of_a_flag_that_was_tried_again_the_older_line_keeps_its_counts_only():
    world = settled_world()
    world.bad["store", "canary"] = 0.5
    for attempt in range(2):
        world.edit(features=FLAG)
        world.act(f"retry@{attempt}")
        assert world.run(100, until=lambda w, n=attempt: len(w.status.history) == n + 1 and w.status.settling is None)
    first, second = world.status.history
    assert [r.outcome for r in (first, second)] == ["RolledBack", "RolledBack"]
    assert first.judged["store"].canary_bad > 0
    assert (first.judged["store"].log_e, first.judged["store"].needed) == ({}, {})
    assert second.judged["store"].log_e["worse"] >= second.judged["store"].needed["worse"]
