"""Finds out whether a solver is certain to decide a set of formulas (the EPR fragment).

A formula `∀ v. ∃ a. …` creates an `a` for each `v`, like a function from Vma to AnonVma. That is
an edge Vma → AnonVma. Functions of the vocabulary are edges, too. If the edges have no cycle, only
finitely many elements can be created, and Z3 decides every question. With a cycle Z3 may not end,
or may answer "unknown" although there is a counterexample.
"""

import itertools
from collections.abc import Iterable

import attrs

from rmapcheck.logic.terms import (
    AND,
    APP,
    EQ,
    EXISTS,
    FORALL,
    IMPLIES,
    ITE,
    NOT,
    OR,
    Bool,
    Expr,
    Sort,
    Symbol,
)

Edge = tuple[type[Sort], type[Sort]]


@attrs.frozen
class Cycle:
    """A cycle of sorts, and the formulas or functions that are its edges."""

    sorts: tuple[str, ...]
    because: tuple[str, ...]

    def __str__(self) -> str:
        return f"{' → '.join(self.sorts)} ({', '.join(self.because)})"


class Alternations:
    """Collects edges between sorts, and finds cycles of them."""

    def __init__(self) -> None:
        self.edges: dict[Edge, str] = {}

    def copy(self) -> "Alternations":
        """Return a copy, to which edges can be added."""
        other = Alternations()
        other.edges.update(self.edges)
        return other

    def function(self, symbol: Symbol) -> None:
        """Add the edges of a function, which creates a value for each argument."""
        if symbol.range is not Bool:
            for sort in symbol.domain:
                self.edges.setdefault((sort, symbol.range), symbol.name)

    def assume(self, e: Expr, because: str, *, holds: bool = True) -> None:
        """Add the edges of asserting `e`, or with `holds=False` its negation."""
        self._walk(e, holds, frozenset(), because)

    def _walk(self, e: Expr, holds: bool, universal: frozenset[Expr], because: str) -> None:
        if e.kind is APP:
            if e.symbol is not None:
                self.function(e.symbol)
            for arg in e.args:
                self._walk(arg, holds, universal, because)
        elif e.bound:
            self._quantifier(e, holds, universal, because)
        elif e.kind is NOT:
            self._walk(e.args[0], not holds, universal, because)
        elif e.kind is IMPLIES:
            self._walk(e.args[0], not holds, universal, because)
            self._walk(e.args[1], holds, universal, because)
        elif e.kind is EQ or (e.kind is ITE and e.sort is not Bool):
            for arg in e.args:
                self._walk(arg, True, universal, because)
                if arg.sort is Bool:
                    self._walk(arg, False, universal, because)
        elif e.kind is ITE:
            self._walk(e.args[0], not holds, universal, because)
            for arg in e.args:
                self._walk(arg, holds, universal, because)
        elif e.kind in (AND, OR):
            for arg in e.args:
                self._walk(arg, holds, universal, because)

    def _quantifier(self, e: Expr, holds: bool, universal: frozenset[Expr], because: str) -> None:
        if (e.kind is FORALL) is holds:
            self._walk(e.args[0], holds, universal | frozenset(e.bound), because)
            return
        assert e.kind in (FORALL, EXISTS)  # noqa: S101 - nothing else binds
        for outer in universal & e.free:
            for inner in e.bound:
                self.edges.setdefault((outer.sort, inner.sort), because)
        self._walk(e.args[0], holds, universal, because)

    def cycle(self) -> Cycle | None:
        """Return a cycle; None if there is none, so that the problem is decidable."""
        after: dict[type[Sort], list[type[Sort]]] = {}
        for a, b in self.edges:
            after.setdefault(a, []).append(b)
        for start in after:
            path = _path_back(start, after)
            if path:
                steps = list(itertools.pairwise(path))
                return Cycle(
                    tuple(s.__name__ for s in path),
                    tuple(dict.fromkeys(self.edges[step] for step in steps)),
                )
        return None


def _path_back(
    start: type[Sort], after: dict[type[Sort], list[type[Sort]]]
) -> list[type[Sort]] | None:
    paths = [[start]]
    seen: set[type[Sort]] = set()
    while paths:
        path = paths.pop(0)
        for follower in after.get(path[-1], ()):
            if follower is start:
                return [*path, start]
            if follower not in seen:
                seen.add(follower)
                paths.append([*path, follower])
    return None


def alternations(functions: Iterable[Symbol]) -> Alternations:
    """Return the edges of the vocabulary's functions."""
    found = Alternations()
    for symbol in functions:
        found.function(symbol)
    return found
