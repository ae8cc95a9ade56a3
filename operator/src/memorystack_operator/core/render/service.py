"""The address of the API. The second port is in no Service: it answers without a key."""

from __future__ import annotations

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.decision import Child
from memorystack_operator.core.render.names import metadata, stack_selector
from memorystack_operator.core.status import Status

__all__ = ["service"]


def service(stack: MemoryStack, status: Status) -> Child | None:
    """Over all pods of the stack, canaries included: that is where their traffic comes from."""
    del status
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(stack, stack.metadata.name),
        "spec": {
            "selector": stack_selector(stack),
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"}],
        },
    }
