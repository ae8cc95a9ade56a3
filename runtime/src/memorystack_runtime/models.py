"""The shapes of requests and answers, checked at the edge. Knows fields and limits; nothing of how they are served."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic.alias_generators import to_camel

__all__ = [
    "ChunkText",
    "Memory",
    "Namespace",
    "NewMemory",
    "RecallHit",
    "RecallQuery",
    "RecallResult",
    "StoreRequest",
    "StoreResult",
    "StoredMemory",
]

Namespace = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@/-]{0,127}$")]
MemoryId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$")]
Text = Annotated[str, StringConstraints(max_length=1_000_000)]


class Shape(BaseModel):
    """camelCase in JSON; an unknown field is refused by name."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class NewMemory(Shape):
    """A text to remember. Without an id the text's own hash is the id, so storing it again changes nothing."""

    id: MemoryId | None = None
    text: Text
    metadata: dict[str, Any] = {}

    @field_validator("text")
    @classmethod
    def _not_blank(cls, text: str) -> str:
        if not text.strip():
            msg = "must hold something besides white space"
            raise ValueError(msg)
        return text


class StoreRequest(Shape):
    """One memory (`text`, with `id` and `metadata` if wanted) or many (`memories`) in one namespace."""

    namespace: Namespace
    id: MemoryId | None = None
    text: Text | None = None
    metadata: dict[str, Any] = {}
    memories: Annotated[list[NewMemory], Field(min_length=1, max_length=100)] | None = None

    @model_validator(mode="after")
    def _one_of_the_two(self) -> StoreRequest:
        if (self.text is None) == (self.memories is None):
            msg = "give exactly one of text and memories"
            raise ValueError(msg)
        if self.text is not None and not self.text.strip():
            msg = "text must hold something besides white space"
            raise ValueError(msg)
        ids = [m.id for m in self.memories or [] if m.id]
        if len(ids) != len(set(ids)):
            msg = "memories must not hold one id twice"
            raise ValueError(msg)
        return self

    def documents(self) -> list[NewMemory]:
        """The memories of either form."""
        if self.memories is not None:
            return self.memories
        return [NewMemory(id=self.id, text=self.text or "", metadata=self.metadata)]


class StoredMemory(Shape):
    id: str
    namespace: str
    chunks: int
    version: str
    """Hash of text and metadata: equal for equal content."""
    unchanged: bool = False
    """The same content was there already."""


class StoreResult(Shape):
    memories: list[StoredMemory]


class ChunkText(Shape):
    order: int
    text: str


class Memory(Shape):
    id: str
    namespace: str
    text: str
    metadata: dict[str, Any]
    version: str
    stored_at: datetime
    chunks: list[ChunkText]


class RecallQuery(Shape):
    namespace: Namespace
    query: Annotated[str, StringConstraints(max_length=1000)]
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    mode: Literal["hybrid", "dense", "sparse"] = "hybrid"

    @field_validator("query")
    @classmethod
    def _not_blank(cls, query: str) -> str:
        if not query.strip():
            msg = "must hold something besides white space"
            raise ValueError(msg)
        return query


class RecallHit(Shape):
    id: str
    """The memory that the chunk belongs to."""
    chunk: int
    text: str
    score: float
    metadata: dict[str, Any]


class RecallResult(Shape):
    hits: list[RecallHit]
    degraded: bool = False
    """The embedder was out of reach, so only words were matched."""
    mode: Literal["hybrid", "dense", "sparse"]
