"""The steps of the short story: install, a good flag, a bad flag, an operator that dies, and the end.

Each does what its first line says, and gives what it measured. Knows: what is expected. Must not know: how a cluster comes up.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Mapping
from typing import Any, Final

import yaml

from e2e.errors import StepFailed
from e2e.scene import OPERATOR, RELEASE, SYSTEM, Scene, expect, told
from e2e.stack import NAME, NAMESPACE
from e2e.terminal import REPOSITORY

__all__ = ["answers", "apply_stack", "bad_flag", "good_flag", "install", "kill_operator", "traffic", "uninstall"]

CHART: Final = "charts/memorystack-operator"
STACK: Final = "examples/kubernetes/stack.yaml"
ENGINES: Final = "memorystack-engines:0.1.0"
"""In place of Qdrant's and Redis' own images, which come from a registry."""
GOOD: Final = '{"features":{"parallelIngest":{"concurrency":4}}}'
BAD: Final = '{"features":{"httpPool":{"enabled":true,"connections":1}}}'
TAKEN_OUT: Final = '{"features":{"httpPool":null}}'
THIRD: Final = '{"features":{"cache":{"maxSize":300}}}'
VERDICT_SECONDS: Final = 1320.0
"""With calibration, a detour over a withdrawal, and the rollout's own timeout of twenty minutes, whose words say more."""
BLOCKS: Final = 10
"""Half minutes of history. With fewer, the first of them, when caches are cold and pods new, passes for how traffic is, and verdicts are late."""
LEASE_SECONDS: Final = 30.0
SLACK_SECONDS: Final = 15.0
"""Of a look each second, on a machine that is busy."""
CANARY_SECONDS: Final = 660.0
"""A stack whose history is too short is waited for up to ten minutes."""


def install(scene: Scene) -> dict[str, Any]:
    """helm installs the operator, and its pod becomes ready."""
    where = f"--namespace {SYSTEM} --create-namespace --wait --timeout 2m"
    scene.terminal.type(f"helm install {RELEASE} {CHART} {where}")
    (pod,) = scene.terminal.get(f"pods -n {SYSTEM} {OPERATOR}")["items"]
    container = pod["spec"]["containers"][0]["securityContext"]
    expect(container["readOnlyRootFilesystem"], "the operator's root file system can be written")
    return {"image": pod["spec"]["containers"][0]["image"]}


def apply_stack(scene: Scene) -> dict[str, Any]:
    """kubectl applies a stack with managed parts, and it becomes ready."""
    scene.terminal.type(f"kubectl create namespace {NAMESPACE}")
    scene.terminal.ask(f"kubectl label namespace {NAMESPACE} pod-security.kubernetes.io/enforce=restricted")
    command = f"kubectl apply -n {NAMESPACE} -f {STACK}"
    scene.terminal.type(command, f"{command.replace(STACK, '-')} <<'END'\n{_with_our_engines()}END")
    scene.terminal.type(f"kubectl wait -n {NAMESPACE} memorystack/{NAME} --for=condition=Ready --timeout=3m")
    scene.terminal.wait(scene.stack.idle, "the stack does not become idle", 60)
    scene.pods = scene.stack.pods()
    expect(len(scene.pods) == 3, f"three pods were asked for: {sorted(map(str, scene.pods))}")
    expect(not scene.stack.resource["metadata"].get("finalizers"), "the stack has a finalizer")
    scene.serve_stable()
    return {"pods": len(scene.pods)}


def traffic(scene: Scene) -> dict[str, Any]:
    """A Job inside the cluster sends recalls and stores to the Service; the embedder takes about 60 ms, as a real one may."""
    body = json.dumps({"latency_ms": 60, "item_latency_ms": 2, "latency_spread": 0.25})
    words = (
        f"import urllib.request as u; u.urlopen(u.Request('http://127.0.0.1:8080/control', b'{body}', method='PUT'))"
    )
    scene.terminal.ask(f"kubectl exec -n {NAMESPACE} deploy/{NAME}-embedder -- python -c {shlex.quote(words)}")
    scene.terminal.type(f"kubectl apply -n {NAMESPACE} -f examples/kubernetes/traffic.yaml")
    scene.terminal.wait(lambda: _answers(scene) > 100, "the traffic does not arrive", 60)
    scene.terminal.say(f"   {BLOCKS} half minutes of traffic, so that what is usual is known when a flag comes")
    scene.terminal.wait(lambda: _blocks(scene) >= BLOCKS, "the pods keep no history", 45.0 * BLOCKS, every=5)
    return {"answers": _answers(scene), "halfMinutes": _blocks(scene)}


def good_flag(scene: Scene) -> dict[str, Any]:
    """A good flag is staged on one warm pod, judged and promoted; no pod restarts."""
    scene.patch(GOOD)
    record = scene.outcome(VERDICT_SECONDS)
    expect(record["outcome"] == "Promoted", f"the good flag ended as {record['outcome']}: {record['message']}")
    scene.terminal.wait(scene.stack.idle, "the stack does not become idle", 60)
    scene.serve_stable()
    scene.nothing_restarted()
    scene.terminal.type(f"kubectl get -n {NAMESPACE} memorystack {NAME}")
    return told(record)


