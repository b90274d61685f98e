"""Which functions of a plug-in HOLDS has to be about, and which of their arms nobody ran.

A search says nothing about code that it never ran: a hook that the kernels of the era do not call,
a branch for a case that no scope has. So `verify` records which arms of the author's own functions
(rmapcheck.search.coverage) ran in searches that were completed, and says HOLDS only if all did.
"""

from collections.abc import Iterable, Iterator, Sequence
from inspect import isfunction
from types import FunctionType

from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.own import own_methods
from rmapcheck.search.coverage import Arm


def own_functions(scheme: type[Scheme]) -> tuple[FunctionType, ...]:
    """Return the methods that the author wrote, and the functions of the same file they call."""
    found: dict[FunctionType, None] = {}
    waiting = own_methods(scheme)
    while waiting:
        function = waiting.pop(0)
        if function not in found:
            found[function] = None
            waiting += _called(function)
    return tuple(found)


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
