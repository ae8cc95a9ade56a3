"""What a stub pod does: latencies by flags in force, failures, bursts, and the ways in which it is broken.

Knows: values and chance. Must not know: HTTP. A test writes it as the variable STUB_BEHAVIOUR of the pod template, or changes it
in a running pod by PUT /control on its second port.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from memorystack_runtime.contract import Features

__all__ = ["VARIABLE", "Behaviour", "Burst", "Rule"]

VARIABLE: Final = "STUB_BEHAVIOUR"
Z95: Final = 1.6448536269514722
"""The standard normal's 95th percentile."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


def _known(part: Mapping[str, Any]) -> Mapping[str, Any]:
    _part_of(part, Features().model_dump(mode="json", by_alias=True))
    return part


class Rule(_Value):
    """Log-normal latencies for the flags that it fits."""

    when: Annotated[Mapping[str, Any], AfterValidator(_known)] = {}
    """A part of the features as JSON, as {"httpPool": {"connections": 1}}; empty fits all."""
    revision: str = ""
    """Fits this flags revision only; empty fits all."""
    p95_ms: Annotated[float, Field(gt=0, le=60_000)] = 150.0
    sigma: Annotated[float, Field(ge=0, le=3)] = 0.6
    """Of the latency's logarithm."""
    failed_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Requests answered with 500."""
    units: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Work that each request asks of the shared dependency, and waits for, beside its own latency."""

    def fits(self, revision: str, features: Mapping[str, Any]) -> bool:
        """Whether it is about these flags."""
        return self.revision in {"", revision} and _part_of(self.when, features)

    def share_over(self, milliseconds: float) -> float:
        """The share of its answers that takes longer, failures at every edge."""
        if self.sigma == 0:
            slow = float(self.p95_ms > milliseconds)
        else:
            score = Z95 + math.log(milliseconds / self.p95_ms) / self.sigma
            slow = 0.5 * math.erfc(score / math.sqrt(2))
        return self.failed_share + (1 - self.failed_share) * slow

    def latency(self, chance: random.Random) -> float:
        """One, in seconds."""
        return self.p95_ms / 1000 * math.exp(self.sigma * (chance.gauss(0, 1) - Z95))


class Burst(_Value):
    """All latencies are `factor` times as long for `seconds` in every `every_seconds` of the wall clock: in all pods at once."""

    every_seconds: Annotated[float, Field(gt=0)] = 20.0
    seconds: Annotated[float, Field(ge=0)] = 2.0
    factor: Annotated[float, Field(gt=0)] = 2.0

    def now(self, wall: float) -> float:
        """The factor at this moment, in Unix seconds."""
        return self.factor if wall % self.every_seconds < self.seconds else 1.0

    def within(self, start: float, end: float) -> float:
        """How many seconds of this stretch of time, in Unix seconds, are bursts."""
        return self._until(end) - self._until(start)

    def _until(self, wall: float) -> float:
        return wall // self.every_seconds * self.seconds + min(self.seconds, wall % self.every_seconds)


class Behaviour(_Value):
    """The first rule that fits counts; where none does, the answers take 150 ms at p95."""

    rules: tuple[Rule, ...] = ()
    burst: Burst | None = None
    shared: str = ""
    """Address of a `SharedDependency`; empty: there is none."""
    ready: bool = True
    """What /readyz says."""
    alive: bool = True
    """What /healthz says."""
    hang: bool = False
    """Requests of the API are taken and never answered."""
    evidence: Literal["Answers", "Silent", "Garbage", "Refuses"] = "Answers"
    obedient: bool = True
    """False: leases are not honoured, so no flag is ever confirmed."""
    crash: bool = False
    """The process ends with exit code 13 at once."""
    history_seconds: Annotated[float, Field(ge=0, le=86_400)] = 86_400.0
    """How long it claims to have served before its start."""
    history_rate: Annotated[float, Field(ge=0, le=10_000)] = 25.0
    """Requests per second then."""

    def rule(self, revision: str, features: Mapping[str, Any]) -> Rule:
        """For the flags in force."""
        return next((rule for rule in self.rules if rule.fits(revision, features)), Rule())


def _part_of(part: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    """Raises ValueError at a name that is no feature's: such a rule would never fit, and nobody would be told."""
    for key in part:
        if key not in whole:
            msg = f"{key!r} is no feature: write them as the resource's JSON has them (httpPool, parallelIngest, cache)"
            raise ValueError(msg)
    return all(
        _part_of(value, whole[key]) if isinstance(value, Mapping) else whole[key] == value
        for key, value in part.items()
    )
