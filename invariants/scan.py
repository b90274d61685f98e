"""Reclaim without rmap: is every process on mmlist, and does the scan come by every entry?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmapcheck.invariants.completeness import place
from rmapcheck.invariants.registry import Violation, invariant
from rmapcheck.model.machine.structs import RmapWalkControl
from rmapcheck.model.mm.virtual_scan import SWAP_CLUSTER_MAX, scan_page_tables, swap_mm

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def on_mmlist(st: "Kernel") -> list[int]:
    """Return the processes on the ring from swap_mm on, up to one that is dead or comes again."""
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
                "p must be on mmlist, where swap_mm leads",
                f"from swap_mm on there are {', '.join(map(str, ring)) or 'none: it is gone'}",
                (("mm", mm),),
            )
        elif st.mm[mm].swap_mm and mm != ring[0]:
            yield Violation(
                f"p be process {mm}",
                f"p cannot be swap_mm, which is {ring[0]}",
                "it is so marked",
                (("mm", mm),),
            )


@invariant("virtual_scan#every-entry-in-time", universal=True, only="scan", runs_on=True)
def scan_visits_all(st: "Kernel") -> Iterator[Violation]:
    """Called again and again, swap_out() comes by every entry that maps a page.

    A scan that stops before it has been everywhere has taken an entry away, so that there are at
    most as many of these as entries; the next one looks at all that are left.
    """
    mapped = [ptep for ptep in range(1, st.pte.size + 1) if st.pte[ptep].folio]
    scan = RmapWalkControl()
    for _ in range(len(mapped) + 2):
        scan_page_tables(st, SWAP_CLUSTER_MAX, scan)
    for ptep in mapped:
        if ptep not in scan.visited:
            yield Violation(
                f"e be the entry of {place(st, ptep)}, which maps a page",
                f"one of {len(mapped) + 2} calls of swap_out() must come by e",
                "none does",
                (("pte", ptep),),
            )
