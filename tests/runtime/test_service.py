"""The service as its callers meet it: in process for its edges, as a real process for its life."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.engines import control, stats

from memorystack_runtime.admission import Admission
from memorystack_runtime.api import api_app
from memorystack_runtime.auth import door_of
from memorystack_runtime.contract import Budgets, EvidenceReport, Features, FlagLease
from memorystack_runtime.evidence import Ledger
from memorystack_runtime.flags import FlagBoard
from memorystack_runtime.internal import Inside, internal_app
from memorystack_runtime.memory import MemoryService
from memorystack_runtime.pulse import LoopLag
from memorystack_runtime.serving import Serving
from memorystack_runtime.settings import Settings
from memorystack_runtime.telemetry import Telemetry

KEY = "a-good-key"


class Service:
    """Both apps of one pod in this process."""

    def __init__(self, settings: Settings, memory: MemoryService) -> None:
        self.ledger = Ledger()
        self.memory = memory
        self.board = FlagBoard(
            settings.config_dir,
            None,
            lambda e: self.ledger.revise(e.revision, Budgets(revision="b", p95_ms={"recall": 250})),
        )
        admission = Admission(settings.max_in_flight)
        door = door_of(settings.api_keys_file, disabled=settings.auth_disabled)
        serving = Serving(settings, door, self.ledger, admission)
        telemetry = Telemetry(self.ledger, self.board, memory, admission)
        self.inside = Inside(settings, memory, self.board, self.ledger, LoopLag(), telemetry, time.time())
        self.api = client(api_app(settings, memory, self.board, serving))
        self.internal = client(internal_app(self.inside))

    def counted(self, operation: str) -> tuple[int, int, int]:
        found = self.ledger.counters()[-1].operations.get(operation)
        return (found.requests, found.bad, found.failed) if found else (0, 0, 0)


def client(app) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://pod")


@asynccontextmanager
async def pod(settings: Settings) -> AsyncIterator[Service]:
    memory = await MemoryService.open(settings, Features())
    service = Service(settings, memory)
    try:
        async with service.api, service.internal:
            yield service
    finally:
        await memory.close()


def problem(response: httpx.Response, status: int) -> dict:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["requestId"] == response.headers["x-request-id"]
    return body


async def test_store_recall_get_delete(settings):
    async with pod(settings()) as service:
        stored = await service.api.post("/v1/memories", json={"namespace": "a", "text": "An owl at night.", "id": "o"})
        assert stored.status_code == 201
        assert stored.json()["memories"][0]["id"] == "o"
        first = await service.api.post("/v1/recall", json={"namespace": "a", "query": "owl"})
        again = await service.api.post("/v1/recall", json={"namespace": "a", "query": "owl"})
        assert first.json() == again.json()
        assert (first.headers["x-memorystack-cache"], again.headers["x-memorystack-cache"]) == ("computed", "lru")
        got = await service.api.get("/v1/memories/o", params={"namespace": "a"})
        assert got.json()["text"] == "An owl at night."
        assert (await service.api.delete("/v1/memories/o", params={"namespace": "a"})).status_code == 204
        problem(await service.api.get("/v1/memories/o", params={"namespace": "a"}), 404)
        assert service.counted("recall") == (2, 0, 0)
        assert service.counted("get")[0] == 1


BAD = [
    ({"content": b"{"}, "body"),
    ({"json": [1]}, "body"),
    ({"json": {"query": "x"}}, "namespace"),
    ({"json": {"namespace": "", "query": "x"}}, "namespace"),
    ({"json": {"namespace": "*", "query": "x"}}, "namespace"),
    ({"json": {"namespace": "a", "query": " "}}, "query"),
    ({"json": {"namespace": "a", "query": "x", "limit": 0}}, "limit"),
    ({"json": {"namespace": "a", "query": "x", "all": True}}, "all"),
]


@pytest.mark.parametrize(("sent", "field"), BAD, ids=[str(b[1]) + str(i) for i, b in enumerate(BAD)])
async def test_bad_input_is_400_naming_the_field_and_no_evidence(settings, sent: dict, field: str):
    """M10 M12"""
    async with pod(settings()) as service:
        body = problem(await service.api.post("/v1/recall", **sent), 400)
        assert body["errors"][0]["field"] == field
        assert service.counted("recall") == (0, 0, 0)


async def test_everything_that_fails_is_a_problem(settings):
    """M12"""
    async with pod(settings(max_body_bytes=2048)) as service:
        problem(await service.api.get("/nowhere"), 404)
        problem(await service.api.put("/v1/recall"), 405)
        problem(await service.api.get("/v1/memories/x"), 400)
        problem(await service.api.get("/v1/memories/x", params={"namespace": "?"}), 400)
        problem(await service.api.post("/v1/memories", json={"namespace": "a", "text": "x" * 5000}), 413)

        async def parts():
            for _ in range(10):
                yield b"x" * 500

        problem(await service.api.post("/v1/memories", content=parts()), 413)


async def test_a_request_id_is_kept_when_it_is_sane(settings):
    async with pod(settings()) as service:
        kept = await service.api.get("/v1/stats", headers={"x-request-id": "abc-1"})
        assert kept.headers["x-request-id"] == "abc-1"
        made = await service.api.get("/v1/stats", headers={"x-request-id": "no good\x01"})
        assert len(made.headers["x-request-id"]) == 32
        next_one = await service.api.get("/v1/stats")
        assert next_one.headers["x-request-id"] != made.headers["x-request-id"]
        assert len(next_one.headers.get_list("x-request-id")) == 1
        missing = await service.api.get("/v1/memories/none?namespace=a", headers={"x-request-id": "abc-2"})
        assert missing.headers.get_list("x-request-id") == ["abc-2"]


WRONG_KEYS = (
    {},
    {"x-api-key": "another-key"},
    {"x-api-key": KEY[:-1]},
    {"x-api-key": KEY + "x"},
    {"authorization": f"Bearer {KEY.upper()}"},
    {"authorization": f"Basic {KEY}"},
)


async def test_every_v1_route_asks_for_a_key_and_the_others_do_not(settings, tmp_path: Path):
    """M11"""
    keys = tmp_path / "keys"
    keys.write_text(f"me:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    async with pod(settings(auth_disabled=False, api_keys_file=keys)) as service:
        document = (await service.api.get("/openapi.json")).json()
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                url = path.replace("{id}", "x")
                for headers in WRONG_KEYS:
                    response = await service.api.request(method, url, headers=headers)
                    if operation.get("security") == []:
                        assert response.status_code == 200
                    else:
                        assert problem(response, 401)
                        assert response.headers["www-authenticate"].startswith("Bearer")
        assert (await service.internal.get("/healthz")).status_code == 200
        for headers in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}):
            assert (await service.api.get("/v1/config", headers=headers)).status_code == 200
        assert service.counted("recall") == (0, 0, 0)


async def test_the_openapi_document_is_whole(settings):
    async with pod(settings()) as service:
        document = (await service.api.get("/openapi.json")).json()
        served = {getattr(r, "path", "") for r in service.api._transport.app.routes}
        assert served == set(document["paths"])
        text = str(document)
        for name in document["components"]["schemas"]:
            assert f"#/components/schemas/{name}" in text or name in ("Problem",)


async def test_too_much_at_once_is_429_and_counts_as_failed(settings, embedder):
    control(embedder, latency_ms=300)
    async with pod(settings(max_in_flight=2)) as service:
        calls = [service.api.post("/v1/recall", json={"namespace": "a", "query": f"q{i}"}) for i in range(5)]
        answers = await asyncio.gather(*calls)
        refused = [a for a in answers if a.status_code == 429]
        assert len(refused) == 3
        assert all(a.headers["retry-after"] for a in refused)
        assert service.counted("recall")[2] == 3


async def test_past_the_deadline_is_504_and_counts_as_failed(settings, embedder):
    control(embedder, failure={"mode": "hang"})
    async with pod(settings(request_timeout_ms=100)) as service:
        problem(await service.api.post("/v1/recall", json={"namespace": "a", "query": "q"}), 504)
        assert service.counted("recall") == (1, 1, 1)


async def test_a_store_that_is_away_is_503_with_retry_after(settings):
    """M12"""
    async with pod(settings(qdrant_url="http://127.0.0.1:1")) as service:
        response = await service.api.post("/v1/recall", json={"namespace": "a", "query": "q"})
        assert "qdrant" in problem(response, 503)["detail"]
        assert response.headers["retry-after"]
        assert (await service.internal.get("/readyz")).status_code == 503


async def test_what_a_dependency_refuses_for_good_is_502(settings, embedder):
    control(embedder, failure={"mode": "wrong_dimension"})
    async with pod(settings()) as service:
        body = problem(await service.api.post("/v1/memories", json={"namespace": "a", "text": "x"}), 502)
        assert "dimensions" in body["detail"]


async def test_an_error_of_ours_tells_nothing_of_its_inside(settings, monkeypatch: pytest.MonkeyPatch):
    async with pod(settings()) as service:

        async def broken(*_: object) -> None:
            raise RuntimeError("the secret inside")

        monkeypatch.setattr(service.memory, "recall", broken)
        response = await service.api.post("/v1/recall", json={"namespace": "a", "query": "q"})
        assert "secret" not in str(problem(response, 500))

        def broken_at_once() -> None:
            raise RuntimeError("the secret inside")

        monkeypatch.setattr(service.memory, "stats", broken_at_once)
        problem(await service.api.get("/v1/stats"), 500)


async def test_an_old_connection_is_closed(settings):
    async with pod(settings(max_connection_age_seconds=1)) as service:
        first = await service.api.get("/v1/config")
        assert "connection" not in first.headers
        await asyncio.sleep(1.05)
        assert (await service.api.get("/v1/config")).headers["connection"] == "close"
        assert "connection" not in (await service.api.get("/v1/config")).headers


async def test_the_second_port_shows_health_metrics_and_evidence(settings):
    async with pod(settings()) as service:
        await service.api.post("/v1/recall", json={"namespace": "a", "query": "q"})
        service.ledger.snapshot()
        assert (await service.internal.get("/healthz")).json()["status"] == "ok"
        assert (await service.internal.get("/readyz")).status_code == 200
        families = {f.name: f for f in text_string_to_metric_families((await service.internal.get("/metrics")).text)}
        assert families["memorystack_requests"].samples[0].value == 1
        assert families["memorystack_flags_info"].samples[0].labels["source"] == "default"
        assert {"memorystack_request_duration_seconds", "memorystack_cache_misses", "memorystack_pool_waits"} <= set(
            families
        )
        plain = EvidenceReport.model_validate_json((await service.internal.get("/internal/evidence")).content)
        full = EvidenceReport.model_validate_json((await service.internal.get("/internal/evidence?history=1")).content)
        assert (len(plain.ring), len(full.ring)) == (0, 1)
        service.inside.draining = True
        assert (await service.internal.get("/readyz")).status_code == 503
        assert (await service.internal.get("/healthz")).status_code == 200


# -- the process --------------------------------------------------------------


class Process:
    """`python -m memorystack_runtime.app` on free ports."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.folder = folder
        self.port, self.internal_port = free_port(), free_port()
        own = {"MEMORYSTACK_HOST": "127.0.0.1", "MEMORYSTACK_PORT": str(self.port), "MEMORYSTACK_INTERNAL_PORT": str(self.internal_port), "MEMORYSTACK_CONFIG_DIR": str(folder)}  # fmt: skip
        self.environment = {**os.environ, **own, **environment}
        self.process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self.port}"
        self.internal = f"http://127.0.0.1:{self.internal_port}"

    def start(self) -> float:
        began = time.monotonic()
        argv = [sys.executable, "-m", "memorystack_runtime.app"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(argv, env=self.environment, stdout=log, stderr=log)
        while time.monotonic() - began < 20:
            try:
                if httpx.get(f"{self.internal}/readyz").is_success:
                    return time.monotonic() - began
            except httpx.HTTPError:
                time.sleep(0.02)
        pytest.fail((self.folder / "log").read_text())

    def end(self, number: int) -> int:
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(20)


def free_port() -> int:
    import socket

    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def process(settings: Callable[..., Settings], tmp_path: Path):
    made = settings()
    environment = {
        "MEMORYSTACK_QDRANT_URL": made.qdrant_url,
        "MEMORYSTACK_EMBEDDER_URL": made.embedder_url,
        "MEMORYSTACK_QDRANT_COLLECTION": made.qdrant_collection,
        "MEMORYSTACK_AUTH_DISABLED": "true",
    }
    running = Process(environment, tmp_path)
    yield running
    if running.process and running.process.poll() is None:
        running.process.kill()
        running.process.wait()


async def store_until(url: str, stop: asyncio.Event, acknowledged: list[str], worker: int) -> None:
    async with httpx.AsyncClient(base_url=url) as api:
        for i in range(10_000):
            if stop.is_set():
                return
            identity = f"w{worker}-{i}"
            try:
                answer = await api.post(
                    "/v1/memories", json={"namespace": "a", "id": identity, "text": f"fact {identity}"}
                )
            except httpx.HTTPError:
                return
            if answer.status_code == 201:
                acknowledged.append(identity)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_every_acknowledged_write_is_there_after_the_end_of_the_process(process: Process, number: int):
    """M16"""
    process.start()
    stop, acknowledged = asyncio.Event(), []
    workers = [asyncio.create_task(store_until(process.url, stop, acknowledged, k)) for k in range(4)]
    while len(acknowledged) < 40:
        await asyncio.sleep(0.01)
    code = await asyncio.to_thread(process.end, number)
    stop.set()
    await asyncio.gather(*workers)
    assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    await asyncio.to_thread(process.start)
    async with httpx.AsyncClient(base_url=process.url) as api:
        for identity in acknowledged:
            assert (await api.get(f"/v1/memories/{identity}", params={"namespace": "a"})).status_code == 200


async def test_what_is_under_way_at_a_sigterm_is_answered_before_the_process_ends(process: Process, embedder):
    """M16"""
    control(embedder, latency_ms=700)
    process.start()
    async with httpx.AsyncClient(base_url=process.url, timeout=20) as api:
        notes = [{"namespace": "a", "id": f"n{i}", "text": f"fact {i}"} for i in range(6)]
        asked = [asyncio.create_task(api.post("/v1/memories", json=note)) for note in notes]
        while stats(embedder)["in_flight"] < len(notes):
            await asyncio.sleep(0.01)
        assert await asyncio.to_thread(process.end, signal.SIGTERM) == 0
        assert [(await one).status_code for one in asked] == [201] * len(notes)
    control(embedder, latency_ms=1)
    await asyncio.to_thread(process.start)
    async with httpx.AsyncClient(base_url=process.url) as api:
        for note in notes:
            assert (await api.get(f"/v1/memories/{note['id']}", params={"namespace": "a"})).status_code == 200


def test_an_idle_connection_is_left_to_its_client_to_close(process: Process):
    """A server that closes first, after the 5 s that httpx keeps one, ends a request now and then that is just being sent."""
    process.start()
    with closing(http.client.HTTPConnection("127.0.0.1", process.port, timeout=10)) as connection:
        for idle in (0, 7):
            time.sleep(idle)
            connection.request("GET", "/v1/config")
            assert connection.getresponse().read()


async def test_flags_change_live_through_the_lease_and_end_with_it_and_with_the_process(process: Process):
    """M19 R16"""
    process.start()

    def lend(renewal: int, concurrency: int, ttl: int = 30) -> None:
        features = Features.model_validate(
            {"parallelIngest": {"concurrency": concurrency}, "httpPool": {"enabled": renewal % 2 == 0}}
        )
        lease = FlagLease(epoch=1, revision=f"r{renewal}", features=features, ttl_seconds=ttl, renewal=renewal)
        (process.folder / "lease.json").write_text(lease.model_dump_json(by_alias=True))

    async with httpx.AsyncClient(base_url=process.url) as api:
        stop, failures, served = asyncio.Event(), [], [0]

        async def work(k: int) -> None:
            while not stop.is_set():
                answer = await api.post("/v1/recall", json={"namespace": "a", "query": f"question {k} {served[0]}"})
                served[0] += 1
                if answer.status_code != 200:
                    failures.append(answer.text)

        for k in range(4):
            await api.post("/v1/recall", json={"namespace": "a", "query": f"warm {k}"})
        lend(0, 0)
        await until(api, "r0")
        before = holds(process)
        workers = [asyncio.create_task(work(k)) for k in range(4)]
        i = 0
        async with asyncio.timeout(60):
            while i < 50 or served[0] <= 50:  # a busy machine serves less in the time of fifty changes
                i += 1
                lend(i, i % 8)
                await asyncio.sleep(0.06)
        stop.set()
        await asyncio.gather(*workers)
        assert failures == []
        await until(api, f"r{i}")
        # What the clients keep open is theirs; the pods' own connections, files and threads are as before.
        async with asyncio.timeout(10):
            while holds(process) > before:
                await asyncio.sleep(0.05)
        lend(i + 1, 3, ttl=1)
        await until(api, f"r{i + 1}")
        assert 'source="lease"' in httpx.get(f"{process.internal}/metrics").text
        await until(api, None)
    lend(i + 2, 4, ttl=60)
    await asyncio.to_thread(process.end, signal.SIGKILL)
    await asyncio.to_thread(process.start)
    async with httpx.AsyncClient(base_url=process.url) as api:
        assert (await api.get("/v1/config")).json()["source"] == "default"
        lend(i + 3, 4)
        await until(api, f"r{i + 3}")


def holds(process: Process) -> tuple[int, int]:
    """Open sockets to dependencies and files, and threads."""
    found = psutil.Process(process.process.pid)
    inbound = sum(c.laddr.port == process.port for c in found.net_connections() if c.status != "LISTEN")
    return found.num_fds() - inbound, found.num_threads()


async def until(api: httpx.AsyncClient, revision: str | None) -> None:
    async with asyncio.timeout(5):
        while True:
            found = (await api.get("/v1/config")).json()
            if found["revision"] == revision or (revision is None and found["source"] == "default"):
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"MEMORYSTACK_AUTH_DISABLED": "false"}, "MEMORYSTACK_API_KEYS_FILE"),
        ({"MEMORYSTACK_PORT": "1e9"}, "MEMORYSTACK_PORT"),
        ({"MEMORYSTACK_LOG_LEVEL": "loud"}, "MEMORYSTACK_LOG_LEVEL"),
        ({"MEMORYSTACK_PORT": "taken"}, "free it or set MEMORYSTACK_PORT"),
        ({"MEMORY_CACHE_MAX_SIZE": "-1"}, "MEMORY_CACHE_MAX_SIZE"),
    ],
)
def test_a_process_that_cannot_start_says_why_and_exits_with_2(process: Process, environment: dict, said: str):
    import socket

    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environment = {k: str(taken.getsockname()[1]) if v == "taken" else v for k, v in environment.items()}
        argv = [sys.executable, "-m", "memorystack_runtime.app"]
        done = subprocess.run(
            argv, env={**process.environment, **environment}, capture_output=True, text=True, timeout=30
        )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("word", "code", "said"), [("--help", 0, "MEMORYSTACK_QDRANT_URL"), ("--version", 0, "0.1"), ("x", 2, "usage")]
)
def test_the_command_explains_itself(word: str, code: int, said: str):
    done = subprocess.run(
        [sys.executable, "-m", "memorystack_runtime.app", word], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, said in done.stdout) == (code, True)
