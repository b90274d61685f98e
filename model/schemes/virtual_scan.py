"""No rmap: swap_out() scans the page tables of all processes (v2.4, v2.5.0 … v2.5.26).

Nothing leads from a page to its entries. To free pages, the kernel visits the entries of one
process after the other, from the point where the last scan stopped, and unmaps those that were not
used since the scan visited them last. A page is free when its last entry is unmapped::

    swap_mm ──> process 1   [ 1 2 2 . ]     each entry: young? clear that, and continue
                process 2   [ 3 1 . . ]                 else: replace it by a swap entry
                process 3   [ 1 . 4 4 ]     page 1 is free after the scan has visited all three

Faults, forks and exits cost nothing extra, which was the attraction of this design. Its end was
that on the way to all entries of one page, every other page is unmapped as well. A machine with 32
GB, and half a million pages of shared memory in hundreds of processes, unmapped 4 GB to free 4 KB.
After that, all its processes were in the page fault handler (Andrea Arcangeli, 2004-02-27).

Other schemes must find all entries of one page at once. Here this holds only over time: if
swap_out() is called often enough, it visits every entry (`scan_visits_all`). For that, a process
must be on the ring before it has entries (`mmlist`), and swap_mm must move on when its process
exits (E08).

In Andrea Arcangeli's v2.4.23aa2 the scan continues from one entry of a file's page to all others.
It finds them by the lists of i_mmap, which had always existed for truncate. There a page is free
after the scan has met it once, and no other page is unmapped.

Left out, besides what the head of model/mm/virtual_scan.py names: aa2 writes shared memory out at
once, and first looks for clean pages in the cache.

Sources: mm/vmscan.c, kernel/fork.c and fs/exec.c of v2.5.26, read in the patches that removed them
(c48c43e6ed41 and 64c4a607f0 of dmgerman/history-token) and in v2.4.18; exec_mmap() is recalled.
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
        """Return whether the page has references besides that of its cache."""
        f = st.folio[folio]
        return f.refcount > int(f.swap != 0 or f.address_space != 0)


class VirtualScanObjrmap(VirtualScan):
    """v2.4.23aa2: a file's page that the scan meets is unmapped from all its entries."""

    name = "virtual_scan-2.4.23aa2"
    title = "no rmap: the scan goes on by i_mmap"
    era = attrs.evolve(VirtualScan.era, kernels="v2.4.23aa2")
    scan_uses_i_mmap = True
    goals: ClassVar[tuple[str, ...]] = (*VirtualScan.goals, "the scan goes on by i_mmap")
