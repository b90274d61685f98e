"""Remembers proofs and structures, which specs with the same operations can share.

A goal that follows from some hypotheses also follows from more. So a goal holds if the same
goal, as text, has been proved from hypotheses that are all among the present ones.

A structure in which an operation is possible, or breaks a lemma, can often be used for the same
operation of another era. The finite evaluator checks it completely again.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from rmapcheck.logic.finite import Structure
from rmapcheck.logic.terms import Bool, Expr, Sort, Symbol


def signed(text: str, expr: Expr) -> str:
    """Return `text` with the signatures of its symbols; equal results mean equal formulas."""
    return " ".join([*sorted(str(s) for s in expr.symbols), text])


@attrs.define(eq=False)
class Proofs:
    """The goals that each solver has proved, with the hypotheses that were used."""

    found: dict[tuple[str, str], list[frozenset[str]]] = attrs.field(factory=dict)
    reused: int = 0
    texts: dict[Expr, str] = attrs.field(factory=dict)
    """Lemma → its SMT-LIB text, which is the same for each operation of a spec."""
    keys: dict[Expr, str] = attrs.field(factory=dict)
    models: dict[str, list["Model"]] = attrs.field(factory=dict)
    """Operation → structures that a solver has found, the latest first."""

    def known(self, solver: str, goal: str, hypotheses: frozenset[str]) -> bool:
        """Return whether `solver` has proved the goal from some of `hypotheses`."""
        hit = any(used <= hypotheses for used in self.found.get((solver, goal), ()))
        self.reused += hit
        return hit

    def learn(self, solver: str, goal: str, hypotheses: Iterable[str]) -> None:
        """Note that `solver` has proved the goal."""
        self.found.setdefault((solver, goal), []).append(frozenset(hypotheses))

    def keep(self, operation: str, model: "Model") -> None:
        """Note a structure in which the operation is possible or breaks a lemma."""
        self.models.setdefault(operation, []).insert(0, model)


@attrs.frozen(eq=False)
class Model:
    """A structure, with the values of the operation's parameters that are elements."""

    structure: Structure
    values: dict[str, Any]
    symbols: tuple[Symbol, ...]

    def over(
        self,
        sorts: Sequence[type[Sort]],
        symbols: tuple[Symbol, ...],
        parameters: Iterable[str],
    ) -> "Model | None":
        """Return the model over another vocabulary; None if that is not possible.

        Missing symbols are filled in: a relation holds of nothing, a function is constant.
        """
        if self.values.keys() != set(parameters):
            return None
        universe = self.structure.universe
        universe = {s.__name__: universe.get(s.__name__) or ("other",) for s in sorts}
        old = {str(s): self.structure.tables[s.name] for s in self.symbols}
        tables = {s.name: old.get(str(s), _made_up(s, universe)) for s in symbols}
        structure = Structure(universe, tables)
        if structure.wrong(symbols):
            return None
        return Model(structure, self.values, symbols)


def _made_up(symbol: Symbol, universe: dict[str, Sequence[Any]]) -> Any:  # noqa: ANN401
    if symbol.range is Bool:
        return set()
    keys = itertools.product(*(universe[d.__name__] for d in symbol.domain))
    value = universe[symbol.range.__name__][0]
    return {k[0] if len(k) == 1 else k: value for k in keys}
