"""The resource that people write: `MemoryStack` and its spec, as far as its behaviour exists.

Knows: fields, defaults and static rules. Must not know: how a rule is enforced elsewhere, or any state.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from memorystack_operator.api import rules
from memorystack_operator.api.durations import Duration
from memorystack_runtime import contract

__all__ = ["API_VERSION", "FEATURE_NAMES", "KIND", "FeatureName", "MemoryStack", "Metadata", "Spec"]

API_VERSION: Final = "memorystack.dev/v1alpha1"
KIND: Final = "MemoryStack"

FeatureName = Literal["httpPool", "parallelIngest", "cache"]
FEATURE_NAMES: Final[tuple[FeatureName, ...]] = ("httpPool", "parallelIngest", "cache")


def _between(low: timedelta, high: timedelta, text: str) -> AfterValidator:
    return AfterValidator(lambda value: rules.within(value, low, high, text))


def _web(text: str) -> str:
    if not text.startswith(("http://", "https://")) or text[-2:] == "//":
        msg = f"{text!r} is no URL: write http://host:port or https://host:port"
        raise ValueError(msg)
    return text


def _redis(text: str) -> str:
    if not text.startswith(("redis://", "rediss://")):
        msg = f"{text!r} is no Redis URL: write redis://host:6379/0, or rediss:// for TLS"
        raise ValueError(msg)
    return text


def _said(value: object) -> object:
    """YAML reads 0.01 as a number; the schema takes a string, since floats differ between readers."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        msg = f'{value} is a number: put it in quotes, as "{value}"'
        raise ValueError(msg)
    return value


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$", max_length=253)]
Label = Annotated[str, StringConstraints(max_length=316)]
Url = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_web)]
RedisUrl = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_redis)]
Rate = Annotated[
    str, BeforeValidator(_said), Field(pattern=r"^0\.[0-9]{1,6}$", max_length=8), AfterValidator(rules.fraction)
]
BudgetTime = Annotated[Duration, _between(timedelta(milliseconds=5), timedelta(minutes=10), "5ms and 10m")]
KeepAlive = Annotated[Duration, _between(timedelta(milliseconds=100), timedelta(minutes=10), "100ms and 10m")]
Ttl = Annotated[Duration, _between(timedelta(milliseconds=100), timedelta(hours=24), "100ms and 24h")]
Interval = Annotated[Duration, _between(timedelta(seconds=1), timedelta(minutes=5), "1s and 5m")]
Timeout = Annotated[Duration, _between(timedelta(minutes=1), timedelta(hours=168), "1m and 168h (7 days)")]
StepTime = Annotated[Duration, _between(timedelta(0), timedelta(hours=168), "0s and 168h (7 days)")]


class Model(BaseModel):
    """Frozen, camelCase, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class SecretKeyRef(Model):
    """One key of a Secret in the stack's namespace."""

    name: Name
    key: Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]{1,253}$")]


class Qdrant(Model):
    """The vector store."""

    url: Url
    api_key_secret_ref: SecretKeyRef | None = None
    ca_secret_ref: SecretKeyRef | None = None
    collection: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")] = "memories"


class Redis(Model):
    """Exactly one of the two."""

    url: RedisUrl | None = None
    url_secret_ref: SecretKeyRef | None = None

    @model_validator(mode="after")
    def _exclusive(self) -> Self:
        rules.exactly_one(self.url, self.url_secret_ref, "url and urlSecretRef")
        return self


class Embedder(Model):
    """Anything that speaks OpenAI's /embeddings; `url` ends before that word, usually in /v1."""

    url: Url
    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    dimensions: Annotated[int, Field(ge=1, le=65536)]
    api_key_secret_ref: SecretKeyRef | None = None


class Auth(Model):
    """Exactly one of the two; an open API is never the silent default."""

    api_keys_secret_ref: SecretKeyRef | None = None
    disabled: bool = False

    @model_validator(mode="after")
    def _exclusive(self) -> Self:
        rules.exactly_one(self.api_keys_secret_ref, self.disabled, "apiKeysSecretRef and disabled: true")
        return self


