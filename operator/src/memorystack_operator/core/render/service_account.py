"""The pods' ServiceAccount: an identity without any right."""

from __future__ import annotations

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.decision import Child
from memorystack_operator.core.render.names import metadata
from memorystack_operator.core.status import Status

__all__ = ["service_account"]


def service_account(stack: MemoryStack, status: Status) -> Child | None:
    """None where the template names one of the user's own."""
    del status
    if stack.spec.template.service_account_name:
        return None
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(stack, stack.metadata.name),
        "automountServiceAccountToken": False,
    }
