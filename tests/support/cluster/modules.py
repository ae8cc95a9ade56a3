"""Which program comes from which Go module. Knows the modules' folders and their content; builds nothing.

Kubernetes, CoreDNS, each Helm, kind and actionlint have a module of their own: their dependencies fight with each other.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["KUBERNETES", "TOOLS", "Module", "module_of"]

_GO: Final = Path(__file__).parents[2] / "cluster" / "go"


@dataclass(frozen=True)
class Module:
    """A folder with go.mod and what belongs to it, and the programs built from it: name -> package."""

    name: str
    tools: dict[str, str]
    stamped: str = ""
    """The Go package whose variables hold the version that the programs report; empty: none."""
    main: str = ""
    """The Go module whose version that is."""

    @property
    def folder(self) -> Path:
        """In this repository."""
        return _GO / self.name

    @property
    def key(self) -> str:
        """Changes when anything that goes into the programs changes."""
        content = b"".join(path.read_bytes() for path in sorted(self.folder.iterdir()))
        return f"{self.name}-{hashlib.sha256(content).hexdigest()[:12]}"

    @property
    def version(self) -> str:
        """As go.mod has it, with its v."""
        text = (self.folder / "go.mod").read_text()
        found = re.search(rf"^(?:require|)\s*{re.escape(self.main)} (v\S+)", text, re.MULTILINE)
        assert found, f"{self.folder}/go.mod requires no {self.main}"
        return found[1]

    @property
    def linker_flags(self) -> str:
        """Without symbols; with the version, else clients would see v0.0.0."""
        if not self.stamped:
            return "-s -w"
        major, minor = self.version.removeprefix("v").split(".")[:2]
        values = {"gitVersion": self.version, "gitMajor": major, "gitMinor": minor}
        return "-s -w " + " ".join(f"-X {self.stamped}.{name}={value}" for name, value in values.items())


_COMMANDS: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet", "kube-proxy")
KUBERNETES: Final = Module(
    "kubernetes",
    {"etcd": "go.etcd.io/etcd/server/v3"} | {name: f"k8s.io/kubernetes/cmd/{name}" for name in _COMMANDS},
    stamped="k8s.io/component-base/version",
    main="k8s.io/kubernetes",
)
TOOLS: Final = (
    KUBERNETES,
    Module("coredns", {"coredns": "github.com/coredns/coredns"}),
    Module("pause", {"pause": "."}),
    Module("helm", {"helm": "helm.sh/helm/v3/cmd/helm"}, main="helm.sh/helm/v3"),
    Module("helm4", {"helm4": "helm.sh/helm/v4/cmd/helm"}, main="helm.sh/helm/v4"),
    Module("kind", {"kind": "sigs.k8s.io/kind"}),
    Module("actionlint", {"actionlint": "github.com/rhysd/actionlint/cmd/actionlint"}),
)


def module_of(program: str) -> Module:
    """The one that the program is built from."""
    return next(module for module in TOOLS if program in module.tools)
