"""swap_out(): without rmap, reclaim scans the page tables of all processes (v2.4 … v2.5.26).

After mm/vmscan.c and kernel/fork.c of v2.4.18 … v2.5.26 (64c4a607f0 of dmgerman/history-token).
All processes are on `mmlist`, a ring. swap_mm is the process that is scanned next, and each
process has in swap_address how far the scan has come::

    mmlist    ┌─> process 1 ──> process 3 ──> process 2 ─┐
              └──────────────────────────────────────────┘
    swap_mm                       ^                        here a flag of that process
    swap_address      0           4            0           `pages` (TASK_SIZE): fully scanned

Left out: init_mm, which has no memory and at which the scan never stops. So if no process has the
flag, swap_mm points to a process that is gone. Left out too: zones, PageActive, buffers, trylocks
that fail. In the kernel, shrink_cache() itself calls swap_out() after it has met enough mapped
pages; here the scan is an operation of its own.
"""

from typing import TYPE_CHECKING

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.cost import count_entries
from rmapcheck.model.machine.events import tell
from rmapcheck.model.machine.locks import I_MMAP_LOCK, PTL, acquire, release, trylock
from rmapcheck.model.machine.state import folio_test_anon, pte_offset, vma_address
from rmapcheck.model.machine.structs import PTE_YOUNG, VM_LOCKED
from rmapcheck.model.mm.swap import add_to_swap, folio_put, swap_duplicate
from rmapcheck.model.mm.vma import find_vma

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel
    from rmapcheck.model.machine.state import State
    from rmapcheck.model.machine.structs import RmapWalkControl


SWAP_CLUSTER_MAX = 1
"""After how many freeable pages a scan stops. It is 32 in the kernel, and 1 here, so that a scan
also stops and continues in an address space of a few pages."""

# mmlist, kernel/fork.c


def mmlist_add(st: "Kernel", mm: int, after: int) -> None:
    """Put process `mm` on the ring behind `after` (0: it is the first process); dup_mmap()."""
    if after:
        st.mm[mm].mmlist = st.mm[after].mmlist
        st.mm[after].mmlist = mm
    else:
        st.mm[mm].mmlist = mm
        st.mm[mm].swap_mm = 1


def mmlist_del(st: "Kernel", mm: int) -> None:
    """Remove a dying process from the ring, and choose another swap_mm if it was that; mmput()."""
    following = st.mm[mm].mmlist
    if following == 0:
        return
    if st.scheme.swap_mm_moves_on(st):
        pass_on(st, mm, following)
    before = mm
    while st.mm[before].mmlist != mm:
        before = st.mm[before].mmlist
    st.mm[before].mmlist = following


def mmlist_exec(st: "Kernel", mm: int) -> None:
    """Start the scan of a new image at address 0; exec_mmap(), fs/exec.c.

    In the kernel the new mm joined the ring behind init_mm, and the old one left it. Here the new
    image takes the old one's place.
    """
    st.mm[mm].swap_address = 0
    pass_on(st, mm, st.mm[mm].mmlist)


def pass_on(st: "Kernel", mm: int, following: int) -> None:
    """Make `following` the swap_mm, if `mm` is it now."""
    if st.mm[mm].swap_mm:
        st.mm[mm].swap_mm = 0
        st.mm[following].swap_mm = 1


def swap_mm(st: "Kernel") -> int:
    """Return the process that is scanned next, or 0."""
    for mm in st.mm.indices():
        if st.mm[mm].swap_mm:
            return mm
    return 0


# mm/vmscan.c


def scan_page_tables(st: "Kernel", nr_pages: int, scan: "RmapWalkControl") -> int:
    """Scan until `nr_pages` pages can be freed, or all entries were visited; swap_out().

    Return 1 in the first case, else 0. Visited entries that map a page are added to
    `scan.visited`.
    """
    counter = st.mm.live
    while counter >= 0:
        mm = next_mm(st)
        nr_pages = swap_out_mm(st, mm, nr_pages, scan)
        if nr_pages == 0:
            return 1
        counter -= 1
    return 0


def next_mm(st: "Kernel") -> int:
    """Return the process to scan next, and skip those that were scanned to their end."""
    mm = swap_mm(st)
    while st.mm[mm].swap_address == st.pages:
        st.mm[mm].swap_address = 0
        following = st.mm[mm].mmlist
        pass_on(st, mm, following)
        mm = following
    return mm


