"""What the process is told at its start, by environment variables. Flags that change live are not here (`flags.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from memorystack_runtime.contract import CacheFlags, Features, HttpPool, ParallelIngest
from memorystack_runtime.errors import Misconfigured

__all__ = ["PREFIX", "Settings", "features_from_environment", "settings_from_environment"]

PREFIX: Final = "MEMORYSTACK_"
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """Each field is the variable MEMORYSTACK_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    qdrant_url: str = "http://127.0.0.1:6333"
    qdrant_api_key: SecretStr | None = None
    qdrant_ca: Path | None = None
    """A PEM file that signs the server's certificate."""
    qdrant_collection: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")] = "memories"
    embedder_url: str = "http://127.0.0.1:8081/v1"
    embedder_model: str = "default"
    embedder_dimensions: Annotated[int, Field(ge=1, le=65536)] = 384
    embedder_api_key: SecretStr | None = None
    redis_url: SecretStr | None = None
    """Empty: each pod caches by itself."""
    host: str = "0.0.0.0"  # noqa: S104 -- a pod listens on its own address, whatever that is
    port: Port = 8080
    internal_port: Port = 9090
    config_dir: Path | None = None
    auth_disabled: bool = False
    api_keys_file: Path | None = None
    max_in_flight: Annotated[int, Field(ge=1, le=100_000)] = 256
    request_timeout_ms: Annotated[int, Field(ge=10, le=600_000)] = 10_000
    max_body_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 8 << 20
    chunk_characters: Annotated[int, Field(ge=100, le=8192)] = 800
    drain_seconds: Annotated[float, Field(ge=0, le=3600)] = 10.0
    max_connection_age_seconds: Annotated[float, Field(ge=1)] = 300.0
    pod_name: str = "local"
    pod_uid: str = ""
    brand: str = "brAInwav"
    log_level: str = "info"


def settings_from_environment() -> Settings:
    """Raises Misconfigured: every wrong variable with its remedy."""
    try:
        return Settings()
    except ValidationError as error:
        parts = [f"{PREFIX}{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        msg = f"cannot start with these variables: {'; '.join(parts)}"
        raise Misconfigured(msg) from None


def features_from_environment(environ: Mapping[str, str]) -> Features | None:
    """The original's variables (milliseconds and counts); None where none of them is set. Raises Misconfigured."""
    names = {
        "enabled": "MEMORY_HTTP_POOL_ENABLED",
        "connections": "MEMORY_HTTP_POOL_CONNECTIONS",
        "keep_alive_ms": "MEMORY_HTTP_POOL_KEEP_ALIVE_TIMEOUT",
        "concurrency": "MEMORY_PARALLEL_INGEST_CONCURRENCY",
        "max_size": "MEMORY_CACHE_MAX_SIZE",
    }
    found = {field: environ[name] for field, name in names.items() if environ.get(name)}
    if not found:
        return None
    try:
        return Features(
            http_pool=HttpPool.model_validate({k: v for k, v in found.items() if k in HttpPool.model_fields}),
            parallel_ingest=ParallelIngest.model_validate(
                {k: v for k, v in found.items() if k in ParallelIngest.model_fields}
            ),
            cache=CacheFlags.model_validate({k: v for k, v in found.items() if k in CacheFlags.model_fields}),
        )
    except ValidationError as error:
        parts = [f"{names[str(e['loc'][-1])]}={e['input']!r}: {e['msg']}" for e in error.errors()]
        msg = f"cannot start with these flags: {'; '.join(parts)}"
        raise Misconfigured(msg) from None
