"""What a node needs of the machine: root, and programs that Debian has in packages. Knows names; installs them where it may."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from support.cluster.errors import ClusterError

__all__ = ["BUILDERS", "CNI_PLUGINS", "require", "require_programs"]

CNI_PLUGINS: Final = Path("/usr/lib/cni")
_OF_PACKAGE: Final = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    str(CNI_PLUGINS / "bridge"): "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
}
"""Program -> Debian's package."""
BUILDERS: Final = ("buildah", "debootstrap")
"""What images are built with; a node needs all."""
_KERNEL: Final = "br_netfilter"


def require() -> None:
    """All that a node needs; what is missing is installed. Raises ClusterError when this machine cannot be a node."""
    require_programs(tuple(_OF_PACKAGE))
    if not Path("/proc/sys/net/bridge").exists():
        subprocess.run(["modprobe", _KERNEL], capture_output=True, check=False)
    if not Path("/proc/sys/net/bridge").exists():
        raise ClusterError(f"the kernel has no {_KERNEL}: Services would not answer between pods; modprobe {_KERNEL}")


def require_programs(names: Sequence[str]) -> None:
    """Installs what is missing with apt-get. Raises ClusterError, also without root."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise ClusterError(
            "a node (kubelet, containerd, our images) needs root on Linux: run it as root in a machine or container of your "
            "own; without root there is the control plane with pods as processes: make cluster-up, make test"
        )
    missing = [name for name in names if not _there(name)]
    if missing:
        _install(sorted({_OF_PACKAGE[name] for name in missing}), missing)


def _there(name: str) -> bool:
    return Path(name).exists() if name.startswith("/") else shutil.which(name, path=_path()) is not None


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _install(packages: list[str], missing: list[str]) -> None:
    wanted = " ".join(packages)
    by_hand = f"{', '.join(missing)} missing: apt-get install {wanted} (or what has them in your distribution)"
    if shutil.which("apt-get") is None:
        raise ClusterError(by_hand)
    print(f"the node needs {wanted}: installing with apt-get (a minute, once)", file=sys.stderr, flush=True)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # --no-remove: a machine with another vendor's container engine keeps it, and a person decides.
    install = ["apt-get", "install", "-y", "--no-install-recommends", "--no-remove", *packages]
    for command in (["apt-get", "update"], install):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode and command[1] == "install":
            raise ClusterError(f"{by_hand}; apt-get said: {done.stderr.strip()[-600:]}")
