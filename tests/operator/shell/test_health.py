"""When the operator calls itself sick, and when only not ready; an API server that is away is neither."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from support.up import free_port

from memorystack_operator.shell.health import Health, serve
from memorystack_operator.shell.telemetry import Telemetry


@dataclass
class Queue:
    stuck_seconds: float = 0.0


@dataclass
class Watch:
    dead: bool = False


@dataclass
class Relist:
    misses: int = 0
    primed: asyncio.Event = field(default_factory=asyncio.Event)


def health(**parts: Any) -> Health:
    made = {"queue": Queue(), "watch": Watch(), "relist": Relist(), **parts}
    return Health(made["queue"], made["watch"], made["relist"])


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"watch": Watch(dead=True)}, "the watch has ended"),
        ({"relist": Relist(misses=2)}, "2 lists in a row found changes that the watch had not told"),
        ({"queue": Queue(121)}, "a stack has waited or been worked on for 121 s"),
    ],
)
def test_what_a_restart_would_mend_makes_it_sick(parts: dict[str, Any], said: str):
    assert health(**parts).sick() == [said]


def test_one_miss_and_a_slow_round_are_no_sickness_and_before_the_first_list_it_is_not_ready():
    found = health(relist=Relist(misses=1), queue=Queue(119))
    assert found.sick() == []
    assert found.unready() == ["the first list is not complete"]
    found.relist.primed.set()
    assert found.unready() == []


async def test_it_is_asked_over_http_and_tells_its_reasons():
    port, found = free_port(), health()
    end = await serve(found, Telemetry(), "127.0.0.1", port)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        assert (await client.get("/healthz")).json() == {"ok": True, "problems": []}
        unready = await client.get("/readyz")
        assert (unready.status_code, unready.json()["problems"]) == (503, ["the first list is not complete"])
        metrics = await client.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "workqueue_depth" in metrics.text
        with pytest.raises(OSError, match="address already in use"):
            await serve(found, Telemetry(), "127.0.0.1", port)
    await end()
    with pytest.raises(OSError, match=r"refused|failed"):
        await asyncio.open_connection("127.0.0.1", port)
