"""Runs a spec on finite structures: guards, the structure after a step, violated invariants.

    run = Steps(spec)
    run.blocked("fork_new", before, v=1, c=2, m=2, n=2, K={0, 1})    # [] or names of conjuncts
    run.after("fork_new", before, v=1, c=2, m=2, n=2, K={0, 1})      # the Structure after
    run.violated(before)                                             # names of invariants
    run.differences(expected, found)                                 # where they matter

A parameter that is an element is passed as an element, a predicate as a set, and a function as a
dict, as in `Structure.tables`. Each formula is compiled when it is first needed.
"""

from collections.abc import Iterator
from typing import Any

import attrs

from rmapcheck.logic.finite import Compiled, Structure, compiled, compiled_macro
from rmapcheck.logic.spec import Spec, Transition
from rmapcheck.logic.terms import Bool, SpecError, Symbol, conjuncts, text


@attrs.frozen(eq=False)
class _Step:
    guard: tuple[tuple[str, Compiled], ...]
    effects: tuple[tuple[Symbol, Compiled], ...]
    checks: tuple[tuple[str, Compiled], ...]
    elements: tuple[str, ...]
    others: tuple[str, ...]


class Steps:
    """Operations and invariants of one spec, compiled."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._steps: dict[str, _Step] = {}
        self._lemmas: dict[str, Compiled] = {}
        self._meant: dict[str, Compiled | None] = {}

    def _step(self, name: str) -> _Step:
        if name not in self._steps:
            if name not in self.spec.transitions:
                known = ", ".join(self.spec.transitions)
                raise SpecError(f"{self.spec.name} has no operation {name!r}; it has {known}")
            self._steps[name] = _compile(self.spec.transitions[name])
        return self._steps[name]

    def blocked(self, name: str, before: Structure, **witness: Any) -> list[str]:  # noqa: ANN401
        """Return the conjuncts of the guard that do not hold; if none, the step is possible."""
        step = self._step(name)
        given, values = _given(step, before, witness)
        return [why for why, guard in step.guard if not guard.run(given, *values)]

    def unchecked(self, name: str, before: Structure, **witness: Any) -> list[str]:  # noqa: ANN401
        """Return the checks of the operation that do not hold."""
        step = self._step(name)
        given, values = _given(step, before, witness)
        return [why for why, check in step.checks if not check.run(given, *values)]

    def after(self, name: str, before: Structure, **witness: Any) -> Structure:  # noqa: ANN401
        """Return the structure after the step, whether or not its guard holds."""
        step = self._step(name)
        given, values = _given(step, before, witness)
        tables = dict(before.tables)
        for symbol, effect in step.effects:
            tables[symbol.name] = effect.run(given, *values)
        return Structure(before.universe, tables)

    def violated(self, structure: Structure) -> list[str]:
        """Return the names of the invariants that do not hold."""
        if not self._lemmas:
            self._lemmas = {x.name: compiled(x.formula) for x in self.spec.lemmas}
        return [name for name, lemma in self._lemmas.items() if not lemma.run(structure)]

    def differences(self, expected: Structure, found: Structure) -> Iterator[str]:
        """Yield where two structures differ, for functions only where their values matter."""
        for name, symbol in self.spec.symbols.items():
            a, b = expected.tables[name], found.tables[name]
            if symbol.range is Bool:
                for key in sorted(a ^ b, key=str):
                    yield f"{name}{_shown(key)} should {'hold' if key in a else 'not hold'}"
            elif a != b:
                yield from self._values(name, a, b, expected)

    def _values(
        self, name: str, a: dict[Any, Any], b: dict[Any, Any], where: Structure
    ) -> Iterator[str]:
        if name not in self._meant:
            meant = self.spec.meant(name)
            self._meant[name] = compiled(meant.body, meant.variables) if meant else None
        meant_at = self._meant[name]
        for key in sorted(a.keys() | b.keys(), key=str):
            if a.get(key) == b.get(key):
                continue
            places = key if isinstance(key, tuple) else (key,)
            if meant_at is None or meant_at.run(where, *places):
                yield f"{name}{_shown(key)} should be {a.get(key)}, not {b.get(key)}"

    def empty(self, universe: dict[str, Any]) -> Structure:
        """Return the initial structure over `universe`, in which no relation holds of anything."""
        tables: dict[str, Any] = {
            name: set() if s.range is Bool else {} for name, s in self.spec.symbols.items()
        }
        return Structure(universe, tables)


def _shown(key: Any) -> str:  # noqa: ANN401 - an element or a tuple of them
    return str(key) if isinstance(key, tuple) else f"({key})"


def _compile(transition: Transition) -> _Step:
    variables = [p.variable for p in transition.parameters if p.variable is not None]
    guard = []
    for named in transition.guard:
        parts = conjuncts(named.formula)
        for part in parts:
            shown = text(part)
            why = shown if shown == named.name or len(parts) > 1 else f"{named.name}: {shown}"
            guard.append((why, compiled(part, variables)))
    return _Step(
        guard=tuple(guard),
        effects=tuple(
            (symbol, compiled_macro(macro, symbol, variables))
            for symbol, macro in transition.macros.items()
        ),
        checks=tuple((c.name, compiled(c.formula, variables)) for c in transition.checks),
        elements=tuple(p.name for p in transition.parameters if p.variable is not None),
        others=tuple(p.name for p in transition.parameters if p.symbol is not None),
    )


def _given(step: _Step, before: Structure, witness: dict[str, Any]) -> tuple[Structure, list[Any]]:
    expected = {*step.elements, *step.others}
    if witness.keys() != expected:
        raise SpecError(
            f"the step takes {', '.join(sorted(expected))}, not {', '.join(sorted(witness))}"
        )
    values = [witness[name] for name in step.elements]
    if not step.others:
        return before, values
    tables = {**before.tables, **{name: witness[name] for name in step.others}}
    return Structure(before.universe, tables), values
