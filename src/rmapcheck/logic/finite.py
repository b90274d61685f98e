"""Evaluates formulas on finite structures: compiles each formula once to Python.

A quantifier with a relation as its guard runs over the tuples of the relation, not over all
elements: `∀ v x p. pte(v, x, p) → …` looks at each mapped entry once.
"""

import functools
import itertools
import keyword
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from rmapcheck.logic.macros import Macro
from rmapcheck.logic.terms import (
    AND,
    APP,
    EQ,
    FALSE,
    FORALL,
    IMPLIES,
    ITE,
    NOT,
    OR,
    TRUE,
    VAR,
    Bool,
    Expr,
    Symbol,
    conj,
    conjuncts,
    disj,
    negate,
    quantify,
)

Element = Any
"""Anything hashable except None, which is the value of a function where it is not defined."""


@attrs.define(eq=False)
class Structure:
    """The elements of each sort, and a table for each symbol.

    The table of a relation is a set of tuples, or of elements if it has one argument. The table of
    a function is a dict with such keys; it need not be total.
    """

    universe: dict[str, Sequence[Element]]
    """Name of the sort → its elements. No sort is empty."""
    tables: dict[str, Any] = attrs.field(factory=dict)
    """Name of the symbol → its table, a set or a dict."""

    def wrong(self, symbols: Iterable[Symbol]) -> str:
        """Return what is wrong with the structure, in one sentence, or nothing."""
        for symbol in symbols:
            allowed = [frozenset(self.universe.get(s.__name__, ())) for s in symbol.domain]
            if not all(allowed):
                return f"a sort of {symbol} has no elements"
            for key in self.tables.get(symbol.name, ()):
                places = key if len(allowed) != 1 else (key,)
                if not all(p in a for p, a in zip(places, allowed, strict=True)):
                    return f"the table of {symbol.name} contains {key!r}, which is not an element"
        return ""


@attrs.frozen(eq=False)
class Compiled:
    """A formula, term or macro as Python: call `run(structure, *values of free variables)`."""

    run: Callable[..., Any]
    source: str
    symbols: tuple[Symbol, ...]


def _cell(symbol: Symbol) -> str:
    return f"_s_{symbol.name}"


class _Writer:
    """Writes Python expressions; `names` are the variables in scope."""

    def __init__(self) -> None:
        self.count = itertools.count()
        self.sorts: set[str] = set()
        self.symbols: dict[str, Symbol] = {}

    def fresh(self, v: Expr) -> str:
        short = v.name.partition("#")[0]
        safe = short if short.isidentifier() and not keyword.iskeyword(short) else "x"
        return f"{safe}_{next(self.count)}"

    def write(self, e: Expr, names: Mapping[Expr, str]) -> str:
        """Return the Python expression that computes `e`."""
        if e.kind is VAR:
            return names[e]
        if e.kind is APP:
            return self.application(e, names)
        if e.bound:
            return self.quantifier(e, names)
        if not e.args:
            return "True" if e is TRUE else "False"
        parts = [self.write(a, names) for a in e.args]
        if e.kind is ITE:
            return f"({parts[1]} if {parts[0]} else {parts[2]})"
        if e.kind is NOT:
            return f"(not {parts[0]})"
        if e.kind is IMPLIES:
            return f"(not {parts[0]} or {parts[1]})"
        sign = {EQ: "==", AND: "and", OR: "or"}[e.kind]
        return f"({f' {sign} '.join(parts)})"

    def application(self, e: Expr, names: Mapping[Expr, str]) -> str:
        symbol = e.symbol
        assert symbol is not None  # noqa: S101 - an application has one
        self.symbols[symbol.name] = symbol
        key = self.key([self.write(a, names) for a in e.args])
        if symbol.range is Bool:
            return f"({key} in {_cell(symbol)})"
        return f"{_cell(symbol)}.get({key})"

    @staticmethod
    def key(parts: Sequence[str]) -> str:
        """Return the arguments as a key of a table: a single one, or a tuple."""
        return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"

    def quantifier(self, e: Expr, names: Mapping[Expr, str]) -> str:
        body = e.args[0]
        if e.kind is FORALL:
            guards: tuple[Expr, ...] = ()
            if body.kind is IMPLIES:
                guards, body = conjuncts(body.args[0]), body.args[1]
            elif body.kind is OR:
                guards = tuple(negate(a) for a in body.args if a.kind is NOT)
                body = _rest(body)
            elif body.kind is NOT:
                guards, body = conjuncts(body.args[0]), negate(TRUE)
            elif body.kind is AND:
                parts = [self.write(_forall(e.bound, part), names) for part in body.args]
                return f"({' and '.join(parts)})"
            loops, inner = self.loops(e.bound, guards, names)
            return f"all({self.write(body, inner)} {loops})"
        loops, inner = self.loops(e.bound, conjuncts(body), names)
        return f"any(True {loops})"

    def loops(
        self, bound: Sequence[Expr], guards: Sequence[Expr], names: Mapping[Expr, str]
    ) -> tuple[str, dict[Expr, str]]:
        """Return `for … in … if …` over all `bound` that satisfy `guards`, and the names."""
        scope = dict(names)
        left = list(bound)
        waiting = list(guards)
        text: list[str] = []
        while True:
            for guard in [g for g in waiting if g.free <= scope.keys()]:
                _drop(waiting, guard)
                text.append(f"if {self.write(guard, scope)}")
            if not left:
                break
            text.append(self.loop(left, waiting, scope))
        if text[:1] and text[0].startswith("if"):
            text.insert(0, "for _ in _once")
        return " ".join(text), scope

    def loop(self, left: list[Expr], waiting: list[Expr], scope: dict[Expr, str]) -> str:
        """Return a loop that binds one or more of `left`: by an equation, a relation or a sort."""
        for guard in waiting:
            if guard.kind is EQ:
                for a, b in (guard.args, guard.args[::-1]):
                    if a.kind is VAR and any(a is v for v in left) and b.free <= scope.keys():
                        value = self.write(b, scope)
                        scope[a] = self.fresh(a)
                        _drop(left, a)
                        _drop(waiting, guard)
                        return f"for {scope[a]} in ({value},) if {scope[a]} is not None"
        best = max(waiting, key=lambda g: _binds(g, left, scope), default=None)
        if best is not None and _binds(best, left, scope):
            _drop(waiting, best)
            return self.over(best, left, scope)
        v = left.pop(0)
        scope[v] = self.fresh(v)
        self.sorts.add(v.sort.__name__)
        return f"for {scope[v]} in _u_{v.sort.__name__}"

    def over(self, atom: Expr, left: list[Expr], scope: dict[Expr, str]) -> str:
        """Return the loop over the tuples of a relation."""
        assert atom.symbol is not None  # noqa: S101 - _binds has seen to it
        self.symbols[atom.symbol.name] = atom.symbol
        places, tests = [], []
        for arg in atom.args:
            if arg.kind is VAR and any(arg is v for v in left):
                scope[arg] = self.fresh(arg)
                _drop(left, arg)
                places.append(scope[arg])
            else:
                place = f"y_{next(self.count)}"
                places.append(place)
                tests.append(f"{place} == {self.write(arg, scope)}")
        target = places[0] if len(places) == 1 else f"({', '.join(places)})"
        condition = f" if {' and '.join(tests)}" if tests else ""
        return f"for {target} in {_cell(atom.symbol)}{condition}"


