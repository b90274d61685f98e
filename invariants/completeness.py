"""Does the walk visit every entry that maps a page, and no wrong one?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmapcheck.invariants.registry import Violation, invariant
from rmapcheck.model.machine.state import (
    folio_test_anon,
    linear_page_index,
    ptep_to_address,
    ptep_to_mm,
)
from rmapcheck.model.machine.structs import RmapWalkControl
from rmapcheck.model.mm.rmap import rmap_visits
from rmapcheck.model.mm.vma import vma_lookup

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def mappers(st: "Kernel") -> dict[int, list[int]]:
    """Return, for each mapped page, the page-table entries that map it."""
    found: dict[int, list[int]] = {}
    for i in range(1, st.pte.size + 1):
        folio = st.pte[i].folio
        if folio:
            found.setdefault(folio, []).append(i)
    return found


def mapped_folios(st: "Kernel") -> list[int]:
    """Return the pages that are mapped, in the order of the first entries that map them."""
    found: list[int] = []
    for ptep in range(1, st.pte.size + 1):
        folio = st.pte[ptep].folio
        if folio and folio not in found:
            found.append(folio)
    return found


def mapped_anon_folios(st: "Kernel") -> list[int]:
    """Return the anonymous pages that are mapped."""
    return [folio for folio in mapped_folios(st) if folio_test_anon(st, folio)]


def mappers_of(st: "Kernel", folio: int) -> list[int]:
    """Return the page-table entries that map a page, ascending."""
    return [ptep for ptep in range(1, st.pte.size + 1) if st.pte[ptep].folio == folio]


def place(st: "Kernel", ptep: int) -> str:
    """Return "page 2 of process 1" for an entry."""
    return f"page {ptep_to_address(st, ptep)} of process {ptep_to_mm(st, ptep)}"


@invariant("universal#walk-complete", universal=True, only="rmap")
def walk_complete(st: "Kernel") -> Iterator[Violation]:
    """The rmap walk of a page visits every page-table entry that maps it."""
    for folio in mapped_folios(st):
        rwc = RmapWalkControl()
        rmap_visits(st, folio, rwc)
        for ptep in mappers_of(st, folio):
            if ptep not in rwc.visited:
                seen = ", ".join(place(st, p) for p in rwc.visited) or "nothing"
                yield Violation(
                    f"f be folio {folio}, mapped at {place(st, ptep)}",
                    "rmap_walk(f) must visit that entry",
                    f"it visits {seen}",
                    (("folio", folio), ("pte", ptep)),
                )


@invariant("universal#walk-sound", universal=True, only="rmap")
def walk_sound(st: "Kernel") -> Iterator[Violation]:
    """The walk visits no entry of a dead process, and no entry twice.

    A walker that does not check whether an entry maps the page (as in the chain schemes) must
    also visit only entries that map it.
    """
    for folio in mapped_folios(st):
        pteps = mappers_of(st, folio)
        rwc = RmapWalkControl()
        rmap_visits(st, folio, rwc)
        for i, ptep in enumerate(rwc.visited):
            let = f"f be folio {folio}, whose rmap_walk visits {place(st, ptep)}"
            witness = (("folio", folio), ("pte", ptep))
            if not st.mm.is_live(ptep_to_mm(st, ptep)):
                then = "that process must be alive"
                yield Violation(let, then, "it has exited", witness)
            elif not st.scheme.walker_checks_pte(st, folio) and ptep not in pteps:
                then = "the entry must map f, since this walker does not check"
                yield Violation(let, then, "it does not", witness)
            elif ptep in rwc.visited[:i]:
                then = "it must visit that entry once"
                yield Violation(let, then, "it visits it twice", witness)


@invariant(
    "anon_vma#coverage, avc#coverage",
    relies="the walk visits the VMAs of the page's anon_vma, each at vma_address()",
)
def coverage(st: "Kernel") -> Iterator[Violation]:
    """A mapped page's anon_vma is in the chain of the VMA that maps it, and its index is right."""
    for folio in mapped_anon_folios(st):
        f = st.folio[folio]
        for ptep in mappers_of(st, folio):
            address = ptep_to_address(st, ptep)
            vma = vma_lookup(st, ptep_to_mm(st, ptep), address)
            if vma == 0:
                continue
            let = f"f be folio {folio}, mapped at {place(st, ptep)} in VMA {vma}"
            witness = (("folio", folio), ("vma", vma), ("anon_vma", f.mapping))
            if f.mapping not in anon_vmas_of(st, vma):
                yield Violation(
                    let,
                    f"f's anon_vma {name_of(st, f.mapping)} must be one of the VMA's",
                    f"the VMA has {', '.join(map(str, anon_vmas_of(st, vma))) or 'none'}",
                    witness,
                )
            elif f.index != linear_page_index(st, vma, address):
                yield Violation(
                    let,
                    f"f's index must be {linear_page_index(st, vma, address)}",
                    f"it is {f.index}",
                    witness,
                )


def name_of(st: "Kernel", anon_vma: int) -> str:
    """Return the number of an anon_vma, or what is wrong with it."""
    if anon_vma == 0:
        return "(none)"
    return str(anon_vma) if st.anon_vma.is_live(anon_vma) else "(freed)"


def anon_vmas_of(st: "Kernel", vma: int) -> list[int]:
    """Return the anon_vmas in which `vma` can be found, in the order of its chain."""
    if "anon_vma_chain" not in st.scheme.fields.get("vma", ()):
        own = st.vma[vma].anon_vma
        return [own] if own else []
    found = []
    avc = st.vma[vma].anon_vma_chain
    while avc:
        found.append(st.anon_vma_chain[avc].anon_vma)
        avc = st.anon_vma_chain[avc].same_vma
    return found
