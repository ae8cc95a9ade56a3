"""The resource that people write: `MemoryStack` and its spec, as far as its behaviour exists.

Knows: fields, defaults and static rules. Must not know: how a rule is enforced elsewhere, or any state.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from memorystack_operator.api import rules
from memorystack_operator.api.backends import Auth, Embedder, Qdrant, Redis
from memorystack_operator.api.cel import Cel, listed, ruled, validations
from memorystack_operator.api.fields import (
    BudgetTime,
    Interval,
    KeepAlive,
    Model,
    Name,
    Rate,
    Stabilization,
    StepTime,
    Timeout,
    Ttl,
)
from memorystack_operator.api.pods import Template
from memorystack_operator.api.surroundings import Autoscaling, NetworkRules, PodMonitorSpec
from memorystack_runtime import contract

__all__ = ["API_VERSION", "FEATURE_NAMES", "KIND", "FeatureName", "MemoryStack", "Metadata", "Spec"]

API_VERSION: Final = "memorystack.dev/v1alpha1"
KIND: Final = "MemoryStack"

FeatureName = Literal["httpPool", "parallelIngest", "cache"]
FEATURE_NAMES: Final[tuple[FeatureName, ...]] = ("httpPool", "parallelIngest", "cache")


class HttpPoolSpec(Model):
    """Connections to the embedder and to Qdrant."""

    enabled: bool = False
    """False: a connection per request. True: connections are kept and shared."""
    connections: Annotated[int, Field(ge=1, le=1024)] = 10
    """Connections to each of the two; further requests wait."""
    keep_alive: KeepAlive = timedelta(seconds=4)
    """How long an idle connection is kept."""


class ParallelIngestSpec(Model):
    """How the chunks of a stored document are embedded."""

    concurrency: Annotated[int, Field(ge=0, le=64)] = 0
    """Requests in flight for one document; 0: one chunk per request, one after the other."""


class CacheSpec(Model):
    """Cached recalls."""

    max_size: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    """Entries in each pod's own cache."""
    ttl: Ttl = timedelta(seconds=60)
    """How long a cached recall lives, in the pod and in Redis."""


class FeaturesSpec(Model):
    """The flags. A change is tried on a few warm pods, judged, and promoted or taken back."""

    http_pool: HttpPoolSpec = HttpPoolSpec()
    """Connections to the embedder and to Qdrant."""
    parallel_ingest: ParallelIngestSpec = ParallelIngestSpec()
    """How the chunks of a stored document are embedded."""
    cache: CacheSpec = CacheSpec()
    """Cached recalls."""

    def flags(self) -> contract.Features:
        """The same flags in the contract's units (milliseconds)."""
        pool, cache = self.http_pool, self.cache
        return contract.Features(
            http_pool=contract.HttpPool(
                enabled=pool.enabled, connections=pool.connections, keep_alive_ms=_ms(pool.keep_alive)
            ),
            parallel_ingest=contract.ParallelIngest(concurrency=self.parallel_ingest.concurrency),
            cache=contract.CacheFlags(max_size=cache.max_size, ttl_ms=_ms(cache.ttl)),
        )


class Budget(Model):
    """The latency that an operation may have."""

    operation: Literal["recall", "store"]
    """A store lasts until the memory can be recalled."""
    p95: BudgetTime
    """95 of 100 requests must be faster."""


class Pause(Model):
    """`pause: {}` waits for a person."""


class Step(Model):
    """Either `{weight, minDuration}` or `{pause: {}}`."""

    model_config = ruled(
        Cel("has(self.weight) != has(self.pause)", "give exactly one of weight and pause: {}"),
        Cel(
            "!has(self.pause) || !has(self.minDuration)",
            "minDuration belongs to a weight, a pause waits for a person: remove it",
            ".minDuration",
        ),
    )

    weight: Annotated[int, Field(ge=1, le=99)] | None = None
    """Percentage of the pods, and so of the requests, that try the flag."""
    min_duration: StepTime = timedelta(seconds=60)
    """How long the step lasts at least; 60s where it is left out."""
    pause: Pause | None = None
    """Waits for a person (memorystack resume)."""

    @model_validator(mode="after")
    def _exclusive(self) -> Self:
        rules.exactly_one(self.weight, self.pause is not None, "weight and pause: {}")
        if self.pause is not None and "min_duration" in self.model_fields_set:
            msg = "minDuration belongs to a weight, a pause waits for a person: remove it"
            raise ValueError(msg)
        return self


class Analysis(Model):
    """How a flag is judged."""

    false_rollback_rate: Rate = "0.01"
    """Probability at most with which a flag that does no harm is taken back, for each operation."""
    false_promotion_rate: Rate = "0.05"
    """Probability at most with which a flag over its budget is promoted."""
    sensitivity: Literal["Standard", "Strict"] = "Standard"
    """Strict spares a canary that is over budget in a burst only, and finds a bad one later."""
    require: Literal["WithinBudget", "Better"] = "WithinBudget"
    """Better rejects a flag that keeps the budget and is proved worse than what it replaces."""
    promotion: Literal["Plain", "Paired"] = "Plain"
    """Paired decides sooner under bursts, for flags whose effect on shared parts ends with the request."""
    interval: Interval = timedelta(seconds=5)
    """How often the pods are read once the canary has 500 requests; before that each second."""
    timeout: Timeout = timedelta(minutes=30)
    """Time with traffic after which a stage without a verdict is inconclusive."""
    on_inconclusive: Literal["Rollback", "Hold"] = "Rollback"
    """Hold waits for a person; without traffic it always holds."""


