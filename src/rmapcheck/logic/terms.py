"""Formulas of many-sorted first-order logic, written as Python expressions.

A sort is a class, and a variable is a parameter of a lambda::

    class Vma(Sort):
        "struct vm_area_struct."

    forall(Vma, AnonVma, lambda v, a: st.avc(v, a) >> st.anon_vma(a))

`&`, `|`, `~`, `>>` (implies), `==` and `!=` make formulas; `If` chooses between two terms. A
formula has no truth value in Python, and `bool()` of it raises an error, so that `if`, `and`, `or`
and `not` cannot be used on it by mistake. Each lambda is called once, immediately, with fresh
variables.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs

from rmapcheck.model.machine.errors import ModelError

SortOf: TypeAlias = "type[Sort]"

VAR, APP, EQ, NOT, AND, OR, IMPLIES, ITE = "var", "app", "eq", "not", "and", "or", "implies", "ite"
FORALL, EXISTS, TRUE_, FALSE_ = "forall", "exists", "true", "false"

_NOTHING: frozenset[Any] = frozenset()
_numbers = itertools.count()


class SpecError(ModelError):
    """A specification is wrong; the message says where, and what to do."""


@attrs.frozen(eq=False)
class Symbol:
    """A relation (its range is Bool) or a function; it may be a parameter of an operation."""

    name: str
    domain: tuple[SortOf, ...]
    range: SortOf
    doc: str = ""

    def __str__(self) -> str:
        sorts = ", ".join(s.__name__ for s in self.domain)
        return f"{self.name}({sorts})" + (
            "" if self.range is Bool else f" → {self.range.__name__}"
        )


class Expr:
    """A term, or a formula (of sort Bool). Immutable; made by the functions below."""

    __slots__ = ("args", "bound", "free", "kind", "name", "sort", "symbol", "symbols")

    kind: str
    sort: SortOf
    args: tuple["Expr", ...]
    bound: tuple["Expr", ...]
    name: str
    symbol: Symbol | None
    free: "frozenset[Expr]"
    """The free variables."""
    symbols: frozenset[Symbol]

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise SpecError(
            f"a formula has no truth value: write & | ~ >> and If(...) instead of and, or, not, "
            f"if on {self}"
        )

    def __and__(self, other: "Expr | bool") -> "Expr":
        return conj(self, formula(other))

    def __rand__(self, other: "Expr | bool") -> "Expr":
        return conj(formula(other), self)

    def __or__(self, other: "Expr | bool") -> "Expr":
        return disj(self, formula(other))

    def __ror__(self, other: "Expr | bool") -> "Expr":
        return disj(formula(other), self)

    def __invert__(self) -> "Expr":
        return negate(self)

    def __rshift__(self, other: "Expr | bool") -> "Expr":
        return implies(self, formula(other))

    def __rrshift__(self, other: "Expr | bool") -> "Expr":
        return implies(formula(other), self)

    def __eq__(self, other: object) -> "Expr":  # type: ignore[override] # a formula, as in z3
        return equal(self, other)

    def __ne__(self, other: object) -> "Expr":  # type: ignore[override] # a formula, as in z3
        return negate(equal(self, other))

    def __str__(self) -> str:
        return text(self)

    def __repr__(self) -> str:
        return f"<{self}>"


class Sort(Expr):
    """Base class of all sorts."""

    __slots__ = ()


class Bool(Sort):
    """The sort of formulas."""

    __slots__ = ()


def _node(
    kind: str,
    sort: SortOf,
    args: tuple[Expr, ...] = (),
    *,
    bound: tuple[Expr, ...] = (),
    name: str = "",
    symbol: Symbol | None = None,
) -> Expr:
    e = Expr()
    e.kind, e.sort, e.args, e.bound, e.name, e.symbol = kind, sort, args, bound, name, symbol
    free: frozenset[Expr] = _NOTHING
    symbols: frozenset[Symbol] = _NOTHING if symbol is None else frozenset((symbol,))
    for arg in args:
        if arg.free:
            free |= arg.free
        if arg.symbols:
            symbols |= arg.symbols
    if kind is VAR:
        free = frozenset((e,))
    elif bound:
        free -= frozenset(bound)
    e.free, e.symbols = free, symbols
    return e


TRUE = _node(TRUE_, Bool)
FALSE = _node(FALSE_, Bool)


def variable(sort: SortOf, name: str) -> Expr:
    """Return a new variable; `name` is for printing only."""
    return _node(VAR, sort, name=f"{name}#{next(_numbers)}")


def formula(value: object) -> Expr:
    """Return `value`, a formula or a truth value, as a formula."""
    if value is True:
        return TRUE
    if value is False:
        return FALSE
    if isinstance(value, Expr) and value.sort is Bool:
        return value
    raise SpecError(f"a formula was expected, not {_described(value)}")


def _described(value: object) -> str:
    if isinstance(value, Expr):
        return f"{value} (sort {value.sort.__name__})"
    return f"{value!r}"


def apply(symbol: Symbol, args: Sequence[object]) -> Expr:
    """Return `symbol` applied to `args`. Raise SpecError if their number or sorts are wrong."""
    return _node(APP, symbol.range, checked(symbol, args), symbol=symbol)


def checked(symbol: Symbol, args: Sequence[object]) -> tuple[Expr, ...]:
    """Return `args` if they are terms of the right number and sorts; raise SpecError."""
    if len(args) != len(symbol.domain):
        raise SpecError(f"{symbol} takes {len(symbol.domain)} terms, not {len(args)}")
    found = []
    for arg, sort in zip(args, symbol.domain, strict=True):
        if not isinstance(arg, Expr) or arg.sort is not sort:
            raise SpecError(f"{symbol} needs the sort {sort.__name__}, not {_described(arg)}")
        found.append(arg)
    return tuple(found)


def equal(a: Expr, b: object) -> Expr:
    """Return `a == b`; for formulas, that both have the same truth value."""
    if isinstance(b, bool):
        b = formula(b)
    if not isinstance(b, Expr) or a.sort is not b.sort:
        raise SpecError(f"{_described(a)} cannot equal {_described(b)}")
    if a is b:
        return TRUE
    if a.sort is Bool:
        for x, y in ((a, b), (b, a)):
            if x is TRUE:
                return y
            if x is FALSE:
                return negate(y)
    return _node(EQ, Bool, (a, b))


def negate(a: Expr) -> Expr:
    """Return `~a`."""
    if a.sort is not Bool:
        raise SpecError(f"~ takes a formula, not {_described(a)}")
    if a.kind is NOT:
        return a.args[0]
    if a is TRUE or a is FALSE:
        return FALSE if a is TRUE else TRUE
    return _node(NOT, Bool, (a,))


def _flat(kind: str, parts: Sequence[Expr], unit: Expr, zero: Expr) -> Expr:
    found: list[Expr] = []
    for part in parts:
        if part.sort is not Bool:
            raise SpecError(f"a formula was expected, not {_described(part)}")
        if part is zero:
            return zero
        for piece in part.args if part.kind is kind else (part,):
            if piece is not unit and not any(piece is f for f in found):
                found.append(piece)
    if len(found) < 2:
        return found[0] if found else unit
    return _node(kind, Bool, tuple(found))


def conj(*parts: Expr) -> Expr:
    """Return the conjunction of `parts`."""
    return _flat(AND, parts, TRUE, FALSE)


def disj(*parts: Expr) -> Expr:
    """Return the disjunction of `parts`."""
    return _flat(OR, parts, FALSE, TRUE)


def implies(a: Expr, b: Expr) -> Expr:
    """Return `a >> b`."""
    if a.sort is not Bool:
        raise SpecError(f">> takes formulas, not {_described(a)}")
    if a is TRUE:
        return b
    if a is FALSE or b is TRUE:
        return TRUE
    return negate(a) if b is FALSE else _node(IMPLIES, Bool, (a, b))


def If(condition: Expr | bool, then: Expr | bool, other: Expr | bool) -> Expr:
    """Return `then` where `condition` holds, else `other`: terms of one sort, or formulas."""
    c = formula(condition)
    a = formula(then) if isinstance(then, bool) else then
    b = formula(other) if isinstance(other, bool) else other
    if a.sort is not b.sort:
        raise SpecError(f"If(...) needs one sort for both, not {_described(a)}, {_described(b)}")
    if c is TRUE or a is b:
        return a
    if c is FALSE:
        return b
    if a.sort is Bool:
        if a is TRUE or a is FALSE:
            return disj(c, b) if a is TRUE else conj(negate(c), b)
        if b is TRUE or b is FALSE:
            return disj(negate(c), a) if b is TRUE else conj(c, a)
    return _node(ITE, a.sort, (c, a, b))


def called(sorts: Sequence[Any], function: Callable[..., Any]) -> tuple[tuple[Expr, ...], Any]:
    """Call `function` with a fresh variable of each sort; return these and its result."""
    for sort in sorts:
        if not (isinstance(sort, type) and issubclass(sort, Sort)):
            raise SpecError(f"{sort!r} is not a sort; write forall(Vma, lambda v: ...)")
    if not callable(function):
        raise SpecError(f"a lambda was expected after the sorts, not {function!r}")
    code = getattr(function, "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code else ()
    if code and len(names) != len(sorts):
        given = ", ".join(s.__name__ for s in sorts)
        raise SpecError(f"a lambda takes {len(names)} variables, but the sorts are {given}")
    variables = tuple(
        variable(sort, names[i] if i < len(names) else "x") for i, sort in enumerate(sorts)
    )
    return variables, function(*variables)


def _quantified(kind: str, given: tuple[Any, ...]) -> Expr:
    variables, value = called(given[:-1], given[-1])
    return quantify(kind, variables, formula(value))


def quantify(kind: str, variables: tuple[Expr, ...], body: Expr) -> Expr:
    """Return `kind variables. body`, without variables that do not occur in the body.

    This does not change the meaning, because no sort is empty.
    """
    if body.kind is kind:
        variables, body = (*variables, *body.bound), body.args[0]
    used = tuple(v for v in variables if v in body.free)
    return _node(kind, Bool, (body,), bound=used) if used else body


def forall(*given: Any) -> Expr:  # noqa: ANN401 - sorts, then a lambda
    """Return "for all": `forall(Vma, AnonVma, lambda v, a: ...)`."""
    return _quantified(FORALL, given)


def exists(*given: Any) -> Expr:  # noqa: ANN401 - sorts, then a lambda
    """Return "there is": `exists(Vma, lambda v: ...)`."""
    return _quantified(EXISTS, given)


def remake(e: Expr, args: tuple[Expr, ...]) -> Expr:
    """Return `e` with other arguments, simplified."""
    if e.kind is APP:
        return _node(APP, e.sort, args, symbol=e.symbol)
    if e.kind in (FORALL, EXISTS):
        return quantify(e.kind, e.bound, args[0])
    make: dict[str, Callable[..., Expr]] = {
        EQ: equal,
        NOT: negate,
        AND: conj,
        OR: disj,
        IMPLIES: implies,
        ITE: If,
    }
    return make[e.kind](*args)


def conjuncts(e: Expr) -> tuple[Expr, ...]:
    """Return the parts of a conjunction; the formula itself if it is not a conjunction."""
    return e.args if e.kind is AND else (e,)


# Printing: `∀ v w a. avc(v, a) ∧ v ≠ w → anon_vma(a)`.

_LEVEL = {FORALL: 0, EXISTS: 0, IMPLIES: 1, OR: 2, AND: 3, NOT: 4, EQ: 5}
_SIGN = {OR: " ∨ ", AND: " ∧ ", IMPLIES: " → "}


def text(e: Expr) -> str:
    """Return the formula or term as text on one line."""
    return _Printer(e).show(e, 0)


class _Printer:
    """Prints an expression; adds primes where two variables would have the same name."""

    def __init__(self, e: Expr) -> None:
        self.names: dict[Expr, str] = {}
        for v in sorted(e.free, key=lambda v: v.name):
            self.name(v)

    def name(self, v: Expr) -> str:
        short = v.name.partition("#")[0]
        taken = set(self.names.values())
        while short in taken:
            short += "′"
        self.names[v] = short
        return short

    def show(self, e: Expr, level: int) -> str:
        if e.kind is VAR:
            return self.names.get(e) or self.name(e)
        if e.kind is APP and e.symbol is not None:
            return f"{e.symbol.name}({', '.join(self.show(a, 0) for a in e.args)})"
        if e.kind is ITE:
            return "({1} if {0} else {2})".format(*(self.show(a, 1) for a in e.args))
        if e.kind not in _LEVEL:
            return "true" if e is TRUE else "false"
        own = _LEVEL[e.kind]
        shown = self.compound(e, own)
        return f"({shown})" if own < level else shown

    def compound(self, e: Expr, own: int) -> str:
        if e.bound:
            kept = dict(self.names)
            names = " ".join(self.name(v) for v in e.bound)
            body = self.show(e.args[0], 0)
            self.names = kept
            return f"{'∀' if e.kind is FORALL else '∃'} {names}. {body}"
        if e.kind is NOT:
            inner = e.args[0]
            if inner.kind is EQ and inner.args[0].sort is not Bool:
                return " ≠ ".join(self.show(a, 6) for a in inner.args)
            return f"¬{self.show(inner, 4)}"
        if e.kind is EQ:
            sign = " ↔ " if e.args[0].sort is Bool else " = "
            return sign.join(self.show(a, 6) for a in e.args)
        return _SIGN[e.kind].join(self.show(a, own + 1) for a in e.args)
