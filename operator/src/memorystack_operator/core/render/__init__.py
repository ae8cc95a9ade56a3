"""Children of a stack. Placeholder of the seam: the builders replace it."""

from __future__ import annotations

from memorystack_operator.api.spec import MemoryStack
from memorystack_operator.core.decision import Child
from memorystack_operator.core.state import Status
from memorystack_runtime.contract import revision_of

__all__ = ["render", "template_revision"]


def render(stack: MemoryStack, status: Status) -> tuple[Child, ...]:
    """Nothing yet."""
    del stack, status
    return ()


def template_revision(stack: MemoryStack) -> str:
    """Revision of the pod template."""
    return revision_of(stack.spec.template, prefix="t1")
