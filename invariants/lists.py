"""The list of VMAs of an anon_vma, which the walk follows (anon_vma, v2.6.7 … v2.6.33)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmapcheck.invariants.completeness import name_of, place
from rmapcheck.invariants.registry import Violation, invariant
from rmapcheck.model.machine.state import (
    folio_test_anon,
    linear_page_index,
    ptep_to_address,
    ptep_to_mm,
)
from rmapcheck.model.mm.vma import vma_lookup

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def vmas_in(st: "Kernel", anon_vma: int) -> list[int]:
    """Return the VMAs in the list of `anon_vma`, up to one that is freed or comes twice."""
    found: list[int] = []
    vma = st.anon_vma[anon_vma].head
    while vma:
        again = vma in found
        found.append(vma)
        if again or not st.vma.is_live(vma):
            break
        vma = st.vma[vma].anon_vma_node
    return found


def vma_of(st: "Kernel", ptep: int) -> int:
    """Return the VMA that covers an entry, or 0."""
    mm = ptep_to_mm(st, ptep)
    return vma_lookup(st, mm, ptep_to_address(st, ptep)) if st.mm.is_live(mm) else 0


@invariant(
    "anon_vma#list",
    relies="the walk follows anon_vma->head, and anon_vma_unlink() expects the VMA there",
)
def anon_vma_list(st: "Kernel") -> Iterator[Violation]:
    """A VMA is in the list of its anon_vma, once, and in no other."""
    missing = {v for v in st.vma.indices() if st.vma[v].anon_vma}
    for anon_vma in st.anon_vma.indices():
        for vma in vmas_in(st, anon_vma):
            own = st.vma[vma].anon_vma if st.vma.is_live(vma) else 0
            if own != anon_vma or vma not in missing:
                wrong = "it comes twice" if own == anon_vma else f"that is {name_of(st, own)}"
                yield Violation(
                    f"v be VMA {vma} in the list of anon_vma {anon_vma}",
                    "v's anon_vma must be that one, and v must be in its list once",
                    wrong,
                    (("vma", vma), ("anon_vma", anon_vma)),
                )
            missing.discard(vma)
    for vma in sorted(missing):
        yield Violation(
            f"v be VMA {vma}, whose anon_vma is {name_of(st, st.vma[vma].anon_vma)}",
            "v must be in its list",
            "it is not",
            (("vma", vma),),
        )


@invariant(
    "anon_vma#faulted",
    relies=(
        "fork copies no entries of a VMA without an anon_vma (d992895ba2b2), and "
        "page_add_anon_rmap() calls BUG() without one"
    ),
)
def faulted_has_anon_vma(st: "Kernel") -> Iterator[Violation]:
    """A VMA that has an anonymous page, present or in swap, has an anon_vma.

    Fork (d992895ba2b2) and swap-in (BUG_ON) rely on this.
    """
    for ptep in range(1, st.pte.size + 1):
        if st.pte[ptep].folio == 0 and st.pte[ptep].swap == 0:
            continue
        if st.pte[ptep].folio and not folio_test_anon(st, st.pte[ptep].folio):
            continue
        vma = vma_of(st, ptep)
        if vma and st.vma[vma].anon_vma == 0:
            what = "a page" if st.pte[ptep].folio else "a page in swap"
            yield Violation(
                f"v be VMA {vma}, which has {what} at {place(st, ptep)}",
                "v must have an anon_vma",
                "it has none",
                (("vma", vma), ("pte", ptep)),
            )


@invariant(
    "anon_vma#relatives-agree",
    relies=(
        "page_add_anon_rmap() keeps the anon_vma and index that the first swap-in gave to the page"
    ),
)
def swap_relatives_agree(st: "Kernel") -> Iterator[Violation]:
    """All entries of one swap slot would give its page the same anon_vma and index.

    The first entry that swaps the page in sets both, and the others rely on them.
    """
    for ptep in range(1, st.pte.size + 1):
        entry = st.pte[ptep].swap
        vma = vma_of(st, ptep) if entry else 0
        if vma == 0:
            continue
        other = first_naming(st, entry)
        theirs = st.vma[vma_of(st, other)].anon_vma
        mine = st.vma[vma].anon_vma
        there = index_of(st, other)
        here = index_of(st, ptep)
        if theirs != mine or there != here:
            yield Violation(
                f"e be swap slot {entry}, of {place(st, other)} and {place(st, ptep)}",
                "both must give its page the same anon_vma and index",
                f"they give {name_of(st, theirs)}, {there} and {name_of(st, mine)}, {here}",
                (("swap", entry), ("vma", vma)),
            )


def first_naming(st: "Kernel", entry: int) -> int:
    """Return the first entry in a VMA that points to a swap slot, or 0."""
    for ptep in range(1, st.pte.size + 1):
        if st.pte[ptep].swap == entry and vma_of(st, ptep):
            return ptep
    return 0


def index_of(st: "Kernel", ptep: int) -> int:
    """Return the page offset that an entry has in its VMA."""
    return linear_page_index(st, vma_of(st, ptep), ptep_to_address(st, ptep))


@invariant(
    "anon_vma#merge",
    relies="a merged VMA has one anon_vma, and the walk finds its pages only by that",
)
def merge_same_anon_vma(st: "Kernel") -> Iterator[Violation]:
    """Neighbours with different anon_vmas must not merge: no walk would find the pages of one."""
    for vma in st.vma.indices():
        other = st.vma[vma].vm_next
        a, b = st.vma[vma].anon_vma, st.vma[other].anon_vma if other else 0
        if a == 0 or b == 0 or a == b:
            continue
        if (
            st.scheme.is_mergeable_anon_vma(st, vma, b, other, 0)
            or st.scheme.is_mergeable_anon_vma(st, other, a, vma, 0)
            or st.scheme.are_anon_vmas_compatible(st, vma, other)
        ):
            yield Violation(
                f"v and w be the neighbours {vma} and {other}, with anon_vmas {a} and {b}",
                "they must not merge, because a VMA can be in only one list",
                "the scheme lets them",
                (("vma", vma), ("vma", other)),
            )
