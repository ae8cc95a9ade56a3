"""docs/install.md, command by command: with the real helm, on an API server of its own, the operator under the chart's rights."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.chart import CHART, HELM
from support.cluster import ControlPlane
from support.cluster.programs import programs

ROOT = CHART.parents[1]
PAGE = ROOT / "docs" / "install.md"


def sections() -> Iterator[tuple[str, list[str]]]:
    """Heading, and its blocks of commands."""
    for part in PAGE.read_text().split("\n## ")[1:]:
        yield part.partition("\n")[0], re.findall(r"^```sh\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


class Shell:
    """Runs blocks as a person would, in the repository's root."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self._plane = plane
        for name, path in programs([HELM, "kubectl"]).items():
            (folder / name.removesuffix("4")).symlink_to(path)
        self._env = {
            **os.environ,
            "PATH": f"{folder}:{os.environ['PATH']}",
            "KUBECONFIG": str(plane.kubeconfig),
            "HOME": str(folder),
        }

    def run(self, block: str) -> str:
        done = subprocess.run(
            ["bash", "-euc", block], cwd=ROOT, env=self._env, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}\n{self.why()}"
        return done.stdout

    def why(self) -> str:
        """What the pods of the operator say."""
        logs = [log.read_text()[-1500:] for log in self._plane.folder.pods.rglob("log*") if log.is_file()]
        return "\n".join(logs)

    def pods(self) -> set[str]:
        """Names and uids of the stack's pods, which no step but the last may replace."""
        found = self._plane.get("pods", "-n", "ai", "-l", "app.kubernetes.io/instance=memory")["items"]
        return {f"{p['metadata']['name']} {p['metadata']['uid']}" for p in found}

    def leader(self, namespace: str) -> int:
        """The epoch of whoever leads; between two leaders a Lease has no holder for a moment."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            lease = self._plane.get("lease", "memorystack-operator", "-n", namespace)["spec"]
            if lease["holderIdentity"]:
                return int(lease["leaseTransitions"])
            time.sleep(0.2)
        raise AssertionError(f"nobody leads in {namespace}\n{self.why()}")


@pytest.fixture
def shell(own_control_plane: ControlPlane, tmp_path: Path) -> Shell:
    return Shell(own_control_plane, tmp_path)


def test_the_page_when_followed_then_every_command_works_and_no_pod_of_a_stack_is_replaced(
    shell: Shell, own_control_plane: ControlPlane
) -> None:
    steps = dict(sections())
    assert list(steps) == [
        "Install",
        "Upgrade",
        "Under another release name, or in another namespace",
        "Uninstall",
        "In some namespaces only",
    ]
    install, upgrade, move, uninstall, some = steps.values()
    said = [shell.run(block) for block in install]
    assert "memorystack-operator   1/1" in said[0]
    assert re.search(r"^memory +(False|True) +\w+", said[1], re.MULTILINE)
    assert "parallelIngest" in said[1]
    before, led = shell.pods(), shell.leader("memorystack-system")
    assert before
    for block in upgrade:
        shell.run(block)
    assert shell.pods() == before
    for block in move:
        shell.run(block)
    assert shell.pods() == before
    assert shell.leader("memory-system") > led
    for block in uninstall:
        shell.run(block)
    assert not shell.pods()
    said = [shell.run(block) for block in some]
    assert "memorystack-operator-ai" in said[0]
