"""What a stack leans on: the vector store, Redis, the embedder, and who may call it.

Knows: fields, defaults and static rules of these. Must not know: how any of them is reached.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import Field, StringConstraints, model_validator

from memorystack_operator.api import rules
from memorystack_operator.api.cel import Cel, ruled, validations
from memorystack_operator.api.fields import Image, Model, Quantity, RedisUrl, SecretKeyRef, Url

__all__ = ["Auth", "Embedder", "ManagedEmbedder", "ManagedQdrant", "ManagedRedis", "Qdrant", "Redis"]


_FIXED: Final = (
    "cannot be changed after the volume was made: make a new stack, or grow the PersistentVolumeClaim by hand"
)


def _fixed() -> dict[str, Any]:
    """For a field that the API server never lets change; a file on one machine has no former value to compare with."""
    return validations(Cel("self == oldSelf", _FIXED))


class ManagedQdrant(Model):
    """One Qdrant node beside the stack. Its volume stays when the stack is deleted."""

    storage: Annotated[Quantity, Field(json_schema_extra=_fixed())]
    """Size of its volume, as 10Gi; cannot be changed."""
    storage_class_name: Annotated[str, Field(max_length=253, json_schema_extra=_fixed())] = ""
    """StorageClass of the volume; empty: the cluster's default. Cannot be changed."""
    image: Image = "qdrant/qdrant:v1.15.5-unprivileged"
    """An image that runs without root."""


class Qdrant(Model):
    """The vector store. Give exactly one of url and managed."""

    model_config = ruled(
        Cel("has(self.url) != has(self.managed)", "give exactly one of url and managed"),
        Cel(
            "!has(self.managed) || (!has(self.apiKeySecretRef) && !has(self.caSecretRef))",
            "apiKeySecretRef and caSecretRef belong to a url: remove them",
        ),
    )

    url: Url | None = None
    """Where it answers, as http://qdrant.data:6333."""
    managed: ManagedQdrant | None = None
    """One node that the operator runs."""
    api_key_secret_ref: SecretKeyRef | None = None
    """The API key, where the server wants one."""
    ca_secret_ref: SecretKeyRef | None = None
    """The PEM certificate that signed the server's own, for https with a private authority."""
    collection: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$", max_length=128)] = "memories"
    """Name of the collection; it is made where it is missing."""

    @model_validator(mode="after")
    def _exclusive(self) -> Self:
        rules.exactly_one(self.url, self.managed, "url and managed")
        rules.only_beside(self.url, (self.api_key_secret_ref, self.ca_secret_ref), "apiKeySecretRef and caSecretRef")
        return self


class ManagedRedis(Model):
    """One Redis without a volume: it only caches."""

    image: Image = "redis:7.4-alpine"
    """An image whose entrypoint is redis-server."""


class Redis(Model):
    """The cache that the pods share; without it each pod caches by itself. Give exactly one of the three."""

    model_config = ruled(
        Cel(
            "[has(self.url), has(self.urlSecretRef), has(self.managed)].exists_one(given, given)",
            "give exactly one of url, urlSecretRef and managed: {}",
        ),
    )

    url: RedisUrl | None = None
    """As redis://redis.data:6379/0, or rediss:// for TLS. A URL with a password belongs into a Secret."""
    url_secret_ref: SecretKeyRef | None = None
    """The Secret's key that holds the URL."""
    managed: ManagedRedis | None = None
    """One that the operator runs."""

    @model_validator(mode="after")
    def _exclusive(self) -> Self:
        rules.exactly_one(self.url, self.url_secret_ref, "url, urlSecretRef and managed: {}", self.managed)
        return self


class ManagedEmbedder(Model):
    """The small bundled embedder: hashed words, for a first try. Near texts score near, but it is no language model."""

    dimensions: Annotated[int, Field(ge=1, le=4096)] = 384
    """Length of its vectors."""
    image: Annotated[str, StringConstraints(max_length=512)] = ""
    """Empty: the runtime's own image, which holds it."""


class Embedder(Model):
    """Anything that speaks OpenAI's /embeddings. Give exactly one of url (with model and dimensions) and managed."""

    model_config = ruled(
        Cel("has(self.url) != has(self.managed)", "give exactly one of url and managed: {}"),
        Cel(
            "!has(self.url) || (has(self.model) && has(self.dimensions))",
            "a url needs the name of its model, and its dimensions: add model and dimensions",
        ),
        Cel(
            "!has(self.managed) || (!has(self.model) && !has(self.dimensions) && !has(self.apiKeySecretRef))",
            "model, dimensions and apiKeySecretRef belong to a url: remove them",
        ),
    )

    url: Url | None = None
    """Where it answers; ends before the word /embeddings, usually in /v1."""
    model: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None
    """The model's name, as the server knows it."""
    dimensions: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Length of the model's vectors."""
    api_key_secret_ref: SecretKeyRef | None = None
    """The API key, where the server wants one."""
    managed: ManagedEmbedder | None = None
    """The small bundled one, for a first try."""

    @property
    def vector_length(self) -> int:
        """Of whichever it is."""
        return self.managed.dimensions if self.managed else self.dimensions or 0

    @model_validator(mode="after")
    def _exclusive(self) -> Self:
        rules.exactly_one(self.url, self.managed, "url and managed: {}")
        if self.url and not (self.model and self.dimensions):
            msg = "a url needs the name of its model, and its dimensions: add model and dimensions"
            raise ValueError(msg)
        theirs = (self.model, self.dimensions, self.api_key_secret_ref)
        rules.only_beside(self.url, theirs, "model, dimensions and apiKeySecretRef")
        return self


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
