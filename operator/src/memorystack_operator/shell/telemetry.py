"""The operator's own metrics: controller-runtime's names for what every controller has, `memorystack_*` for the rest.

Knows: names and labels. Must not know: who counts, or how they are served. A registry of its own, so that two operators
in one process (tests) do not share counts.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from memorystack_operator.api.status import EventReason, Phase
from memorystack_operator.core import Event, Status

__all__ = ["Telemetry"]

CONTROLLER: Final = "memorystack"
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BACK: Final = frozenset({EventReason.ROLLED_BACK, EventReason.ABORTED, EventReason.INCONCLUSIVE})


class Telemetry:
    """One operator's counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._queue_metrics()
        self._reconcile_metrics()
        self._domain_metrics()

    def _queue_metrics(self) -> None:
        one, r = ["name"], self.registry
        self._depth = Gauge("workqueue_depth", "Stacks that are due and wait.", one, registry=r).labels(CONTROLLER)
        self._adds = Counter("workqueue_adds", "Stacks whose turn came.", one, registry=r).labels(CONTROLLER)
        self._retries = Counter("workqueue_retries", "Rounds tried again.", one, registry=r).labels(CONTROLLER)
        text = "Seconds that the slowest round has taken so far."
        self._longest = Gauge("workqueue_longest_running_processor_seconds", text, one, registry=r).labels(CONTROLLER)
        text = "Seconds between being due and being begun."
        self._waited = Histogram("workqueue_queue_duration_seconds", text, one, registry=r, buckets=SECONDS).labels(
            CONTROLLER
        )

    def _reconcile_metrics(self) -> None:
        one, r = ["controller"], self.registry
        self._rounds = Counter("controller_runtime_reconcile", "Rounds.", ["controller", "result"], registry=r)
        self._errors = Counter("controller_runtime_reconcile_errors", "Rounds that failed.", one, registry=r).labels(
            CONTROLLER
        )
        self._took = Histogram(
            "controller_runtime_reconcile_time_seconds", "Seconds a round took.", one, registry=r, buckets=SECONDS
        ).labels(CONTROLLER)
        self._workers = Gauge("controller_runtime_active_workers", "Rounds under way.", one, registry=r).labels(
            CONTROLLER
        )
        text = "Requests to the API server; code <error>: no answer."
        self._requests = Counter("rest_client_requests", text, ["code", "method"], registry=r)
        text = "1 while this process leads."
        self._leads = Gauge("leader_election_master_status", text, ["name"], registry=r).labels("memorystack-operator")

    def _domain_metrics(self) -> None:
        r = self.registry
        text = "1 for the phase that a stack is in."
        self._phase = Gauge("memorystack_rollout_phase", text, ["namespace", "stack", "phase"], registry=r)
        text = "Flags taken back, by the verdict's reason."
        self._rollbacks = Counter("memorystack_rollbacks", text, ["reason"], registry=r)
        self._promotions = Counter("memorystack_promotions", "Flags that now serve everywhere.", registry=r)
        text = "Unix seconds of the last event of a watch."
        self._watched = Gauge("memorystack_watch_last_event_timestamp_seconds", text, ["resource"], registry=r)
        text = "Objects that a list found and the watch had not told."
        self._missed = Counter("memorystack_watch_missed", text, ["resource"], registry=r)
        self._writes = Counter("memorystack_writes", "Objects written, by kind.", ["kind"], registry=r)
        self._unread = Counter("memorystack_evidence_unread", "Readings of a pod's evidence that failed.", registry=r)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)

    def queued(self, late: float) -> None:
        """A round begins, so many seconds after it was due."""
        self._adds.inc()
        self._waited.observe(max(0.0, late))

    def queue_is(self, depth: int, running: int, longest: float) -> None:
        """The queue as it stands."""
        self._depth.set(depth)
        self._workers.set(running)
        self._longest.set(longest)

    def reconciled(self, result: str, seconds: float) -> None:
        """A round ended: success, requeue_after, requeue (a lost race) or error."""
        self._rounds.labels(CONTROLLER, result).inc()
        self._took.observe(seconds)
        if result in ("error", "requeue"):
            self._retries.inc()
        if result == "error":
            self._errors.inc()

    def requested(self, method: str, code: str) -> None:
        """The API server answered, or did not."""
        self._requests.labels(code, method).inc()

    def wrote(self, kind: str) -> None:
        """An object was created, changed or deleted."""
        self._writes.labels(kind).inc()

    def leading(self, leads: bool) -> None:
        """The turn began or ended."""
        self._leads.set(int(leads))

    def watched(self, resource: str, at: float) -> None:
        """The watch told something."""
        self._watched.labels(resource).set(at)

    def missed(self, resource: str, count: int) -> None:
        """A list found what the watch had not told."""
        self._missed.labels(resource).inc(count)

    def unread(self, count: int) -> None:
        """Pods that did not answer."""
        self._unread.inc(count)

    def stack_is(self, namespace: str, name: str, status: Status) -> None:
        """A stack's phase."""
        for phase in Phase:
            self._phase.labels(namespace, name, phase.value).set(int(phase == status.phase))

    def stack_gone(self, namespace: str, name: str) -> None:
        """Deleted: its series end, instead of telling its last phase for ever."""
        for phase in Phase:
            self._phase.remove(namespace, name, phase.value)

    def told(self, event: Event, status: Status) -> None:
        """Counts how stages ended."""
        if event.reason == EventReason.STAGE_PROMOTED:
            self._promotions.inc()
        elif event.reason in BACK:
            reason = status.history[-1].reason if status.history else event.reason
            self._rollbacks.labels(reason).inc()
