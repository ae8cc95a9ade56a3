"""A real node on this machine: containerd, kubelet, kube-proxy and CoreDNS in namespaces of their own, with images built here.

Needs root and Linux. Nothing of it touches the machine outside its namespaces: when their first process ends, the kernel takes
processes, mounts, interfaces and packet rules with it. What remains, cgroups and files, `make cluster-down` removes.
"""

from pathlib import Path

from support.cluster.programs import CONTROL_PLANE, programs
from support.node.ground import PROGRAMS
from support.node.images import archives
from support.node.packages import require

__all__ = ["prepare"]


def prepare() -> dict[str, Path]:
    """Packages, programs and images, where they are not there yet: minutes, once; where each is. Raises ClusterError."""
    require()
    return programs(dict.fromkeys((*CONTROL_PLANE, *PROGRAMS))) | archives()