def _drop(items: list[Expr], item: Expr) -> None:
    for i, x in enumerate(items):
        if x is item:
            del items[i]
            return


def _rest(body: Expr) -> Expr:
    return disj(*(a for a in body.args if a.kind is not NOT))


def _forall(bound: tuple[Expr, ...], body: Expr) -> Expr:
    return quantify(FORALL, bound, body)


def _binds(guard: Expr, left: Sequence[Expr], scope: Mapping[Expr, str]) -> int:
    """Return how many of `left` a loop over the relation `guard` would bind."""
    if guard.kind is not APP or guard.symbol is None or not guard.args:
        return 0
    new = 0
    for i, arg in enumerate(guard.args):
        if arg.kind is VAR and any(arg is v for v in left):
            if any(arg is a for a in guard.args[:i]):
                return 0
            new += 1
        elif not arg.free <= scope.keys():
            return 0
    return new


def compiled(e: Expr, variables: Sequence[Expr] = ()) -> Compiled:
    """Return `e` as Python; `variables` are its free ones, in the order of the arguments."""
    writer = _Writer()
    names = {v: writer.fresh(v) for v in variables}
    return _finish(writer, names, writer.write(e, names))


def compiled_macro(macro: Macro, symbol: Symbol, variables: Sequence[Expr] = ()) -> Compiled:
    """Return a macro as Python that computes the new table of `symbol`, a set or a dict."""
    writer = _Writer()
    names = {v: writer.fresh(v) for v in variables}
    if symbol.range is Bool:
        parts = []
        for part in _disjuncts(macro.body):
            loops, scope = writer.loops(macro.variables, conjuncts(part), names)
            key = writer.key([scope[v] for v in macro.variables])
            parts.append(f"{{{key} {loops}}}")
        text = " | ".join(parts) or "set()"
    else:
        loops, scope = writer.loops(macro.variables, (), names)
        key = writer.key([scope[v] for v in macro.variables])
        text = f"{{{key}: {writer.write(macro.body, scope)} {loops}}}"
    return _finish(writer, names, text)


def _disjuncts(e: Expr) -> Iterator[Expr]:
    if e.kind is OR:
        for a in e.args:
            yield from _disjuncts(a)
    elif e.kind is ITE:
        for part in _disjuncts(e.args[1]):
            yield conj(e.args[0], part)
        for part in _disjuncts(e.args[2]):
            yield conj(negate(e.args[0]), part)
    elif e.kind is AND and any(a.kind in (OR, ITE) for a in e.args):
        i = next(i for i, a in enumerate(e.args) if a.kind in (OR, ITE))
        for part in _disjuncts(e.args[i]):
            yield conj(*e.args[:i], part, *e.args[i + 1 :])
    elif e is not FALSE:
        yield e


def _finish(writer: _Writer, names: Mapping[Expr, str], text: str) -> Compiled:
    lines = [f"def run({', '.join(['_structure', *names.values()])}):"]
    lines += [f"    _u_{s} = _structure.universe[{s!r}]" for s in sorted(writer.sorts)]
    if writer.symbols:
        lines.append("    _tables = _structure.tables")
    for name, symbol in sorted(writer.symbols.items()):
        lines.append(f"    {_cell(symbol)} = _tables[{name!r}]")
    lines.append(f"    return {text}")
    source = "\n".join(lines)
    return Compiled(_loaded(source), source, tuple(writer.symbols.values()))


@functools.lru_cache(maxsize=4096)
def _loaded(source: str) -> Callable[..., Any]:
    """Return the function `run` of a source; specs that share a formula share its code."""
    scope: dict[str, Any] = {"_once": (0,)}
    exec(source, scope)  # noqa: S102 - written above, from an AST of ours
    run: Callable[..., Any] = scope["run"]
    return run
