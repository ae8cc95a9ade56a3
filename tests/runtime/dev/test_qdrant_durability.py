"""What the engine acknowledged survives: a kill, an end, a locked or damaged folder, a full disk (R7, R15)."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from memorystack_runtime.dev import EngineFailedError, end, engine_command, start, start_command

SCHEMA = {
    "vectors": {"dense": {"size": 8, "distance": "Cosine"}},
    "sparse_vectors": {"terms": {"modifier": "idf"}},
}
POINTS = "/collections/c/points"


def point(number: int) -> dict[str, Any]:
    vector = {"dense": [1.0, number, 0, 0, 0, 0, 0, 1], "terms": {"indices": [number % 50], "values": [1.0]}}
    return {"id": number, "vector": vector, "payload": {"number": number}}


def create(url: str, name: str = "c") -> None:
    httpx.put(f"{url}/collections/{name}", json=SCHEMA).raise_for_status()


def upsert(url: str, *numbers: int, collection: str = "c") -> httpx.Response:
    body = {"points": [point(number) for number in numbers]}
    return httpx.put(f"{url}/collections/{collection}/points", params={"wait": "true"}, json=body)


def stored(url: str, collection: str = "c") -> set[int]:
    body = {"limit": 100_000, "with_payload": False}
    answer = httpx.post(f"{url}/collections/{collection}/points/scroll", json=body).raise_for_status()
    return {each["id"] for each in answer.json()["result"]["points"]}


async def test_every_acknowledged_point_survives_sigkill_in_the_middle_of_writes(tmp_path: Path) -> None:
    acknowledged: set[int] = set()
    enough = asyncio.Event()

    async def write(client: httpx.AsyncClient, first: int) -> None:
        for batch in range(10_000):
            numbers = [first + batch * 10 + each for each in range(10)]
            content = orjson.dumps({"points": [point(number) for number in numbers]})
            try:
                answer = await client.put(POINTS, params={"wait": "true"}, content=content)
            except httpx.TransportError:
                return
            assert answer.status_code == 200
            acknowledged.update(numbers)
            if len(acknowledged) >= 600:
                enough.set()

    with start("qdrant", path=tmp_path / "data", flush_seconds=0.1) as engine:
        create(engine.url)
        async with httpx.AsyncClient(base_url=engine.url) as client:
            writers = [asyncio.create_task(write(client, writer * 1_000_000)) for writer in range(4)]
            await asyncio.wait_for(enough.wait(), 30)
            os.kill(engine.pid, signal.SIGKILL)
            await asyncio.gather(*writers)
        assert engine.process.wait(5) == -signal.SIGKILL
    assert len(acknowledged) >= 600
    with start("qdrant", path=tmp_path / "data") as engine:
        assert acknowledged <= stored(engine.url)


def test_acknowledged_deletes_and_collections_survive_sigkill(tmp_path: Path) -> None:
    with start("qdrant", path=tmp_path) as engine:
        create(engine.url)
        create(engine.url, ".odd name%")
        create(engine.url, "gone")
        upsert(engine.url, *range(20)).raise_for_status()
        httpx.post(f"{engine.url}{POINTS}/delete", json={"points": list(range(10))}).raise_for_status()
        httpx.delete(f"{engine.url}/collections/gone").raise_for_status()
        os.kill(engine.pid, signal.SIGKILL)
    with start("qdrant", path=tmp_path) as engine:
        names = httpx.get(f"{engine.url}/collections").json()["result"]["collections"]
        assert names == [{"name": ".odd name%"}, {"name": "c"}]
        assert stored(engine.url) == set(range(10, 20))


def test_sigterm_closes_and_restart_keeps_schema_indexes_and_points(tmp_path: Path) -> None:
    with start("qdrant", path=tmp_path) as engine:
        create(engine.url)
        httpx.put(f"{engine.url}/collections/c/index", json={"field_name": "number", "field_schema": "integer"})
        upsert(engine.url, 1, 2, 3).raise_for_status()
        before = httpx.get(f"{engine.url}/collections/c").json()["result"]
    assert engine.process.returncode == 0
    with start("qdrant", path=tmp_path) as engine:
        assert httpx.get(f"{engine.url}/collections/c").json()["result"] == before
        assert before["payload_schema"] == {"number": {"data_type": "integer", "points": 3}}
        assert before["points_count"] == 3


def test_half_made_and_half_deleted_collections_are_removed_at_the_start(tmp_path: Path) -> None:
    for name in (".new-c", ".deleted-d"):
        (tmp_path / "collections" / name / "shard").mkdir(parents=True)
    with start("qdrant", path=tmp_path) as engine:
        assert httpx.get(f"{engine.url}/collections").json()["result"]["collections"] == []
        create(engine.url)
        assert upsert(engine.url, 1).status_code == 200
    assert [each.name for each in (tmp_path / "collections").iterdir()] == ["c"]


def failure(path: Path, **options: Any) -> tuple[int, str]:
    """Exit code and stderr of an engine that must not start."""
    done = subprocess.run(
        engine_command("qdrant", path=path, **options), capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_folder_in_use_is_refused_with_its_name_and_the_remedy(tmp_path: Path) -> None:
    with start("qdrant", path=tmp_path):
        code, said = failure(tmp_path)
    assert code == 73
    assert said == (
        f"qdrant: the folder {tmp_path} is in use by another process; end that process or choose another --path\n"
    )


def test_shard_in_use_by_a_foreign_program_is_refused(tmp_path: Path) -> None:
    import qdrant_edge

    with start("qdrant", path=tmp_path) as engine:
        create(engine.url)
    shard = qdrant_edge.EdgeShard.load(str(tmp_path / "collections" / "c" / "shard"))
    code, said = failure(tmp_path)
    shard.close()
    assert code == 73
    assert f"the folder {tmp_path} is in use by another process" in said


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    code, said = failure(tmp_path / "file")
    assert code == 73
    assert f"cannot write to the folder {tmp_path / 'file'}" in said
    assert said.count("\n") == 1


def segment(shard: Path) -> Path:
    return max((shard / "segments").iterdir(), key=lambda each: (each / "mutable_id_tracker.mappings").stat().st_size)


def truncate_vectors(shard: Path) -> None:
    for chunk in (segment(shard) / "vector_storage-dense").rglob("chunk*"):
        os.truncate(chunk, 16)


DAMAGE: list[tuple[str, Callable[[Path], object]]] = [
    ("segments gone", lambda shard: shutil.rmtree(shard / "segments")),
    ("one segment gone", lambda shard: shutil.rmtree(segment(shard))),
    ("vectors gone", lambda shard: shutil.rmtree(segment(shard) / "vector_storage-dense")),
    ("vectors cut off", truncate_vectors),
    ("id tracker gone", lambda shard: (segment(shard) / "mutable_id_tracker.mappings").unlink()),
    ("version gone", lambda shard: (segment(shard) / "version.info").unlink()),
    ("segment not JSON", lambda shard: (segment(shard) / "segment.json").write_text("{")),
    ("engine's config not JSON", lambda shard: (shard / "edge_config.json").write_text("{")),
    ("schema gone", lambda shard: (shard.parent / "collection.json").unlink()),
    ("schema not JSON", lambda shard: (shard.parent / "collection.json").write_text("{")),
    ("schema without vectors", lambda shard: (shard.parent / "collection.json").write_text("{}")),
    ("checkpoint not JSON", lambda shard: (shard.parent / "checkpoint.json").write_text("{")),
]


def files(folder: Path) -> dict[str, int]:
    return {str(each.relative_to(folder)): each.stat().st_size for each in folder.rglob("*") if each.is_file()}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    with start("qdrant", path=folder) as engine:
        create(engine.url)
        upsert(engine.url, *range(200)).raise_for_status()
    return folder


@pytest.mark.parametrize("damage", [row[1] for row in DAMAGE], ids=[row[0] for row in DAMAGE])
def test_damaged_folder_is_refused_and_left_as_it_is(
    filled: Path, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(filled, folder)
    damage(folder / "collections" / "c" / "shard")
    before = files(folder)
    code, said = failure(folder)
    assert code == 65
    last = said.splitlines()[-1]
    assert last.startswith(f"qdrant: the folder {folder} is damaged (")
    assert last.endswith("nothing in it was changed: restore it from a copy, or start with another --path")
    after = files(folder)
    assert {name: size for name, size in after.items() if name in before} == before


def test_disk_nearly_full_is_507_and_reads_go_on(tmp_path: Path) -> None:
    with start("qdrant", path=tmp_path) as engine:
        create(engine.url)
        upsert(engine.url, 1).raise_for_status()
    free_mb = shutil.disk_usage(tmp_path).free >> 20
    with start("qdrant", path=tmp_path, min_free_mb=free_mb * 2) as engine:
        answer = upsert(engine.url, 2)
        assert answer.status_code == 507
        assert "No space left on device" in answer.json()["status"]["error"]
        assert "--min-free-mb" in answer.json()["status"]["error"]
        assert httpx.put(f"{engine.url}/collections/d", json=SCHEMA).status_code == 507
        assert stored(engine.url) == {1}


def test_write_that_the_system_refuses_is_not_acknowledged(tmp_path: Path) -> None:
    """A file-size limit stands for a quota: the engine's own write fails half-way."""
    megabyte = 1 << 20
    with start("qdrant", path=tmp_path) as engine:
        create(engine.url)
        upsert(engine.url, 0).raise_for_status()
        resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (megabyte, megabyte))
        acknowledged, refused = {0}, None
        big = "x" * 1_000_000
        for number in range(1, 100):
            body = {"points": [point(number) | {"payload": {"text": big}}]}
            answer = httpx.put(f"{engine.url}{POINTS}", params={"wait": "true"}, json=body)
            if answer.status_code != 200:
                refused = answer
                break
            acknowledged.add(number)
        assert refused is not None
        assert refused.status_code == 500
        assert refused.json()["status"]["error"].startswith("Service internal error")
    with start("qdrant", path=tmp_path) as engine:
        assert acknowledged <= stored(engine.url)
        assert upsert(engine.url, 10_000).status_code == 200