def bad_flag(scene: Scene) -> dict[str, Any]:
    """A bad flag is staged on one warm pod, and taken back; git goes back to what serves."""
    scene.patch(BAD)
    record = scene.outcome(VERDICT_SECONDS)
    expect(record["outcome"] == "RolledBack", f"the bad flag ended as {record['outcome']}: {record['message']}")
    expect(scene.stack.status["phase"] == "Rejected", f"the stack is not waiting for a person: {scene.told()}")
    scene.terminal.type(f"kubectl get -n {NAMESPACE} memorystack {NAME}")
    scene.serve_stable()
    scene.nothing_restarted()
    scene.patch(TAKEN_OUT)
    scene.terminal.wait(scene.stack.idle, "the stack does not become idle", 60)
    return told(record)


def kill_operator(scene: Scene) -> dict[str, Any]:
    """The operator is killed in the middle of a canary and not started again: the canary's lease runs out, and it serves as all do."""
    scene.patch(THIRD)
    canary = scene.terminal.wait(scene.serving_canary, "no canary serves the third flag", CANARY_SECONDS, every=0.3)
    scene.terminal.ask(f"kubectl scale -n {SYSTEM} deployment/{RELEASE} --replicas=0")
    scene.terminal.ask(f"kubectl delete pod -n {SYSTEM} {OPERATOR} --grace-period=0 --force --wait=false")
    killed = time.monotonic()
    back = lambda: scene.stack.evidence(canary).get("source") == "file"  # noqa: E731 -- read where it is used
    scene.terminal.wait(back, "the canary keeps the flag without an operator", LEASE_SECONDS + SLACK_SECONDS, every=0.5)
    seconds = round(time.monotonic() - killed, 1)
    expect(scene.stack.leased() == [canary], "somebody took the annotation away: this was no proof of the lease")
    stable = scene.stack.status["stable"]["revision"]
    expect(
        {flags for flags, _ in scene.stack.served().values()} == {stable},
        "a pod serves other flags than the stable ones",
    )
    scene.nothing_restarted()
    return {"secondsUntilStable": seconds, "leaseSeconds": LEASE_SECONDS}


def answers(scene: Scene) -> dict[str, Any]:
    """Of the whole story's requests none has failed: nothing that a person would have noticed as an error."""
    lines = scene.terminal.ask(f"kubectl logs -n {NAMESPACE} job/traffic --tail=1").strip()
    failed = [int(number) for number in re.findall(r"(\d+) failed", lines)]
    sent = [int(number) for number in re.findall(r"(\d+) sent", lines)]
    if not sent or len(failed) != len(sent):
        raise StepFailed(f"the traffic's log says nothing of what was sent: {lines!r}")
    expect(sum(failed) == 0, f"requests failed: {lines}")
    return {"sent": sum(sent), "failed": sum(failed)}


def uninstall(scene: Scene) -> dict[str, Any]:
    """All goes in any order, also without an operator, and no finalizer keeps anything; the definition stays until it is deleted."""
    scene.terminal.type(f"helm uninstall {RELEASE} --namespace {SYSTEM} --wait")
    scene.terminal.ask("kubectl get crd memorystacks.memorystack.dev")
    scene.terminal.type(f"kubectl delete -n {NAMESPACE} memorystack {NAME} --timeout=30s")
    scene.terminal.wait(lambda: not scene.stack.pods(), "pods outlive their stack", 180)
    claims = scene.terminal.get(f"persistentvolumeclaims -n {NAMESPACE}")["items"]
    expect(len(claims) == 1, "the memories' volume did not outlive the stack")
    scene.terminal.type(f"kubectl delete namespace {NAMESPACE} {SYSTEM} --timeout=3m")
    scene.terminal.type("kubectl delete crd memorystacks.memorystack.dev --timeout=30s")
    return {"volumesLeft": len(claims)}


def _with_our_engines() -> str:
    """The example's file, with images that this cluster has."""
    stack = yaml.safe_load((REPOSITORY / STACK).read_text())
    stack["spec"]["qdrant"]["managed"]["image"] = ENGINES
    stack["spec"]["redis"]["managed"]["image"] = ENGINES
    return yaml.safe_dump(stack)


def _answers(scene: Scene) -> int:
    """Requests that the pods have counted, over all pods, flags and operations."""
    reports = [scene.stack.evidence(pod.name) for pod in scene.stack.pods()]
    return sum(_requests(report) for report in reports)


def _blocks(scene: Scene) -> int:
    """Whole half minutes with traffic in the history of every pod."""
    reports = [scene.stack.evidence(pod.name, history=True) for pod in scene.stack.pods()]
    served = [[one for one in report.get("ring", ()) if _requests(one)] for report in reports]
    return max(0, min(map(len, served), default=0) - 1)  # each entry is a total, and a block lies between two


def _requests(counted: Mapping[str, Any]) -> int:
    operations = (entry["operations"] for entry in counted.get("counters", ()))
    return sum(one["requests"] for each in operations for one in each.values())
