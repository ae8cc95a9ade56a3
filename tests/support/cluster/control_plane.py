"""The control plane's components, in the order in which they start: their command lines and when each is ready.

Knows: flags of etcd and Kubernetes. Must not know: processes. Needs no root.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.cluster.access import NODE_NAME
from support.cluster.folder import ClusterFolder

from memorystack_operator.local.ports import check_port, free_ports
from memorystack_operator.local.state import write_atomically

__all__ = [
    "HOST",
    "SERVICES",
    "Addresses",
    "api_server",
    "choose",
    "controller_manager",
    "etcd",
    "process_kubelet",
    "scheduler",
]

HOST: Final = "127.0.0.1"
SERVICES: Final = "10.96.0.0/16"
ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
AUDIT_POLICY: Final = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""


@dataclass(frozen=True)
class Addresses:
    """Where the components listen."""

    etcd: str
    etcd_peer: str
    host: str
    """Where the API server is found by whoever runs beside it."""
    port: int
    url: str
    """Where it is found by people and tests."""

    @property
    def inner_url(self) -> str:
        """For the components."""
        return f"https://{self.host}:{self.port}"


def choose(port: int = 0) -> Addresses:
    """Free ports; `port` is the API server's if it is not 0. Raises CannotStart when that is taken."""
    if port:
        check_port(HOST, port, "--port")
    client, peer = free_ports(HOST, 2)
    outside = port or free_ports(HOST, 1)[0]
    url = f"https://{HOST}:{outside}"
    return Addresses(f"http://{HOST}:{client}", f"http://{HOST}:{peer}", HOST, outside, url)


def etcd(program: Path, folder: ClusterFolder, at: Addresses) -> list[str]:
    """Keeps nothing safe from a power cut: the data are a test's."""
    return [
        str(program),
        "--name=test",
        f"--data-dir={folder.etcd}",
        f"--listen-client-urls={at.etcd}",
        f"--advertise-client-urls={at.etcd}",
        f"--listen-peer-urls={at.etcd_peer}",
        f"--initial-advertise-peer-urls={at.etcd_peer}",
        f"--initial-cluster=test={at.etcd_peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server(program: Path, folder: ClusterFolder, at: Addresses) -> list[str]:
    """Signs its own certificate; writes an audit log of every request, without bodies."""
    policy = folder.root / "audit-policy.yaml"
    write_atomically(policy, AUDIT_POLICY)
    key = folder.keys / "service-accounts.key"
    return [
        str(program),
        f"--etcd-servers={at.etcd}",
        f"--bind-address={HOST if at.host == HOST else '0.0.0.0'}",
        f"--advertise-address={at.host}",
        f"--secure-port={at.port}",
        f"--cert-dir={folder.keys}",
        f"--service-cluster-ip-range={SERVICES}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-signing-key-file={key}",
        f"--service-account-key-file={key}.pub",
        f"--token-auth-file={folder.keys / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={folder.audit}",
        "--profiling=false",
        # A loopback address makes no endpoint of the Service `kubernetes`.
        *(["--endpoint-reconciler-type=none"] if at.host == HOST else []),
    ]


def controller_manager(program: Path, folder: ClusterFolder) -> list[str]:
    """Deployments, ReplicaSets, garbage collection, HPA and disruption budgets behave as anywhere."""
    return [
        str(program),
        f"--kubeconfig={folder.kubeconfigs / 'kube-controller-manager'}",
        f"--service-account-private-key-file={folder.keys / 'service-accounts.key'}",
        f"--root-ca-file={folder.keys / 'apiserver.crt'}",
        "--use-service-account-credentials",
        *_ALONE,
    ]


def scheduler(program: Path, folder: ClusterFolder) -> list[str]:
    """Without a node it says of each pod that it cannot be scheduled, as anywhere."""
    return [str(program), f"--kubeconfig={folder.kubeconfigs / 'kube-scheduler'}", *_ALONE]


def process_kubelet(folder: ClusterFolder) -> list[str]:
    """A node whose pods are processes of this machine; it says that it is ready in its first line."""
    return [
        sys.executable,
        "-m",
        "support.kubelet",
        f"--kubeconfig={folder.admin}",
        f"--folder={folder.pods}",
        f"--node={NODE_NAME}",
    ]


# One of each: no election, so no Lease is written all the time; and no port that nobody asks.
_ALONE: Final = ("--leader-elect=false", "--secure-port=0", "--kube-api-qps=200", "--kube-api-burst=400")
