"""Refinement: is every step that the model takes a step that the spec allows?

A proof speaks of a spec. What ties it to the model is that each explored, sampled or replayed step
is checked: at each event (model/machine/events.py) the abstraction of the state must be what one
of the event's explanations makes of the abstraction at the event before, guards included. Where
none does, the spec is too narrow for what the model does, or the model strays from the spec. Which
of the two, people decide; the message names the guard or the symbol.

What holds between two steps of one operation only (`Spec.passing`) is taken from the steps, and
must be over at the operation's end. What the kernel does in the same breath, and a spec in steps
of their own (`Spec.urgent`: an object is freed with its last user), must then have been done. A
check is promised only where the lemmas hold, so that it says nothing in a state which a bug that
the spec owns up to (`Spec.flaws`) has broken already.

    explore(scheme, scope, observer=Refinement(spec))
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from rmapcheck.invariants.registry import Invariant, Step, Violation
from rmapcheck.logic.finite import Structure
from rmapcheck.logic.steps import Steps
from rmapcheck.prove.refinement.abstraction import Abstraction
from rmapcheck.prove.refinement.event import Event, dropped
from rmapcheck.prove.refinement.event import Steps as Explanation
from rmapcheck.prove.refinement.explanations import EXPLANATIONS, ONLY_WITH
from rmapcheck.prove.refinement.steps import Comparison, Stepper

if TYPE_CHECKING:
    from rmapcheck.logic.spec import Spec
    from rmapcheck.model.kernel import Kernel

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
        self.lemmas = Steps(spec)
        self.broken = {lemma for cells in spec.flaws.values() for _, lemma in cells}
        """Lemmas that states of the kernels need not keep."""
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

    def violations(self, st: "Kernel", step: Step) -> Iterator[Violation]:
        """Each step is one that the spec allows."""
        if self.refusal is not None:
            said = " or ".join(self.refusal.tried) or "no operation"
            yield Violation(
                f"e be the event {self.refusal.event!r} in {step.op}",
                f"the spec {self.spec.name} must explain it by {said}",
                self.refusal.why,
            )

    def __call__(self, st: "Kernel", event: str, a: int, b: int, c: int, d: int) -> None:
        """`event` has taken effect (rmapcheck.model.machine.events.tell)."""
        if event == "begin":
            self.refusal = None
            self.before = self.abstraction.of(st)
        elif event in self.steps and self.refusal is None:
            self.events += 1
            after = self.abstraction.of(st)
            told = Event(st, event, (a, b, c, d), self.before.says, after.says, self.stepper.has)
            self.before = self.explain(told, after)

    def explain(self, event: Event, after: Structure) -> Structure:
        """Find an explanation of `event`, or note that there is none; return what is so then."""
        whys: list[tuple[int, str]] = []
        tried = []
        for steps in EXPLANATIONS[event.name](event):
            done, found, why = self.follow(steps, after)
            now = after if event.name == "end" else self.passed(after, found)
            why = why or self.comparison.difference(found, now) or self.overdue(event, now)
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
        """Return `after`, with what no state tells as the steps have left it."""
        if not self.spec.passing:
            return after
        passing = {name: found.says[name] for name in self.spec.passing}
        return Structure(after.universe, {**after.says, **passing})

    def overdue(self, event: Event, now: Structure) -> str:
        """Return what should have been done by the end of an operation, or ""."""
        for name in self.spec.urgent if event.name == "end" else ():
            for step in self.stepper.possible(now, name):
                return f"{step} should have been done"
        return ""

    def follow(self, steps: Explanation, after: Structure) -> tuple[list[str], Structure, str]:
        """Carry out `steps` and what went unmarked.

        Return the operations that could be carried out, what they led to, and what was wrong, or
        "".
        """
        structure = self.before
        done: list[str] = []
        for part in (steps, None):
            for step in dropped(structure.says, after.says) if part is None else part:
                structure, why = self.stepper.step(structure, step, self.promised)
                if why:
                    return done, structure, why
                done.append(step.operation)
        return done, structure, ""

    def promised(self, structure: Structure) -> bool:
        """Tell whether checks mean something: no lemma fails, of those that a known bug breaks."""
        return not self.broken or self.broken.isdisjoint(self.lemmas.violated(structure))