class HttpPoolSpec(Model):
    enabled: bool = False
    connections: Annotated[int, Field(ge=1, le=1024)] = 10
    keep_alive: KeepAlive = timedelta(seconds=4)


class ParallelIngestSpec(Model):
    concurrency: Annotated[int, Field(ge=0, le=64)] = 0


class CacheSpec(Model):
    max_size: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    ttl: Ttl = timedelta(seconds=60)


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
    p95: BudgetTime


class Pause(Model):
    """`pause: {}` waits for a person."""


class Step(Model):
    """Either `{weight, minDuration}` or `{pause: {}}`."""

    weight: Annotated[int, Field(ge=1, le=99)] | None = None
    min_duration: StepTime = timedelta(seconds=60)
    pause: Pause | None = None

    @model_validator(mode="after")
    def _exclusive(self) -> Self:
        rules.exactly_one(self.weight, self.pause is not None, "weight and pause: {}")
        if self.pause is not None and "min_duration" in self.model_fields_set:
            msg = "minDuration belongs to a weight, a pause waits for a person: remove it"
            raise ValueError(msg)
        return self


class Analysis(Model):
    false_rollback_rate: Rate = "0.01"
    false_promotion_rate: Rate = "0.05"
    sensitivity: Literal["Standard", "Strict"] = "Standard"
    """Strict spares a canary that is over budget in a burst only, and finds a bad one later."""
    require: Literal["WithinBudget", "Better"] = "WithinBudget"
    """Better rejects a flag that keeps the budget and is proved worse than what it replaces."""
    interval: Interval = timedelta(seconds=5)
    timeout: Timeout = timedelta(minutes=30)
    on_inconclusive: Literal["Rollback", "Hold"] = "Rollback"


class RolloutSpec(Model):
    budgets: Annotated[tuple[Budget, ...], Field(min_length=1, max_length=4)] = (
        Budget(operation="recall", p95=timedelta(milliseconds=250)),
        Budget(operation="store", p95=timedelta(milliseconds=250)),
    )
    max_error_percent: Annotated[int, Field(ge=1, le=50)] = 1
    order: Annotated[tuple[FeatureName, ...], Field(max_length=8)] = FEATURE_NAMES
    on_reject: Literal["Stop", "Continue"] = "Stop"
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=20)] = (
        Step(weight=10, min_duration=timedelta(seconds=60)),
        Step(weight=50, min_duration=timedelta(seconds=60)),
    )
    analysis: Analysis = Analysis()
    paused: bool = False

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


class EnvVar(Model):
    """A variable of the runtime's container, as it is; secrets do not belong here."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,253}$")]
    value: Annotated[str, StringConstraints(max_length=4096)]


class Template(Model):
    """Pod overrides."""

    env: Annotated[tuple[EnvVar, ...], Field(max_length=64)] = ()
    resources: dict[Literal["requests", "limits"], dict[Label, Label]] = {}
    labels: dict[Label, Label] = {}
    annotations: dict[Label, str] = {}
    node_selector: dict[Label, Label] = {}
    service_account_name: Name | None = None


class Spec(Model):
    """What people want."""

    replicas: Annotated[int, Field(ge=1, le=1000)]
    image: Annotated[str, StringConstraints(max_length=512)] = ""
    """Empty: the operator's own release."""
    qdrant: Qdrant
    redis: Redis | None = None
    embedder: Embedder
    auth: Auth
    features: FeaturesSpec = FeaturesSpec()
    rollout: RolloutSpec = RolloutSpec()
    template: Template = Template()


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
    """One object as the API server, or a file, holds it; its status travels apart (`api.status`)."""

    api_version: Literal["memorystack.dev/v1alpha1"] = API_VERSION
    kind: Literal["MemoryStack"] = KIND
    metadata: Metadata
    spec: Spec


def _ms(value: timedelta) -> int:
    return round(value.total_seconds() * 1000)
