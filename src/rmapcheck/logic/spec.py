"""A specification: a vocabulary, operations on it, and what must always hold.

    class Vma(Sort): "struct vm_area_struct."

    class MyRmap(Spec):
        vma = relation(Vma)                                    # v is allocated
        active = function(Vma, AnonVma, where=lambda st, v: st.faulted(v))

        @operation
        def munmap(self, st, v: Vma):                          # sorts are annotations
            st.require(st.vma(v))
            st.vma[v] = False

        @invariant
        def active_in_chain(self, st):
            return forall(Vma, lambda v: st.faulted(v) >> st.avc(v, st.active(v)))

A subclass inherits all of this. It overrides a decision (a plain method), an operation or an
invariant by defining one with the same name, and removes it by setting the name to None.
"""

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import attrs

from rmapcheck.logic.counting import exactness
from rmapcheck.logic.declare import Declared, DeclaredCounter, Function, Predicate
from rmapcheck.logic.macros import Macro, substitute
from rmapcheck.logic.terms import (
    FORALL,
    TRUE,
    Bool,
    Expr,
    Sort,
    SpecError,
    Symbol,
    apply,
    conj,
    equal,
    formula,
    implies,
    quantify,
    variable,
)
from rmapcheck.logic.working import Counter, Entry, Named, Working


@attrs.frozen(eq=False)
class Parameter:
    """A parameter of an operation: an element (`symbol` is None), a predicate or a function."""

    name: str
    sorts: tuple[type[Sort], ...]
    variable: Expr | None
    symbol: Symbol | None

    @property
    def value(self) -> Any:  # noqa: ANN401 - a term, or what makes terms
        """Return the argument with which the method of the operation is called."""
        if self.variable is not None:
            return self.variable
        assert self.symbol is not None  # noqa: S101 - one of the two is set
        holes = tuple(variable(s, "x") for s in self.symbol.domain)
        return Macro(holes, apply(self.symbol, holes))


@attrs.frozen(eq=False, kw_only=True)
class Transition:
    """An evaluated operation: its guard, the new meaning of each symbol, checks, counters."""

    name: str
    doc: str
    parameters: tuple[Parameter, ...]
    guard: tuple[Named, ...]
    macros: dict[Symbol, Macro]
    checks: tuple[Named, ...]
    ledger: tuple[Entry, ...]
    intended: bool
    """Whether the operation is supposed to change anything."""

    def after(self, expr: Expr) -> Expr:
        """Return a formula over the state before that is equivalent to `expr` after the step."""
        return substitute(expr, {}, self.macros)

    @property
    def changes(self) -> tuple[Symbol, ...]:
        """Return the symbols that the operation changes."""
        return tuple(self.macros)


@attrs.frozen(eq=False)
class Lemma:
    """An evaluated invariant of the spec."""

    name: str
    doc: str
    formula: Expr


def is_sort(value: object) -> bool:
    """Return whether `value` is a sort."""
    return isinstance(value, type) and issubclass(value, Sort)


def _first(doc: str | None) -> str:
    return " ".join((doc or "").strip().partition("\n\n")[0].split())


Flaws: TypeAlias = dict[str, tuple[tuple[str, str], ...]]
"""Name of a bug → the obligations that fail because of it, as (operation, lemma)."""


