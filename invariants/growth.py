"""Do the structures stay within a bound that does not depend on history?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmapcheck.invariants.completeness import anon_vmas_of
from rmapcheck.invariants.registry import Violation, invariant

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


@invariant("avc#bounded, 7a3ef208e662")
def bounded_chain(st: "Kernel") -> Iterator[Violation]:
    """A chain is no longer than twice the VMAs that the scope can hold at once, and one.

    Reuse at fork (7a3ef208e662) leaves no anon_vma idle that has fewer than two children, so that
    the number of anon_vmas a VMA inherits is bounded by the number of VMAs alive.
    """
    limit = 2 * min(st.scope.mms * st.scope.pages, st.scope.vmas) + 1
    for vma in st.vma.indices():
        length = len(anon_vmas_of(st, vma))
        if length > limit:
            yield Violation(
                f"v be VMA {vma} in a machine of {st.scope.mms} processes",
                f"v's chain must have at most {limit} elements",
                f"it has {length}",
                (("vma", vma),),
            )
