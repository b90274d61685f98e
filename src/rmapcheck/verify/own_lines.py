"""Which functions of a plug-in HOLDS has to be about, and which of their arms nobody ran.

A search says nothing about code that it never ran: a hook that the kernels of the era do not call,
a branch for a case that no scope has. So `verify` records which arms of the author's own functions
(rmapcheck.search.coverage) ran in searches that were completed, and says HOLDS only if all did.
"""

from collections.abc import Iterable, Iterator, Sequence
from inspect import isfunction, unwrap
from types import FunctionType
from typing import Any

from rmapcheck.model.i_mmap.list import IMmap
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.own import own_classes
from rmapcheck.search.coverage import Arm


def own_functions(scheme: type[Scheme]) -> tuple[FunctionType, ...]:
    """Return what the author wrote: methods of the scheme, its container and their parts.

    Functions of the same files that these call are included; a method that a later class of the
    author overrides without calling it is too, because only a search can tell.
    """
    found: dict[FunctionType, None] = {}
    waiting = [f for cls in _own_classes(scheme) for f in _methods(cls)]
    while waiting:
        function = waiting.pop(0)
        if function not in found:
            found[function] = None
            waiting += _called(function)
    return tuple(found)


def _own_classes(scheme: type[Scheme]) -> Iterator[type[Any]]:
    """Yield classes that do not come with rmapcheck: of the scheme and of what it consists of."""
    yield from own_classes(scheme)
    for part in {name: getattr(scheme, name) for name in dir(scheme)}.values():
        if isinstance(part, IMmap) or hasattr(type(part), "insert"):
            yield from (c for c in type(part).__mro__ if _is_own(c.__module__))


def _is_own(module: str) -> bool:
    return module.partition(".")[0] not in ("rmapcheck", "builtins", "typing", "abc")


def _methods(cls: type[Any]) -> Iterator[FunctionType]:
    for value in vars(cls).values():
        function = getattr(value, "__func__", value)
        if isfunction(function):
            yield unwrap(function)


def _called(function: FunctionType) -> Iterator[FunctionType]:
    """Yield functions of the same file that `function` names."""
    for name in function.__code__.co_names:
        other = function.__globals__.get(name)
        if isfunction(other) and other.__module__ == function.__module__:
            yield other


def not_run(arms: Iterable[Arm], ran: frozenset[str]) -> tuple[Arm, ...]:
    """Return the arms that did not run, in the order of the file; of a function, the first only.

    If a function never runs, nothing is said of what is in it.
    """
    missed = [arm for arm in arms if arm.key not in ran]
    whole = {(arm.file, arm.function) for arm in missed if arm.what == "runs"}
    kept = [a for a in missed if a.what == "runs" or (a.file, a.function) not in whole]
    return tuple(sorted(kept, key=lambda a: (a.file, a.line)))


def why_unknown(missed: Sequence[Arm]) -> str:
    """Return why nothing can be claimed, for the reason of an UNKNOWN."""
    first = missed[0]
    more = f", and {len(missed) - 1} more such place" if len(missed) > 1 else ""
    more += "s" if len(missed) > 2 else ""
    return f"{first.place}: {first.missed} in a scope that was searched to its end{more}"
