"""Stable flags and budgets. They live outside the pod template, so neither ever restarts a pod."""

from __future__ import annotations

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.decision import Child
from memorystack_operator.core.render.names import config_name, metadata
from memorystack_operator.core.status import Status
from memorystack_runtime.contract import BUDGETS_FILE, FLAGS_FILE, FlagsFile

__all__ = ["config_map"]


def config_map(stack: MemoryStack, status: Status) -> Child | None:
    """The flags that were last adopted or promoted, never those of the spec."""
    if status.stable is None:
        return None
    flags = FlagsFile(revision=status.stable.revision, features=status.stable.features)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(stack, config_name(stack)),
        "data": {
            FLAGS_FILE: flags.model_dump_json(by_alias=True),
            BUDGETS_FILE: stack.spec.rollout.wire_budgets().model_dump_json(by_alias=True),
        },
    }
