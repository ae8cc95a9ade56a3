"""What the long story has besides the short one: autoscaling, an upgrade of the operator, and a restart in the middle of a canary.

Each does what its first line says, and gives what it measured. Knows: what is expected. Must not know: how a cluster comes up.
"""

from __future__ import annotations

import time
from typing import Any, Final

from e2e.scene import OPERATOR, RELEASE, SYSTEM, Scene, expect, told
from e2e.stack import NAME, NAMESPACE
from e2e.steps import CANARY_SECONDS, CHART, VERDICT_SECONDS

__all__ = ["autoscaling", "restart_in_a_canary", "upgrade_operator"]

ON: Final = '{"replicas":null,"autoscaling":{"minReplicas":4,"maxReplicas":5}}'
OFF: Final = '{"replicas":3,"autoscaling":null}'
FOURTH: Final = '{"features":{"cache":{"maxSize":200}}}'
SCALED_SECONDS: Final = 120.0
LOOKED_SECONDS: Final = 20.0
"""A new leader looks at every stack at once; what it would do to one would have begun by then."""


def autoscaling(scene: Scene) -> dict[str, Any]:
    """Autoscaling is switched on and takes the stack to its bounds, then off: never fewer pods than before, and none restarts."""
    deployment = f"deployment -n {NAMESPACE} {NAME}"
    sizes: list[int] = []

    def sized(wanted: int) -> bool:
        found = scene.terminal.get(deployment)
        sizes.append(found["spec"]["replicas"])
        return bool(found["status"].get("replicas") == found["status"].get("readyReplicas") == wanted)

    scene.patch(ON)
    scene.terminal.wait(lambda: sized(4), "the autoscaler does not reach its lower bound", SCALED_SECONDS, every=0.5)
    expect(min(sizes) >= 3, f"the stack was scaled down while autoscaling took over: {sizes}")
    expect(scene.pods <= scene.stack.pods(), "a pod was replaced while autoscaling took over")
    scene.terminal.type(f"kubectl get -n {NAMESPACE} horizontalpodautoscaler")
    scene.patch(OFF)
    scene.terminal.wait(lambda: sized(3), "the stack does not go back to its three pods", SCALED_SECONDS, every=0.5)
    left = scene.terminal.get(f"horizontalpodautoscaler -n {NAMESPACE}")["items"]
    expect(not left, "the autoscaler stays")
    expect(min(sizes) >= 3, f"the stack had fewer pods than three: {sizes}")
    scene.terminal.wait(lambda: scene.stack.pods() == scene.pods, "other pods than the oldest three are left", 60)
    return {"fewest": min(sizes), "most": max(sizes)}


def upgrade_operator(scene: Scene) -> dict[str, Any]:
    """helm upgrades the operator, whose pod is replaced; no pod of the stack is, and its Deployment is not written."""
    generation = _generation(scene)
    before = _operators(scene)
    where = f"--namespace {SYSTEM} --reset-then-reuse-values --wait --timeout 2m"
    scene.terminal.type(f"helm upgrade {RELEASE} {CHART} {where} --set operator.logLevel=debug")
    scene.terminal.wait(lambda: _leader_of(scene, _operators(scene) - before), "no new operator leads", 60)
    time.sleep(LOOKED_SECONDS)
    scene.nothing_restarted()
    expect(_generation(scene) == generation, "the new operator has written the stack's Deployment")
    expect(scene.stack.idle(), f"the stack is not at rest: {scene.told()}")
    return {"operatorReplaced": True, "podsReplaced": 0}


def restart_in_a_canary(scene: Scene) -> dict[str, Any]:
    """kubectl restarts the Deployment in the middle of a canary: every pod is replaced, and the flag is judged on the new ones."""
    known = len(scene.stack.status.get("history") or ())
    scene.patch(FOURTH)
    scene.terminal.wait(scene.serving_canary, "no canary serves the fourth flag", CANARY_SECONDS, every=0.3)
    scene.terminal.type(f"kubectl rollout restart -n {NAMESPACE} deployment/{NAME}")
    scene.terminal.type(f"kubectl rollout status -n {NAMESPACE} deployment/{NAME} --timeout=3m")
    before, scene.pods = scene.pods, scene.stack.pods()
    expect(not {pod.uid for pod in before} & {pod.uid for pod in scene.pods}, "a pod was not replaced")
    record = scene.outcome_after(known, VERDICT_SECONDS)
    expect(record["outcome"] == "Promoted", f"the harmless flag ended as {record['outcome']}: {record['message']}")
    scene.terminal.wait(scene.stack.idle, "the stack does not become idle", 60)
    scene.serve_stable()
    scene.nothing_restarted()
    return told(record)


def _generation(scene: Scene) -> int:
    return int(scene.terminal.get(f"deployment -n {NAMESPACE} {NAME}")["metadata"]["generation"])


def _operators(scene: Scene) -> set[str]:
    return {pod["metadata"]["name"] for pod in scene.terminal.get(f"pods -n {SYSTEM} {OPERATOR}")["items"]}


def _leader_of(scene: Scene, names: set[str]) -> bool:
    holder = scene.terminal.get(f"lease -n {SYSTEM} {RELEASE}")["spec"].get("holderIdentity", "")
    return any(holder.startswith(name) for name in names)
