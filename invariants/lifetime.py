"""Is an object used after it was freed, or leaked?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmapcheck.invariants.completeness import mapped_anon_folios
from rmapcheck.invariants.registry import Step, Violation, from_oops, invariant, step_invariant

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


@step_invariant("universal#no-use-after-free")
def use_after_free(st: "Kernel", step: Step) -> Iterator[Violation]:
    """No operation accesses freed memory, follows a NULL pointer, or frees an object twice."""
    if step.outcome.oops is not None:
        yield from_oops(step.outcome.oops, f"{step.op}")


@invariant("universal#no-dangling", universal=True)
def no_dangling(st: "Kernel") -> Iterator[Violation]:
    """No live object refers to a freed one."""
    found = st.layout.dangling(st)
    if found:
        struct, index, field, target = found
        yield Violation(
            f"o be {struct} {index}",
            f"its {field!r} must be NULL or a live object",
            f"it points to object {target}, which has been freed",
            ((struct, index),),
        )


@invariant("universal#no-leak", universal=True)
def no_leak(st: "Kernel") -> Iterator[Violation]:
    """Every live object can be reached from a process."""
    found = st.layout.leaked(st)
    if found:
        struct, index = found
        yield Violation(
            f"o be {struct} {index}",
            "o must be reachable from a process",
            "it is not: o is leaked",
            ((struct, index),),
        )


@invariant(
    "anon_vma#mapping-alive, avc#mapping-valid",
    relies="page_lock_anon_vma() takes the lock of the anon_vma that page->mapping names",
)
def mapping_alive(st: "Kernel") -> Iterator[Violation]:
    """The anon_vma of a mapped anonymous page has not been freed."""
    for folio in mapped_anon_folios(st):
        mapping = st.folio[folio].mapping
        if not st.anon_vma.is_live(mapping):
            state = "is NULL" if mapping == 0 else "points to one that has been freed"
            yield Violation(
                f"f be folio {folio}, which is mapped",
                "f's mapping must point to a live anon_vma",
                f"it {state}",
                (("folio", folio),),
            )


@invariant(
    "anon_vma#lifetime, avc#lifetime",
    relies="the last VMA that leaves frees the anon_vma; nobody else does",
)
def anon_vma_lifetime(st: "Kernel") -> Iterator[Violation]:
    """An anon_vma is freed when it has no VMA, unless it is the root of another anon_vma."""
    kept: list[int] = []
    if "root" in st.scheme.fields.get("anon_vma", ()):
        for anon_vma in st.anon_vma.indices():
            if st.anon_vma[anon_vma].root != anon_vma:
                kept.append(st.anon_vma[anon_vma].root)
    for anon_vma in st.anon_vma.indices():
        if st.anon_vma[anon_vma].head == 0 and anon_vma not in kept:
            yield Violation(
                f"A be anon_vma {anon_vma}, in whose list there is no VMA",
                "A must have been freed",
                "it has not",
                (("anon_vma", anon_vma),),
            )
