"""What the embedder is asked, and everything that may come back."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import numpy as np
import pytest
from support.script import Asked, Script

from memorystack_runtime.embedder import Embedder
from memorystack_runtime.errors import DependencyRejected, Unavailable

TWO = ["one", "two"]


def embedder(script: Script, dimensions: int = 2) -> Embedder:
    return Embedder(script, "a-model", dimensions)


def packed(*numbers: float) -> str:
    return base64.b64encode(np.array(numbers, dtype="<f4").tobytes()).decode()


def vectors(*embeddings: Any) -> httpx.Response:
    return httpx.Response(200, json={"data": [{"index": i, "embedding": e} for i, e in enumerate(embeddings)]})


def per_text(asked: Asked) -> httpx.Response:
    """The length of each text as its vector."""
    return vectors(*(packed(len(text), 0) for text in asked.body["input"]))


async def test_texts_are_sent_with_the_model_and_vectors_come_packed():
    script = Script(vectors(packed(0.5, -2), packed(1, 3)))
    one = embedder(script)
    found = await one.embed(("one", "two"))
    assert [v.tolist() for v in found] == [[0.5, -2], [1, 3]]
    assert all(v.dtype == np.float32 for v in found)
    body = {"model": "a-model", "input": TWO, "encoding_format": "base64"}
    assert script.lines == [("POST", "/embeddings", body)]
    assert one.requests == 1


async def test_vectors_are_put_in_the_order_of_their_texts():
    data = [{"index": 1, "embedding": packed(2, 2)}, {"index": 0, "embedding": packed(1, 1)}]
    found = await embedder(Script(httpx.Response(200, json={"data": data}))).embed(TWO)
    assert [v.tolist() for v in found] == [[1, 1], [2, 2]]


@pytest.mark.parametrize("status", [400, 422])
async def test_a_server_that_knows_no_packed_vectors_is_asked_for_numbers_from_then_on(status: int):
    refusal = httpx.Response(status, text="encoding_format: only float")
    script = Script(refusal, vectors([1, 2]), vectors([3, 4]))
    one = embedder(script)
    (first,) = await one.embed(["one"])
    (second,) = await one.embed(["two"])
    assert (first.tolist(), second.tolist(), first.dtype) == ([1, 2], [3, 4], np.float32)
    assert [a.body["encoding_format"] for a in script.asked] == ["base64", "float", "float"]
    assert [a.body["input"] for a in script.asked] == [["one"], ["one"], ["two"]]
    assert one.requests == 3


async def test_a_server_that_refuses_numbers_too_is_not_asked_for_ever():
    script = Script(*[httpx.Response(400, text="encoding_format")] * 2)
    with pytest.raises(DependencyRejected, match="refused with 400: encoding_format"):
        await embedder(script).embed(["one"])


@pytest.mark.parametrize("status", [413, 422])
async def test_a_batch_that_is_too_large_is_halved_until_it_fits_and_stays_in_order(status: int):
    script = Script(by=lambda a: per_text(a) if len(a.body["input"]) <= 2 else httpx.Response(status, text="too many"))
    texts = ["a", "bb", "ccc", "dddd", "eeeee"]
    found = await embedder(script).embed(texts)
    assert [v[0] for v in found] == [1, 2, 3, 4, 5]
    assert [len(a.body["input"]) for a in script.asked] == [5, 2, 3, 1, 2]


async def test_two_texts_that_are_too_much_at_once_are_asked_for_one_by_one():
    script = Script(by=lambda a: per_text(a) if len(a.body["input"]) == 1 else httpx.Response(413))
    one = embedder(script)
    assert one.max_in_flight == 0
    assert [v[0] for v in await one.embed(["a", "bb"])] == [1, 2]


async def test_an_embedder_that_says_later_three_times_is_named():
    with pytest.raises(Unavailable) as caught:
        await embedder(Script(*[httpx.Response(429, headers={"retry-after": "0"})] * 3)).embed(["one"])
    assert (str(caught.value), caught.value.dependency) == ("embedder answered 429", "embedder")


@pytest.mark.parametrize("status", [413, 422])
async def test_a_single_text_that_is_too_large_is_refused(status: int):
    script = Script(httpx.Response(status, text="too long"))
    with pytest.raises(DependencyRejected, match=f"embedder refused with {status}: too long"):
        await embedder(script).embed(["one"])


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (500, Unavailable, "embedder failed with 500: "),
        (501, Unavailable, "embedder failed with 501: "),
        (404, DependencyRejected, "embedder refused with 404: "),
        (400, DependencyRejected, "embedder refused with 400: "),
        (201, DependencyRejected, "embedder refused with 201: "),
    ],
)
async def test_a_failure_is_told_with_what_the_server_said(status: int, kind: type[Exception], expected: str):
    with pytest.raises(kind) as caught:
        await embedder(Script(httpx.Response(status, text="z" * 300))).embed(["one"])
    assert str(caught.value) == expected + "z" * 200
    assert caught.value.dependency == "embedder"


async def test_an_embedder_that_stays_away_is_asked_three_times():
    script = Script(*[Unavailable("embedder", "is away")] * 3)
    with pytest.raises(Unavailable, match="embedder is away"):
        await embedder(script).embed(["one"])
    assert len(script.asked) == 3


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="no json"),
        httpx.Response(200, json={"vectors": []}),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"data": [{"embedding": [1, 2]}]}),
        httpx.Response(200, json={"data": [{"index": 0}]}),
        vectors("???"),
        vectors("AAA"),
        vectors("!AAAAAAAAAAA=!"),
        vectors(["x", "y"]),
        vectors(None),
        vectors([[1, 2], [3, 4]]),
    ],
)
async def test_what_is_no_list_of_vectors_is_refused(answer: httpx.Response):
    with pytest.raises(DependencyRejected) as caught:
        await embedder(Script(answer)).embed(["one"])
    assert caught.value.dependency == "embedder"
    assert str(caught.value) == "embedder answered something that is no list of embeddings"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (vectors([1, 2]), "embedder gave 1 vectors for 2 texts"),
        (vectors([1, 2], [1, 2], [1, 2]), "embedder gave 3 vectors for 2 texts"),
        (
            vectors([1, 2], [1, 2, 3]),
            "embedder gave vectors of 3 dimensions, the stack expects 2: set spec.embedder.dimensions to the model's, or name another model",
        ),
    ],
)
async def test_too_few_or_too_long_vectors_are_told_by_number(answer: httpx.Response, expected: str):
    with pytest.raises(DependencyRejected) as caught:
        await embedder(Script(answer)).embed(TWO)
    assert (str(caught.value), caught.value.dependency) == (expected, "embedder")


async def test_what_is_under_way_is_counted_and_given_back_after_a_failure():
    gate = asyncio.Event()

    class Slow(Script):
        async def call(self, *args: Any, **kwargs: Any) -> httpx.Response:
            await gate.wait()
            return await super().call(*args, **kwargs)

    one = embedder(Slow(vectors([1, 2]), vectors([1, 2]), httpx.Response(404), vectors([1, 2])))
    asked = [asyncio.create_task(one.embed(["x"])) for _ in range(3)]
    await asyncio.sleep(0)
    assert (one.in_flight, one.max_in_flight) == (3, 3)
    gate.set()
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(d, DependencyRejected) for d in done) == 1
    assert (one.in_flight, one.max_in_flight) == (0, 3)
    await one.embed(["x"])
    assert (one.in_flight, one.max_in_flight) == (0, 3)
