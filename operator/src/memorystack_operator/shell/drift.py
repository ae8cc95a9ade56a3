"""Whether a live object still has every field that we set. Knows JSON; nothing of kinds.

Only rendered fields are looked at: what others added (a variable by `kubectl set env`, a default by the server) is not
ours to mend. Lists of objects are matched by their key, as server-side apply does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

__all__ = ["differs"]

_KEYS: Final = ("name", "mountPath", "containerPort", "port", "topologyKey", "uid", "key", "path", "type")
_SCALE: Final[dict[str, Decimal]] = {
    "": Decimal(1),
    **{
        suffix: Decimal(10) ** power
        for suffix, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
    },
    **{f"{letter}i": Decimal(2) ** (10 * n) for n, letter in enumerate("KMGTPE", 1)},
}


def differs(rendered: Any, live: Any) -> bool:
    """Whether applying `rendered` would change `live`."""
    if _empty(rendered) and _empty(live):
        return False
    if isinstance(rendered, Mapping):
        return not isinstance(live, Mapping) or any(differs(v, live.get(k)) for k, v in rendered.items())
    if isinstance(rendered, list | tuple):
        return not isinstance(live, list) or _lists_differ(rendered, live)
    return bool(rendered != live) and not _same_quantity(rendered, live)


def _lists_differ(rendered: Sequence[Any], live: Sequence[Any]) -> bool:
    key = next((k for k in _KEYS if rendered and all(isinstance(i, Mapping) and k in i for i in rendered)), None)
    if key is None:
        return len(rendered) != len(live) or any(differs(r, x) for r, x in zip(rendered, live, strict=True))
    found = {i.get(key): i for i in live if isinstance(i, Mapping)}
    return any(differs(item, found.get(item[key])) for item in rendered)


def _empty(value: Any) -> bool:
    return value is None or value in ("", {}, [], ())


def _same_quantity(one: object, other: object) -> bool:
    """The server writes `0.5` as `500m`."""
    left, right = _quantity(one), _quantity(other)
    return left is not None and left == right


def _quantity(value: object) -> Decimal | None:
    text = str(value)
    for suffix in (text[-2:], text[-1:], ""):
        if suffix in _SCALE and (suffix or text):
            try:
                return Decimal(text.removesuffix(suffix)) * _SCALE[suffix]
            except InvalidOperation:
                continue
    return None
