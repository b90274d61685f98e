"""Refinement: checks that every step of the model is a step that the spec allows.

A proof is about a spec. The connection to the model is that each explored, sampled or replayed
step is checked: at each event (model/machine/events.py), one of the event's explanations must lead
from the abstraction at the event before to the abstraction now, and its guards must hold. If none
does, either the spec is too narrow or the model deviates from the spec. People must decide which;
the message names the guard or the symbol.

Relations that hold only between two steps of one operation (`Spec.transient`) are computed from
the steps, and must be empty when the operation ends. Steps that the kernel does together with
another one (`Spec.immediate`: an object is freed with its last user) must have been done by then.
Checks apply only where the lemmas hold, so they are ignored in a state that is already broken by a
known bug of the spec (`Spec.flaws`).

    explore(scheme, scope, observer=Refinement(spec))
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from rmapcheck.invariants.registry import Invariant, Step, Violation
from rmapcheck.logic.finite import Structure
from rmapcheck.logic.steps import Steps
from rmapcheck.prove.refinement.abstraction import Abstraction
from rmapcheck.prove.refinement.event import Event, steps_without_event
from rmapcheck.prove.refinement.event import Steps as Explanation
from rmapcheck.prove.refinement.explanations import EXPLANATIONS, ONLY_WITH
from rmapcheck.prove.refinement.steps import Comparison, Stepper

if TYPE_CHECKING:
    from rmapcheck.logic.spec import Spec
    from rmapcheck.model.kernel import Kernel

NAME = "refinement"
"""Name of the violation if a step is not allowed."""


@attrs.frozen(kw_only=True)
class Refusal:
    """An event that the spec does not allow: every explanation fails."""

    event: str
    why: str
    """The guard, check or symbol at which the best explanation fails."""
    tried: tuple[str, ...]
    """The explanations, as names of operations."""


class Refinement:
    """An observer of one machine that checks each event against `spec`."""

    def __init__(self, spec: "Spec") -> None:
        self.spec = spec
        self.name = spec.name
        self.abstraction = Abstraction(spec)
        self.stepper = Stepper(spec)
        self.comparison = Comparison(spec)
        self.lemmas = Steps(spec)
        self.broken = {lemma for cells in spec.flaws.values() for _, lemma in cells}
        """Lemmas that known bugs of the kernels break."""
        self.steps = {
            name
            for name in EXPLANATIONS
            if name not in ONLY_WITH or self.stepper.has(ONLY_WITH[name])
        }
        """Events that are steps of the spec."""
        self.before = Structure({}, {})
        self.refusal: Refusal | None = None
        self.events = 0
        self.explained = dict.fromkeys(spec.transitions, 0)
        """Operation of the spec → how many events it has explained."""
        self.invariant = Invariant(
            name=NAME, source="the spec", universal=False, step=self.violations
        )

    def violations(self, st: "Kernel", step: Step) -> Iterator[Violation]:
        """Each step is one that the spec allows."""
        if self.refusal is not None:
            operations = " or ".join(self.refusal.tried) or "no operation"
            yield Violation(
                f"e be the event {self.refusal.event!r} in {step.op}",
                f"the spec {self.spec.name} must explain it by {operations}",
                self.refusal.why,
            )

    def __call__(self, st: "Kernel", event: str, a: int, b: int, c: int, d: int) -> None:
        """Check `event`, which has taken effect (see rmapcheck.model.machine.events)."""
        if event == "begin":
            self.refusal = None
            self.before = self.abstraction.of(st)
        elif event in self.steps and self.refusal is None:
            self.events += 1
            after = self.abstraction.of(st)
            tables = self.before.tables, after.tables
            self.before = self.explain(
                Event(st, event, (a, b, c, d), *tables, self.stepper.has), after
            )

    def explain(self, event: Event, after: Structure) -> Structure:
        """Find an explanation of `event`, or note a refusal; return the structure after it."""
        whys: list[tuple[int, str]] = []
        tried = []
        for steps in EXPLANATIONS[event.name](event):
            done, found, why = self.carry_out(steps, after)
            now = after if event.name == "end" else self.passed(after, found)
            why = why or self.comparison.difference(found, now) or self.not_done(event, now)
            if not why:
                for name in done:
                    self.explained[name] += 1
                return now
            whys.append((len(done), why))
            tried.append(" then ".join(s.operation for s in steps) or "nothing")
        best = max(whys, key=lambda w: w[0], default=(0, "nothing explains it"))
        self.refusal = Refusal(event=event.name, why=best[1], tried=tuple(dict.fromkeys(tried)))
        return after

    def passed(self, after: Structure, found: Structure) -> Structure:
        """Return `after` with the transient relations of `found`, which states do not show."""
        if not self.spec.transient:
            return after
        transient = {name: found.tables[name] for name in self.spec.transient}
        return Structure(after.universe, {**after.tables, **transient})

    def not_done(self, event: Event, now: Structure) -> str:
        """Return which immediate step has not been done at the end of an operation, or ""."""
        for name in self.spec.immediate if event.name == "end" else ():
            for step in self.stepper.possible(now, name):
                return f"{step} should have been done"
        return ""

    def carry_out(self, steps: Explanation, after: Structure) -> tuple[list[str], Structure, str]:
        """Carry out `steps` and those without an event.

        Return the operations that were possible, the structure after them, and what failed, or "".
        """
        structure = self.before
        done: list[str] = []
        for part in (steps, None):
            for step in (
                steps_without_event(structure.tables, after.tables) if part is None else part
            ):
                structure, why = self.stepper.step(structure, step, self.checks_apply)
                if why:
                    return done, structure, why
                done.append(step.operation)
        return done, structure, ""

    def checks_apply(self, structure: Structure) -> bool:
        """Return whether checks apply: no lemma fails that a known bug may break."""
        return not self.broken or self.broken.isdisjoint(self.lemmas.violated(structure))
