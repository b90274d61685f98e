"""Declarations in the body of a spec's class: symbols, counters, and decorators of methods."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, TypeVarTuple, overload

import attrs

from rmapcheck.logic.terms import Bool, Expr, Sort
from rmapcheck.logic.working import Summand

Ts = TypeVarTuple("Ts")
F = TypeVar("F", bound=Callable[..., Any])


class Predicate(Generic[*Ts]):
    """Annotation `C: Predicate[Address]`: a parameter that is a set (or relation) of elements."""

    def __call__(self, *args: Expr) -> Expr:
        raise NotImplementedError


class Function(Generic[*Ts]):
    """Annotation `I: Function[Address, Pgoff]`: a parameter that is a function; its range last."""

    def __call__(self, *args: Expr) -> Any:  # noqa: ANN401 - a term of the last sort
        raise NotImplementedError


@attrs.frozen(eq=False)
class Declared:
    """A relation or a function, as declared in the class; its name is that of the attribute."""

    domain: tuple[type[Sort], ...]
    range: type[Sort]
    where: Callable[..., Expr] | None = None
    doc: str = ""


@attrs.frozen(eq=False)
class DeclaredCounter:
    """A counter, as declared in the class; its name is that of the attribute."""

    per: type[Sort]
    alive: str
    summands: tuple[Summand, ...]
    doc: str = ""


def relation(*domain: type[Sort], doc: str = "") -> Any:  # noqa: ANN401 - becomes a Symbol
    """Declare a relation. In the initial state it holds of nothing."""
    return Declared(domain, Bool, None, doc)


def function(
    *sorts: type[Sort],
    where: Callable[..., Expr] | None = None,
    doc: str = "",
) -> Any:  # noqa: ANN401 - becomes a Symbol
    """Declare a function into the last sort. Its values matter only where `where` holds."""
    return Declared(sorts[:-1], sorts[-1], where, doc)


def counts(*of: Any, per: type[Sort], alive: str, doc: str = "") -> Any:  # noqa: ANN401
    """Declare a counter for each element of sort `per` for which the relation `alive` holds.

    It counts the elements of one or more sets. `of` gives each set as sorts and a lambda:
    `counts(Vma, lambda st, v, a: st.active(v) == a, per=AnonVma, alive="anon_vma")`.
    """
    summands, sorts = [], []
    for x in of:
        if isinstance(x, type):
            sorts.append(x)
        else:
            summands.append(Summand(tuple(sorts), x))
            sorts = []
    return DeclaredCounter(per, alive, tuple(summands), doc)


@overload
def operation(method: F) -> F: ...
@overload
def operation(*, changes: bool) -> Callable[[F], F]: ...
def operation(method: Any = None, *, changes: bool = True) -> Any:
    """Mark a method as an operation: `def fork(self, st, v: Vma, c: Vma)`.

    With `changes=False`, as for a fork that runs out of memory, it must change nothing.
    """

    def mark(method: Any) -> Any:  # noqa: ANN401 - a method, marked
        method.logic_kind = "operation"
        method.logic_changes = changes
        return method

    return mark if method is None else mark(method)


def invariant(method: F) -> F:
    """Mark a method as an invariant: `def coverage(self, st)` returns a formula."""
    marked: Any = method
    marked.logic_kind = "invariant"
    return method
