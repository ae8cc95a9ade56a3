"""How to reach the API server: from inside a pod, or by a kubeconfig. Knows files and variables; sends nothing."""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import SERVICE_HOST_ENV_NAME, load_incluster_config
from kubernetes.aio.config.kube_config import list_kube_config_contexts, load_kube_config

__all__ = ["CannotConnect", "Door", "inside_a_pod", "kubeconfig_exists"]


class CannotConnect(Exception):  # noqa: N818 -- reads as what it says
    """One sentence with the remedy."""


def inside_a_pod() -> bool:
    """Whether Kubernetes runs this process."""
    return bool(os.environ.get(SERVICE_HOST_ENV_NAME))


def kubeconfig_exists() -> bool:
    """Whether kubectl would find a cluster."""
    paths = os.environ.get("KUBECONFIG", str(Path.home() / ".kube" / "config")).split(os.pathsep)
    return any(Path(p).is_file() for p in paths if p)


class Door:
    """`configuration()` reads everything anew, so that a rotated token is taken up."""

    def __init__(self, kubeconfig: str | None = None, context: str | None = None) -> None:
        self._file = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        self._context = context
        self._inside = kubeconfig is None and context is None and inside_a_pod()

    async def configuration(self) -> Configuration:
        """Raises CannotConnect."""
        found = Configuration()
        try:
            if self._inside:
                load_incluster_config(found)
            else:
                await load_kube_config(self._file, self._context, client_configuration=found, persist_config=False)
        except (ConfigException, OSError, yaml.YAMLError) as error:
            msg = (
                f"no cluster to talk to ({error}): set KUBECONFIG, or name one with --kubeconfig and --context; "
                "inside a pod nothing needs to be set"
            )
            raise CannotConnect(msg) from None
        return found

    @property
    def context(self) -> str:
        """Its name, for people; empty inside a pod."""
        return "" if self._inside else self._context or str(self._current().get("name", ""))

    @property
    def namespace(self) -> str:
        """Of the context, as kubectl would take it."""
        found = self._current().get("context", {}).get("namespace") if not self._inside else None
        return str(found or "default")

    def _current(self) -> dict[str, dict[str, str]]:
        try:
            contexts, active = list_kube_config_contexts(self._file)
        except (ConfigException, OSError, yaml.YAMLError):
            return {}
        wanted = next((c for c in contexts if c["name"] == self._context), active)
        return dict(wanted or {})
