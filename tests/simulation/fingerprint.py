"""Which engine a report is of: a hash of the code that decides, without comments, docstrings and formatting."""

from __future__ import annotations

import ast
import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Final

__all__ = ["MODULES", "engine_hash"]

MODULES: Final = (
    "bets", "evidence", "verdict", "switchback", "pairs", "proving", "noncentral", "room", "dispersion", "calibration",
    "chi_square", "limits", "trial", "case", "qualifying", "reverse", "stabilization", "slices",
)  # fmt: skip
"""Modules of `memorystack_operator.core` that the simulation's results hang on."""


def engine_hash() -> str:
    """Twelve hex digits; changes when a statement of these modules does."""
    package = find_spec("memorystack_operator.core")
    assert package is not None
    assert package.origin is not None
    digest = hashlib.sha256()
    for name in MODULES:
        tree = ast.parse((Path(package.origin).parent / f"{name}.py").read_text(encoding="utf-8"))
        digest.update(f"{name}\n{ast.dump(_bare(tree))}\n".encode())
    return digest.hexdigest()[:12]


def _bare(tree: ast.Module) -> ast.Module:
    """Without strings that stand alone: docstrings of modules, classes, functions and fields."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]  # ast.walk gives no narrower type
    return tree