def swap_out_mm(st: "Kernel", mm: int, count: int, scan: "RmapWalkControl") -> int:
    """Scan one process from its swap_address on; return how many pages are still needed.

    page_table_lock keeps entries and VMAs in place. If the last page needed is found in the last
    VMA, the scan counts this process as fully scanned, as the kernel does.
    """
    acquire(st, PTL, mm)
    vma = find_vma(st, mm, st.mm[mm].swap_address)
    while vma:
        count = swap_out_vma(st, mm, vma, count, scan)
        vma = st.vma[vma].vm_next
        if vma and count == 0:
            release(st, PTL, mm)
            return 0
    st.mm[mm].swap_address = st.pages
    release(st, PTL, mm)
    return count


def swap_out_vma(st: "Kernel", mm: int, vma: int, count: int, scan: "RmapWalkControl") -> int:
    """Scan one VMA; swap_out_vma(), swap_out_pgd(), swap_out_pmd().

    Return how many pages are still needed.
    """
    address = max(st.mm[mm].swap_address, st.vma[vma].vm_start)
    while count and address < st.vma[vma].vm_end:
        ptep = pte_offset(st, mm, address)
        count_entries(st)
        if st.pte[ptep].folio:
            scan.visited.append(ptep)
            count -= try_to_swap_out(st, vma, ptep, scan)
        address += 1
        st.mm[mm].swap_address = address
    return count


def try_to_swap_out(st: "Kernel", vma: int, ptep: int, scan: "RmapWalkControl") -> int:
    """Unmap one entry if its page was not used lately; try_to_swap_out().

    Return 1 if the page can be freed now: only the swap cache or the page cache refers to it. An
    anonymous page always counts as dirty; without a free swap slot the entry stays.
    """
    p = st.pte[ptep]
    folio = p.folio
    if locked(st, vma):
        passed(st, "a locked page stays mapped")
    if p.flags & PTE_YOUNG or locked(st, vma):
        p.flags &= ~PTE_YOUNG
        return 0
    if folio_test_anon(st, folio) and st.folio[folio].swap == 0 and not add_to_swap(st, folio):
        return 0
    # This entry is about to drop its reference. The references left decide whether the page can be
    # freed.
    left = st.folio[folio].refcount - 1
    if folio_test_anon(st, folio):
        swap_duplicate(st, st.folio[folio].swap)
        p.folio = 0
        p.swap = st.folio[folio].swap
        p.flags = 0
        tell(st, "unmap", ptep, folio, p.swap)
        folio_put(st, folio)
    else:
        drop_file_pte(st, ptep)
    passed(st, "the scan unmaps a page")
    if st.scope.files and st.scheme.scan_uses_i_mmap and left > 1:
        unmap_everywhere(st, folio, scan)
        left = st.folio[folio].refcount
    if left > 1:
        # Without rmap the other entries cannot be found from here; the scan reaches them later.
        passed(st, "the scan leaves a page mapped elsewhere")
        return 0
    return 1


def locked(st: "State", vma: int) -> bool:
    """Return whether the scan must not unmap the pages of this VMA."""
    return "mlock" in st.scope.ops and st.vma[vma].vm_flags & VM_LOCKED != 0


def drop_file_pte(st: "Kernel", ptep: int) -> None:
    """Clear an entry of a file's page; a fault will find the page again."""
    p = st.pte[ptep]
    folio = p.folio
    p.folio = 0
    p.flags = 0
    tell(st, "unmap", ptep, folio)
    folio_put(st, folio)


def unmap_everywhere(st: "Kernel", folio: int, scan: "RmapWalkControl") -> None:
    """Unmap a file's page from all its other entries, found by i_mmap (v2.4.23aa2).

    This uses trylocks only, because page_table_lock of the scanned process is held.
    """
    mapping = st.folio[folio].address_space
    if mapping == 0 or not trylock(st, I_MMAP_LOCK, mapping):
        return
    index = st.folio[folio].index
    for vma in st.scheme.i_mmap.foreach(st, mapping, index, index, scan):
        address = vma_address(st, vma, index)
        mm = st.vma[vma].vm_mm
        ptep = pte_offset(st, mm, max(address, 0))
        if address >= 0 and st.pte[ptep].folio == folio and not locked(st, vma):
            taken = trylock(st, PTL, mm)
            scan.visited.append(ptep)
            drop_file_pte(st, ptep)
            if taken:
                release(st, PTL, mm)
            passed(st, "the scan goes on by i_mmap")
    release(st, I_MMAP_LOCK, mapping)
