"""Reclaim without rmap: is every process on mmlist, and does the scan visit every entry?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmapcheck.invariants.completeness import place
from rmapcheck.invariants.registry import Violation, invariant
from rmapcheck.model.machine.structs import RmapWalkControl
from rmapcheck.model.mm.virtual_scan import SWAP_CLUSTER_MAX, scan_page_tables, swap_mm

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def on_mmlist(st: "Kernel") -> list[int]:
    """Return the processes on the ring, from swap_mm to one that is dead or comes again."""
    found: list[int] = []
    mm = swap_mm(st)
    while mm and st.mm.is_live(mm) and mm not in found:
        found.append(mm)
        mm = st.mm[mm].mmlist
    return found


@invariant("virtual_scan#mmlist, mmput(), dup_mmap(), v2.4.18", universal=True, only="scan")
def mmlist(st: "Kernel") -> Iterator[Violation]:
    """Every process is on mmlist, once, and one of them is swap_mm."""
    ring = on_mmlist(st)
    for mm in st.mm.indices():
        if mm not in ring:
            yield Violation(
                f"p be process {mm}",
                "p must be on mmlist, which is followed from swap_mm",
                f"on it are {', '.join(map(str, ring)) or 'none: swap_mm does not exist'}",
                (("mm", mm),),
            )
        elif st.mm[mm].swap_mm and mm != ring[0]:
            yield Violation(
                f"p be process {mm}",
                f"p cannot be swap_mm, which is {ring[0]}",
                "it has that mark too",
                (("mm", mm),),
            )


@invariant("virtual_scan#every-entry-in-time", universal=True, only="scan", runs_on=True)
def scan_visits_all(st: "Kernel") -> Iterator[Violation]:
    """If swap_out() is called often enough, it visits every entry that maps a page.

    A call that stops early has unmapped an entry. So at most as many calls stop early as there
    are entries, and the call after these visits all entries that are left.
    """
    mapped = [ptep for ptep in range(1, st.pte.size + 1) if st.pte[ptep].folio]
    scan = RmapWalkControl()
    for _ in range(len(mapped) + 2):
        scan_page_tables(st, SWAP_CLUSTER_MAX, scan)
    for ptep in mapped:
        if ptep not in scan.visited:
            yield Violation(
                f"e be the entry of {place(st, ptep)}, which maps a page",
                f"one of {len(mapped) + 2} calls of swap_out() must visit e",
                "none does",
                (("pte", ptep),),
            )
