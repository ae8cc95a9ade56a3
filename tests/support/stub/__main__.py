"""The process `python -m support.stub`: told everything by the variables that a runtime is told by, and STUB_BEHAVIOUR."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import structlog
from pydantic import ValidationError
from support.stub.behaviour import VARIABLE, Behaviour, Rule
from support.stub.history import prefill
from support.stub.http import Answer, Call, listen
from support.stub.shared import take

from memorystack_runtime.contract import CONFIG_DIR_VARIABLE, EVIDENCE_PATH, EvidenceReport, Operation
from memorystack_runtime.evidence import Ledger
from memorystack_runtime.flags import Effective, FlagBoard
from memorystack_runtime.pulse import on_half_minutes

OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("POST", "/v1/recall"): "recall",
    ("POST", "/v1/memories"): "store",
}
_log = structlog.get_logger(__name__)


class Stub:
    """One pod."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.pod = environ.get("MEMORYSTACK_POD_NAME", "stub")
        self.uid = environ.get("MEMORYSTACK_POD_UID", self.pod)
        self.behaviour = Behaviour.model_validate_json(environ.get(VARIABLE) or "{}")
        self.draining = False
        self.flights: set[asyncio.Task[None]] = set()
        self._started_at = time.time()
        self._chance = random.Random()
        self._ledger = Ledger()
        self._rule = Rule()
        self._effective: Effective | None = None
        self._remembers = False
        self._folder = Path(environ.get(CONFIG_DIR_VARIABLE, "/nonexistent"))
        self.board = FlagBoard(self._folder, None, self._flags_changed)

    async def run(self) -> None:
        """Timers, for ever."""
        await asyncio.gather(self._poll(), on_half_minutes(self._ledger.snapshot))

    async def api(self, call: Call) -> Answer:
        """The first port."""
        operation = OPERATIONS.get((call.method, urlsplit(call.target).path))
        now = self._effective
        if operation is None or now is None:
            return Answer(404)
        ticket = self._ledger.admit(operation)
        try:
            if self.behaviour.hang:
                await asyncio.Event().wait()
            burst = self.behaviour.burst
            rule = self._rule
            await asyncio.sleep(rule.latency(self._chance) * (burst.now(time.time()) if burst else 1.0))
            if self.behaviour.shared and rule.units:
                await take(self.behaviour.shared, rule.units)
        except asyncio.CancelledError:
            ticket.drop()
            raise
        failed = self._chance.random() < rule.failed_share
        ticket.done(failed=failed)
        headers = f"x-stub-pod: {self.pod}\r\nx-stub-flags: {now.revision}\r\n".encode()
        return Answer(500 if failed else 200, b'{"results":[],"degraded":[]}', headers)

    async def inside(self, call: Call) -> Answer:
        """The second port."""
        parts = urlsplit(call.target)
        if (call.method, parts.path) == ("PUT", "/control"):
            return self._control(call.body)
        if parts.path == "/healthz":
            return Answer(200 if self.behaviour.alive else 500)
        if parts.path == "/readyz":
            return Answer(200 if self.behaviour.ready and not self.draining else 503)
        if parts.path == "/metrics":
            return Answer(200, b"# a stub counts nothing for Prometheus\n")
        if parts.path == EVIDENCE_PATH:
            return await self._evidence(history=parse_qs(parts.query).get("history") == ["1"])
        return Answer(404)

    async def _evidence(self, *, history: bool) -> Answer:
        kind = self.behaviour.evidence
        if kind == "Silent":
            await asyncio.Event().wait()
        if kind != "Answers":
            return Answer(500) if kind == "Refuses" else Answer(200, b'{"pod": 1}')
        now = self._effective
        assert now is not None
        report = EvidenceReport(
            pod=self.pod,
            uid=self.uid,
            started_at=self._started_at,
            flags=now.revision,
            source=now.source,
            epoch=now.epoch,
            budgets=now.budgets.revision,
            counters=self._ledger.counters(),
            in_flight=self._ledger.in_flight,
            ring=self._ledger.ring() if history else (),
            long_ring=self._ledger.long_ring() if history else (),
        )
        return Answer(200, report.model_dump_json(by_alias=True).encode())

    def _control(self, body: bytes) -> Answer:
        """Some of the behaviour's fields; the others stay."""
        try:
            changes = Behaviour.model_validate_json(body)
        except ValidationError as error:
            return Answer(422, str(error).encode())
        given = {name: getattr(changes, name) for name in changes.model_fields_set}
        self.behaviour = self.behaviour.model_copy(update=given)
        if self.behaviour.crash:
            os._exit(13)
        if self._effective:
            self._choose(self._effective)
        return Answer(200)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            self.board.poll()

    def _flags_changed(self, now: Effective) -> None:
        if now.source == "lease" and not self.behaviour.obedient:
            return
        self._effective = now
        self._ledger.revise(now.revision, now.budgets)
        self._choose(now)
        if not self._remembers and now.source == "file" and now.budgets.p95_ms:
            self._remembers = True
            moment = time.time()
            prefill(self._ledger, self._rule, now.budgets, self.behaviour, moment, self.uid)
            self._started_at = moment - self.behaviour.history_seconds

    def _choose(self, now: Effective) -> None:
        features: dict[str, Any] = now.features.model_dump(mode="json", by_alias=True)
        self._rule = self.behaviour.rule(now.revision, features)


async def _serve(environ: Mapping[str, str]) -> None:
    stub = Stub(environ)
    if stub.behaviour.crash:
        sys.exit(13)
    host = environ.get("MEMORYSTACK_HOST", "127.0.0.1")
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    api = await listen(host, int(environ.get("MEMORYSTACK_PORT", "8080")), stub.api, stub.flights)
    second: set[asyncio.Task[None]] = set()
    inside = await listen(host, int(environ.get("MEMORYSTACK_INTERNAL_PORT", "9090")), stub.inside, second)
    timers = asyncio.create_task(stub.run())
    await ending.wait()
    stub.draining = True
    api.close()
    if stub.flights and not stub.behaviour.hang:
        await asyncio.wait(stub.flights, timeout=float(environ.get("MEMORYSTACK_DRAIN_SECONDS", "10")))
    inside.close()
    timers.cancel()


def main() -> None:
    """Exit code 2: STUB_BEHAVIOUR makes no sense."""
    try:
        asyncio.run(_serve(os.environ))
    except ValidationError as error:
        sys.stderr.write(f"{VARIABLE}: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
