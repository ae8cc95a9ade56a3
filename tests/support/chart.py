"""The chart as tests use it: the real helm, and what it renders as plain data.

    helm("lint", "--strict", str(CHART))
    objects = rendered(replicas=2, networkPolicy={"enabled": True})     # values as Python; kind and name -> object

Knows: helm's command line. Must not know: what the chart holds.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from support.cluster.programs import program

__all__ = ["CHART", "HELM", "NAMESPACE", "RELEASE", "helm", "manifest", "rendered"]

CHART: Final = Path(__file__).parents[2] / "charts" / "memorystack-operator"
HELM: Final = os.environ.get("MEMORYSTACK_TEST_HELM", "helm")
"""The program: Helm 3, which most people have; `make e2e-full` runs the tests of the chart with `helm4`, too."""
RELEASE: Final = "memorystack"
NAMESPACE: Final = "memorystack-system"
KUBERNETES: Final = "1.34.0"
"""Without a cluster helm would take the version of its own libraries."""


def helm(
    *words: str, stdin: str | None = None, check: bool = True, kubeconfig: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Raises AssertionError with what it said. Its caches are nobody else's, and it knows no cluster but the given one."""
    done = subprocess.run(
        [str(program(HELM)), *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**os.environ, "KUBECONFIG": str(kubeconfig or os.devnull)},
    )
    if check and done.returncode:
        raise AssertionError(f"helm {' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return done


def manifest(values: Mapping[str, Any], release: str = RELEASE, namespace: str = NAMESPACE) -> str:
    """What would be applied, as YAML."""
    words = ["template", release, str(CHART), "--namespace", namespace, "--kube-version", KUBERNETES, "--values", "-"]
    return helm(*words, stdin=yaml.safe_dump(dict(values))).stdout


def rendered(
    release: str = RELEASE, namespace: str = NAMESPACE, **values: Any
) -> dict[tuple[str, str, str], dict[str, Any]]:
    """(kind, namespace or "", name) -> object. No two have one key."""
    found = [one for one in yaml.safe_load_all(manifest(values, release, namespace)) if one]
    made = {(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]): o for o in found}
    assert len(made) == len(found)
    return made
