"""The working state of an operation: plain statements, read top to bottom.

    st.require(st.vma(v) & ~st.vma(c), "c is a new VMA")     the guard
    st.vma[c] = True                                        one cell
    st.active[c] = n
    st.pte[c] = lambda x, p: st.pte(v, x, p)                 a row: the lambda has the other terms
    st.avc = lambda w, a: If(w == c, ..., st.avc(w, a))      the whole relation
    st.num_active_vmas.inc(n, c)                             n->num_active_vmas++, for c
    st.check(..., "walk_complete")                           what the kernel relies on here

A lambda in an assignment is called immediately, and reads the state before the assignment. A
lambda that is stored and called later could read another state than intended, so this is refused;
`define(Vma, lambda v: ...)` makes a predicate over the present state.
"""

import sys
from collections.abc import Callable
from typing import Any

import attrs

from rmapcheck.logic.macros import Macro, substitute
from rmapcheck.logic.terms import (
    Bool,
    Expr,
    If,
    Sort,
    SpecError,
    Symbol,
    apply,
    called,
    checked,
    conj,
    equal,
    exists,
    forall,
    formula,
    negate,
    variable,
)


@attrs.frozen(eq=False)
class Summand:
    """One set that a counter counts: the tuples of `elements` for which `member` holds."""

    elements: tuple[type[Sort], ...]
    member: Callable[..., Expr]
    """`lambda st, *element, key: ...`"""


@attrs.frozen(eq=False)
class Counter:
    """A counter in a struct: for each live key of sort `per`, the size of its sets."""

    name: str
    per: type[Sort]
    alive: str
    summands: tuple[Summand, ...]
    doc: str = ""


@attrs.frozen(eq=False)
class Entry:
    """`counter += sign` on each key, once for each element for which `condition` holds.

    With sign 0 the counter is not written; then `condition`, of two elements and the key, says
    which element replaces which.
    """

    counter: Counter
    summand: int
    sign: int
    condition: Macro
    """Over the state before the operation; its parameters are the element, then the key."""


@attrs.frozen(eq=False)
class Named:
    """A formula over the state before, with a name or its meaning in words."""

    name: str
    formula: Expr


class Working:
    """The state that an operation changes. Its attributes are the spec's symbols and counters."""

    def __init__(self, symbols: dict[str, Symbol], counters: dict[str, Counter]) -> None:
        put = object.__setattr__
        put(self, "_symbols", symbols)
        put(self, "_counters", counters)
        put(self, "_macros", {})
        put(self, "_ledger", [])
        put(self, "_guard", [])
        put(self, "_checks", [])

    _symbols: dict[str, Symbol]
    _counters: dict[str, Counter]
    _macros: dict[Symbol, Macro]
    _ledger: list[Entry]
    _guard: list[Named]
    _checks: list[Named]

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a symbol's or a counter's access
        if name in self._symbols:
            return Access(self, self._symbols[name])
        if name in self._counters:
            return CounterAccess(self, self._counters[name])
        known = ", ".join([*self._symbols, *self._counters])
        raise SpecError(f"the spec declares no {name!r}; there are {known}")

    def __setattr__(self, name: str, value: object) -> None:
        getattr(self, name)  # raises SpecError if it is not declared
        if name not in self._symbols:
            raise SpecError(f"{name} is a counter: use inc, dec, add or sub")
        symbol = self._symbols[name]
        if not callable(value):
            raise SpecError(f"{symbol} can be set to a lambda of {len(symbol.domain)} terms only")
        self.become(symbol, *called(symbol.domain, value))

    def become(self, symbol: Symbol, holes: tuple[Expr, ...], value: object) -> None:
        """Set `symbol` to `value`, a term or formula with the variables `holes`."""
        body = formula(value) if symbol.range is Bool else value
        if not isinstance(body, Expr) or body.sort is not symbol.range:
            raise SpecError(f"{symbol} cannot become {value!r}")
        self._macros[symbol] = Macro(holes, body)

    def read(self, symbol: Symbol, args: tuple[object, ...]) -> Expr:
        """Return the value of `symbol` for `args` in the present state."""
        macro = self._macros.get(symbol)
        return macro(*checked(symbol, args)) if macro else apply(symbol, args)

    def now(self, expr: Expr) -> Expr:
        """Return `expr`, which is about the state before, for the present state."""
        return substitute(expr, {}, self._macros)

    def require(self, condition: Expr | bool, why: str = "") -> None:
        """Add `condition` to the guard: the operation is possible only where it holds."""
        value = formula(condition)
        self._guard.append(Named(why or str(value), value))

    def check(self, condition: Expr | bool, name: str) -> None:
        """Add an obligation: `condition` must hold here, because the kernel relies on it."""
        self._checks.append(Named(name, formula(condition)))


