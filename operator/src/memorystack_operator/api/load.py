"""A file with a MemoryStack, and Secrets if wanted, read strictly: what is not understood is refused, not ignored.

Knows: YAML and the two kinds. Must not know: what is done with them. A Secret's values never appear in a message.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from memorystack_operator.api.errors import InvalidResource, Problem, problems_of
from memorystack_operator.api.spec import API_VERSION, KIND, MemoryStack

__all__ = ["Loaded", "Secret", "load", "parse"]

MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Secret:
    """A v1 Secret of the same file; `repr` does not show the values."""

    name: str
    data: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file holds."""

    stack: MemoryStack
    secrets: tuple[Secret, ...] = ()


def load(path: Path) -> Loaded:
    """Raises InvalidResource for whatever is wrong with the file."""
    source = str(path)
    try:
        if path.is_dir():
            raise InvalidResource([Problem("", "is a folder: name the YAML file in it")], source)
        if path.stat().st_size > MAX_BYTES:
            raise InvalidResource([Problem("", "is larger than 1 MiB, which no MemoryStack is")], source)
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidResource(
            [Problem("", "does not exist: name a file with a MemoryStack (-f FILE)")], source
        ) from None
    except UnicodeDecodeError:
        raise InvalidResource([Problem("", "is not UTF-8 text: save it as such")], source) from None
    except OSError as error:
        raise InvalidResource([Problem("", f"cannot be read: {error.strerror}")], source) from None
    return parse(text, source)


def parse(text: str, source: str = "") -> Loaded:
    """One MemoryStack and any number of Secrets, in any order. Raises InvalidResource."""
    documents = [d for d in _documents(text, source) if d is not None]
    if not documents:
        raise InvalidResource([Problem("", f"is empty: it must hold a {KIND}")], source)
    stacks: list[MemoryStack] = []
    secrets: list[Secret] = []
    for number, document in enumerate(documents, 1):
        where = f"{source}: document {number}" if len(documents) > 1 and source else source
        if not isinstance(document, dict):
            raise InvalidResource(
                [Problem("", f"is no object: write apiVersion, kind, metadata and spec of a {KIND}")], where
            )
        if document.get("kind") == "Secret":
            secrets.append(_secret(document, where))
        else:
            stacks.append(_stack(document, where))
    if len(stacks) != 1:
        raise InvalidResource([Problem("", f"holds {len(stacks)} {KIND}s: keep one a file")], source)
    return Loaded(stacks[0], tuple(secrets))


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice: YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and key.value != "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _documents(text: str, source: str) -> list[Any]:
    try:
        return list(yaml.load_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InvalidResource([Problem("", f"{where}is not YAML: {error.problem}")], source) from None
    except (yaml.YAMLError, RecursionError) as error:
        first = str(error).splitlines()[0]
        raise InvalidResource([Problem("", f"is not YAML: {first}")], source) from None


def _stack(document: dict[str, Any], source: str) -> MemoryStack:
    kind, version = document.get("kind"), document.get("apiVersion")
    if kind != KIND:
        raise InvalidResource([Problem("kind", f"{kind!r} is not served: it must be {KIND} (or Secret)")], source)
    if version != API_VERSION:
        raise InvalidResource([Problem("apiVersion", f"{version!r} is not known: it must be {API_VERSION}")], source)
    document = {key: value for key, value in document.items() if key != "status"}
    try:
        return MemoryStack.model_validate(document)
    except ValidationError as error:
        raise InvalidResource(problems_of(error, MemoryStack), source) from None


def _secret(document: dict[str, Any], source: str) -> Secret:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name:
        raise InvalidResource([Problem("metadata.name", "is missing from the Secret: add it")], source)
    data: dict[str, bytes] = {}
    for key, value in (document.get("data") or {}).items():
        try:
            data[str(key)] = base64.b64decode(str(value), validate=True)
        except binascii.Error:
            problem = Problem(f"data.{key}", "is not base64: encode it, or put the plain text under stringData")
            raise InvalidResource([problem], source) from None
    for key, value in (document.get("stringData") or {}).items():
        data[str(key)] = str(value).encode()
    return Secret(name, data)
