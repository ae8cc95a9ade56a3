"""Events are told once: a second telling is a count in the first, and a namespace that goes takes none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from support.api_double import ApiDouble
from support.world import settled_world

from memorystack_operator.core import Event
from memorystack_operator.shell.api_server import Refused
from memorystack_operator.shell.cluster import Conflict
from memorystack_operator.shell.events import tell

NOW = datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC)
EVENT = Event("RolledBack", "httpPool taken back", "Warning")


async def told(api: ApiDouble, event: Event = EVENT, at: datetime = NOW) -> None:
    await tell(api, settled_world().stack, event, "operator-1", at)  # type: ignore[arg-type]  # the double


async def test_an_event_says_what_happened_to_which_stack():
    api = ApiDouble()
    await told(api)
    (body,) = api.objects.values()
    assert (body["reason"], body["type"], body["note"]) == ("RolledBack", "Warning", "httpPool taken back")
    assert (body["regarding"]["kind"], body["eventTime"]) == ("MemoryStack", "2026-01-02T03:04:05.000600Z")
    assert (body["reportingController"], body["reportingInstance"]) == ("memorystack.dev/operator", "operator-1")


async def test_the_same_event_again_is_a_count_and_not_a_second_one():
    api = ApiDouble()
    await told(api)
    for count in (2, 3):
        api.fail(Conflict("already exists"), "POST")
        await told(api, at=NOW + timedelta(seconds=count))
        (body,) = api.objects.values()
        assert body["series"] == {"count": count, "lastObservedTime": f"2026-01-02T03:04:0{5 + count}.000600Z"}


@pytest.mark.parametrize("later", [0, 2], ids=["the first", "one of a series"])
async def test_an_event_that_had_arrived_when_only_its_answer_was_lost_stays_one(later: int):
    api = ApiDouble()
    await told(api)
    at = NOW + timedelta(seconds=later)
    for _ in range(2):
        api.fail(Conflict("already exists"), "POST")
        await told(api, at=at)
    (body,) = api.objects.values()
    assert (body.get("series") or {"count": 1})["count"] == (2 if later else 1)


async def test_a_note_is_cut_at_what_the_api_takes_without_breaking_a_letter():
    api = ApiDouble()
    await told(api, Event("RolledBack", "ü" * 600))
    (body,) = api.objects.values()
    assert body["note"] == "ü" * 512


@pytest.mark.parametrize("status", [403, 404, 422])
async def test_a_namespace_that_takes_no_events_stops_no_stack(status: int):
    api = ApiDouble()
    api.fail(Refused(status, "", "the namespace is being terminated"), "POST")
    await told(api)
    assert not api.objects


async def test_a_failure_that_may_pass_is_raised_so_that_the_event_is_told_later():
    api = ApiDouble()
    api.fail(Refused(500, "", ""), "POST")
    with pytest.raises(Refused):
        await told(api)
