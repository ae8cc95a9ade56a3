"""What can be set at the embedder, at its start and while it runs.

Knows: the names, units and bounds of the settings. Must not know: how they take effect.
"""

from __future__ import annotations

from math import exp
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Failure", "FailureMode", "Settings"]

FailureMode = Literal["rate_limit", "error", "wrong_dimension", "hang"]


class Failure(BaseModel):
    """Which requests go wrong, and how. All conditions given must hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: FailureMode
    """rate_limit: 429 with Retry-After; error: 500; wrong_dimension: 200 with vectors one too long; hang: no answer
    until the client leaves, the settings change or the server ends."""
    requests: Annotated[int, Field(ge=1)] | None = None
    """Ends after so many failed requests; None: until changed."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the matching requests that fail, evenly spread (0.25: every fourth)."""
    marker: Annotated[str, Field(min_length=1)] | None = None
    """Only requests with a text that contains this."""
    retry_after_seconds: Annotated[int, Field(ge=0, le=3600)] = 1
    """Value of the Retry-After header of rate_limit."""


class Settings(BaseModel):
    """Body of `PUT /control`; fields left out keep their value, `"failure": null` ends a failure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latency_ms: Annotated[float, Field(ge=0, le=600_000)] = 60.0
    """Time that each request takes while it is served; waiting in the queue comes on top."""
    item_latency_ms: Annotated[float, Field(ge=0, le=60_000)] = 2.0
    """Further time for each text of the request."""
    latency_spread: Annotated[float, Field(ge=0, le=2)] = 0.0
    """How much both differ from one request to the next: standard deviation of their logarithm. 0: not at all,
    which no service in a network is for long."""
    capacity: Annotated[int, Field(ge=1, le=100_000)] = 64
    """Requests served at the same time; the others wait in the order of their arrival."""
    max_batch: Annotated[int, Field(ge=1, le=2048)] = 32
    """Texts per request; more are refused with 413, as TEI does."""
    failure: Failure | None = None

    def seconds(self, texts: int, draw: float) -> float:
        """What a request of so many texts takes; `draw` is from the standard normal distribution, 0 its median."""
        return (self.latency_ms + self.item_latency_ms * texts) * exp(self.latency_spread * draw) / 1000

    def changed_by(self, body: bytes) -> Settings:
        """These settings with the JSON object's fields put in; pydantic's ValidationError names a wrong field."""
        given = Settings.model_validate_json(body)
        return self.model_copy(update={name: getattr(given, name) for name in given.model_fields_set})
