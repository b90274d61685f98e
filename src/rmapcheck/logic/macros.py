"""Macros: formulas and terms with parameters, and substitution."""

from collections.abc import Mapping
from typing import Any

import attrs

from rmapcheck.logic.terms import APP, VAR, Expr, SpecError, Symbol, called, formula, remake


@attrs.frozen(eq=False)
class Macro:
    """A formula or term with parameters, such as the new meaning of a relation or function."""

    variables: tuple[Expr, ...]
    body: Expr

    def __call__(self, *args: Expr) -> Expr:
        if len(args) != len(self.variables):
            raise SpecError(f"{len(self.variables)} terms are needed here, not {len(args)}")
        for hole, arg in zip(self.variables, args, strict=True):
            if arg.sort is not hole.sort:
                raise SpecError(
                    f"the sort {hole.sort.__name__} is needed here, but {arg} is of sort "
                    f"{arg.sort.__name__}"
                )
        return substitute(self.body, dict(zip(self.variables, args, strict=True)))


def define(*given: Any) -> Macro:  # noqa: ANN401 - sorts, then a lambda
    """Return a predicate or term over the present state: `left = define(Vma, lambda v: ...)`.

    Later changes of the state do not change it.
    """
    variables, value = called(given[:-1], given[-1])
    return Macro(variables, formula(value) if isinstance(value, bool) else value)


def substitute(
    expr: Expr,
    terms: Mapping[Expr, Expr],
    macros: Mapping[Symbol, Macro] | None = None,
) -> Expr:
    """Return `expr` with `terms` for variables and `macros` for symbols, all at once.

    No variable is captured, because bound variables are unique. The body of a macro is about the
    state before, so it is not substituted again.
    """
    names = frozenset(terms)
    touched = frozenset(macros or ())
    memo: dict[Expr, Expr] = {}

    def go(e: Expr) -> Expr:
        if names.isdisjoint(e.free) and touched.isdisjoint(e.symbols):
            return e
        done = memo.get(e)
        if done is None:
            done = memo[e] = rebuild(e)
        return done

    def rebuild(e: Expr) -> Expr:
        if e.kind is VAR:
            return terms.get(e, e)
        args = tuple([go(a) for a in e.args])
        if e.kind is APP and e.symbol in touched and macros is not None:
            return macros[e.symbol](*args)
        return remake(e, args)

    return go(expr)
