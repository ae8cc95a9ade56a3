"""The shape of a collection: its vectors, and the JSON that Qdrant shows of it.

Knows: named and unnamed dense vectors, sparse vectors with the IDF modifier. Refuses what would change results and is not
built (several vectors per point). Settings that only tune speed (quantization, on_disk, hnsw) are kept and shown, not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import qdrant_edge as edge

from .body import Json, QdrantError, flag, mapping, text, whole

__all__ = ["DenseSpec", "Schema", "index_type", "schema_of"]

INDEXING_THRESHOLD_KB: Final = 200_000
"""Dense vectors are compared one by one below this size (130,000 of 384 dimensions): 1 ms for 50,000 of them, while
building the graph would stop the process for 14 s at 20,000."""

DISTANCES: Final = {
    "Cosine": edge.Distance.Cosine,
    "Dot": edge.Distance.Dot,
    "Euclid": edge.Distance.Euclid,
    "Manhattan": edge.Distance.Manhattan,
}
MODIFIERS: Final = {None: None, "none": None, "idf": edge.Modifier.Idf}
INDEX_TYPES: Final = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Bool,
    "datetime": edge.PayloadSchemaType.Datetime,
    "uuid": edge.PayloadSchemaType.Uuid,
    "text": edge.PayloadSchemaType.Text,
}


@dataclass(frozen=True)
class DenseSpec:
    """One dense vector: its length and how two of them are compared (a name of Qdrant's)."""

    size: int
    distance: str


@dataclass(frozen=True)
class Schema:
    """Vectors of a collection by name (the unnamed vector is ""), and the JSON that it was created with."""

    dense: dict[str, DenseSpec]
    sparse: dict[str, str | None]
    given: Json

    def edge_config(self) -> edge.EdgeConfig:
        """The engine's configuration."""
        threshold = (self.given.get("optimizers_config") or {}).get("indexing_threshold")
        return edge.EdgeConfig(
            vectors={
                name: edge.EdgeVectorParams(size=spec.size, distance=DISTANCES[spec.distance])
                for name, spec in self.dense.items()
            },
            sparse_vectors={
                name: edge.EdgeSparseVectorParams(modifier=MODIFIERS[modifier])
                for name, modifier in self.sparse.items()
            },
            optimizers=edge.EdgeOptimizersConfig(
                indexing_threshold=INDEXING_THRESHOLD_KB if threshold is None else threshold
            ),
        )

    def shown(self) -> dict[str, Any]:
        """`config` of Qdrant's collection info."""
        return {
            "params": {
                "vectors": self.given.get("vectors") or {},
                "sparse_vectors": self.given.get("sparse_vectors") or {},
                "shard_number": 1,
                "replication_factor": 1,
                "write_consistency_factor": 1,
                "on_disk_payload": True,
            },
            "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}
            | _set(self.given.get("hnsw_config")),
            "optimizer_config": {
                "default_segment_number": 0,
                "indexing_threshold": INDEXING_THRESHOLD_KB,
                "flush_interval_sec": 5,
            }
            | _set(self.given.get("optimizers_config")),
            "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
            "quantization_config": None,
        }


def schema_of(given: Json) -> Schema:
    """The schema in the body of `PUT /collections/{name}`."""
    threshold = mapping(given.get("optimizers_config") or {}, "optimizers_config").get("indexing_threshold")
    if threshold is not None:
        whole(threshold, "optimizers_config.indexing_threshold")
    schema = Schema(_dense(given.get("vectors")), _sparse(given.get("sparse_vectors")), given)
    if not schema.dense and not schema.sparse:
        raise QdrantError(400, "Wrong input: a collection needs `vectors` or `sparse_vectors`")
    return schema


def index_type(value: object) -> edge.PayloadSchemaType:
    """A payload index's type, from its name or from an object with `type`."""
    name = value.get("type") if isinstance(value, dict) else value
    found = INDEX_TYPES.get(text(name, "field_schema"))
    if found is None:
        raise QdrantError.format(f"unknown field_schema `{name}`, expected one of {sorted(INDEX_TYPES)}")
    return found


def _dense(value: object) -> dict[str, DenseSpec]:
    if value is None:
        return {}
    named = mapping(value, "vectors")
    if "size" in named:
        named = {"": named}
    return {name: _dense_spec(name, mapping(spec, f"vectors.{name}")) for name, spec in named.items()}


def _dense_spec(name: str, spec: Json) -> DenseSpec:
    distance = spec.get("distance")
    if distance not in DISTANCES:
        raise QdrantError.format(f"vectors.{name}.distance must be one of {sorted(DISTANCES)}, not {distance!r}")
    if spec.get("multivector_config") is not None:
        raise QdrantError.format(f"vectors.{name}.multivector_config is not known to this engine")
    size = whole(spec.get("size"), f"vectors.{name}.size", at_least=1)
    if size > 65536:
        raise QdrantError(422, f"Validation error in JSON body: [vectors.{name}.size: must be from 1 to 65536]")
    return DenseSpec(size, distance)


def _sparse(value: object) -> dict[str, str | None]:
    specs = {} if value is None else mapping(value, "sparse_vectors")
    return {name: _modifier(name, {} if spec is None else mapping(spec, name)) for name, spec in specs.items()}


def _modifier(name: str, spec: Json) -> str | None:
    modifier = spec.get("modifier")
    if modifier not in MODIFIERS:
        raise QdrantError.format(f"sparse_vectors.{name}.modifier must be none or idf, not {modifier!r}")
    on_disk = mapping(spec.get("index") or {}, f"sparse_vectors.{name}.index").get("on_disk")
    if on_disk is not None:
        flag(on_disk, f"sparse_vectors.{name}.index.on_disk")
    return None if modifier is None else str(modifier)


def _set(value: object) -> dict[str, Any]:
    given = mapping(value or {}, "the configuration")
    return {name: setting for name, setting in given.items() if setting is not None}
