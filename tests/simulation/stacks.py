"""The stack under simulation: four pods, one operation with a budget, the documented defaults. Knows the spec only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simulation.noise import PODS

from memorystack_operator.api.spec import MemoryStack

__all__ = ["FLAG", "THREE_FLAGS", "stack"]

FLAG: dict[str, Any] = {"parallelIngest": {"concurrency": 4}}
THREE_FLAGS: dict[str, Any] = {**FLAG, "httpPool": {"enabled": True}, "cache": {"maxSize": 5000}}


def stack(
    uid: str = "sim", features: dict[str, Any] | None = None, weights: Sequence[int] = (), **analysis: object
) -> MemoryStack:
    """Steps of 10 and 50 % of four pods, a minute each, or of `weights`; keyword arguments replace parts of `analysis`."""
    rollout: dict[str, Any] = {"budgets": [{"operation": "recall", "p95": "250ms"}], "analysis": analysis}
    if weights:
        rollout["steps"] = [{"weight": weight, "minDuration": "60s"} for weight in weights]
    return MemoryStack.model_validate(
        {
            "metadata": {"name": "mem", "uid": uid, "generation": 1 + bool(features)},
            "spec": {
                "replicas": PODS,
                "qdrant": {"url": "http://qdrant:6333"},
                "embedder": {"url": "http://embedder/v1", "model": "m", "dimensions": 384},
                "auth": {"disabled": True},
                "features": features or {},
                "rollout": rollout,
            },
        }
    )
