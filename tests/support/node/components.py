"""The node's components: containerd, kubelet, kube-proxy and CoreDNS, their files and command lines.

Knows: their configuration. Must not know: processes or namespaces.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from support.cluster.access import NODE_NAME
from support.cluster.folder import ClusterFolder
from support.node.images import PAUSE
from support.node.packages import CNI_PLUGINS
from support.node.sandbox import ADDRESS, POD_NETWORK

from memorystack_operator.local.state import write_atomically

__all__ = ["SOCKET", "containerd", "coredns", "ctr", "kube_proxy", "kubelet", "volumes"]

SOCKET: Final = "/run/containerd/containerd.sock"
DOMAIN: Final = "cluster.local"
VOLUMES: Final = 4


def containerd(node: Path) -> list[str]:
    """With the bridge of the node's own network, and our own pause image."""
    cni = node / "cni"
    write_atomically(cni / "10-bridge.conflist", json.dumps(_network()))
    text = f"""\
version = 2
root = "{node / "containerd"}"
state = "/run/containerd"
# It would make a folder in /opt.
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.grpc.v1.tracing", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
address = "{SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "docker.io/library/{PAUSE.name}"
# Where CAP_SYS_RESOURCE is missing runc dies without it: "can't get final child's PID from pipe: EOF".
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "{cni}"
"""
    path = node / "containerd.toml"
    write_atomically(path, text)
    return ["containerd", "--config", str(path)]


def ctr(*words: str) -> list[str]:
    """containerd's own client, in the kubelet's namespace."""
    return ["ctr", "--address", SOCKET, "--namespace", "k8s.io", *words]


def kubelet(program: Path, folder: ClusterFolder, node: Path, cgroup: str) -> list[str]:
    """Anybody may ask it, since only the node's own network reaches it."""
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "clusterDNS": [ADDRESS],
        "clusterDomain": DOMAIN,
        "resolvConf": "",
        # A test's node on somebody's disk: it must neither evict nor collect images that cannot be pulled again.
        "evictionHard": dict.fromkeys(("memory.available", "nodefs.available", "imagefs.available"), "1%"),
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "5s",
        "podPidsLimit": 4096,
        "serializeImagePulls": True,
    }
    path = node / "kubelet.json"
    write_atomically(path, json.dumps(config))
    return [
        str(program),
        f"--config={path}",
        f"--kubeconfig={folder.kubeconfigs / 'kubelet'}",
        f"--root-dir={node / 'kubelet'}",
        f"--cert-dir={node / 'kubelet-pki'}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={ADDRESS}",
    ]


def kube_proxy(program: Path, folder: ClusterFolder, node: Path) -> list[str]:
    """By iptables; the machine's connection tracking stays as it is."""
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(folder.kubeconfigs / "kube-proxy")},
        "clusterCIDR": POD_NETWORK,
        "hostnameOverride": NODE_NAME,
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"minSyncPeriod": "100ms"},
    }
    path = node / "kube-proxy.json"
    write_atomically(path, json.dumps(config))
    return [str(program), f"--config={path}"]


def coredns(program: Path, folder: ClusterFolder, node: Path) -> list[str]:
    """Answers at the node's own address; of names outside the cluster it knows none."""
    text = f"""\
{DOMAIN}:53 {{
    bind {ADDRESS}
    kubernetes {DOMAIN} {{
        kubeconfig {folder.kubeconfigs / "coredns"}
        ttl 5
    }}
}}
.:53 {{
    bind {ADDRESS}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""
    path = node / "Corefile"
    write_atomically(path, text)
    return [str(program), "-conf", str(path)]


def volumes(node: Path) -> list[dict[str, Any]]:
    """Volumes for claims that name no class: folders, as there is nobody who would make them on demand."""
    found = []
    for number in range(1, VOLUMES + 1):
        folder = node / "volumes" / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)  # a hostPath takes no fsGroup
        spec = {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(folder)},
        }
        meta = {"name": f"volume-{number}"}
        found.append({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": meta, "spec": spec})
    return found


def _network() -> dict[str, Any]:
    ipam = {"type": "host-local", "ranges": [[{"subnet": POD_NETWORK}]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True, "ipam": ipam}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}
