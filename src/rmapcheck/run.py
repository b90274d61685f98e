"""Runs one machine, one operation at a time, and checks every invariant after each.

Replaying, minimizing, the random walker and Hypothesis are built on this. Only exhaustive search
has its own loop.
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
from rmapcheck.model.maps import Mapping, maps
from rmapcheck.model.operations import Operation, Outcome, boot, possible_operations, run
from rmapcheck.model.scheme import Scheme

if TYPE_CHECKING:
    from collections.abc import Sequence


class NotPossible(Exception):  # noqa: N818 - a caller may expect it
    """The operation is not possible in this state: its process is dead, its page not there, …"""


class Observer(Protocol):
    """Gets the events of model/machine/events.py, and checks each step by them."""

    @property
    def name(self) -> str:
        """Name of what the steps are checked against, such as a spec."""

    @property
    def explained(self) -> dict[str, int]:
        """For each of its rules, how many events the rule allowed."""

    @property
    def invariant(self) -> Invariant:
        """An invariant that reports what is wrong with a step."""

    def __call__(self, st: Kernel, event: str, a: int, b: int, c: int, d: int) -> None:
        """Handle `event`, which has just taken effect in `st`; `a` … `d` are its objects."""


class Run:
    """A run of `scheme` in `scope`, from boot.

    `checked`: check the range of every field that is written, which takes time. The constructor
    and `apply` raise SchemeError if the scheme does not keep to its interface.
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
        """Return the operations that are possible now, without variants that fail to allocate."""
        return possible_operations(self.st)

    def why_not(self, op: Operation) -> str:
        """Return why `op` is not possible now, or ""."""
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
        """Carry out `op` and return what it violates. Raise NotPossible if it is not possible now.

        If the scope has too few objects for the step, `outcome.exhausted` names what is missing,
        the state is the one before the step, and nothing is violated.
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

    def maps(self, mm: int) -> tuple[Mapping, ...]:
        """Return the VMAs of a process, as /proc/PID/maps shows them; () if it is not alive."""
        return maps(self.st, mm)

    def canonical(self) -> bytes:
        """Return the canonical form of the state."""
        return self.st.layout.canonical(self.st)[0]


@attrs.frozen
class Replayed:
    """The result of replaying operations."""

    violations: tuple[Violation, ...]
    """What the last operation violated; () if no operation violated anything."""
    step: int
    """Number of the last operation that was applied, from 1."""
    outcomes: tuple[Outcome, ...]


def replay(
    scheme: type[Scheme],
    scope: Scope,
    steps: "Sequence[Operation]",
    *,
    target: str = "",
    observer: Observer | None = None,
) -> Replayed:
    """Apply `steps` until one violates an invariant.

    `target`: stop only at these invariants, given as names separated by commas. Raise NotPossible
    if a step is not possible, or if the scope has too few objects for it.
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