class Access:
    """A symbol of the working state, such as `st.avc`: call it to read, index it to write."""

    __slots__ = ("st", "symbol")

    def __init__(self, st: Working, symbol: Symbol) -> None:
        self.st = st
        self.symbol = symbol

    def __call__(self, *args: object) -> Expr:
        _refuse_late(sys._getframe(1), self.symbol)  # noqa: SLF001 - who calls is the question
        return self.st.read(self.symbol, args)

    def __setitem__(self, key: object, value: object) -> None:
        """Set one cell, or a row to True, False or a lambda of the other terms."""
        given = key if isinstance(key, tuple) else (key,)
        left = self.symbol.domain[len(given) :]
        cell = checked(attrs.evolve(self.symbol, domain=self.symbol.domain[: len(given)]), given)
        if left and callable(value):
            rest, value = called(left, value)
        else:
            rest = tuple(variable(s, "x") for s in left)
        if isinstance(value, bool):
            value = formula(value)
        if not isinstance(value, Expr) or value.sort is not self.symbol.range:
            raise SpecError(f"{self.symbol} cannot become {value!r}")
        holes = tuple(variable(g.sort, "k") for g in cell)
        here = conj(*(equal(h, g) for h, g in zip(holes, cell, strict=True)))
        body = If(here, value, self.st.read(self.symbol, (*holes, *rest)))
        self.st.become(self.symbol, (*holes, *rest), body)


