"""The second port, in no Service and without keys: health, readiness, metrics and evidence for those who run the pod."""

from __future__ import annotations

import time
from dataclasses import dataclass

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from memorystack_runtime.contract import EVIDENCE_PATH, EvidenceReport
from memorystack_runtime.evidence import Ledger
from memorystack_runtime.flags import FlagBoard
from memorystack_runtime.memory import MemoryService
from memorystack_runtime.pulse import LoopLag
from memorystack_runtime.settings import Settings
from memorystack_runtime.telemetry import Telemetry

__all__ = ["Inside", "internal_app"]


@dataclass
class Inside:
    """What the second port shows."""

    settings: Settings
    memory: MemoryService
    board: FlagBoard
    ledger: Ledger
    lag: LoopLag
    telemetry: Telemetry
    started_at: float
    draining: bool = False

    def report(self, *, history: bool) -> EvidenceReport:
        """Raw counters as of now."""
        current = self.board.current
        if current is None:
            msg = "no flags are in force yet"
            raise LookupError(msg)
        return EvidenceReport(
            pod=self.settings.pod_name,
            uid=self.settings.pod_uid or self.settings.pod_name,
            started_at=self.started_at,
            flags=current.revision,
            source=current.source,
            epoch=current.epoch,
            budgets=current.budgets.revision,
            counters=self.ledger.counters(),
            in_flight=self.ledger.in_flight,
            event_loop_lag_ms=self.lag.milliseconds,
            ring=self.ledger.ring() if history else (),
            long_ring=self.ledger.long_ring() if history else (),
        )


def internal_app(inside: Inside) -> Starlette:
    """The application of the second port."""

    async def alive(request: Request) -> Response:
        del request
        return _json({"status": "ok", "uptimeSeconds": round(time.time() - inside.started_at, 1)})

    async def ready(request: Request) -> Response:
        del request
        if inside.draining:
            return _json({"ready": False, "problems": {"process": "is draining"}}, 503)
        state = await inside.memory.ready()
        return _json({"ready": state.ready, "problems": state.problems}, 200 if state.ready else 503)

    async def metrics(request: Request) -> Response:
        del request
        return Response(inside.telemetry.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def evidence(request: Request) -> Response:
        report = inside.report(history=request.query_params.get("history") == "1")
        return Response(report.model_dump_json(by_alias=True), media_type="application/json")

    return Starlette(
        routes=[
            Route("/healthz", alive),
            Route("/readyz", ready),
            Route("/metrics", metrics),
            Route(EVIDENCE_PATH, evidence),
        ]
    )


def _json(value: object, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status_code=status, media_type="application/json")
