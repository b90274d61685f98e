"""Carries out operations of a spec on finite structures, and compares structures."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from rmapcheck.logic.finite import Compiled, Structure, compiled, compiled_macro
from rmapcheck.logic.spec import Spec, Transition
from rmapcheck.logic.terms import Bool

Values = Mapping[str, Any]
"""Values of the parameters of an operation: elements, sets and dicts."""


@attrs.frozen
class Step:
    """An operation of a spec with its arguments."""

    operation: str
    values: Values

    def __str__(self) -> str:
        arguments = ", ".join(f"{k}={v}" for k, v in self.values.items())
        return f"{self.operation}({arguments})"


class _Ready:
    """One operation, compiled."""

    def __init__(self, spec: Spec, transition: Transition) -> None:
        elements = [p for p in transition.parameters if p.variable is not None]
        variables = [p.variable for p in elements if p.variable is not None]
        self.names = [p.name for p in elements]
        self.predicates = [p.name for p in transition.parameters if p.symbol is not None]
        self.guards = [(g.name, compiled(g.formula, variables)) for g in transition.guard]
        self.checks = [(c.name, compiled(c.formula, variables)) for c in transition.checks]
        self.changes: list[tuple[str, Compiled]] = [
            (symbol.name, compiled_macro(macro, symbol, variables))
            for symbol, macro in transition.macros.items()
        ]

    def given(self, structure: Structure, step: Step) -> tuple[list[Any], Structure]:
        """Return the arguments that are elements, and the structure with all other arguments."""
        tables = structure.tables
        for name in self.predicates:
            tables = {**tables, name: step.values[name]}
        return [step.values[n] for n in self.names], Structure(structure.universe, tables)

    def refused(self, given: list[Any], before: Structure) -> str:
        """Return the first conjunct of the guard that does not hold, or ""."""
        return next((n for n, test in self.guards if not test.run(before, *given)), "")


class Stepper:
    """Carries out the operations of `spec`; each is compiled when it is first needed."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.ready: dict[str, _Ready] = {}

    def has(self, operation: str) -> bool:
        """Return whether the spec has this operation."""
        return operation in self.spec.transitions

    def of(self, step: Step) -> _Ready:
        """Return the compiled operation of `step`."""
        ready = self.ready.get(step.operation)
        if ready is None:
            ready = _Ready(self.spec, self.spec.transitions[step.operation])
            self.ready[step.operation] = ready
        return ready

    def possible(self, structure: Structure, operation: str) -> Iterator[Step]:
        """Yield the possible steps of an operation whose parameter is one live element."""
        parameter = self.spec.transitions[operation].parameters[0]
        for element in sorted(structure.tables[self.spec.live[parameter.sorts[0]]]):
            step = Step(operation, {parameter.name: element})
            ready = self.of(step)
            if not ready.refused(*ready.given(structure, step)):
                yield step

    def step(
        self, structure: Structure, step: Step, checks_apply: Callable[[Structure], bool]
    ) -> tuple[Structure, str]:
        """Return the structure after `step`, and "" or the guard or check that fails.

        `checks_apply` decides whether checks must hold in a structure; it is called if one fails.
        """
        ready = self.of(step)
        given, before = ready.given(structure, step)
        refused = ready.refused(given, before)
        if refused:
            return structure, f"the guard of {step}: {refused}"
        after = dict(structure.tables)
        for name, change in ready.changes:
            after[name] = change.run(before, *given)
        for name, test in ready.checks:
            if not test.run(before, *given) and checks_apply(structure):
                return structure, f"{name} in {step}"
        return Structure(structure.universe, after), ""


class Comparison:
    """Compares structures of `spec`, ignoring values that do not matter."""

    def __init__(self, spec: Spec) -> None:
        self.live = {sort.__name__: name for sort, name in spec.live.items()}
        self.relations = [
            (s.name, self.live.get(s.domain[0].__name__, ""), len(s.domain))
            for s in spec.symbols.values()
            if s.range is Bool
        ]
        self.functions = [
            (s.name, self.live.get(s.range.__name__, ""))
            for s in spec.symbols.values()
            if s.range is not Bool
        ]

    def difference(self, wanted: Structure, found: Structure) -> str:
        """Return where `found`, the abstraction of a state, first differs from `wanted`, or "".

        Relations are compared for live objects only, because in the spec they may still hold of
        freed ones. Functions are compared where `found` has a value. Any two freed objects count
        as equal.
        """
        for name, live, places in self.relations:
            want, have = wanted.tables[name], found.tables[name]
            if want != have and live and name != live:
                alive = found.tables[live]
                want = {key for key in want if (key[0] if places > 1 else key) in alive}
            if want != have:
                return f"{name}: {_less(want, have)}{_more(want, have)}".rstrip("; ")
        for name, live in self.functions:
            alive = found.tables[live] if live else ()
            for key, value in found.tables[name].items():
                want = wanted.tables[name].get(key)
                if want != value and not (live and want not in alive and value not in alive):
                    return f"{name} of {key} is {value}, and should be {want}"
        return ""


def _less(want: set[Any], have: set[Any]) -> str:
    gone = sorted(want - have, key=str)
    return f"{', '.join(map(str, gone))} should be in it; " if gone else ""


def _more(want: set[Any], have: set[Any]) -> str:
    new = sorted(have - want, key=str)
    return f"{', '.join(map(str, new))} should not be in it" if new else ""
