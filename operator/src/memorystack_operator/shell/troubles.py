"""Why a pod does not start, in words that name what a person must mend. Knows Kubernetes' own reasons; decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from memorystack_operator.core.observe import Trouble

__all__ = ["REMEDIES", "trouble_of_deployment", "trouble_of_pod", "trouble_of_readiness"]

_WAITING: Final = {
    "ErrImagePull": "ImageNotPullable",
    "ImagePullBackOff": "ImageNotPullable",
    "ErrImageNeverPull": "ImageNotPullable",
    "InvalidImageName": "ImageNotPullable",
    "CreateContainerConfigError": "ContainerConfigInvalid",
    "CreateContainerError": "ContainerConfigInvalid",
    "RunContainerError": "ContainerConfigInvalid",
    "CrashLoopBackOff": "CrashLooping",
}
REMEDIES: Final = {
    "ImageNotPullable": "check spec.image",
    "ContainerConfigInvalid": "mend what the message names",
    "SecretMissing": "create it, the pod then starts by itself",  # pragma: allowlist secret
    "CrashLooping": "look at the pod's log",
    "Unschedulable": "free or add nodes, or change spec.template",
    "PodsRefused": "mend what the message names",
    "DependencyDown": "is it up, can it be reached from the pod, and does the spec name it rightly?",
}


def trouble_of_pod(body: Mapping[str, Any]) -> Trouble | None:
    """The first thing that keeps it from starting, as the kubelet or the scheduler says it; None when nothing does."""
    name = (body.get("metadata") or {}).get("name", "")
    return next((_said(reason, f"pod {name}", text) for reason, text in _reasons(body.get("status") or {})), None)


def trouble_of_deployment(body: Mapping[str, Any]) -> Trouble | None:
    """Pods that the API server did not let be made: a quota, Pod Security, an admission policy."""
    name = (body.get("metadata") or {}).get("name", "")
    for condition in (body.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return _said("PodsRefused", f"Deployment {name}", str(condition.get("message", "")))
    return None


def trouble_of_readiness(name: str, problems: Mapping[str, str]) -> Trouble | None:
    """What a pod that runs says that it waits for, as `{"qdrant": "does not answer"}`."""
    if not problems:
        return None
    text = "; ".join(f"{who}: {what}" for who, what in sorted(problems.items()))
    return _said("DependencyDown", f"pod {name} is not ready", text)


def _reasons(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            yield "Unschedulable", str(condition.get("message", ""))
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = _WAITING.get(str(waiting.get("reason", "")))
        if reason is None:
            continue
        text = str(waiting.get("message") or waiting.get("reason"))
        if reason == "CrashLooping":
            text = f"{_last_end(container)}; {text}"
        missing = reason == "ContainerConfigInvalid" and text.startswith(("secret ", "couldn't find key"))
        yield ("SecretMissing" if missing else reason), text


def _last_end(container: Mapping[str, Any]) -> str:
    ended = (container.get("lastState") or {}).get("terminated") or {}
    return f"ended {container.get('restartCount', 0)} times, last with exit code {ended.get('exitCode', '?')}"


def _said(reason: str, what: str, text: str) -> Trouble:
    return Trouble(reason, f"{what}: {text.strip().rstrip('.')[:400]}: {REMEDIES[reason]}")