_WEIGHTS: Final = "self.filter(s, has(s.weight)).map(s, s.weight)"
_STRICTLY: Final = "self.all(s, !has(s.weight) || self.exists_one(t, has(t.weight) && t.weight == s.weight))"
_RISING: Final = Cel(f"{_WEIGHTS}.isSorted() && {_STRICTLY}", "weights must rise from step to step")
_WEIGHTED: Final = Cel(
    "self.exists(s, has(s.weight))", "no step has a weight: add one, as {weight: 34, minDuration: 60s}"
)


class RolloutSpec(Model):
    """How a changed flag reaches all pods."""

    budgets: Annotated[
        tuple[Budget, ...],
        Field(min_length=1, max_length=4, json_schema_extra=listed("map", "operation")),
    ] = (
        Budget(operation="recall", p95=timedelta(milliseconds=250)),
        Budget(operation="store", p95=timedelta(milliseconds=250)),
    )
    """What each operation may take; left out: 250ms for recall and for store."""
    max_error_percent: Annotated[int, Field(ge=1, le=50)] = 1
    """Failed requests per hundred above which a canary that fails more than the others is taken back."""
    order: Annotated[tuple[FeatureName, ...], Field(max_length=8, json_schema_extra=listed("set"))] = FEATURE_NAMES
    """Order in which changed flags are tried, one at a time; those that are not named come last."""
    on_reject: Literal["Stop", "Continue"] = "Stop"
    """After a rejected flag: Stop tries no other, Continue goes on with the next."""
    steps: Annotated[
        tuple[Step, ...],
        Field(min_length=1, max_length=20, json_schema_extra=validations(_WEIGHTED, _RISING)),
    ] = (
        Step(weight=10, min_duration=timedelta(seconds=60)),
        Step(weight=50, min_duration=timedelta(seconds=60)),
    )
    """Rising weights, then everything; left out: 10 and 50, each for 60s."""
    analysis: Analysis = Analysis()
    """How a flag is judged."""
    stabilization: Stabilization = timedelta(hours=720)
    """How long the stack is watched after a promotion; 0s: not at all."""
    paused: bool = False
    """True: everything stays where it is; outranks memorystack resume."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        rules.rising([s.weight for s in self.steps if s.weight is not None])
        rules.no_repeats([b.operation for b in self.budgets], "budget per operation")
        rules.no_repeats(self.order, "place per flag")
        return self

    def wire_budgets(self) -> contract.Budgets:
        """The budgets as the runtime counts by them; their revision depends on their values only."""
        plain = contract.Budgets(p95_ms={b.operation: _ms(b.p95) for b in self.budgets})
        return plain.model_copy(update={"revision": contract.revision_of(plain, prefix="b1")})


class Spec(Model):
    """What people want. The operator never writes it."""

    model_config = ruled(
        Cel("has(self.replicas) != has(self.autoscaling)", "give exactly one of replicas and autoscaling", ".replicas"),
    )

    replicas: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Pods of the memory service; exactly one of replicas and autoscaling."""
    autoscaling: Autoscaling | None = None
    """An autoscaler that decides how many pods there are."""
    image: Annotated[str, StringConstraints(max_length=512)] = ""
    """The runtime's image; empty: the operator's own release."""
    qdrant: Qdrant
    """The vector store."""
    redis: Redis | None = None
    """The cache that the pods share; left out: each pod caches by itself."""
    embedder: Embedder
    """Turns texts into vectors: anything that speaks OpenAI's /embeddings."""
    auth: Auth
    """Who may call the API: exactly one of apiKeysSecretRef and disabled: true."""
    features: FeaturesSpec = FeaturesSpec()
    """The flags. A change is tried on a few warm pods, judged, and promoted or taken back."""
    rollout: RolloutSpec = RolloutSpec()
    """How a changed flag reaches all pods."""
    template: Template = Template()
    """Overrides of the runtime's pods."""
    network_policy: NetworkRules | None = None
    """Who may open connections to the pods; left out: everybody."""
    pod_monitor: PodMonitorSpec | None = None
    """Metrics for the Prometheus operator; left out: none is made."""

    @property
    def least_replicas(self) -> int:
        """Pods that are there at least: as asked for, or as many as an autoscaler leaves."""
        return self.replicas or (self.autoscaling.min_replicas if self.autoscaling else 1)

    @model_validator(mode="after")
    def _exclusive(self) -> Self:
        rules.exactly_one(self.replicas, self.autoscaling, "replicas and autoscaling")
        return self


class Metadata(BaseModel):
    """What matters here of an object's metadata; the API server writes more, which is let pass."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]{0,51}[a-z0-9])?$")]
    """At most 53 characters, so that the children's names still fit."""
    namespace: Name = "default"
    uid: str = ""
    generation: int = 0
    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}


class MemoryStack(Model):
    """An AI agent's memory service, and the flags that tune it: each change is tried on a few warm pods and judged."""

    api_version: Literal["memorystack.dev/v1alpha1"] = API_VERSION
    kind: Literal["MemoryStack"] = KIND
    metadata: Metadata
    spec: Spec


def _ms(value: timedelta) -> int:
    return round(value.total_seconds() * 1000)