class Spec:
    """Base class of all specifications. Methods are evaluated when they are first needed."""

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    kernels: ClassVar[str] = ""
    schemes: ClassVar[tuple[str, ...]] = ()
    """Schemes of the model that must refine the spec, in addition to the one with its name."""
    flaws: ClassVar[Flaws] = {}
    """Bugs that these kernels had: because of them, some obligations must fail."""
    transient: ClassVar[tuple[str, ...]] = ()
    """Relations that hold of something only between two steps of one operation of the model. They
    cannot be read from its states; refinement computes them from the steps."""
    immediate: ClassVar[tuple[str, ...]] = ()
    """Operations, on one element each, that must have happened when an operation of the model
    ends."""
    live: ClassVar[dict[type[Sort], str]] = {}
    """Sort → the relation that holds of its live elements. Only these are printed."""

    def interesting(self, st: Any) -> Expr:  # noqa: ANN401 - a Working
        """Return what must be possible together with each operation, so that it is not vacuous."""
        return TRUE

    def __init__(self) -> None:
        if not self.name:
            type(self).name = type(self).__name__
        self.symbols: dict[str, Symbol] = {}
        self.where: dict[str, Callable[..., Expr]] = {}
        self.counters: dict[str, Counter] = {}
        for cls in reversed(type(self).__mro__):
            for name, value in vars(cls).items():
                self._declare(name, value)
        self.sorts = self._all_sorts()
        for counter in self.counters.values():
            self._run(counter.name, functools.partial(self._counts, counter))
        self._run("interesting", lambda: formula(self.interesting(self.base())))
        self.lemmas = tuple(self._lemma(n, m) for n, m in self._marked("invariant"))
        self.transitions = {n: self._transition(n, m) for n, m in self._marked("operation")}

    def _declare(self, name: str, value: object) -> None:
        if callable(value) and not isinstance(value, type) and name in self.symbols:
            raise SpecError(f"{self.name}: {name!r} is both a symbol and a method")
        if value is None:
            for kept in (self.symbols, self.where, self.counters):
                kept.pop(name, None)
        elif isinstance(value, Declared):
            if name in self.symbols:
                raise SpecError(f"{self.name} declares {name!r} twice")
            self.symbols[name] = Symbol(name, value.domain, value.range, value.doc)
            if value.where is not None:
                self.where[name] = value.where
        elif isinstance(value, DeclaredCounter):
            self.counters[name] = Counter(name, value.per, value.alive, value.summands, value.doc)

    def _counts(self, counter: Counter) -> None:
        """Raise SpecError if the declaration of the counter is wrong."""
        alive = self.symbols.get(counter.alive)
        if alive is None or alive.range is not Bool or alive.domain != (counter.per,):
            raise SpecError(f"no relation of {counter.per.__name__} is called {counter.alive!r}")
        for s in counter.summands:
            holes = [variable(x, "e") for x in (*s.elements, counter.per)]
            formula(s.member(self.base(), *holes))

    def _all_sorts(self) -> tuple[type[Sort], ...]:
        found: dict[type[Sort], None] = {}
        for symbol in self.symbols.values():
            for sort in (*symbol.domain, symbol.range):
                if not is_sort(sort):
                    raise SpecError(f"{self.name}: {symbol.name} names {sort!r}, not a sort")
                if sort is not Bool:
                    found[sort] = None
        names = [s.__name__ for s in found]
        for n in names:
            if names.count(n) > 1:
                raise SpecError(f"{self.name} has two sorts named {n!r}")
        return tuple(found)

    def _marked(self, kind: str) -> list[tuple[str, Any]]:
        found: dict[str, Any] = {}
        for cls in reversed(type(self).__mro__):
            for name, value in vars(cls).items():
                if getattr(value, "logic_kind", "") == kind or name in found:
                    found[name] = getattr(self, name)
        return [(n, m) for n, m in found.items() if m is not None]

    def base(self) -> Working:
        """Return the state before an operation, without changes."""
        return Working(self.symbols, self.counters)

    def _lemma(self, name: str, method: Any) -> Lemma:  # noqa: ANN401
        value = self._run(name, lambda: formula(method(self.base())))
        if value.free:
            raise SpecError(
                f"{self.name}, {name}: {_names(value.free)} is used outside its lambda"
            )
        return Lemma(name, _first(method.__doc__), value)

    def _run(self, name: str, work: Callable[[], Any]) -> Any:  # noqa: ANN401
        try:
            return work()
        except SpecError as error:
            raise SpecError(f"{self.name}, {name}: {error}") from None

    def _transition(self, name: str, method: Any) -> Transition:  # noqa: ANN401
        parameters = self._run(name, lambda: tuple(self._parameters(method)))
        st = self.base()
        self._run(name, lambda: method(st, *(p.value for p in parameters)))
        return self._finished(name, method, parameters, st)

    def _finished(
        self,
        name: str,
        method: Any,  # noqa: ANN401
        parameters: tuple[Parameter, ...],
        st: Working,
    ) -> Transition:
        inner = vars(st)
        allowed = frozenset(p.variable for p in parameters if p.variable is not None)
        for named in (*inner["_guard"], *inner["_checks"]):
            if named.formula.free - allowed:
                free = _names(named.formula.free - allowed)
                raise SpecError(f"{self.name}, {name}: {free} is used outside its lambda")
        for symbol, macro in inner["_macros"].items():
            if macro.body.free - allowed - frozenset(macro.variables):
                free = _names(macro.body.free - allowed - frozenset(macro.variables))
                raise SpecError(
                    f"{self.name}, {name}: {free}, in {symbol.name}, is used outside its lambda"
                )
        return Transition(
            name=name,
            doc=_first(method.__doc__),
            parameters=parameters,
            guard=tuple(inner["_guard"]),
            macros=dict(inner["_macros"]),
            checks=tuple(inner["_checks"]),
            ledger=tuple(inner["_ledger"]),
            intended=method.logic_changes,
        )

    def _parameters(self, method: Any) -> "typing.Iterator[Parameter]":  # noqa: ANN401
        for p in list(inspect.signature(method).parameters.values())[1:]:
            note = p.annotation
            origin = typing.get_origin(note) or note
            if origin in (Predicate, Function):
                sorts = typing.get_args(note)
                to = Bool if origin is Predicate else sorts[-1]
                domain = sorts if origin is Predicate else sorts[:-1]
                self._known(p.name, sorts)
                if p.name in self.symbols:
                    raise SpecError(f"parameter {p.name!r} has the name of a symbol")
                yield Parameter(p.name, sorts, None, Symbol(p.name, domain, to))
            else:
                self._known(p.name, (note,))
                yield Parameter(p.name, (note,), variable(note, p.name), None)

    def _known(self, name: str, sorts: tuple[Any, ...]) -> None:
        for sort in sorts:
            if sort not in self.sorts:
                sorts_ = ", ".join(s.__name__ for s in self.sorts)
                raise SpecError(
                    f"parameter {name!r} needs a sort for its annotation, one of {sorts_}"
                )

    def unchanged(self, transition: Transition) -> Expr:
        """Return the formula which says that the operation has changed nothing that matters."""
        after = self.base()
        vars(after)["_macros"].update(transition.macros)
        parts = []
        for symbol, macro in transition.macros.items():
            holes = tuple(variable(s, s.__name__[0].lower()) for s in symbol.domain)
            same = equal(macro(*holes), apply(symbol, holes))
            if symbol.name in self.where:
                same = implies(self.where[symbol.name](after, *holes), same)
            parts.append(quantify(FORALL, holes, same))
        return conj(*parts)

    def meant(self, name: str) -> Macro | None:
        """Return where the values of function `name` have a meaning; None means everywhere."""
        if name not in self.where:
            return None
        holes = tuple(variable(s, "x") for s in self.symbols[name].domain)
        return Macro(holes, formula(self.where[name](self.base(), *holes)))

    def initially(self) -> dict[Symbol, Macro]:
        """Return the initial state, in which no relation holds of anything."""
        found = {}
        for s in self.symbols.values():
            if s.range is Bool:
                found[s] = Macro(tuple(variable(d, "x") for d in s.domain), formula(False))
        return found

    def exactness(self, transition: Transition, counter: Counter) -> Expr:
        """Return the formula which says that the operation keeps the counter exact."""
        after = self.base()
        vars(after)["_macros"].update(transition.macros)
        return exactness(counter, transition.ledger, self.base(), after)


def _names(free: Any) -> str:  # noqa: ANN401
    return ", ".join(sorted(v.name.partition("#")[0] for v in free))
