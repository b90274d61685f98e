"""One machine, driven one operation at a time, with every invariant checked after each.

Replay, minimisation, the random walker and Hypothesis all stand on this; only exhaustive search
has a loop of its own.
"""

from typing import TYPE_CHECKING, Protocol

import attrs

from rmapcheck.invariants.isolation import projection
from rmapcheck.invariants.registry import (
    Invariant,
    Step,
    Violation,
    applicable,
    check_state,
    check_step,
    wanted,
)
from rmapcheck.model.kernel import Kernel
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Operation, Outcome, boot, possible_operations, run
from rmapcheck.model.scheme import Scheme

if TYPE_CHECKING:
    from collections.abc import Sequence


class NotPossible(Exception):  # noqa: N818 - it is no error of the program
    """The operation means nothing in this state (a dead process, a page that is not there)."""


class Observer(Protocol):
    """Is told of the events of model/machine/events.py, and judges each step by them."""

    @property
    def name(self) -> str:
        """What it judges by."""

    @property
    def explained(self) -> dict[str, int]:
        """How often each of its rules explained an event."""

    @property
    def invariant(self) -> Invariant:
        """What it finds wrong with a step."""

    def __call__(self, st: Kernel, event: str, a: int, b: int, c: int, d: int) -> None:
        """`event` has taken effect in `st`."""


class Run:
    """A run of `scheme` in `scope`, from boot. `checked`: test the range of every field written.

    Raises SchemeError when the scheme breaks its interface.
    """

    def __init__(
        self,
        scheme: type[Scheme],
        scope: Scope,
        *,
        checked: bool = True,
        observer: Observer | None = None,
    ) -> None:
        self.scheme = scheme
        self.st = Kernel(scope, scheme(), checked=checked)
        self.invariants = applicable(scheme)
        self.steps: list[Operation] = []
        self.outcome = Outcome()
        boot(self.st)
        if observer is not None:
            self.st.observer = observer
            self.invariants += (observer.invariant,)

    def possible(self) -> list[Operation]:
        """Return the operations that mean something now, none failing."""
        return possible_operations(self.st)

    def why_not(self, op: Operation) -> str:
        """Return why `op` cannot be asked for now, or ""."""
        st = self.st
        beyond = op.beyond(st.scope)
        if beyond:
            return beyond
        lacking = op.lacking(st.scheme)
        if lacking:
            return f"{st.scheme.name} has no {lacking}"
        if not op.enabled(st):
            return "it means nothing in this state"
        return ""

    def apply(self, op: Operation) -> list[Violation]:
        """Carry `op` out and return what it violates; raise NotPossible if it cannot be asked for.

        When the scope has too few objects for the step (`outcome.exhausted`), the state is that
        of before, and nothing is violated.
        """
        why = self.why_not(op)
        if why:
            raise NotPossible(f"{op}: {why}")
        st = self.st
        raw = st.layout.encode_raw(st)
        before = projection(st) if op.fail and op.atomic else None
        self.outcome = run(st, op)
        if self.outcome.exhausted:
            st.layout.load_raw(st, raw)
            return []
        self.steps.append(op)
        step = Step(op=op, outcome=self.outcome, before=before)
        found = check_step(st, step, self.invariants)
        if self.outcome.oops is None:
            found += check_state(st, self.invariants)
        return found

    def canonical(self) -> bytes:
        """Return the canonical form of the state."""
        return self.st.layout.canonical(self.st)[0]


@attrs.frozen
class Replayed:
    """The result of replaying operations: where they first violate something, if they do."""

    violations: tuple[Violation, ...]
    step: int
    """Number of the operation (from 1) that violated it; else how many were applied."""
    outcomes: tuple[Outcome, ...]


def replay(
    scheme: type[Scheme],
    scope: Scope,
    steps: "Sequence[Operation]",
    *,
    target: str = "",
    observer: Observer | None = None,
) -> Replayed:
    """Apply `steps` until one violates something (of `target`, if given: names parted by commas).

    Raise NotPossible if one cannot be applied, or the scope has too few objects for it.
    """
    machine = Run(scheme, scope, observer=observer)
    outcomes = []
    for number, op in enumerate(steps, 1):
        found = machine.apply(op)
        if machine.outcome.exhausted:
            raise NotPossible(
                f"step {number}, {op}: the scope has too few {machine.outcome.exhausted} objects"
            )
        outcomes.append(machine.outcome)
        if any(wanted(target, v.invariant) for v in found):
            return Replayed(tuple(found), number, tuple(outcomes))
    return Replayed((), len(outcomes), tuple(outcomes))
