"""Refinement: is every step that the model takes a step that the spec allows?

A proof speaks of a spec. What ties it to the model is that each explored, sampled or replayed step
is checked: at each event (model.events) the abstraction of the state must be what one of the
event's explanations makes of the abstraction at the event before, guards included. Where none
does, the spec is too narrow for what the model does, or the model strays from the spec. Which of
the two, people decide; the message names the guard or the symbol.

    explore(scheme, scope, observer=Refinement(spec))
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from invariants.logic.finite import Structure
from invariants.registry import Invariant, Step, Violation
from rmapcheck.prove.abstraction import Abstraction
from rmapcheck.prove.explanations import EXPLANATIONS, ONLY_WITH, Event, Steps, dropped
from rmapcheck.prove.steps import Comparison, Stepper

if TYPE_CHECKING:
    from invariants.logic.spec import Spec
    from model.state import State

NAME = "refinement"
"""Name of the violation that a refused step is."""


@attrs.frozen(kw_only=True)
class Refusal:
    """An event that no explanation explains."""

    event: str
    why: str
    """The guard, check or symbol at which the explanation that came farthest fails."""
    tried: tuple[str, ...]
    """The explanations, as operations of the spec."""


class Refinement:
    """An observer of one machine: checks each event against `spec`."""

    def __init__(self, spec: "Spec") -> None:
        self.spec = spec
        self.name = spec.name
        self.abstraction = Abstraction(spec)
        self.stepper = Stepper(spec)
        self.comparison = Comparison(spec)
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
        """How often each operation of the spec was needed to explain an event."""
        self.invariant = Invariant(
            name=NAME, source="the spec", universal=False, step=self.violations
        )

    def violations(self, st: "State", step: Step) -> Iterator[Violation]:
        """Each step is one that the spec allows."""
        if self.refusal is not None:
            said = " or ".join(self.refusal.tried) or "no operation"
            yield Violation(
                NAME,
                f"e be the event {self.refusal.event!r} in {step.op}",
                f"the spec {self.spec.name} must explain it by {said}",
                self.refusal.why,
            )

    def __call__(self, st: "State", event: str, a: int, b: int, c: int, d: int) -> None:
        """`event` has taken effect (model.events.tell)."""
        if event == "begin":
            self.refusal = None
            self.before = self.abstraction.of(st)
        elif event in self.steps and self.refusal is None:
            self.events += 1
            after = self.abstraction.of(st)
            told = Event(st, event, (a, b, c, d), self.before.says, after.says, self.stepper.has)
            self.explain(told, after)
            self.before = after

    def explain(self, event: Event, after: Structure) -> None:
        """Find an explanation of `event`, or note that there is none."""
        whys: list[tuple[int, str]] = []
        tried = []
        for steps in EXPLANATIONS[event.name](event):
            done, why = self.follow(steps, after)
            if not why:
                for name in done:
                    self.explained[name] += 1
                return
            whys.append((len(done), why))
            tried.append(" then ".join(s.operation for s in steps) or "nothing")
        best = max(whys, key=lambda w: w[0], default=(0, "nothing explains it"))
        self.refusal = Refusal(event=event.name, why=best[1], tried=tuple(dict.fromkeys(tried)))

    def follow(self, steps: Steps, after: Structure) -> tuple[list[str], str]:
        """Carry out `steps` and what went unmarked.

        Return the operations that could be carried out, and what is wrong then, or "".
        """
        structure = self.before
        done: list[str] = []
        for part in (steps, None):
            for step in dropped(structure.says, after.says) if part is None else part:
                structure, why = self.stepper.step(structure, step)
                if why:
                    return done, why
                done.append(step.operation)
        return done, self.comparison.difference(structure, after)
