"""Do the counters equal what they count?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmapcheck.invariants.completeness import mapped_folios, mappers_of
from rmapcheck.invariants.registry import Violation, invariant
from rmapcheck.model.machine.state import pte_offset, ptep_to_mm

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


@invariant("universal#refcount", universal=True)
def refcount(st: "Kernel") -> Iterator[Violation]:
    """A page's refcount is the number of entries that map it, plus 1 in swap or page cache."""
    for folio in st.folio.indices():
        f = st.folio[folio]
        expected = len(mappers_of(st, folio)) + (f.swap != 0) + (f.address_space != 0)
        if f.refcount != expected:
            yield Violation(
                f"f be folio {folio}, with {expected} users",
                f"its refcount must be {expected}",
                f"it is {f.refcount}",
                (("folio", folio),),
            )


@invariant(
    "universal#mapcount",
    relies=(
        "page_mapped() tells try_to_unmap() that it is done, and page_mapcount() tells "
        "do_wp_page() to reuse"
    ),
)
def mapcount(st: "Kernel") -> Iterator[Violation]:
    """A page's mapcount is the number of entries that map it."""
    for folio in st.folio.indices():
        expected = len(mappers_of(st, folio))
        if st.folio[folio].mapcount != expected:
            yield Violation(
                f"f be folio {folio}, mapped by {expected} entries",
                f"its mapcount must be {expected}",
                f"it is {st.folio[folio].mapcount}",
                (("folio", folio),),
            )


@invariant(
    "pte_chain#rss",
    relies="page_over_rsslimit() compares mm->rss with the limit",
)
def rss_counts(st: "Kernel") -> Iterator[Violation]:
    """A process's rss is the number of its entries that map a page."""
    for mm in st.mm.indices():
        expected = present(st, mm)
        if st.mm[mm].rss != expected:
            yield Violation(
                f"p be process {mm}, {expected} of whose entries map a page",
                "its rss must be that number",
                f"it is {st.mm[mm].rss}",
                (("mm", mm),),
            )


def present(st: "Kernel", mm: int) -> int:
    """Return how many entries of a process map a page."""
    first = pte_offset(st, mm, 0)
    return sum(st.pte[ptep].folio != 0 for ptep in range(first, first + st.pages))


@invariant(
    "pte_chain#rss-limit",
    relies="page_referenced() ignores the accessed bits of a page that is over the limit",
)
def rsslimit(st: "Kernel") -> Iterator[Violation]:
    """page_over_rsslimit() is true if and only if every process that maps the page is over."""
    limit = st.scope.rss_limit
    for folio in mapped_folios(st):
        spared = [
            ptep
            for ptep in mappers_of(st, folio)
            if limit == 0 or present(st, ptep_to_mm(st, ptep)) < limit
        ]
        over = st.scheme.page_over_rsslimit(st, folio)
        if over != (len(spared) == 0):
            who = f"process {ptep_to_mm(st, spared[0])} is not" if spared else "all are"
            yield Violation(
                f"f be folio {folio}, of whose processes {who} over the limit of {limit} pages",
                f"page_over_rsslimit(f) must be {not spared}",
                f"it is {over}",
                (("folio", folio),),
            )


@invariant("universal#swap-counts", universal=True)
def swap_counts(st: "Kernel") -> Iterator[Violation]:
    """A slot counts its swap entries, and its page in the swap cache points back to it."""
    for entry in st.swap.indices():
        s = st.swap[entry]
        named = sum(st.pte[ptep].swap == entry for ptep in range(1, st.pte.size + 1))
        if s.count != named:
            yield Violation(
                f"e be swap slot {entry}, to which {named} entries point",
                f"swap_map[e] must be {named}",
                f"it is {s.count}",
                (("swap", entry),),
            )
        if s.folio and st.folio[s.folio].swap != entry:
            yield Violation(
                f"e be swap slot {entry}, whose swap-cache page is folio {s.folio}",
                "the swap entry of that page must be e",
                f"it is {st.folio[s.folio].swap}",
                (("swap", entry), ("folio", s.folio)),
            )


@invariant(
    "avc#counts",
    relies="anon_vma_clone() decides by the counts whether a fork may reuse an anon_vma",
)
def anon_vma_counts(st: "Kernel") -> Iterator[Violation]:
    """num_active_vmas and num_children (or their sum, degree) equal what they count."""
    for anon_vma in st.anon_vma.indices():
        a = st.anon_vma[anon_vma]
        vmas = sum(st.vma[v].anon_vma == anon_vma for v in st.vma.indices())
        children = sum(st.anon_vma[c].parent == anon_vma for c in st.anon_vma.indices())
        if "degree" in st.scheme.fields["anon_vma"]:
            if a.degree != vmas + children:
                yield _miscounted(anon_vma, vmas, children, "degree", vmas + children, a.degree)
        else:
            if a.num_active_vmas != vmas:
                yield _miscounted(
                    anon_vma, vmas, children, "num_active_vmas", vmas, a.num_active_vmas
                )
            if a.num_children != children:
                yield _miscounted(
                    anon_vma, vmas, children, "num_children", children, a.num_children
                )


def _miscounted(
    anon_vma: int, vmas: int, children: int, field: str, expected: int, value: int
) -> Violation:
    return Violation(
        f"A be anon_vma {anon_vma}, with {vmas} VMAs of its own and "
        f"{children} children (a root counts itself)",
        f"A's {field} must be {expected}",
        f"it is {value}",
        (("anon_vma", anon_vma),),
    )


@invariant(
    "avc#lifetime",
    relies="put_anon_vma() frees an anon_vma, and drops its root, when the count is 0",
)
def anon_vma_refcount(st: "Kernel") -> Iterator[Violation]:
    """An anon_vma's refcount is 1 if it has VMAs; a root has 1 more for each other member."""
    for anon_vma in st.anon_vma.indices():
        a = st.anon_vma[anon_vma]
        members = sum(
            member != anon_vma and st.anon_vma[member].root == anon_vma
            for member in st.anon_vma.indices()
        )
        expected = members + (a.head != 0)
        if a.refcount != expected:
            yield Violation(
                f"A be anon_vma {anon_vma}, root of {members} others",
                f"its refcount must be {expected}",
                f"it is {a.refcount}",
                (("anon_vma", anon_vma),),
            )
