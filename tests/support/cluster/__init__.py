"""A real Kubernetes for tests, from packages alone. How to use it from a test: see `fixtures`; by hand: `make cluster-up`."""

from support.cluster.errors import ClusterError
from support.cluster.folder import ClusterFolder
from support.cluster.hold import down, hold, up
from support.cluster.plane import ControlPlane

__all__ = ["ClusterError", "ClusterFolder", "ControlPlane", "down", "hold", "up"]
