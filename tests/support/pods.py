"""A pod of the pure world: it counts as the runtime does."""

from __future__ import annotations

from dataclasses import dataclass, field

from memorystack_runtime.contract import LADDER_MS, Counters, FlagLease, RevisionCounters

__all__ = ["FakePod"]


@dataclass
class FakePod:
    name: str
    uid: str
    started_at: float
    flags: str
    ready: bool = True
    readable: bool = True
    obedient: bool = True
    restarts: int = 0
    surge: bool = False
    leaves_at: float | None = None
    """Unix seconds at which it is gone; it serves until then."""
    lease: FlagLease | None = None
    counts: dict[tuple[str, str], dict[str, list[int]]] = field(default_factory=dict)
    ring: list[tuple[float, tuple[RevisionCounters, ...]]] = field(default_factory=list)
    long_ring: list[tuple[float, tuple[RevisionCounters, ...]]] = field(default_factory=list)

    def serve(self, budgets: str, operation: str, requests: int, bad: int, failed: int) -> None:
        entry = self.counts.setdefault((self.flags, budgets), {}).setdefault(operation, [0, 0, 0])
        for i, value in enumerate((requests, bad, failed)):
            entry[i] += value

    def counters(self) -> tuple[RevisionCounters, ...]:
        def one(requests: int, bad: int, failed: int) -> Counters:
            # A fixed latency profile below the budget: 6 % over 100 ms, and the bad ones over every edge up to 1 s.
            over = tuple(
                requests if ms < 50 else max(bad, round(requests * 0.06)) if ms < 250 else bad for ms in LADDER_MS
            )
            return Counters(requests=requests, bad=bad, failed=failed, over=over)

        return tuple(
            RevisionCounters(flags=f, budgets=b, operations={o: one(*v) for o, v in ops.items()})
            for (f, b), ops in self.counts.items()
        )
