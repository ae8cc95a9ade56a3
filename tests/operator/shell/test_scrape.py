"""What a pod tells is read over real HTTP: all that this operator knows, and nothing that is not in its terms."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from memorystack_operator.shell.scrape import Scraper
from memorystack_runtime.contract import Counters, EvidenceReport, RevisionCounters

REPORT = EvidenceReport(
    pod="mem-0",
    uid="u",
    started_at=1.0,
    flags="f",
    source="file",
    budgets="b",
    counters=(RevisionCounters(flags="f", budgets="b", operations={"recall": Counters(requests=7, bad=1)}),),
)


class Pod:
    """Answers every request with `body`."""

    def __init__(self) -> None:
        self.body = b""
        self.status = 200
        self.url = ""
        self.asked: list[str] = []

    def says(self, value: Any) -> None:
        self.body = value if isinstance(value, bytes) else json.dumps(value).encode()


@pytest.fixture
def pod() -> Iterator[Pod]:
    made = Pod()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            self.send_response(made.status)
            self.send_header("content-length", str(len(made.body)))
            self.end_headers()
            self.wfile.write(made.body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


async def read(pod: Pod, **how: bool) -> EvidenceReport | None:
    async with Scraper() as scraper:
        found = await scraper.read({"mem-0": pod.url, "mem-1": "http://127.0.0.1:1"}, **{"history": False, **how})
    assert found["mem-1"] is None
    return found["mem-0"]


def wire() -> dict[str, Any]:
    return json.loads(REPORT.model_dump_json(by_alias=True))


async def test_an_operation_that_only_a_newer_runtime_knows_is_left_out_alone(pod: Pod):
    told = wire()
    told["counters"][0]["operations"]["forget"] = {"requests": 3, "bad": 3, "failed": 3, "over": [3]}
    told["invented"] = {"later": True}
    told["counters"][0]["alsoInvented"] = 1
    pod.says(told)
    assert await read(pod) == REPORT


async def test_history_is_asked_for_only_when_wanted(pod: Pod):
    pod.says(wire())
    await read(pod)
    await read(pod, history=True)
    assert pod.asked == ["/internal/evidence", "/internal/evidence?history=1"]


@pytest.mark.parametrize(
    "said", [b"", b"no json", [], {}, {"pod": "mem-0"}, {**wire(), "counters": [{"flags": "f"}]}], ids=range(6)
)
async def test_what_is_not_in_our_terms_is_no_answer(pod: Pod, said: Any):
    pod.says(said)
    assert await read(pod) is None


async def test_an_error_is_no_answer(pod: Pod):
    pod.says(wire())
    pod.status = 500
    assert await read(pod) is None
