"""A counterexample to induction: a state in which all lemmas hold, and a step that breaks one.

It need not be a bug, because the state may not be reachable. A solver's answer is accepted only if
the finite evaluator confirms it: all hypotheses hold in the structure, and the goal does not.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from rmapcheck.logic.finite import Compiled, Structure, compiled
from rmapcheck.logic.macros import Macro
from rmapcheck.logic.spec import Spec
from rmapcheck.logic.steps import Steps
from rmapcheck.logic.terms import FORALL, Bool, Expr, Symbol, conjuncts, negate, text
from rmapcheck.prove.obligations import Goal, Named, Problem


@attrs.frozen(eq=False, kw_only=True)
class Cti:
    """The state before, the parameters of the step, and what it breaks."""

    problem: Problem
    goal: Goal
    structure: Structure
    values: dict[str, Any]
    """Values of the parameters that are elements."""
    breaks: Expr
    """The conjunct of the goal that fails."""
    witness: dict[str, Any]
    """The elements for which it fails, by the names of variables."""
    ignores: tuple[str, ...]
    """Deep lemmas that do not hold in the state: it may be impossible for that reason alone."""

    def lines(self) -> Iterator[str]:
        """Yield lines: the live part, the step, what it changes, and what fails."""
        spec = self.problem.spec
        before = dict(live_part(spec, self.structure))
        yield from (f"      {name}: {', '.join(rows)}" for name, rows in before.items())
        yield f"step  {self.step()}"
        if self.problem.transition is not None:
            after = dict(live_part(spec, self.after()))
            for name in spec.symbols:
                old, new = before.get(name, []), after.get(name, [])
                changes = [f"−{r}" for r in old if r not in new]
                changes += [f"+{r}" for r in new if r not in old]
                if changes:
                    yield f"      {name}: {', '.join(changes)}"
        where = ", ".join(f"{k} = {v}" for k, v in self.witness.items())
        yield f"then  {self.goal.name} fails{' for ' if where else ''}{where}: {self.goal.doc}"
        if self.ignores:
            yield f"note  the state does not satisfy {', '.join(self.ignores)}"

    def after(self) -> Structure:
        """Return the state after the step."""
        given = {p.name: self.structure.tables.get(p.name) for p in self.problem.parameters}
        run = Steps(self.problem.spec)
        return run.after(self.problem.operation, self.structure, **{**given, **self.values})

    def step(self) -> str:
        """Return the operation with its parameters."""
        shown = []
        for p in self.problem.parameters:
            if p.variable is not None:
                shown.append(f"{p.name}={self.values[p.name]}")
            else:
                shown.append(f"{p.name}={_plain(self.structure.tables[p.name])}")
        return f"{self.problem.operation}({', '.join(shown)})"

    def as_json(self) -> dict[str, Any]:
        """Return the structure, the step and the failure as JSON data."""
        tables = {
            name: sorted(map(_listed, value))
            if isinstance(value, set)
            else sorted([*_listed(k), v] for k, v in value.items())
            for name, value in self.structure.tables.items()
        }
        return {
            "universe": {k: list(v) for k, v in self.structure.universe.items()},
            "says": tables,
            "parameters": self.values,
            "breaks": text(self.breaks),
            "witness": self.witness,
            "ignores": list(self.ignores),
        }


def _listed(key: Any) -> list[Any]:  # noqa: ANN401 - an element or a tuple of them
    return list(key) if isinstance(key, tuple) else [key]


def _plain(value: Any) -> str:  # noqa: ANN401 - a set or a dict
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_arrow(k)}: {v}' for k, v in sorted(value.items()))}}}"
    return f"{{{', '.join(sorted(_arrow(k) for k in value))}}}"


def _arrow(key: Any) -> str:  # noqa: ANN401 - an element or a tuple of them
    return "→".join(map(str, key)) if isinstance(key, tuple) else str(key)


@functools.lru_cache(maxsize=4096)
def _compiled(e: Expr, variables: tuple[Expr, ...]) -> Compiled:
    """Compile a formula, once for a problem; a lemma once for its spec."""
    return compiled(e, variables)


class Checker:
    """Evaluates the formulas of a problem; compiles each once."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.variables = [p.variable for p in problem.parameters if p.variable is not None]
        self.names = [p.name for p in problem.parameters if p.variable is not None]

    def holds(self, e: Expr, structure: Structure, values: dict[str, Any]) -> bool:
        """Return whether `e` holds in the structure with these parameters."""
        if not e.free:
            return bool(_compiled(e, ()).run(structure))
        run = _compiled(e, tuple(self.variables)).run
        return bool(run(structure, *(values[n] for n in self.names)))

    def broken(
        self, hypotheses: Sequence[Named], structure: Structure, values: dict[str, Any]
    ) -> list[str]:
        """Return the names of the hypotheses that do not hold."""
        return [h.name for h in hypotheses if not self.holds(h.formula, structure, values)]

    def failing(
        self, goal: Expr, structure: Structure, values: dict[str, Any]
    ) -> tuple[Expr, dict[str, Any]] | None:
        """Return the conjunct of `goal` that fails, and its witness; None if all hold."""
        for part in conjuncts(goal):
            if not self.holds(part, structure, values):
                return part, self.witness(part, structure, values)
        return None

    def witness(self, part: Expr, structure: Structure, values: dict[str, Any]) -> dict[str, Any]:
        """Return elements for which the body of a universal formula fails."""
        if part.kind is not FORALL:
            return {}
        run = compiled(negate(part.args[0]), [*self.variables, *part.bound]).run
        given = [values[n] for n in self.names]
        for found in itertools.product(*(structure.universe[v.sort.__name__] for v in part.bound)):
            if run(structure, *given, *found):
                short = [v.name.partition("#")[0] for v in part.bound]
                return dict(zip(short, found, strict=True))
        return {}


def live_part(spec: Spec, structure: Structure) -> Iterator[tuple[str, list[str]]]:
    """Yield each symbol with the rows of its table for live elements; the others do not matter."""
    for name, symbol in spec.symbols.items():
        rows_of = structure.tables[name]
        where = spec.meant(name)
        rows = []
        for stored in sorted(rows_of, key=str):
            key = stored if isinstance(stored, tuple) else (stored,)
            if not _lives(spec, symbol, structure, key):
                continue
            if symbol.range is Bool:
                rows.append(_arrow(stored))
            elif where is None or _meant(where, structure, key):
                rows.append(f"{_arrow(stored)}={rows_of[stored]}")
        if rows:
            yield name, rows


def _lives(spec: Spec, symbol: Symbol, structure: Structure, key: tuple[Any, ...]) -> bool:
    for sort, element in zip(symbol.domain, key, strict=True):
        of = spec.live.get(sort)
        if of and element not in structure.tables[of]:
            return False
    return True


def _meant(
    where: Macro,
    structure: Structure,
    key: tuple[Any, ...],
) -> bool:
    return bool(compiled(where.body, where.variables).run(structure, *key))
