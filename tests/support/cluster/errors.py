"""What keeps a cluster from coming up, each with its remedy. Knows sentences only."""

from __future__ import annotations

__all__ = ["ClusterError"]


class ClusterError(Exception):
    """`str()` says what is wrong and what to do."""
