"""Requests to the API server: what each answer means, and that no write leaves a process which does not lead."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from memorystack_operator.shell.api_server import ApiServer, NotLeading, Refused, Unreachable
from memorystack_operator.shell.cluster import Conflict
from memorystack_operator.shell.telemetry import Telemetry

Answer = Callable[[web.Request], web.Response]


class Server:
    """Answers as told, and writes down what it was asked."""

    def __init__(self) -> None:
        self.answer: Answer = lambda _: web.json_response({"kind": "Pod"})
        self.asked: list[web.Request] = []
        self.bodies: list[str] = []
        self.token = "first"
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        self.bodies.append(await request.text())
        return self.answer(request)

    async def connect(self) -> Configuration:
        found = Configuration()
        found.host = self.url
        found.api_key = {"BearerToken": f"Bearer {self.token}"}
        return found


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    one = Server()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", one.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield one
    await runner.cleanup()


async def test_an_answer_is_its_json_and_the_request_names_the_operator(server: Server):
    async with ApiServer(server.connect) as api:
        assert await api.get("/api/v1/pods", limit="5") == {"kind": "Pod"}
    (asked,) = server.asked
    assert (asked.path_qs, asked.headers["Authorization"]) == ("/api/v1/pods?limit=5", "Bearer first")
    assert asked.headers["User-Agent"].startswith("memorystack-operator/")


async def test_a_write_carries_its_kind_of_content_and_its_body(server: Server):
    async with ApiServer(server.connect) as api:
        patch = [{"op": "add", "path": "/status", "value": {}}]
        await api.write("PATCH", "/x", patch, content="application/json-patch+json", fieldManager="m")
    (asked,) = server.asked
    assert (asked.headers["Content-Type"], asked.query["fieldManager"]) == ("application/json-patch+json", "m")
    assert server.bodies == ['[{"op": "add", "path": "/status", "value": {}}]']


async def test_a_rotated_token_is_read_anew_once(server: Server):
    def only_second(request: web.Request) -> web.Response:
        return web.json_response({}, status=200 if "second" in request.headers["Authorization"] else 401)

    async with ApiServer(server.connect) as api:
        await api.get("/x")
        server.answer = only_second
        server.token = "second"
        assert await api.get("/x") == {}
        server.token = "third"
        server.answer = lambda _: web.json_response({"message": "who?"}, status=401)
        with pytest.raises(Refused, match=r"who\?") as caught:
            await api.get("/x")
    assert (caught.value.status, caught.value.final) == (401, False)
    assert len(server.asked) == 5


@pytest.mark.parametrize(
    ("status", "body", "said", "final"),
    [
        (403, '{"reason": "Forbidden", "message": "pods is forbidden"}', "pods is forbidden", True),
        (422, '{"reason": "Invalid", "message": "spec.x"}', "spec.x", True),
        (429, "", "Too Many Requests", False),
        (503, "<html>", "Service Unavailable", False),
    ],
)
async def test_a_refusal_says_whether_trying_again_can_help(
    server: Server, status: int, body: str, said: str, final: bool
):
    server.answer = lambda _: web.Response(status=status, text=body)
    async with ApiServer(server.connect) as api:
        with pytest.raises(Refused, match=said) as caught:
            await api.write("PATCH", "/x", {})
    assert (caught.value.status, caught.value.final) == (status, final)


@pytest.mark.parametrize(("said", "seconds"), [("3", 3.0), ("86400", 60.0), ("Wed, 21 Oct", 0.0), ("", 0.0)])
async def test_a_refusal_tells_for_how_long_the_server_wants_to_be_left_alone(
    server: Server, said: str, seconds: float
):
    server.answer = lambda _: web.Response(status=429, headers={"Retry-After": said})
    async with ApiServer(server.connect) as api:
        with pytest.raises(Refused) as caught:
            await api.get("/x")
    assert caught.value.wait == seconds


async def test_a_lost_race_is_a_conflict(server: Server):
    server.answer = lambda _: web.json_response({"message": "the object has been modified"}, status=409)
    async with ApiServer(server.connect) as api:
        with pytest.raises(Conflict, match="has been modified"):
            await api.write("PATCH", "/x", {})


async def test_an_answer_that_is_no_object_is_an_empty_one(server: Server):
    server.answer = lambda _: web.json_response([1])
    async with ApiServer(server.connect) as api:
        assert await api.get("/x") == {}


async def test_a_server_that_is_away_is_unreachable_and_counted(server: Server):
    telemetry = Telemetry()
    async with ApiServer(server.connect, telemetry) as api:
        await api.get("/x")
        server.url = "http://127.0.0.1:1"
        await api.__aexit__()
        with pytest.raises(Unreachable, match="GET /x: "):
            await api.get("/x")
    text = telemetry.text().decode()
    assert 'rest_client_requests_total{code="200",method="GET"} 1.0' in text
    assert 'rest_client_requests_total{code="<error>",method="GET"} 1.0' in text


async def test_who_does_not_lead_reads_and_never_writes(server: Server):
    leads = True
    async with ApiServer(server.connect, may_write=lambda: leads) as api:
        await api.write("POST", "/x", {})
        leads = False
        await api.get("/x")
        with pytest.raises(NotLeading, match="DELETE /x was not sent"):
            await api.write("DELETE", "/x", {})
    assert [r.method for r in server.asked] == ["POST", "GET"]
