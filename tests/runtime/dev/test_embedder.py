"""The embedder's protocol, queue and failures, over HTTP against the real process."""

from __future__ import annotations

import asyncio
import base64
import struct
import subprocess
from typing import Any

import httpx
import pytest

from memorystack_runtime.dev import RunningEngine, engine_command, start
from memorystack_runtime.dev.embedder import Settings


async def embed(client: httpx.AsyncClient, texts: str | list[str], **fields: Any) -> httpx.Response:
    return await client.post("/v1/embeddings", json={"input": texts, "model": "m", **fields})


def vectors(answer: httpx.Response) -> list[list[float]]:
    assert answer.status_code == 200, answer.text
    return [each["embedding"] for each in answer.json()["data"]]


async def test_answer_has_the_shape_of_openai(embedder: httpx.AsyncClient) -> None:
    body = (await embed(embedder, ["one", "two words"])).json()
    assert body["object"] == "list"
    assert body["model"] == "m"
    assert [(each["object"], each["index"], len(each["embedding"])) for each in body["data"]] == [
        ("embedding", 0, 384),
        ("embedding", 1, 384),
    ]
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


async def test_one_string_is_a_list_of_one(embedder: httpx.AsyncClient) -> None:
    assert vectors(await embed(embedder, "tea")) == vectors(await embed(embedder, ["tea"]))


async def test_base64_equals_float(embedder: httpx.AsyncClient) -> None:
    floats = vectors(await embed(embedder, ["green tea"], encoding_format="float"))[0]
    packed = (await embed(embedder, ["green tea"], encoding_format="base64")).json()["data"][0]["embedding"]
    assert struct.unpack("<384f", base64.b64decode(packed)) == tuple(
        struct.unpack("<384f", struct.pack("<384f", *floats))
    )


async def test_null_format_is_float(embedder: httpx.AsyncClient) -> None:
    assert len(vectors(await embed(embedder, "tea", encoding_format=None))[0]) == 384


async def test_dimensions_of_the_request_win(embedder: httpx.AsyncClient) -> None:
    assert len(vectors(await embed(embedder, "tea", dimensions=16))[0]) == 16


async def test_models_and_health(embedder: httpx.AsyncClient) -> None:
    assert (await embedder.get("/v1/models")).json()["data"][0]["object"] == "model"
    assert (await embedder.get("/healthz")).status_code == 200


REFUSED = [
    ("not JSON", b"{", 400, "not JSON"),
    ("a list", b"[]", 400, "JSON object"),
    ("no input", b'{"model": "m"}', 400, "`input`"),
    ("empty list", b'{"model": "m", "input": []}', 400, "`input`"),
    ("empty text", b'{"model": "m", "input": ["a", ""]}', 400, "empty string"),
    ("token ids", b'{"model": "m", "input": [1, 2]}', 400, "`input`"),
    ("no model", b'{"input": "a"}', 400, "`model`"),
    ("unknown format", b'{"model": "m", "input": "a", "encoding_format": "int8"}', 400, "`encoding_format`"),
    ("no dimension", b'{"model": "m", "input": "a", "dimensions": 0}', 400, "`dimensions`"),
    ("bool dimension", b'{"model": "m", "input": "a", "dimensions": true}', 400, "`dimensions`"),
]


