"""How a resource is refused: every problem at once, each naming its field and the remedy.

ResourceError
`- InvalidResource   problems of one file or object
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ValidationError

__all__ = ["InvalidResource", "Problem", "ResourceError", "problems_of"]

LATER: Final = frozenset(
    {
        "gates", "tuning", "qdrantVersion",
    }
)  # fmt: skip
"""Fields of the design whose behaviour does not exist yet: accepting one would be a lie."""


class ResourceError(Exception):
    """Root of the tree."""


@dataclass(frozen=True, slots=True)
class Problem:
    """`path` as people write it (`spec.rollout.steps[1].weight`), and a sentence with the remedy."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidResource(ResourceError):  # noqa: N818 -- reads as Kubernetes' own reason, Invalid
    """`str()` is one line a problem."""

    def __init__(self, problems: Sequence[Problem], source: str = "") -> None:
        self.problems = tuple(problems)
        self.source = source
        lines = [str(p) for p in self.problems]
        super().__init__("\n".join(f"{source}: {line}" if source else line for line in lines))


def problems_of(error: ValidationError, model: type[BaseModel]) -> tuple[Problem, ...]:
    """pydantic's findings in our words."""
    found = error.errors(include_url=False, include_input=True)
    # A list whose only items were refused is also "too short": the items say what is wrong.
    inner = {e["loc"][:i] for e in found for i in range(len(e["loc"]))}
    return tuple(_problem(dict(e), model) for e in found if e["type"] != "too_short" or e["loc"] not in inner)


def _problem(error: Mapping[str, Any], model: type[BaseModel]) -> Problem:
    location = tuple(error["loc"])
    path = _path(location)
    kind = error["type"]
    if kind == "extra_forbidden":
        return Problem(path, _unknown(str(location[-1]), _fields_at(model, location[:-1])))
    if kind == "missing":
        return Problem(path, "is missing: add it")
    if kind == "value_error":
        return Problem(path, str(error["msg"]).removeprefix("Value error, "))
    if kind == "literal_error":
        return Problem(path, f"{error['input']!r} is not known: use {error['ctx']['expected']}")
    shown = "" if isinstance(error["input"], Mapping | list | tuple) else f"{error['input']!r}: "
    return Problem(path, f"{shown}{_lower(str(error['msg']))}")


def _path(location: Sequence[int | str]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _unknown(name: str, known: Sequence[str]) -> str:
    if name in LATER:
        return "is not supported by this version, so it would have no effect: remove it"
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
    return f"is no known field: {hint}"


def _fields_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Names of the fields of the model at a path; empty where it is no model."""
    current: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        field = next((f for f in current.model_fields.values() if f.alias == part), None)
        found = _model_in(field.annotation) if field else None
        if found is None:
            return []
        current = found
    return [f.alias or name for name, f in current.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _model_in(part)
        if found:
            return found
    return None


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
