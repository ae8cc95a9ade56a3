"""Engines for the tests of the engines: real processes on loopback ports, one each per test session and worker."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest
from qdrant_client import AsyncQdrantClient, models
from support.engines import an_engine

from memorystack_runtime.dev import RunningEngine

REAL_QDRANT = os.environ.get("MEMORYSTACK_TEST_QDRANT_URL")
DIMENSIONS = 4


@pytest.fixture(scope="session")
def local_qdrant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with an_engine("qdrant", path=tmp_path_factory.mktemp("qdrant")) as engine:
        yield engine.url


@pytest.fixture(params=["local", *(["real"] if REAL_QDRANT else [])])
def qdrant_url(request: pytest.FixtureRequest) -> str:
    """The local engine; and a real Qdrant when the environment names one."""
    return str(request.getfixturevalue("local_qdrant")) if request.param == "local" else str(REAL_QDRANT)


@pytest.fixture
async def qdrant(qdrant_url: str) -> AsyncIterator[AsyncQdrantClient]:
    client = AsyncQdrantClient(url=qdrant_url, prefer_grpc=False)
    yield client
    await client.close()


@dataclass(frozen=True)
class Shelf:
    """A collection of eight points: ids 1-7 and a UUID, two namespaces, dense and sparse vectors."""

    client: AsyncQdrantClient
    name: str


UUID_POINT = "7a3d9c1e-0000-4000-8000-000000000008"


def points() -> list[models.PointStruct]:
    rows = []
    for number in range(1, 9):
        rows.append(
            models.PointStruct(
                id=UUID_POINT if number == 8 else number,
                vector={
                    "dense": [1.0, number / 10, 0.0, 0.0],
                    "terms": models.SparseVector(indices=[1, 10 + number], values=[1.0, 2.0]),
                },
                payload={
                    "namespace": "odd" if number % 2 else "even",
                    "number": number,
                    "weight": number + 0.5,
                    "live": number < 5,
                    "at": f"2026-01-0{number}T00:00:00Z",
                    "tags": ["all", f"tag{number}"],
                    **({"note": None} if number == 1 else {"note": "x"} if number == 2 else {}),
                },
            )
        )
    return rows


@pytest.fixture
async def shelf(qdrant: AsyncQdrantClient) -> AsyncIterator[Shelf]:
    name = f"test-{uuid4().hex}"
    await qdrant.create_collection(
        name,
        vectors_config={"dense": models.VectorParams(size=DIMENSIONS, distance=models.Distance.COSINE)},
        sparse_vectors_config={"terms": models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )
    for field, kind in {
        "namespace": models.PayloadSchemaType.KEYWORD,
        "number": models.PayloadSchemaType.INTEGER,
        "weight": models.PayloadSchemaType.FLOAT,
        "live": models.PayloadSchemaType.BOOL,
        "at": models.PayloadSchemaType.DATETIME,
    }.items():
        await qdrant.create_payload_index(name, field, kind, wait=True)
    await qdrant.upsert(name, points(), wait=True)
    yield Shelf(qdrant, name)
    await qdrant.delete_collection(name)


@pytest.fixture(scope="session")
def running_embedder() -> Iterator[RunningEngine]:
    with an_engine("embedder", latency_ms=1, item_latency_ms=0) as engine:
        yield engine


DEFAULTS = {"latency_ms": 1, "item_latency_ms": 0, "latency_spread": 0, "capacity": 64, "max_batch": 32,
            "failure": None}  # fmt: skip


@pytest.fixture
async def embedder(running_embedder: RunningEngine) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the embedder, whose settings are at their defaults before and after."""
    async with httpx.AsyncClient(base_url=running_embedder.url, timeout=10) as client:
        await client.put("/control", json=DEFAULTS)
        yield client
        await client.put("/control", json=DEFAULTS)