def test_upkeep_flushes_and_optimises_when_idle(tmp_path: Path) -> None:
    """Deleted points leave the disk: the segments are replaced, and the checkpoint names the new ones."""
    with start("qdrant", path=tmp_path, flush_seconds=0.1, idle_seconds=0) as engine:
        create(engine.url)
        checkpoint = tmp_path / "collections" / "c" / "checkpoint.json"
        before = set(json.loads(checkpoint.read_bytes())["segments"])
        for first in range(0, 3000, 500):
            upsert(engine.url, *range(first, first + 500)).raise_for_status()
        numbers = list(range(2500))
        httpx.post(f"{engine.url}{POINTS}/delete", json={"points": numbers}).raise_for_status()

        def replaced() -> bool:
            try:
                return not before & set(json.loads(checkpoint.read_bytes())["segments"])
            except FileNotFoundError:
                return False

        pause = threading.Event()
        for _ in range(200):
            if replaced():
                break
            pause.wait(0.05)
        assert replaced()
        assert stored(engine.url) == set(range(2500, 3000))
    with start("qdrant", path=tmp_path) as engine:
        assert stored(engine.url) == set(range(2500, 3000))


def test_killed_while_optimising_starts_again(tmp_path: Path) -> None:
    """The checkpoint is forgotten before segments are replaced: a kill in between is no damage."""
    with start("qdrant", path=tmp_path) as engine:
        create(engine.url)
        upsert(engine.url, 1, 2).raise_for_status()
        os.kill(engine.pid, signal.SIGKILL)
    (tmp_path / "collections" / "c" / "checkpoint.json").unlink()
    with start("qdrant", path=tmp_path) as engine:
        assert stored(engine.url) == {1, 2}


def test_port_taken_is_named() -> None:
    with start("embedder") as other:
        port = httpx.URL(other.url).port
        code, said = failure(Path("unused"), port=port)
    assert code == 69
    assert said == (f"qdrant: port {port} on 127.0.0.1 is taken by another process; free it or choose another --port\n")
    assert not Path("unused").exists()


def test_start_reports_what_the_engine_said(tmp_path: Path) -> None:
    with start("qdrant", path=tmp_path) as engine:
        with (
            pytest.raises(EngineFailedError, match=rf"{tmp_path} is in use .* \(exit code 73\)"),
            start("qdrant", path=tmp_path),
        ):
            pass
        assert end(engine.process) == 0
    with pytest.raises(EngineFailedError, match="exit code 2"), start_command(engine_command("qdrant")):
        pass
