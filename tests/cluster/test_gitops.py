"""A GitOps tool that applies the file every second, through a promotion and a rollback: people commit, the tool alone applies."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
import yaml
from support.kstatus import kstatus
from support.stacks import BAD, GOOD, Stack

ARGO = ("--server-side", "--field-manager=argocd-controller")


@dataclass
class GitOps:
    """The loop; what it saw each second."""

    stack: Stack
    flags: tuple[str, ...]
    refused: list[str] = field(default_factory=list)
    specs: dict[int, set[bytes]] = field(default_factory=dict)
    """Generation -> what the spec was."""
    health: set[tuple[str, str]] = field(default_factory=set)
    rounds: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(1.0):
            text = yaml.safe_dump(self.stack.manifest())
            done = self.stack.plane.kubectl("apply", *self.flags, "-f", "-", stdin=text, check=False)
            after = self.stack.get()
            self.rounds += 1
            if done.returncode:
                self.refused.append(done.stderr)
            spec = json.dumps(after["spec"], sort_keys=True).encode()
            self.specs.setdefault(after["metadata"]["generation"], set()).add(spec)
            self.health.add((after.get("status", {}).get("phase", ""), kstatus(after)))


@pytest.mark.parametrize("flags", [ARGO, ()], ids=["server-side", "client-side"])
def test_a_tool_when_it_applies_the_file_each_second_then_nothing_is_reverted_or_refused_or_rewritten(
    stack: Stack, flags: tuple[str, ...]
) -> None:
    """R17."""
    stack.apply(*flags)
    stack.wait_idle()
    with stack.traffic(), GitOps(stack, flags) as tool:
        stack.manifest(features=GOOD)  # a commit; applied from here as well, an older file might come last
        stack.wait_ended(1)
        stack.wait_idle()
        assert kstatus(stack.get()) == "Current"
        stack.manifest(features={**GOOD, **BAD})
        stack.wait_ended(2)
        stack.wait_for("Rejected")
        time.sleep(2)
    assert [line["outcome"] for line in stack.status["history"]] == ["Promoted", "RolledBack"]
    assert tool.refused == []
    assert {len(specs) for specs in tool.specs.values()} == {1}
    assert tool.rounds > 5
    found = stack.get()
    assert found["metadata"]["generation"] == 3
    assert managers_of_the_spec(found) == {flags[1].partition("=")[2] if flags else "kubectl-client-side-apply"}
    assert "kopf" not in json.dumps(found["metadata"])
    text = yaml.safe_dump(stack.manifest())
    assert stack.plane.kubectl("diff", *flags, "-f", "-", stdin=text, check=False).returncode == 0, "out of sync"
    # Under trial it is in progress; settled, also after a rollback, it is current: else every sync would time out.
    assert {phase for phase, health in tool.health if health == "Failed"} == set()
    assert ("Rejected", "Current") in tool.health
    assert ("Progressing", "Current") not in tool.health


def managers_of_the_spec(resource: Mapping[str, Any]) -> set[str]:
    return {entry["manager"] for entry in resource["metadata"]["managedFields"] if "f:spec" in entry["fieldsV1"]}
