"""The namespaces that a node lives in: network, mounts, processes, names. Knows how to make and to enter them; nothing of Kubernetes.

They hang on one process, their first. When it ends, however it ends, everything in them ends: processes of containers too, which
otherwise outlive whoever started them.
"""

from __future__ import annotations

import ctypes
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil
from support.cluster.errors import ClusterError
from support.cluster.programs import program

__all__ = ["ADDRESS", "POD_NETWORK", "begin", "connected", "entered", "entered_network", "first_process", "prepare"]

ADDRESS: Final = "10.244.0.1"
"""The node's, and its pods' gateway; it exists only inside."""
POD_NETWORK: Final = "10.244.0.0/24"
CLONE_NEWNET: Final = 0x40000000
_SYSCTLS: Final = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""A kubelet sets these for the whole machine. Here it finds files that say that it has been done."""
_PRIVATE: Final = ("/run", "/var/lib", "/var/log")
"""Where containerd, CNI and a kubelet keep things outside of what one can configure."""


def begin() -> list[str]:
    """The command of the process that holds the namespaces: its child is their first process."""
    apart = ["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"]
    return ["unshare", *apart, str(program("pause"))]


def first_process(holder: int) -> int | None:
    """The pid of the first process in the namespaces, seen from here; None while there is none."""
    try:
        children = psutil.Process(holder).children()
    except psutil.Error:
        return None
    return children[0].pid if children and children[0].name() == "pause" else None


def entered(first: int, command: Sequence[str]) -> list[str]:
    """That command inside, as a process of the PID namespace: signals to nsenter do not reach it, it ends with the namespaces."""
    return ["nsenter", "--target", str(first), "--net", "--mount", "--uts", "--ipc", "--pid", "--", *command]


def entered_network(first: int, command: Sequence[str]) -> list[str]:
    """That command with the network and the mounts inside, else a process of this machine: it takes signals as any other."""
    # The PID namespace stays outside, and with it the /proc that fits: so it must be mounted where the command looks for it.
    return ["nsenter", "--target", str(first), "--net", "--", *command]


def prepare(first: int, folder: Path) -> None:
    """Interfaces, private folders and the sysctl files. Raises ClusterError."""
    for private in _PRIVATE:
        if folder.is_relative_to(private):
            raise ClusterError(f"the cluster's folder {folder} is below {private}, which a node hides: choose another")
    lines = [
        "set -eu",
        "hostname node-1",
        "ip link set lo up",
        "ip link add cni0 type bridge",
        f"ip address add {ADDRESS}/24 dev cni0",
        "ip link set cni0 up",
        "echo 1 >/proc/sys/net/ipv4/ip_forward",
        # Without it an answer from one pod to another bypasses the Service that was asked.
        "echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables",
        *(f"mount -t tmpfs -o mode=755 private {private}" for private in _PRIVATE),
        "mkdir -p /run/sysctl /var/log/pods /var/log/containers /var/lib/cni",
    ]
    for name, value in _SYSCTLS.items():
        file = f"/run/sysctl/{name.replace('/', '.')}"
        lines += [f"echo {value} >{file}", f"mount --bind {file} /proc/sys/{name}"]
    done = subprocess.run(entered(first, ["sh", "-c", "\n".join(lines)]), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"the node's namespaces cannot be prepared: {done.stderr.strip()}")


def connected(first: int, port: int) -> socket.socket:
    """A connection to that port of the node. Moves the calling *thread* into the node's network, so call it in one made for it."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{first}/ns/net") as network:
        if libc.setns(network.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "the node's network cannot be entered")
    # A socket belongs to the network in which it was made, whoever uses it later.
    return socket.create_connection((ADDRESS, port), timeout=5)
