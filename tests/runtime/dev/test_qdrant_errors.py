"""How the engine's own errors become Qdrant's answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from memorystack_runtime.dev.qdrant.body import QdrantError
from memorystack_runtime.dev.qdrant.collection import Collection
from memorystack_runtime.dev.qdrant.schema import schema_of

SCHEMA = {"vectors": {"size": 2, "distance": "Dot"}}
PanicException = type("PanicException", (BaseException,), {})


class Breaking:
    """A shard that raises what it is told to."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def info(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (Exception("Vector dimension error: expected dim: 2, got 1"), 400, "Wrong input: Vector dimension error"),
        (Exception("Service runtime error: disk"), 500, "Service internal error: Service runtime error: disk"),
        (OSError("no space"), 500, "Service internal error: no space"),
        (TypeError("one\ntwo"), 400, "Format error in JSON body: one"),
        (QdrantError(507, "full"), 507, "full"),
        (PanicException("oops"), 500, "Service internal error: the engine panicked: oops"),
    ],
    ids=["client", "service", "system", "type", "own", "panic"],
)
def test_error_of_the_engine_has_a_status(error: BaseException, status: int, said: str) -> None:
    shard = Breaking(error)
    collection = Collection(Path("c"), schema_of(SCHEMA), shard, 0)  # type: ignore[arg-type]  # stands for a shard
    with pytest.raises(QdrantError) as caught:
        collection.info()
    assert caught.value.status == status
    assert str(caught.value).startswith(said)


def test_interrupt_is_no_error_of_the_engine() -> None:
    shard = Breaking(KeyboardInterrupt())
    collection = Collection(Path("c"), schema_of(SCHEMA), shard, 0)  # type: ignore[arg-type]  # stands for a shard
    with pytest.raises(KeyboardInterrupt):
        collection.info()
