"""A running control plane as a test uses it: kubeconfig files, kubectl, the API, namespaces, and outages.

Knows: the API's paths for a few kinds. Must not know: how the cluster came up.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import yaml
from support.cluster.access import kubeconfig
from support.cluster.folder import ClusterFolder
from support.cluster.programs import program

from memorystack_operator.local.state import write_atomically

__all__ = ["ControlPlane"]

TOKEN_SECONDS: Final = 12 * 3600
OUTAGE_SECONDS: Final = 30.0


@dataclass(frozen=True)
class ControlPlane:
    """Of one cluster folder."""

    folder: ClusterFolder
    url: str

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder.admin

    @property
    def authority(self) -> Path:
        """The PEM file that the API server's certificate is trusted by."""
        return self.folder.keys / "apiserver.crt"

    @property
    def audit_log(self) -> Path:
        """One JSON object a line for each answered request: user, verb, objectRef, responseStatus."""
        return self.folder.audit

    def audited(self, user: str) -> Iterator[dict[str, Any]]:
        """That user's answered requests so far, oldest first, as the audit log has them."""
        with self.audit_log.open() as lines:
            for line in lines:
                # The server may be in the middle of writing the last one; and there are many, so few are parsed.
                if line.endswith("\n") and user in line and (entry := json.loads(line))["user"]["username"] == user:
                    yield entry

    def kubectl(
        self, *words: str, stdin: str | None = None, check: bool = True, kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The real kubectl, as administrator unless another kubeconfig is given; raises CalledProcessError with what it said."""
        done = subprocess.run(
            [str(program("kubectl")), *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            # What kubectl remembers of this cluster goes with it.
            env={**os.environ, "KUBECONFIG": str(kubeconfig or self.kubeconfig), "HOME": str(self.folder.root)},
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(words)} ended with {done.returncode}: {done.stderr}")
        return done

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """Client-side apply, as a person does it."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def get(self, *words: str) -> dict[str, Any]:
        """`kubectl get WORDS -o json`."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *words, "-o", "json").stdout)
        return found

    @contextmanager
    def api(self) -> Iterator[httpx.Client]:
        """The API as administrator, its base URL set."""
        token = yaml.safe_load(self.kubeconfig.read_text())["users"][0]["user"]["token"]
        trust = ssl.create_default_context(cafile=str(self.authority))
        headers = {"authorization": f"Bearer {token}"}
        with httpx.Client(base_url=self.url, verify=trust, headers=headers, trust_env=False, timeout=30) as client:
            yield client

    @contextmanager
    def namespace(self, prefix: str = "test", **labels: str) -> Iterator[str]:
        """One with a name of its own for the length of the block; its end is not waited for."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        body = {"metadata": {"name": name, "labels": labels}}
        with self.api() as api:
            api.post("/api/v1/namespaces", json=body).raise_for_status()
            until = time.monotonic() + 30
            # Pods are refused until the controller manager has made the namespace's default account.
            while api.get(f"/api/v1/namespaces/{name}/serviceaccounts/default").status_code == 404:
                assert time.monotonic() < until, f"namespace {name} got no default service account"
                time.sleep(0.02)
        try:
            yield name
        finally:
            with self.api() as api:
                api.delete(f"/api/v1/namespaces/{name}")

    def service_account(self, namespace: str, name: str, *, make: bool = True) -> Path:
        """A kubeconfig that holds a token of that account; the account is made where it is not there."""
        base = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        with self.api() as api:
            if make:
                answer = api.post(base, json={"metadata": {"name": name}})
                assert answer.status_code in {201, 409}, answer.text
            answer = api.post(f"{base}/{name}/token", json={"spec": {"expirationSeconds": TOKEN_SECONDS}})
            assert answer.is_success, answer.text
        text = kubeconfig(self.url, self.authority.read_bytes(), answer.json()["status"]["token"], namespace)
        path = self.folder.kubeconfigs / f"{namespace}.{name}"
        write_atomically(path, text, mode=0o600)
        return path

    @contextmanager
    def outage(self, component: str = "kube-apiserver") -> Iterator[None]:
        """The component is killed, and is back when the block has ended. Only for a control plane of one's own."""
        mark = self.folder.stopped / component
        mark.touch()
        try:
            self._wait(reached=False)
            yield
        finally:
            mark.unlink()
            self._wait(reached=True)

    def _wait(self, *, reached: bool) -> None:
        until = time.monotonic() + OUTAGE_SECONDS
        while self._ready() is not reached:
            assert time.monotonic() < until, f"the API server {'does not come back' if reached else 'does not go'}"
            time.sleep(0.05)

    def _ready(self) -> bool:
        at = urlsplit(self.url)
        with closing(socket.socket()) as one:
            if one.connect_ex((at.hostname, at.port)):
                return False
        with self.api() as api:
            try:
                return api.get("/readyz", timeout=2).is_success
            except httpx.HTTPError:
                return False
