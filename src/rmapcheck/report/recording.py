"""Recordings: runs of which every state is kept, to be shown or compared."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from rmapcheck.cases.replay import replay_case
from rmapcheck.invariants.registry import Violation
from rmapcheck.model.kernel import Kernel
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Operation, Outcome
from rmapcheck.model.scheme import Scheme
from rmapcheck.run import NotPossible, Run

if TYPE_CHECKING:
    from rmapcheck.cases.case import Case


@attrs.frozen(kw_only=True)
class Frame:
    """One step: the operation, its outcome, and the states before and after as raw bytes."""

    number: int
    """From 1."""
    op: Operation
    outcome: Outcome
    violations: tuple[Violation, ...]
    before: bytes
    after: bytes


@attrs.frozen(kw_only=True)
class Recording:
    """All steps of a run on one scheme; `stopped` says why it ended early, if it did."""

    scheme: type[Scheme]
    scope: Scope
    first: bytes
    frames: tuple[Frame, ...]
    stopped: str = ""

    def state(self, raw: bytes) -> Kernel:
        """Return a new Kernel made from the raw bytes of a recorded one."""
        st = Kernel(self.scope, self.scheme())
        st.layout.load_raw(st, raw)
        return st


def record(scheme: type[Scheme], scope: Scope, steps: Sequence[Operation]) -> Recording:
    """Run `steps` and return the recording.

    The run ends early at a step that is not possible, or after one that ends in an oops; `stopped`
    then gives the reason.
    """
    machine = Run(scheme, scope)
    st = machine.st
    first = before = st.layout.encode_raw(st)
    frames: list[Frame] = []
    stopped = ""
    for number, op in enumerate(steps, 1):
        try:
            found = machine.apply(op)
        except NotPossible as error:
            stopped = f"step {number}, {error}"
            break
        outcome = machine.outcome
        if outcome.exhausted:
            stopped = f"step {number}, {op}: the scope has too few {outcome.exhausted} objects"
            break
        after = st.layout.encode_raw(st)
        frames.append(
            Frame(
                number=number,
                op=op,
                outcome=outcome,
                violations=tuple(found),
                before=before,
                after=after,
            )
        )
        before = after
        if outcome.oops:
            stopped = f"step {number}, {op}: {outcome.oops}"
            break
    return Recording(
        scheme=scheme, scope=scope, first=first, frames=tuple(frames), stopped=stopped
    )


def record_case(case: "Case", scheme: type[Scheme]) -> Recording:
    """Run the case on `scheme`, up to the step at which its replay ends, if that is violated."""
    done = replay_case(case, scheme).replayed
    last = done.step if done and done.violations else len(case.steps)
    return record(scheme, case.scope, case.steps[:last])
