"""The resource that people write: `MemoryStack` and its spec, as far as its behaviour exists.

Knows: fields, defaults and static rules. Must not know: how a rule is enforced elsewhere, or any state.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from memorystack_operator.api.durations import Duration
from memorystack_runtime import contract

__all__ = ["API_VERSION", "FEATURE_NAMES", "KIND", "FeatureName", "MemoryStack", "Metadata", "Spec"]

API_VERSION: Final = "memorystack.dev/v1alpha1"
KIND: Final = "MemoryStack"

FeatureName = Literal["httpPool", "parallelIngest", "cache"]
FEATURE_NAMES: Final[tuple[FeatureName, ...]] = ("httpPool", "parallelIngest", "cache")


class Model(BaseModel):
    """Frozen, camelCase, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class SecretKeyRef(Model):
    name: str
    key: str


class Qdrant(Model):
    url: str
    api_key_secret_ref: SecretKeyRef | None = None
    ca_secret_ref: SecretKeyRef | None = None
    collection: str = "memories"


class Redis(Model):
    """Exactly one of the two."""

    url: str | None = None
    url_secret_ref: SecretKeyRef | None = None


class Embedder(Model):
    url: str
    model: str
    dimensions: Annotated[int, Field(ge=1, le=65536)]
    api_key_secret_ref: SecretKeyRef | None = None


class Auth(Model):
    """Exactly one of the two; an open API is never the silent default."""

    api_keys_secret_ref: SecretKeyRef | None = None
    disabled: bool = False


class HttpPoolSpec(Model):
    enabled: bool = False
    connections: Annotated[int, Field(ge=1, le=1024)] = 10
    keep_alive: Duration = timedelta(seconds=4)


class ParallelIngestSpec(Model):
    concurrency: Annotated[int, Field(ge=0, le=64)] = 0


class CacheSpec(Model):
    max_size: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    ttl: Duration = timedelta(seconds=60)


class FeaturesSpec(Model):
    """The flags as written in the CR; `flags()` gives the runtime's own values."""

    http_pool: HttpPoolSpec = HttpPoolSpec()
    parallel_ingest: ParallelIngestSpec = ParallelIngestSpec()
    cache: CacheSpec = CacheSpec()

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
    operation: Literal["recall", "store"]
    p95: Duration


class Pause(Model):
    """`pause: {}` waits for a person."""


class Step(Model):
    """Either `{weight, minDuration}` or `{pause: {}}`."""

    weight: Annotated[int, Field(ge=1, le=99)] | None = None
    min_duration: Duration = timedelta(seconds=60)
    pause: Pause | None = None


class Analysis(Model):
    false_rollback_rate: Annotated[str, Field(pattern=r"^0\.[0-9]{1,6}$")] = "0.01"
    false_promotion_rate: Annotated[str, Field(pattern=r"^0\.[0-9]{1,6}$")] = "0.05"
    interval: Duration = timedelta(seconds=5)
    timeout: Duration = timedelta(minutes=30)
    on_inconclusive: Literal["Rollback", "Hold"] = "Rollback"


class RolloutSpec(Model):
    budgets: tuple[Budget, ...] = (
        Budget(operation="recall", p95=timedelta(milliseconds=250)),
        Budget(operation="store", p95=timedelta(milliseconds=250)),
    )
    max_error_percent: Annotated[int, Field(ge=1, le=50)] = 1
    order: tuple[FeatureName, ...] = FEATURE_NAMES
    on_reject: Literal["Stop", "Continue"] = "Stop"
    steps: tuple[Step, ...] = (
        Step(weight=10, min_duration=timedelta(seconds=60)),
        Step(weight=50, min_duration=timedelta(seconds=60)),
    )
    analysis: Analysis = Analysis()
    paused: bool = False

    def wire_budgets(self) -> contract.Budgets:
        """The budgets as the runtime counts by them; their revision depends on their values only."""
        plain = contract.Budgets(p95_ms={b.operation: _ms(b.p95) for b in self.budgets})
        return plain.model_copy(update={"revision": contract.revision_of(plain, prefix="b1")})


class EnvVar(Model):
    name: str
    value: str


class Template(Model):
    """Pod overrides."""

    env: tuple[EnvVar, ...] = ()
    resources: dict[Literal["requests", "limits"], dict[str, str]] = {}
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    node_selector: dict[str, str] = {}
    service_account_name: str | None = None


class Spec(Model):
    replicas: Annotated[int, Field(ge=1, le=1000)]
    image: str = ""
    qdrant: Qdrant
    redis: Redis | None = None
    embedder: Embedder
    auth: Auth
    features: FeaturesSpec = FeaturesSpec()
    rollout: RolloutSpec = RolloutSpec()
    template: Template = Template()


class Metadata(Model):
    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}


class MemoryStack(Model):
    """One object as the API server, or a file, holds it; its status travels apart (`api.status`)."""

    api_version: Literal["memorystack.dev/v1alpha1"] = API_VERSION
    kind: Literal["MemoryStack"] = KIND
    metadata: Metadata
    spec: Spec


def _ms(value: timedelta) -> int:
    return round(value.total_seconds() * 1000)
