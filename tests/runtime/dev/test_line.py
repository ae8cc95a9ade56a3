"""The queue in front of the embedder: order, capacity and callers who leave."""

from __future__ import annotations

import asyncio

from memorystack_runtime.dev.embedder.line import Line


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Crowd:
    """Callers that hold their place until told to leave; `served` lists them in the order in which they came in."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.served: list[int] = []
        self.leave: dict[int, asyncio.Event] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}

    async def come(self, *numbers: int) -> None:
        for number in numbers:
            self.leave[number] = asyncio.Event()
            self.tasks[number] = asyncio.create_task(self._stay(number))
            await settle()

    async def _stay(self, number: int) -> None:
        async with self.line.place():
            self.served.append(number)
            await self.leave[number].wait()

    async def go(self, *numbers: int) -> None:
        for number in numbers:
            self.leave[number].set()
        await settle()

    async def end(self) -> None:
        await self.go(*self.leave)
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        assert (self.line.in_flight, self.line.waiting) == (0, 0)


async def test_callers_are_served_first_come_first_served() -> None:
    crowd = Crowd(Line(2))
    await crowd.come(1, 2, 3, 4, 5)
    assert crowd.served == [1, 2]
    assert crowd.line.waiting == 3
    await crowd.go(2)
    assert crowd.served == [1, 2, 3]
    await crowd.go(1, 3)
    assert crowd.served == [1, 2, 3, 4, 5]
    assert crowd.line.max_in_flight == 2
    await crowd.end()


async def test_more_capacity_lets_in_at_once_and_less_takes_effect_as_callers_leave() -> None:
    crowd = Crowd(Line(1))
    await crowd.come(1, 2, 3, 4)
    crowd.line.resize(3)
    await settle()
    assert crowd.served == [1, 2, 3]
    crowd.line.resize(1)
    await crowd.go(1, 2)
    assert crowd.served == [1, 2, 3]
    await crowd.go(3)
    assert crowd.served == [1, 2, 3, 4]
    await crowd.end()


async def test_caller_cancelled_while_waiting_leaves_the_line() -> None:
    crowd = Crowd(Line(1))
    await crowd.come(1, 2, 3)
    crowd.tasks[2].cancel()
    await settle()
    assert crowd.line.waiting == 1
    await crowd.go(1)
    assert crowd.served == [1, 3]
    await crowd.end()


async def test_caller_cancelled_as_its_turn_comes_passes_it_on() -> None:
    crowd = Crowd(Line(1))
    await crowd.come(1, 2, 3)
    crowd.line.resize(2)  # gives 2 its turn, which it has not seen yet
    crowd.tasks[2].cancel()
    await settle()
    assert crowd.served == [1, 3]
    await crowd.end()


async def test_place_freed_in_the_moment_of_a_cancellation_goes_to_the_next() -> None:
    crowd = Crowd(Line(1))
    await crowd.come(1, 2, 3)
    crowd.tasks[2].cancel()  # cancelled, not yet woken
    crowd.line.resize(2)
    await settle()
    assert crowd.served == [1, 3]
    await crowd.end()
