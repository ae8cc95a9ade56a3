"""The pure core: what a rollout does. `decide` is its one door; `render` gives the children it stands for."""

from memorystack_operator.core.decide import decide
from memorystack_operator.core.decision import Child, Decision, Event
from memorystack_operator.core.observe import Observations, PodSeen, Trouble
from memorystack_operator.core.status import ENGINE_RECORDS, Status

__all__ = [
    "ENGINE_RECORDS",
    "Child",
    "Decision",
    "Event",
    "Observations",
    "PodSeen",
    "Status",
    "Trouble",
    "decide",
]
