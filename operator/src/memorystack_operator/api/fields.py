"""The kinds of values that a resource's fields hold, each with its rule in Python and in CEL.

Knows: single values. Must not know: which field holds them.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from memorystack_operator.api import rules
from memorystack_operator.api.cel import Cel, Checked
from memorystack_operator.api.durations import Duration, parse_duration

__all__ = [
    "BudgetTime",
    "Image",
    "Interval",
    "KeepAlive",
    "Label",
    "Model",
    "Name",
    "Quantity",
    "Rate",
    "RedisUrl",
    "SecretKeyRef",
    "Stabilization",
    "StepTime",
    "Timeout",
    "Ttl",
    "Url",
]


def _between(low: str, high: str, note: str = "") -> Checked:
    """A duration from `low` to `high`, both allowed."""
    text = f"{low} and {high}{note}"
    bottom, top = parse_duration(low), parse_duration(high)
    rule = f"duration(self) >= duration('{low}') && duration(self) <= duration('{high}')"
    return Checked(lambda value: rules.within(value, bottom, top, text), Cel(rule, f"must be between {text}"))


def _web(text: str) -> str:
    if not text.startswith(("http://", "https://")) or text[-2:] == "//":
        msg = f"{text!r} is no URL: write http://host:port or https://host:port"
        raise ValueError(msg)
    return text


def _redis(text: str) -> str:
    if not text.startswith(("redis://", "rediss://")):
        msg = f"{text!r} is no Redis URL: write redis://host:6379/0, or rediss:// for TLS"
        raise ValueError(msg)
    return text


def _said(value: object) -> object:
    """YAML reads 0.01 as a number; the schema takes a string, since floats differ between readers."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        msg = f'{value} is a number: put it in quotes, as "{value}"'
        raise ValueError(msg)
    return value


def _counted(value: object) -> object:
    """`cpu: 1` is a number in YAML and means the quantity "1"."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class _IntOrString:
    """A quantity is written either way, as everywhere in Kubernetes."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        found = {key: value for key, value in handler(schema).items() if key != "type"}
        return {**found, "x-kubernetes-int-or-string": True}


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$", max_length=253)]
Label = Annotated[str, StringConstraints(max_length=316)]
Image = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Quantity = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][0-9]+)?$", max_length=32),
    BeforeValidator(_counted),
    _IntOrString(),
]
Url = Annotated[
    str,
    StringConstraints(max_length=2048),
    Checked(
        _web,
        Cel(
            "(self.startsWith('http://') || self.startsWith('https://')) && !self.endsWith('//')",
            "is no URL: write http://host:port or https://host:port",
        ),
    ),
]
RedisUrl = Annotated[
    str,
    StringConstraints(max_length=2048),
    Checked(
        _redis,
        Cel(
            "self.startsWith('redis://') || self.startsWith('rediss://')",
            "is no Redis URL: write redis://host:6379/0, or rediss:// for TLS",
        ),
    ),
]
Rate = Annotated[
    str,
    Field(pattern=r"^0\.[0-9]{1,6}$", max_length=8),
    BeforeValidator(_said),
    Checked(
        rules.fraction,
        Cel("double(self) > 0.0 && double(self) <= 0.5", 'must be above 0 and at most 0.5, in quotes, as "0.01"'),
    ),
]
BudgetTime = Annotated[Duration, _between("5ms", "10m")]
KeepAlive = Annotated[Duration, _between("100ms", "10m")]
Ttl = Annotated[Duration, _between("100ms", "24h")]
Interval = Annotated[Duration, _between("1s", "5m")]
Timeout = Annotated[Duration, _between("1m", "168h", " (7 days)")]
Stabilization = Annotated[Duration, _between("0s", "8760h", " (a year)")]
StepTime = Annotated[Duration, _between("0s", "168h", " (7 days)")]


class Model(BaseModel):
    """Frozen, camelCase, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class SecretKeyRef(Model):
    """One key of a Secret in the stack's namespace. The operator never reads it; the pods do."""

    name: Name
    """Name of the Secret."""
    key: Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]{1,253}$", max_length=253)]
    """Key in the Secret's data."""
