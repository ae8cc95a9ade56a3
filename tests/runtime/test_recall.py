"""What a recall asks for in each mode, what it keeps, and who shares it: a store and an embedder in this process."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from support.engines import flags
from support.shelf import Shelf, Words

from memorystack_runtime import sparse
from memorystack_runtime.cache import RecallCache
from memorystack_runtime.errors import DependencyRejected, Unavailable
from memorystack_runtime.generations import LocalGenerations
from memorystack_runtime.models import RecallQuery
from memorystack_runtime.recall import Recall
from memorystack_runtime.store import Scored

HIT = Scored(0.5, {"document": "d", "order": 3, "text": "An owl.", "metadata": {"k": 1}, "live": True})


class Asking:
    """A Recall with everything around it."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.shelf.found = [HIT]
        self.words = Words()
        self.generations = LocalGenerations()
        self.recall = Recall(self.shelf, self.words, RecallCache(flags().cache, self.generations))

    async def __call__(self, query: str = "owls", **fields: object) -> tuple[dict, str]:
        answer = await self.recall.answer(RecallQuery(namespace="a", query=query, **fields))
        return orjson.loads(answer.body), answer.source


@pytest.fixture
def ask() -> Asking:
    return Asking()


async def test_the_answer_is_what_the_store_found(ask: Asking):
    body, source = await ask()
    hit = {"id": "d", "chunk": 3, "text": "An owl.", "score": 0.5, "metadata": {"k": 1}}
    assert (body, source) == ({"hits": [hit], "degraded": False, "mode": "hybrid"}, "computed")
    ask.shelf.found = [Scored(0.5, {"document": "d", "order": 3, "text": "An owl."})]
    assert (await ask("other"))[0]["hits"] == [{**hit, "metadata": {}}]


@pytest.mark.parametrize(
    ("mode", "dense", "words"), [("hybrid", True, True), ("dense", True, False), ("sparse", False, True)]
)
async def test_each_mode_asks_by_its_own_vectors(ask: Asking, mode: str, dense: bool, words: bool):
    body, _ = await ask("night owls", mode=mode, limit=7)
    assert body["mode"] == mode
    ((namespace, limit, vector, terms),) = ask.shelf.queries
    assert (namespace, limit) == ("a", 7)
    assert (vector is not None, terms) == (dense, sparse.of_query("night owls") if words else None)
    assert ask.words.batches == ([["night owls"]] if dense else [])


async def test_a_question_of_stop_words_alone_is_asked_by_meaning_or_not_at_all(ask: Asking):
    await ask("the of and")
    assert ask.shelf.queries[0][3] is None
    body, _ = await ask("the of and", mode="sparse")
    assert body == {"hits": [], "degraded": False, "mode": "sparse"}
    assert len(ask.shelf.queries) == 1


@pytest.mark.parametrize("error", [Unavailable("embedder", "is away"), DependencyRejected("embedder", "refused")])
async def test_without_the_embedder_words_are_matched_and_the_answer_is_not_kept(ask: Asking, error: Exception):
    ask.words.fails = lambda _: error
    for round_ in (1, 2):
        body, source = await ask()
        assert (body["degraded"], source, ask.recall.degraded) == (True, "computed", round_)
    assert ask.shelf.queries[0][2:] == (None, sparse.of_query("owls"))
    with pytest.raises(type(error)):
        await ask(mode="dense")
    assert ask.recall.degraded == 2
    body, _ = await ask("the of and")
    assert body == {"hits": [], "degraded": True, "mode": "hybrid"}
    ask.words.fails = lambda _: None
    assert (await ask())[0]["degraded"] is False


async def test_an_answer_is_kept_for_the_same_question_until_a_write(ask: Asking):
    first, _ = await ask()
    assert await ask() == (first, "lru")
    for other in ({"query": "owl"}, {"limit": 5}, {"mode": "dense"}):
        assert (await ask(**other))[1] == "computed"
    await ask.generations.grow("b")
    assert (await ask())[1] == "lru"
    await ask.generations.grow("a")
    assert (await ask())[1] == "computed"


async def test_the_same_question_at_the_same_time_is_computed_once(ask: Asking):
    answers = await asyncio.gather(*(ask() for _ in range(20)))
    assert (len(ask.words.batches), len(ask.shelf.queries)) == (1, 1)
    assert all(a == answers[0] for a in answers)
    assert ask.recall._flights == {}


async def test_other_questions_at_the_same_time_have_computations_of_their_own(ask: Asking):
    await asyncio.gather(ask("owls"), ask("mice"), ask("mice", limit=3))
    assert sorted(batch[0] for batch in ask.words.batches) == ["mice", "mice", "owls"]
    assert len(ask.shelf.queries) == 3


async def test_a_failure_is_shared_and_not_kept(ask: Asking):
    def away(_: str) -> None:
        raise Unavailable("qdrant", "is away")

    ask.shelf.before = away
    found = await asyncio.gather(*(ask() for _ in range(3)), return_exceptions=True)
    assert [str(f) for f in found] == ["qdrant is away"] * 3
    ask.shelf.before = lambda _: None
    assert (await ask())[1] == "computed"


async def test_while_the_generation_is_not_known_nothing_is_shared_or_kept(ask: Asking, monkeypatch):
    async def unknown(_: str) -> None:
        return None

    monkeypatch.setattr(ask.generations, "current", unknown)
    answers = await asyncio.gather(ask(), ask())
    assert [source for _, source in answers] == ["computed"] * 2
    assert len(ask.shelf.queries) == 2
    monkeypatch.undo()
    assert (await ask())[1] == "computed"


async def test_closing_ends_what_nobody_waits_for(ask: Asking):
    stuck = asyncio.Event()

    async def wait(_: list[str]) -> list:
        await stuck.wait()
        return []

    ask.words.embed = wait
    task = asyncio.create_task(ask())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    (flight,) = ask.recall._flights.values()
    await ask.recall.close()
    assert flight.cancelled()
    assert ask.recall._flights == {}
