"""What a pod's variables and volumes refer to, read from the API, and the files that a kubelet would mount.

Knows: Secrets, ConfigMaps, projected volumes and the downward API. Must not know: processes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from support.kubelet.api import Api, ApiError, Object

from memorystack_operator.local.state import write_atomically

__all__ = ["Missing", "Sources", "gather", "mounted", "write_mounted"]

Data = Mapping[str, bytes]
_ANNOTATION: Final = re.compile(r"metadata\.annotations\['(.+)'\]")
_LABEL: Final = re.compile(r"metadata\.labels\['(.+)'\]")


class Missing(Exception):  # noqa: N818 -- not an error of ours: it may come
    """A Secret or ConfigMap that the pod needs is not there; `volume` is empty when a variable needs it."""

    def __init__(self, text: str, volume: str) -> None:
        super().__init__(text)
        self.volume = volume


@dataclass(frozen=True, slots=True)
class _Reference:
    kind: Literal["Secret", "ConfigMap"]
    name: str
    optional: bool
    volume: str
    key: str = ""
    """That a variable needs of it."""


@dataclass(frozen=True)
class Sources:
    """What was there: name -> key -> value."""

    secrets: Mapping[str, Data]
    config_maps: Mapping[str, Data]


async def gather(api: Api, pod: Object) -> Sources:
    """Reads all that the pod refers to. Raises Missing, ApiError."""
    found: dict[str, dict[str, Data]] = {"Secret": {}, "ConfigMap": {}}
    base = f"/api/v1/namespaces/{pod['metadata']['namespace']}"
    for one in set(_references(pod["spec"])):
        try:
            item = await api.get(f"{base}/{one.kind.lower()}s/{one.name}")
        except ApiError as error:
            if error.code != 404:
                raise
            if not one.optional:
                raise Missing(f'{one.kind.lower()} "{one.name}" not found', one.volume) from None
            continue
        found[one.kind][one.name] = _data(item)
        if one.key and one.key not in found[one.kind][one.name] and not one.optional:
            text = f"couldn't find key {one.key} in {one.kind} {pod['metadata']['namespace']}/{one.name}"
            raise Missing(text, one.volume)
    return Sources(found["Secret"], found["ConfigMap"])


def mounted(pod: Object, sources: Sources) -> dict[tuple[str, str], bytes]:
    """(volume, path in it) -> content; what is optional and not there has no file."""
    found: dict[tuple[str, str], bytes] = {}
    for volume in pod["spec"].get("volumes", ()):
        for part in _parts(volume):
            for path, content in _files(part, pod, sources):
                found[volume["name"], path] = content
    return found


def write_mounted(folder: Path, before: Mapping[tuple[str, str], bytes], now: Mapping[tuple[str, str], bytes]) -> None:
    """Makes the files under `folder`/volume so. A lease is written last, as it counts from the moment it is seen."""
    for volume, path in sorted(before.keys() - now.keys()):
        (folder / volume / path).unlink(missing_ok=True)
    for (volume, path), content in sorted(now.items(), key=lambda item: "lease" in item[0][1]):
        if before.get((volume, path)) != content:
            target = folder / volume / path
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, content.decode(), mode=0o600)


def _references(spec: Mapping[str, Any]) -> Iterator[_Reference]:
    for volume in spec.get("volumes", ()):
        for part in _parts(volume):
            if "secret" in part:
                name = part["secret"].get("secretName") or part["secret"]["name"]
                yield _Reference("Secret", name, part["secret"].get("optional", False), volume["name"])
            if "configMap" in part:
                wanted = part["configMap"]
                yield _Reference("ConfigMap", wanted["name"], wanted.get("optional", False), volume["name"])
    for variable in spec["containers"][0].get("env", ()):
        wanted = variable.get("valueFrom", {}).get("secretKeyRef")
        if wanted:
            yield _Reference("Secret", wanted["name"], wanted.get("optional", False), "", wanted["key"])


def _parts(volume: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(volume["projected"]["sources"]) if "projected" in volume else [volume]


def _files(part: Mapping[str, Any], pod: Object, sources: Sources) -> Iterator[tuple[str, bytes]]:
    if "downwardAPI" in part:
        for item in part["downwardAPI"].get("items", ()):
            yield item["path"], _field(pod, item["fieldRef"]["fieldPath"]).encode()
    for kind, known in (("secret", sources.secrets), ("configMap", sources.config_maps)):
        if kind not in part:
            continue
        data = known.get(part[kind].get("secretName") or part[kind]["name"], {})
        items = part[kind].get("items") or [{"key": key, "path": key} for key in data]
        yield from ((item["path"], data[item["key"]]) for item in items if item["key"] in data)


def _field(pod: Object, path: str) -> str:
    """Absent annotations and labels are empty, as a kubelet has it."""
    metadata = pod["metadata"]
    for pattern, key in ((_ANNOTATION, "annotations"), (_LABEL, "labels")):
        if match := pattern.fullmatch(path):
            return str((metadata.get(key) or {}).get(match[1], ""))
    return str(metadata[path.removeprefix("metadata.")])


def _data(item: Object) -> Data:
    if item["kind"] == "Secret":
        return {key: base64.b64decode(value) for key, value in (item.get("data") or {}).items()}
    return {key: value.encode() for key, value in (item.get("data") or {}).items()}
