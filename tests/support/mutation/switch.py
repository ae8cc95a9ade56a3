"""What a mutated module calls in place of its functions: the original, or the one mutant that is being tried.

Knows: the tables of functions that mutmut writes into a mutated module. It is imported by that module, so it must know
nothing of ours. A call costs one look into a table, as tests of a numeric core call by the million.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, Final

__all__ = ["IMPORT", "MutantDict", "become", "mutated", "recorded"]

Function = Callable[..., Any]
MutantDict = dict[str, Function]
ORIGINAL: Final = "_mutmut_orig"
IMPORT: Final = "from support.mutation.switch import mutated as _mutmut_mutated, MutantDict\n"
"""Stands in a mutated module where mutmut's own import stood."""

_tables: Final[dict[str, list[MutantDict]]] = {}


def mutated(table: MutantDict, is_classmethod: bool = False) -> Callable[[Function], Function]:
    """Decorates a function that has mutants: mutmut fills its table below it."""

    def decorate(function: Function) -> Function:
        _tables.setdefault(function.__module__, []).append(table)
        return _in_class(function, table) if is_classmethod else _like(function, table)

    return decorate


def become(module: str, mutant: str) -> None:
    """From now on the mutant is called, in this process. Raises LookupError when the module has none of this name."""
    table = next(found for found in _tables.get(module, ()) if mutant in found)
    table[ORIGINAL] = table[mutant]


def recorded(hits: set[tuple[str, str]]) -> None:
    """From now on every call of a function that has mutants is noted, as its module and its name in mutmut's tables."""
    for module, tables in _tables.items():
        for table in tables:
            table[ORIGINAL] = _noting(_unbound(table[ORIGINAL]), (module, _name_of(table)), hits)


def _noting(function: Function, hit: tuple[str, str], hits: set[tuple[str, str]]) -> Function:
    @wraps(function)
    def noting(*args: Any, **kwargs: Any) -> Any:
        hits.add(hit)
        return function(*args, **kwargs)

    return noting


def _name_of(table: MutantDict) -> str:
    return next(name for name in table if name != ORIGINAL).rpartition("__mutmut_")[0]


def _unbound(function: Function) -> Function:
    bare: Function = getattr(function, "__func__", function)
    return bare


def _in_class(function: Function, table: MutantDict) -> Function:
    """A class method's table holds methods bound to the class that defines it; a subclass must get its own."""

    @wraps(function)
    def call(cls: type, *args: Any, **kwargs: Any) -> Any:
        return _unbound(table[ORIGINAL])(cls, *args, **kwargs)

    return call


def _like(function: Function, table: MutantDict) -> Function:
    """Callers that ask get the same answer: a coroutine function stays one, a generator function too."""
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            return await table[ORIGINAL](*args, **kwargs)

        return call_async
    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def call_generator(*args: Any, **kwargs: Any) -> Iterator[Any]:
            return (yield from table[ORIGINAL](*args, **kwargs))

        return call_generator

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return table[ORIGINAL](*args, **kwargs)

    return call