class CounterAccess:
    """A counter, such as `st.num_children`: inc, dec, add and sub change it."""

    __slots__ = ("counter", "st")

    def __init__(self, st: Working, counter: Counter) -> None:
        self.st = st
        self.counter = counter

    def inc(self, key: Expr, *element: Expr) -> None:
        """Do `key->counter++`, because `element` joins what it counts."""
        self._change(1, key, element)

    def dec(self, key: Expr, *element: Expr) -> None:
        """Do `key->counter--`, because `element` leaves what it counts."""
        self._change(-1, key, element)

    def add(self, *given: Any) -> None:  # noqa: ANN401 - sorts, then a lambda
        """Do `a->counter++` for each v where the lambda holds: `add(Vma, lambda v, a: ...)`."""
        self._each(1, given)

    def sub(self, *given: Any) -> None:  # noqa: ANN401 - sorts, then a lambda
        """Do `a->counter--` for each v where the lambda holds: `sub(Vma, lambda v, a: ...)`."""
        self._each(-1, given)

    def moved(self, *given: Any) -> None:  # noqa: ANN401 - sorts, then a lambda
        """Note that w replaces v in what a counts: `moved(Vma, lambda v, w, a: ...)`. No write."""
        sorts = given[:-1]
        holes, value = called((*sorts, *sorts, self.counter.per), given[-1])
        self._enter(0, sorts, Macro(holes, formula(value)))

    def _change(self, sign: int, key: Expr, element: tuple[Expr, ...]) -> None:
        holes = tuple(variable(e.sort, "e") for e in element)
        at = variable(self.counter.per, "k")
        parts = (equal(h, e) for h, e in zip((*holes, at), (*element, key), strict=True))
        self._enter(sign, tuple(e.sort for e in element), Macro((*holes, at), conj(*parts)))

    def _each(self, sign: int, given: tuple[Any, ...]) -> None:
        sorts = given[:-1]
        holes, value = called((*sorts, self.counter.per), given[-1])
        self._enter(sign, sorts, Macro(holes, formula(value)))

    def _enter(self, sign: int, sorts: tuple[Any, ...], condition: Macro) -> None:
        for i, summand in enumerate(self.counter.summands):
            if summand.elements == sorts:
                self.st._ledger.append(Entry(self.counter, i, sign, condition))  # noqa: SLF001
                return
        given = ", ".join(s.__name__ for s in sorts)
        raise SpecError(f"{self.counter.name} counts no elements of sort {given}")

    def member(self, summand: Summand, *args: Expr) -> Expr:
        """Return the formula which says that the element is counted for the key now."""
        return summand.member(self.st, *args)

    def is_zero(self, key: Expr) -> Expr:
        """Return `key->counter == 0`, as a formula over what is counted.

        Each operation has an obligation that the counter is exact.
        """
        self._unchanged()
        return conj(
            *(
                forall(*s.elements, _fixed(s, lambda *e, s=s: negate(self.member(s, *e, key))))
                for s in self.counter.summands
            )
        )

    def at_most_one(self, key: Expr) -> Expr:
        """Return `key->counter < 2`, as a formula over what is counted."""
        self._unchanged()
        found = []
        for i, s in enumerate(self.counter.summands):
            found.append(self._one(key, s))
            found += [self._not_both(key, s, other) for other in self.counter.summands[i + 1 :]]
        return conj(*found)

    def _one(self, key: Expr, s: Summand) -> Expr:
        n = len(s.elements)

        def alike(*both: Expr) -> Expr:
            first, second = both[:n], both[n:]
            counted = conj(self.member(s, *first, key), self.member(s, *second, key))
            return counted >> conj(*(equal(a, b) for a, b in zip(first, second, strict=True)))

        return forall(*s.elements, *s.elements, _Fixed(2 * n, alike))

    def _not_both(self, key: Expr, s: Summand, other: Summand) -> Expr:
        some = [
            exists(*x.elements, _fixed(x, lambda *e, x=x: self.member(x, *e, key)))
            for x in (s, other)
        ]
        return negate(conj(*some))

    def _unchanged(self) -> None:
        """Raise SpecError if counter or members have changed: a test would use the old members."""
        if any(entry.counter is self.counter for entry in self.st._ledger):  # noqa: SLF001
            raise SpecError(f"{self.counter.name} is read after it has changed: read it first")
        for s in self.counter.summands:
            holes = tuple(variable(x, "e") for x in (*s.elements, self.counter.per))
            pure = Working(self.st._symbols, self.st._counters)  # noqa: SLF001
            if not s.member(pure, *holes).symbols.isdisjoint(self.st._macros):  # noqa: SLF001
                raise SpecError(
                    f"{self.counter.name} is read after what it counts has changed: read first"
                )


class _Fixed:
    """A function whose number of variables is given, because its signature does not show it."""

    def __init__(self, count: int, function: Callable[..., Expr]) -> None:
        self.function = function
        self.__code__ = _Code(("e",) * count, count)

    def __call__(self, *args: Expr) -> Expr:
        return self.function(*args)


@attrs.frozen
class _Code:
    co_varnames: tuple[str, ...]
    co_argcount: int


def _fixed(summand: Summand, function: Callable[..., Expr]) -> _Fixed:
    return _Fixed(len(summand.elements), function)


def _refuse_late(frame: Any, symbol: Symbol) -> None:  # noqa: ANN401 - a Python frame
    """Raise SpecError if the state is read in a lambda that the spec itself calls later."""
    if frame.f_code.co_name != "<lambda>" or frame.f_back is None:
        return
    caller = str(frame.f_back.f_globals.get("__name__", ""))
    if not caller.startswith("rmapcheck.logic"):
        raise SpecError(
            f"{symbol.name} is read in a lambda that is called later, when the state may be "
            f"another (line {frame.f_lineno}): give it a name with define(Vma, lambda v: ...)"
        )
