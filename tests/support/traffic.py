"""Recalls at a steady rate to the ready pods of a stack, and every answer written down: who gave it, when, how fast, under which flags.

How to use it:

    with Traffic(control_plane.kubeconfig, namespace, "app.kubernetes.io/instance=mem", rate=100) as traffic:
        ...
    bad = [a for a in traffic.answers if a.flags == revision and not a.good(250)]

Knows: pods as the API lists them, and HTTP. Must not know: rollouts. It is bounded in rate, in time and in requests in flight,
and sends to loopback addresses, or into a network that the test itself made. Pods are picked anew for each request, as without root there are no EndpointSlices.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import aiohttp
from support.kubelet.api import Api, ApiError, Object
from support.kubelet.status import is_ready

__all__ = ["Answer", "Traffic"]

LOOPBACK: Final = "127.0.0.0/8"
MOST_PER_SECOND: Final = 500.0
MOST_SECONDS: Final = 900.0
MOST_IN_FLIGHT: Final = 512
LOOK_SECONDS: Final = 0.2
TIMEOUT_SECONDS: Final = 10.0
BODY: Final = b'{"namespace":"load","query":"what did the owl say?","limit":5}'


@dataclass(frozen=True, slots=True)
class Answer:
    """One request's end."""

    at: float
    """Unix seconds when it ended."""
    pod: str
    flags: str
    """The revision that a stub says it served under; empty from a real runtime, or where none answered."""
    milliseconds: float
    status: int
    """0: no answer."""

    def good(self, budget_ms: float) -> bool:
        """Within the budget, and no failure."""
        return 200 <= self.status < 300 and self.milliseconds <= budget_ms


class Traffic:
    """A thread of its own for the length of the block."""

    def __init__(
        self,
        kubeconfig: Path,
        namespace: str,
        selector: str,
        *,
        rate: float = 100.0,
        seconds: float = 300.0,
        seed: int = 1,
        within: str = LOOPBACK,
    ) -> None:
        """`within`: the network that every pod must be in; another than the loopback is one that the test itself made."""
        assert 0 < rate <= MOST_PER_SECOND, f"rate: {rate} is not within (0, {MOST_PER_SECOND}] per second"
        assert 0 < seconds <= MOST_SECONDS, f"seconds: {seconds} is not within (0, {MOST_SECONDS}]"
        self.answers: list[Answer] = []
        self.unsent = 0
        """Not sent: no pod was ready, or too many requests were in flight."""
        self._kubeconfig = kubeconfig
        self._path = f"/api/v1/namespaces/{namespace}/pods?labelSelector={selector}"
        self._rate, self._seconds = rate, seconds
        self._chance = random.Random(seed)
        self._within = ipaddress.ip_network(within)
        self._pods: list[tuple[str, str]] = []
        self._failure: BaseException | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._failure:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error

    async def _serve(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        web = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)
        async with Api(self._kubeconfig) as api, web:
            over = asyncio.Event()
            watch = asyncio.create_task(self._follow(api, over))
            flights: set[asyncio.Task[None]] = set()
            end, due = time.monotonic() + self._seconds, time.monotonic()
            while time.monotonic() < end and not self._ended.is_set() and not watch.done():
                due += self._chance.expovariate(self._rate)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if not self._pods or len(flights) >= MOST_IN_FLIGHT:
                    self.unsent += 1
                    continue
                task = asyncio.create_task(self._one(web, *self._chance.choice(self._pods)))
                flights.add(task)
                task.add_done_callback(flights.discard)
            await asyncio.gather(*flights)
            over.set()  # a request that is cancelled half-way may leave its TLS connection open behind it
            await watch

    async def _follow(self, api: Api, over: asyncio.Event) -> None:
        """An API server that is away leaves the last list in force, as it does for a proxy."""
        while not over.is_set():
            try:
                found = await api.get(self._path)
                self._pods = [at for pod in found["items"] if (at := _address(pod, self._within))]
            except (ApiError, aiohttp.ClientError, TimeoutError):
                pass
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), LOOK_SECONDS)

    async def _one(self, web: aiohttp.ClientSession, name: str, url: str) -> None:
        began = time.perf_counter()
        status, flags = 0, ""
        try:
            async with web.post(url, data=BODY) as answer:
                await answer.read()
                status, flags = answer.status, answer.headers.get("x-stub-flags", "")
        except (aiohttp.ClientError, TimeoutError, OSError):
            status = 0
        took = 1000 * (time.perf_counter() - began)
        self.answers.append(Answer(time.time(), name, flags, took, status))


def _address(pod: Object, within: ipaddress.IPv4Network | ipaddress.IPv6Network) -> tuple[str, str] | None:
    """Name and URL of a pod that is ready and stays. Refuses whatever is not in that network."""
    if not is_ready(pod) or pod["metadata"].get("deletionTimestamp"):
        return None
    address = pod["status"]["podIP"]
    assert ipaddress.ip_address(address) in within, f"{address} is not within {within}: no load is sent there"
    ports = {p.get("name"): p["containerPort"] for p in pod["spec"]["containers"][0]["ports"]}
    return pod["metadata"]["name"], f"http://{address}:{ports['http']}/v1/recall"
