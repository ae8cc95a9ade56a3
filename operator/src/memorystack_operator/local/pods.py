"""A rendered Deployment as processes understand it: variables, and files where volumes would be mounted.

Knows: the manifests that `core.render` makes. Must not know: processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from memorystack_operator.core import Child
from memorystack_operator.local.errors import CannotStart
from memorystack_operator.local.inherited import inherited
from memorystack_operator.local.state import write_atomically

__all__ = ["Identity", "PodTemplate", "Secrets", "environment_of", "pod_template", "template_of", "write_files"]

Secrets = Mapping[str, Mapping[str, bytes]]
"""Secret name -> key -> value."""
TMP: Final = "/tmp"  # noqa: S108 -- the mount path inside a rendered pod


@dataclass(frozen=True, slots=True)
class Identity:
    """What the downward API would tell a pod."""

    name: str
    uid: str
    folder: Path
    namespace: str = "default"
    address: str = "127.0.0.1"


@dataclass(frozen=True)
class PodTemplate:
    """What a pod of the Deployment is made of."""

    variables: tuple[Mapping[str, Any], ...]
    mounts: Mapping[str, str]
    """Volume name -> mount path."""
    volumes: Mapping[str, Mapping[str, Any]]
    replicas: int = field(compare=False, default=1)


def template_of(deployment: Child, autoscaler: Child | None = None) -> PodTemplate:
    """From manifests of `core.render`. Nothing scales on one machine: an autoscaler's least number of pods runs."""
    spec = deployment["spec"]
    replicas = autoscaler["spec"]["minReplicas"] if autoscaler else spec["replicas"]
    return pod_template(spec["template"]["spec"], replicas)


def pod_template(pod: Mapping[str, Any], replicas: int = 1) -> PodTemplate:
    """From a pod's spec with one container, as a manifest or the Kubernetes API has it."""
    (container,) = pod["containers"]
    return PodTemplate(
        variables=tuple(container.get("env", ())),
        mounts={m["name"]: m["mountPath"] for m in container.get("volumeMounts", ())},
        volumes={v["name"]: v for v in pod.get("volumes", ())},
        replicas=replicas,
    )


def environment_of(template: PodTemplate, who: Identity, secrets: Secrets) -> dict[str, str]:
    """The container's variables, with paths of mounted volumes turned into the pod's own folder. Raises CannotStart.

    Of this shell's variables a pod gets only the machine's own: no secret, no proxy, none of our own settings.
    """
    found = inherited()
    for variable in template.variables:
        value = variable.get("value")
        if value is None:
            value = _referred(variable["valueFrom"], who, secrets) if "valueFrom" in variable else ""
        found[variable["name"]] = _in_folder(value, template, who)
    return found


def _in_folder(value: str, template: PodTemplate, who: Identity) -> str:
    """A path under a mount is one under the pod's folder; each value is looked at once, as a folder may lie in another."""
    for name, path in template.mounts.items():
        if value == path or value.startswith(path + "/"):
            return str(who.folder / name) + value[len(path) :]
    return value


def write_files(template: PodTemplate, who: Identity, secrets: Secrets) -> None:
    """Makes the volumes' folders, and writes those of Secrets, readable by the owner alone."""
    for name in template.mounts:
        folder = who.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        secret = template.volumes[name].get("secret")
        if secret is None:
            continue
        for item in secret["items"]:
            value = _key(secrets, secret["secretName"], item["key"])
            write_atomically(folder / item["path"], value, mode=0o600)


def _referred(source: Mapping[str, Any], who: Identity, secrets: Secrets) -> str:
    if "fieldRef" in source:
        known = {
            "metadata.name": who.name,
            "metadata.namespace": who.namespace,
            "metadata.uid": who.uid,
            "status.podIP": who.address,
        }
        return known[source["fieldRef"]["fieldPath"]]
    ref = source["secretKeyRef"]
    return _key(secrets, ref["name"], ref["key"])


def _key(secrets: Secrets, name: str, key: str) -> str:
    try:
        return secrets[name][key].decode()
    except KeyError:
        msg = (
            f"the Secret {name} with the key {key} is missing: add a Secret document to the same file, "
            f"or a file secrets/{name}/{key} to the state folder"
        )
        raise CannotStart(msg) from None
    except UnicodeDecodeError:
        msg = f"the Secret {name}, key {key}, is not text"
        raise CannotStart(msg) from None
