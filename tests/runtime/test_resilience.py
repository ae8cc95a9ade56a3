"""What is asked again, after how long, and when it is given up."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from memorystack_runtime import resilience
from memorystack_runtime.errors import Unavailable
from memorystack_runtime.resilience import insist, retry_after


@pytest.mark.parametrize(
    ("statuses", "outcome"), [([503, 200], 200), ([429, 429, 200], 200), ([500], 500), ([503, 503, 503], None)]
)
async def test_later_is_asked_again_and_errors_are_answers(statuses: list[int], outcome: int | None):
    left = list(statuses)

    async def call() -> httpx.Response:
        return httpx.Response(left.pop(0), headers={"retry-after": "0"})

    if outcome is None:
        with pytest.raises(Unavailable, match="answered 503"):
            await insist("x", call)
    else:
        assert (await insist("x", call)).status_code == outcome


async def test_a_lost_connection_is_tried_three_times():
    tries = 0

    async def call() -> httpx.Response:
        nonlocal tries
        tries += 1
        raise Unavailable("x", "is away")

    with pytest.raises(Unavailable, match="is away"):
        await insist("x", call)
    assert tries == 3


async def test_a_date_in_retry_after_is_not_waited_for():
    left = [429, 200]

    async def call() -> httpx.Response:
        return httpx.Response(left.pop(0), headers={"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"})

    assert (await insist("x", call)).status_code == 200


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, without waiting."""
    seen: list[float] = []

    async def sleep(seconds: float) -> None:
        seen.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(resilience.random, "uniform", lambda low, high: (low, high)[1])
    return seen


def answers(*found: httpx.Response | Unavailable):
    left = list(found)

    async def call() -> httpx.Response:
        answer = left.pop(0)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    return call


def later(status: int = 429, after: str | None = None) -> httpx.Response:
    return httpx.Response(status, headers={} if after is None else {"Retry-After": after})


async def test_the_wait_is_what_was_asked_for_else_a_growing_jitter(waited: list[float]):
    await insist("x", answers(later(after="0.5"), later(503), httpx.Response(200)))
    assert waited == [0.5, 0.1]
    waited.clear()
    away = Unavailable("x", "is away")
    await insist("x", answers(away, away, httpx.Response(200)))
    assert waited == [0.05, 0.1]
    waited.clear()
    await insist("x", answers(later(), later(after="5"), httpx.Response(200)))
    assert waited == [0.05, 5]


def test_the_jitter_begins_at_nothing(monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(resilience.random, "uniform", lambda *bounds: asked.append(bounds) or 0.0)
    for attempt in range(3):
        resilience._jitter(attempt)
    assert asked == [(0, 0.05), (0, 0.1), (0, 0.2)]


@pytest.mark.parametrize(
    ("found", "said", "seconds"),
    [
        ((later(after="5.1"),), "x answered 429", 5),
        ((later(after="30"),), "x answered 429", 30),
        ((later(502), later(503), later(504)), "x answered 504", 1),
        ((later(after="0"), later(after="0"), later(after="3.6")), "x answered 429", 4),
    ],
)
async def test_too_long_a_wait_and_a_third_refusal_are_passed_on(
    waited: list[float], found: tuple, said: str, seconds: int
):
    with pytest.raises(Unavailable) as caught:
        await insist("x", answers(*found))
    assert (str(caught.value), caught.value.dependency, caught.value.retry_after) == (said, "x", seconds)
    assert len(waited) == len(found) - 1


@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0), ("0.25", 0.25), ("7", 7), ("-3", 0), ("soon", None), (None, None)]
)
def test_retry_after_is_seconds_and_never_negative(value: str | None, seconds: float | None):
    assert retry_after(later(after=value)) == seconds
