"""What a stack leans on: the vector store, Redis, the embedder, and who may call it.

Knows: fields, defaults and static rules of these. Must not know: how any of them is reached.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from memorystack_operator.api import rules
from memorystack_operator.api.cel import Cel, ruled
from memorystack_operator.api.fields import Model, RedisUrl, SecretKeyRef, Url

__all__ = ["Auth", "Embedder", "Qdrant", "Redis"]


class Qdrant(Model):
    """The vector store."""

    url: Url
    """Where it answers, as http://qdrant.data:6333."""
    api_key_secret_ref: SecretKeyRef | None = None
    """The API key, where the server wants one."""
    ca_secret_ref: SecretKeyRef | None = None
    """The PEM certificate that signed the server's own, for https with a private authority."""
    collection: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$", max_length=128)] = "memories"
    """Name of the collection; it is made where it is missing."""


class Redis(Model):
    """The cache that the pods share; without it each pod caches by itself. Give exactly one of the two."""

    model_config = ruled(
        Cel("has(self.url) != has(self.urlSecretRef)", "give exactly one of url and urlSecretRef"),
    )

    url: RedisUrl | None = None
    """As redis://redis.data:6379/0, or rediss:// for TLS. A URL with a password belongs into a Secret."""
    url_secret_ref: SecretKeyRef | None = None
    """The Secret's key that holds the URL."""

    @model_validator(mode="after")
    def _exclusive(self) -> Self:
        rules.exactly_one(self.url, self.url_secret_ref, "url and urlSecretRef")
        return self


class Embedder(Model):
    """Anything that speaks OpenAI's /embeddings."""

    url: Url
    """Where it answers; ends before the word /embeddings, usually in /v1."""
    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    """The model's name, as the server knows it."""
    dimensions: Annotated[int, Field(ge=1, le=65536)]
    """Length of the model's vectors."""
    api_key_secret_ref: SecretKeyRef | None = None
    """The API key, where the server wants one."""


class Auth(Model):
    """Who may call the API. Give exactly one of the two; an open API is never the silent default."""

    model_config = ruled(
        Cel(
            "has(self.apiKeysSecretRef) != (has(self.disabled) && self.disabled)",
            "give exactly one of apiKeysSecretRef and disabled: true",
        ),
    )

    api_keys_secret_ref: SecretKeyRef | None = None
    """A file of name:sha256 lines, one for each key."""
    disabled: bool = False
    """True: everybody may call it."""

    @model_validator(mode="after")
    def _exclusive(self) -> Self:
        rules.exactly_one(self.api_keys_secret_ref, self.disabled, "apiKeysSecretRef and disabled: true")
        return self
