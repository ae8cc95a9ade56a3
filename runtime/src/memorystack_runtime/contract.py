"""What the runtime and the operator have agreed upon: flags, the lease, evidence, names and paths.

Knows: the shapes that cross the line between the two. Must not know: how either side works. Depends on pydantic only.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

__all__ = [
    "ANNOTATION_FLAGS",
    "BUDGETS_FILE",
    "CONFIG_DIR_VARIABLE",
    "EVIDENCE_PATH",
    "FLAGS_FILE",
    "LADDER_MS",
    "LEASE_FILE",
    "LONG_RING_LENGTH",
    "LONG_RING_SECONDS",
    "OPERATIONS",
    "RING_LENGTH",
    "RING_SECONDS",
    "Budgets",
    "CacheFlags",
    "Counters",
    "EvidenceReport",
    "Features",
    "FlagLease",
    "FlagsFile",
    "HttpPool",
    "Operation",
    "ParallelIngest",
    "RevisionCounters",
    "Snapshot",
    "revision_of",
]

Operation = Literal["recall", "store", "get", "delete"]
OPERATIONS: Final[tuple[Operation, ...]] = ("recall", "store", "get", "delete")
"""Every request that is counted belongs to one of these; nothing else becomes a label."""

LADDER_MS: Final[tuple[int, ...]] = (
    5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50, 63, 80, 100, 125, 160, 200, 250, 320, 400, 500, 1000,
)  # fmt: skip
"""Latency edges in milliseconds; each counts the requests that took *longer* (verdict.md 1.6).

Never more than a third apart below half a second: noise is measured at the edge that about 5 % pass, and of a fast stack
the next edge below would be passed by most requests, whose share says nothing of the slow ones.
"""

RING_SECONDS: Final = 30
RING_LENGTH: Final = 60
LONG_RING_SECONDS: Final = 600
LONG_RING_LENGTH: Final = 144
"""The second ring: totals every ten minutes over a day."""
EVIDENCE_PATH: Final = "/internal/evidence"
"""On the second port; `?history=1` adds the ring of snapshots."""

CONFIG_DIR_VARIABLE: Final = "MEMORYSTACK_CONFIG_DIR"
"""The folder with the three files below: one projected volume on Kubernetes, a plain folder on one machine."""
FLAGS_FILE: Final = "flags.json"
BUDGETS_FILE: Final = "budgets.json"
LEASE_FILE: Final = "lease.json"
"""Holds the value of the pod's annotation `memorystack.dev/flags`; empty or absent: no lease."""
ANNOTATION_FLAGS: Final = "memorystack.dev/flags"


class Shape(BaseModel):
    """A frozen value; camelCase in JSON, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class HttpPool(Shape):
    """Connections to the embedder and to Qdrant; off means one connection per request."""

    enabled: bool = False
    """False: a connection per request."""
    connections: Annotated[int, Field(ge=1, le=1024)] = 10
    """Connections per dependency; further calls wait."""
    keep_alive_ms: Annotated[int, Field(ge=100, le=600_000)] = 4000
    """How long an idle connection is kept."""


class ParallelIngest(Shape):
    """How a document's chunks are embedded; 0 = one chunk per request, one after the other."""

    concurrency: Annotated[int, Field(ge=0, le=64)] = 0
    """Requests in flight for one document; 0: one after the other."""


class CacheFlags(Shape):
    """The in-process LRU of recalls (entries) and the life of a cached recall in LRU and Redis."""

    max_size: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    """Entries in each pod's own cache."""
    ttl_ms: Annotated[int, Field(ge=100, le=86_400_000)] = 60_000
    """How long a cached recall lives."""


class Features(Shape):
    """The flags; each default is "off", as before the optimisation."""

    http_pool: HttpPool = HttpPool()
    """Connections to the embedder and to Qdrant."""
    parallel_ingest: ParallelIngest = ParallelIngest()
    """How a document's chunks are embedded."""
    cache: CacheFlags = CacheFlags()
    """Cached recalls."""


class FlagsFile(Shape):
    """Content of `flags.json`: the stable flags, as the operator wrote them."""

    revision: str
    features: Features


class Budgets(Shape):
    """Content of `budgets.json`: per operation the p95 budget in milliseconds."""

    revision: str = ""
    p95_ms: dict[Operation, Annotated[int, Field(ge=1, le=600_000)]] = {}


class FlagLease(Shape):
    """Content of `lease.json`: flags lent to one pod until the lender falls silent.

    A pod honours it only after it has seen the file appear or change since its own start, and drops it when `renewal`
    has not changed for `ttl_seconds` by the pod's own monotonic clock. A lower `epoch` than one seen before is ignored.
    """

    epoch: Annotated[int, Field(ge=0)]
    revision: str
    features: Features
    ttl_seconds: Annotated[int, Field(ge=1, le=3600)] = 30
    renewal: Annotated[int, Field(ge=0)]
    """Grows by one with each renewal."""


class Counters(Shape):
    """Cumulative counts of one operation under one (flags, budgets) revision since the process started.

    A request is counted once it is decided: when it ends, or when it runs past its budget (then it is bad for good).
    bad = slower than the budget, failed, or still running past the budget. failed = 5xx, refused at admission (429, 503),
    or cut off by the deadline. A 4xx of the client's making is in none of them. `over[i]` counts the decided requests
    that took longer than `LADDER_MS[i]`, failed ones at every edge.
    """

    requests: Annotated[int, Field(ge=0)] = 0
    bad: Annotated[int, Field(ge=0)] = 0
    failed: Annotated[int, Field(ge=0)] = 0
    over: tuple[int, ...] = (0,) * len(LADDER_MS)


def _known(operations: Any) -> Any:
    if not isinstance(operations, dict):
        return operations
    return {name: counters for name, counters in operations.items() if name in OPERATIONS}


class RevisionCounters(Shape):
    """The counters of the requests *admitted* under one flags revision and one budgets revision."""

    flags: str
    budgets: str
    operations: Annotated[dict[Operation, Counters], BeforeValidator(_known)]
    """Of a newer runtime's operations only those are read that the reader knows."""


class Snapshot(Shape):
    """One entry of the ring: totals of the process at a moment, one each 30 s."""

    age_seconds: float
    """How long before the report this was taken."""
    counters: tuple[RevisionCounters, ...]


class EvidenceReport(Shape):
    """What `/internal/evidence` answers: raw counters, never rates."""

    pod: str
    uid: str
    started_at: float
    """Unix seconds of the process's start: with `uid` the key of its counters; another value means they began at 0."""
    flags: str
    """Revision in force now."""
    source: Literal["default", "environment", "file", "lease"]
    epoch: int = 0
    """Highest lease epoch seen."""
    budgets: str
    counters: tuple[RevisionCounters, ...]
    """The current and the two previous pairs of revisions."""
    in_flight: int = 0
    event_loop_lag_ms: float = 0.0
    """Largest lag of the event loop in the last 5 s: a starved machine shows here."""
    ring: tuple[Snapshot, ...] = ()
    """Oldest first; empty unless asked for with `?history=1`."""
    long_ring: tuple[Snapshot, ...] = ()
    """The same totals every ten minutes over a day; empty from a runtime that does not keep it."""


def revision_of(value: BaseModel, *, prefix: str = "v1") -> str:
    """Hash of our own canonical JSON (sorted keys, no spaces), 12 hex digits behind a version prefix."""
    text = json.dumps(value.model_dump(mode="json", by_alias=True), sort_keys=True, separators=(",", ":"))
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
