"""Who may enter: the service accounts' key, a token for each component, and kubeconfig files. Knows files only."""

from __future__ import annotations

import base64
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Final

import yaml
from support.cluster.errors import ClusterError
from support.cluster.folder import ClusterFolder

from memorystack_operator.local.state import write_atomically

__all__ = ["IDENTITIES", "NODE_NAME", "kubeconfig", "make_service_account_key", "make_tokens", "write_kubeconfig"]

NODE_NAME: Final = "node-1"
IDENTITIES: Final = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "coredns": ("coredns", ""),
    "kubelet": (f"system:node:{NODE_NAME}", "system:nodes"),
}
"""File of the kubeconfig -> user and group."""


def make_service_account_key(path: Path) -> None:
    """A private key that signs service accounts' tokens, and its public half at `path`.pub. Raises ClusterError."""
    if shutil.which("openssl") is None:
        msg = "openssl is not on PATH; it makes the key of the service accounts: apt-get install openssl"
        raise ClusterError(msg)
    for command in (["genrsa", "-out", str(path), "2048"], ["rsa", "-in", str(path), "-pubout", "-out", f"{path}.pub"]):
        done = subprocess.run(["openssl", *command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(f"openssl {command[0]} failed: {done.stderr.strip()}")


def make_tokens(path: Path) -> dict[str, str]:
    """Writes the API server's token file: who holds which token."""
    tokens = {name: secrets.token_hex(16) for name in IDENTITIES}
    lines = [f'{tokens[name]},{user},{name},"{group}"\n' for name, (user, group) in IDENTITIES.items()]
    write_atomically(path, "".join(lines), mode=0o600)
    return tokens


def kubeconfig(url: str, authority: bytes, token: str, namespace: str = "default") -> str:
    """The text of a file that names one cluster and one user."""
    cluster = {"server": url, "certificate-authority-data": base64.b64encode(authority).decode()}
    context = {"cluster": "memorystack-test", "user": "user", "namespace": namespace}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "memorystack-test", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "memorystack-test", "context": context}],
            "current-context": "memorystack-test",
        }
    )


def write_kubeconfig(folder: ClusterFolder, name: str, url: str, token: str) -> Path:
    """For one of the identities; the API server has written its certificate by now."""
    path = folder.kubeconfigs / name
    authority = (folder.keys / "apiserver.crt").read_bytes()
    write_atomically(path, kubeconfig(url, authority, token), mode=0o600)
    return path
