"""The imperative shell: one reconciler, and the port through which it sees and changes the world."""

from memorystack_operator.shell.cluster import Cluster, Conflict
from memorystack_operator.shell.reconciler import Reconciler, run

__all__ = ["Cluster", "Conflict", "Reconciler", "run"]
