"""Is the size of each structure bounded, however long the run?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmapcheck.invariants.completeness import anon_vmas_of
from rmapcheck.invariants.registry import Violation, invariant

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


@invariant(
    "avc#bounded, 7a3ef208e662",
    relies="no code; it bounds the memory, and the time that a lock is held",
)
def bounded_chain(st: "Kernel") -> Iterator[Violation]:
    """A chain has at most 2 n + 1 elements, where n is how many VMAs the scope allows at once.

    Fork reuses each idle anon_vma that has fewer than two children (7a3ef208e662). So the number
    of anon_vmas that a VMA inherits is bounded by the number of live VMAs.
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
