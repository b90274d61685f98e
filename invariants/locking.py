"""Are locks taken in order, held where they must be, and released?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmapcheck.invariants.registry import Step, Violation, step_invariant

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


@step_invariant("universal#lock-order, anon_vma#range-under-lock, pte_chain#under-page-table-lock")
def lock_discipline(st: "Kernel", step: Step) -> Iterator[Violation]:
    """Locks are taken in the order of mm/rmap.c, held for each change, and all released."""
    for splat in step.outcome.splats:
        yield Violation(
            f"o be {step.op}",
            "o must follow the lock order and hold the locks for what it changes",
            splat,
        )