@pytest.mark.parametrize(("body", "status", "said"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_bad_request_is_refused_naming_the_field(
    embedder: httpx.AsyncClient, body: bytes, status: int, said: str
) -> None:
    answer = await embedder.post("/v1/embeddings", content=body)
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]


async def test_batch_over_the_limit_is_413_as_tei_says(embedder: httpx.AsyncClient) -> None:
    assert len(vectors(await embed(embedder, ["a"] * 32))) == 32
    answer = await embed(embedder, ["a"] * 33)
    assert answer.status_code == 413
    assert "33 > maximum allowed batch size 32" in answer.json()["error"]["message"]


async def test_latency_grows_with_the_items(embedder: httpx.AsyncClient) -> None:
    loop = asyncio.get_running_loop()
    await embedder.put("/control", json={"latency_ms": 60, "item_latency_ms": 20})
    begin = loop.time()
    await embed(embedder, ["a", "b", "c", "d"])
    assert loop.time() - begin >= 0.14


@pytest.mark.parametrize(
    ("spread", "draw", "factor"), [(0.0, 3.0, 1.0), (0.25, 0.0, 1.0), (0.25, 1.0, 1.2840), (0.25, -2.0, 0.6065)]
)
def test_latencies_spread_around_their_median(spread: float, draw: float, factor: float) -> None:
    settings = Settings(latency_ms=60, item_latency_ms=10, latency_spread=spread)
    assert settings.seconds(4, draw) == pytest.approx(0.1 * factor, rel=1e-3)


async def test_with_a_spread_no_two_requests_take_the_same_time(embedder: httpx.AsyncClient) -> None:
    await embedder.put("/control", json={"latency_ms": 50, "latency_spread": 0.5})
    took = [(await embed(embedder, ["a"])).elapsed.total_seconds() for _ in range(16)]
    assert max(took) > 1.5 * min(took)


async def test_requests_beyond_the_capacity_wait_in_order() -> None:
    with start("embedder", latency_ms=250, item_latency_ms=0, capacity=2) as engine:
        async with httpx.AsyncClient(base_url=engine.url) as client:
            tasks = []
            for number in range(8):
                tasks.append(asyncio.create_task(embed(client, f"text {number}")))
                while (await client.get("/stats")).json()["requests"] <= number:  # arrivals in order
                    pass
            answers = await asyncio.gather(*tasks)
            stats = (await client.get("/stats")).json()
    assert [int(answer.headers["x-request-id"]) for answer in answers] == list(range(1, 9))
    assert stats["max_in_flight"] == 2
    assert stats["requests"] == stats["items"] == 8
    assert stats["in_flight"] == stats["queue_length"] == 0


async def test_stats_show_the_queue_and_new_capacity_empties_it(embedder: httpx.AsyncClient) -> None:
    await embedder.put("/control", json={"capacity": 1, "latency_ms": 300})
    tasks = [asyncio.create_task(embed(embedder, f"text {number}")) for number in range(4)]
    try:
        while (await embedder.get("/stats")).json()["queue_length"] < 3:
            pass
        await embedder.put("/control", json={"capacity": 4})
        stats = (await embedder.get("/stats")).json()
        assert stats["queue_length"] == 0
        assert stats["in_flight"] >= 3
    finally:
        await asyncio.gather(*tasks)


async def test_connections_are_counted(embedder: httpx.AsyncClient, running_embedder: RunningEngine) -> None:
    async def accepted() -> int:
        return int((await embedder.get("/stats")).json()["connections_accepted"])

    before = await accepted()
    assert await accepted() == before  # kept alive
    for _ in range(3):
        async with httpx.AsyncClient() as once:
            await once.get(f"{running_embedder.url}/healthz")
    assert await accepted() == before + 3


async def test_rate_limit_says_when_to_come_back_and_ends_after_its_requests(embedder: httpx.AsyncClient) -> None:
    failure = {"mode": "rate_limit", "requests": 2, "retry_after_seconds": 7}
    await embedder.put("/control", json={"failure": failure})
    answers = [await embed(embedder, "a") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "7"


async def test_error_strikes_its_share_evenly(embedder: httpx.AsyncClient) -> None:
    await embedder.post("/control", json={"failure": {"mode": "error", "share": 0.25}})
    statuses = [(await embed(embedder, "a")).status_code for _ in range(8)]
    assert statuses == [200, 200, 200, 500, 200, 200, 200, 500]


async def test_marker_fails_only_the_requests_that_hold_it(embedder: httpx.AsyncClient) -> None:
    await embedder.put("/control", json={"failure": {"mode": "error", "marker": "POISON"}})
    assert (await embed(embedder, ["good", "some POISON here"])).status_code == 500
    assert (await embed(embedder, ["good"])).status_code == 200


async def test_wrong_dimension_is_one_too_many(embedder: httpx.AsyncClient) -> None:
    await embedder.put("/control", json={"failure": {"mode": "wrong_dimension", "requests": 1}})
    assert len(vectors(await embed(embedder, "a"))[0]) == 385
    assert len(vectors(await embed(embedder, "a"))[0]) == 384


async def test_hang_answers_nothing_until_the_settings_change(embedder: httpx.AsyncClient) -> None:
    await embedder.put("/control", json={"failure": {"mode": "hang", "requests": 2}})
    with pytest.raises(httpx.ReadTimeout):
        await embedder.post("/v1/embeddings", json={"input": "a", "model": "m"}, timeout=0.2)
    hanging = asyncio.create_task(embed(embedder, "a"))
    done, _ = await asyncio.wait([hanging], timeout=0.2)
    assert not done
    await embedder.put("/control", json={"failure": None})
    assert (await hanging).status_code == 500


def test_sigterm_ends_even_while_requests_hang() -> None:
    with start("embedder", latency_ms=0) as engine:
        httpx.put(f"{engine.url}/control", json={"failure": {"mode": "hang"}})
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{engine.url}/v1/embeddings", json={"input": "a", "model": "m"}, timeout=0.2)
    assert engine.process.returncode == 0


async def test_control_shows_what_is_set_and_keeps_the_rest(embedder: httpx.AsyncClient) -> None:
    changed = (await embedder.put("/control", json={"capacity": 3})).json()
    assert changed == (await embedder.get("/control")).json()
    assert (changed["capacity"], changed["latency_ms"], changed["failure"]) == (3, 1, None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"capacity": 0}', "capacity"),
        ('{"latency": 5}', "latency"),
        ('{"failure": {"mode": "slow"}}', "failure.mode"),
        ('{"failure": {"mode": "error", "share": 2}}', "failure.share"),
        ("{", "body"),
    ],
)
async def test_control_refuses_what_it_does_not_know(embedder: httpx.AsyncClient, body: str, field: str) -> None:
    before = (await embedder.get("/control")).json()
    answer = await embedder.put("/control", content=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith(f"{field}: ")
    assert (await embedder.get("/control")).json() == before


@pytest.mark.parametrize(
    ("option", "value"), [("dimensions", 0), ("capacity", 0), ("latency_ms", -1), ("latency_spread", 3)]
)
def test_wrong_option_is_named(option: str, value: int) -> None:
    done = subprocess.run(
        engine_command("embedder", **{option: value}), capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 2
    assert f"--{option.replace('_', '-')}" in done.stderr.splitlines()[-1]
