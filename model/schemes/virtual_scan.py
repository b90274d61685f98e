"""No rmap: swap_out() goes through the page tables of everybody (v2.4, v2.5.0 … v2.5.26).

Nothing leads from a page to its entries. Who wants to free one page looks at the entries of one
process after the other, from where the last scan stopped, and takes away those that were not used
since it came by the last time. A page is free when its last entry has been taken::

    swap_mm ──> process 1   [ 1 2 2 . ]     each entry: young? clear that, and go on
                process 2   [ 3 1 . . ]                 else: swap entry in its place
                process 3   [ 1 . 4 4 ]     page 1 goes when the scan has been everywhere

A fault, a fork or an exit costs nothing for it, which is the charm of the thing, and its end: on
the way to all entries of one page everything else is unmapped as well. A machine with 32 GB, and
half a million pages of shared memory in hundreds of processes, took 4 GB of mappings away to free
4 KB, and then all its processes stood in the page fault handler (Andrea Arcangeli, 2004-02-27).

Completeness, which other schemes owe for one page, is here a promise in time: if it is asked often
enough, swap_out() comes by every entry (`scan_visits_all`). It needs every process on the ring
before it has entries (`mmlist`), and a swap_mm that is not left behind on one that exits (E08).

Andrea Arcangeli's v2.4.23aa2 has the scan go on by the lists of i_mmap, which had always been
there for truncate, from one entry of a file's page to all others: there the page is free when the
scan has met it once, and nothing else had to go.

Left out, beside what the head of model/mm/virtual_scan.py names: that aa2 writes shared memory out
at once, and looks for clean pages in the cache first.

Sources: mm/vmscan.c, kernel/fork.c and fs/exec.c of v2.5.26, read in the patches that took them
away (c48c43e6ed41 and 64c4a607f0 of dmgerman/history-token) and in v2.4.18; exec_mmap() is
recalled.
"""

from typing import TYPE_CHECKING, ClassVar

import attrs

from rmapcheck.model.era import Era
from rmapcheck.model.i_mmap.list import IMmap, IMmapLists
from rmapcheck.model.scheme import Scheme

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State


class VirtualScan(Scheme):
    """v2.4.16 … v2.5.26: no bookkeeping at all; the scan is in model/mm/virtual_scan.py."""

    name = "virtual_scan-2.4"
    title = "no rmap: swap_out() scans page tables"
    era = Era(
        kernels="v2.4.16 … v2.4.37, v2.5.1 … v2.5.26",
        lacks=(
            "exec_shift",
            "dontfork",
            "wipeonfork",
            "dontunmap",
            "page_referenced",
            "try_to_unmap",
            "punch_hole",
            "remap_file_pages",
        ),
    )
    i_mmap: ClassVar[IMmap] = IMmapLists()
    virtual_scan = True
    maps_files = True
    fields: ClassVar[dict[str, tuple[str, ...]]] = {"mm": ("mmlist", "swap_mm", "swap_address")}
    goals: ClassVar[tuple[str, ...]] = (
        "the scan unmaps a page",
        "the scan leaves a page mapped elsewhere",
    )

    def folio_mapped(self, st: "State", folio: int) -> bool:
        """There is no page_mapped(): somebody beside the cache that it is in has a reference."""
        f = st.folio[folio]
        return f.refcount > int(f.swap != 0 or f.address_space != 0)


class VirtualScanObjrmap(VirtualScan):
    """v2.4.23aa2: what the scan meets of a file, it unmaps everywhere."""

    name = "virtual_scan-2.4.23aa2"
    title = "no rmap: the scan goes on by i_mmap"
    era = attrs.evolve(VirtualScan.era, kernels="v2.4.23aa2")
    scan_uses_i_mmap = True
    goals: ClassVar[tuple[str, ...]] = (*VirtualScan.goals, "the scan goes on by i_mmap")
