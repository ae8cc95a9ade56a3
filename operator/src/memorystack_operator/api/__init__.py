"""The resource: what people write (`spec`), what they read (`status`), and how a file is refused."""

from memorystack_operator.api.errors import InvalidResource, Problem, ResourceError
from memorystack_operator.api.load import Loaded, Secret, load, parse
from memorystack_operator.api.spec import API_VERSION, KIND, MemoryStack, Spec
from memorystack_operator.api.status import Condition, EventReason, Phase

__all__ = [
    "API_VERSION",
    "KIND",
    "Condition",
    "EventReason",
    "InvalidResource",
    "Loaded",
    "MemoryStack",
    "Phase",
    "Problem",
    "ResourceError",
    "Secret",
    "Spec",
    "load",
    "parse",
]
