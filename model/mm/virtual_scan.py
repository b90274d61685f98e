"""swap_out(): reclaim without rmap goes through everybody's page tables (v2.4, … v2.5.26).

After mm/vmscan.c and kernel/fork.c of v2.4.18 … v2.5.26 (64c4a607f0 of dmgerman/history-token).
All processes are on `mmlist`, a ring; swap_mm is the one whose turn it is, and each remembers in
swap_address how far the scan has come::

    mmlist    ┌─> process 1 ──> process 3 ──> process 2 ─┐
              └──────────────────────────────────────────┘
    swap_mm                       ^                        a flag here, of the process it names
    swap_address      0           4            0           `pages` (TASK_SIZE): done with it

init_mm, which has no memory and on which the scan never stops, is left out, and so a swap_mm that
nobody has the flag of is one that points to a process that is gone. Left out too: zones,
PageActive, buffers, trylocks that fail; that shrink_cache() calls swap_out() of itself when it has
met enough mapped pages. There the scan is an operation of its own.
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
"""How many pages one scan is to make freeable: 32 in the kernel, and 1 here, so that in an address
space of a few pages it has to stop and go on too."""

# mmlist, kernel/fork.c


def mmlist_add(st: "Kernel", mm: int, after: int) -> None:
    """Put process `mm` on the ring behind `after` (0: it is the first of all); dup_mmap()."""
    if after:
        st.mm[mm].mmlist = st.mm[after].mmlist
        st.mm[after].mmlist = mm
    else:
        st.mm[mm].mmlist = mm
        st.mm[mm].swap_mm = 1


def mmlist_del(st: "Kernel", mm: int) -> None:
    """Take a dying process off the ring, and swap_mm off it; mmput()."""
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
    """A new image is a new mm, whose scan begins at 0; exec_mmap(), fs/exec.c.

    The new one joined the ring behind init_mm, and the old one left it; here it takes its place.
    """
    st.mm[mm].swap_address = 0
    pass_on(st, mm, st.mm[mm].mmlist)


def pass_on(st: "Kernel", mm: int, following: int) -> None:
    """Let swap_mm, if it is `mm`, be `following`."""
    if st.mm[mm].swap_mm:
        st.mm[mm].swap_mm = 0
        st.mm[following].swap_mm = 1


def swap_mm(st: "Kernel") -> int:
    """Return the process whose turn it is, or 0."""
    for mm in st.mm.indices():
        if st.mm[mm].swap_mm:
            return mm
    return 0


# mm/vmscan.c


def scan_page_tables(st: "Kernel", nr_pages: int, scan: "RmapWalkControl") -> int:
    """Scan until `nr_pages` pages can be freed, or all have been looked at; swap_out().

    Return 1 for the first. `scan.visited` gets the entries that were looked at and map a page.
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
    """Return whose turn it is, past those that have been scanned to their end."""
    mm = swap_mm(st)
    while st.mm[mm].swap_address == st.pages:
        st.mm[mm].swap_address = 0
        following = st.mm[mm].mmlist
        pass_on(st, mm, following)
        mm = following
    return mm


def swap_out_mm(st: "Kernel", mm: int, count: int, scan: "RmapWalkControl") -> int:
    """Scan one process from its swap_address on; return how many pages are still wanted.

    page_table_lock keeps entries and VMAs in place. Where the last VMA fulfils the want, the scan
    is taken to have come to the end of the address space, as in the kernel.
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
    """Scan one VMA; swap_out_vma(), swap_out_pgd(), swap_out_pmd()."""
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
    """Take one entry away if its page was not used lately; try_to_swap_out().

    Return 1 if the page can be freed now, which is so if only the swap cache or the page cache has
    it. An anonymous page counts as dirty always: where there is no swap slot, the entry stays.
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
    # The reference of this entry is about to go; by those that are left the page may be freed or
    # not.
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
        # Without rmap nobody knows who else maps it; the scan comes by them in its time.
        passed(st, "the scan leaves a page mapped elsewhere")
        return 0
    return 1


def locked(st: "State", vma: int) -> bool:
    """Tell whether the scan must leave the pages of a VMA alone."""
    return "mlock" in st.scope.ops and st.vma[vma].vm_flags & VM_LOCKED != 0


def drop_file_pte(st: "Kernel", ptep: int) -> None:
    """Leave nothing: a fault will find the page of the file again."""
    p = st.pte[ptep]
    folio = p.folio
    p.folio = 0
    p.flags = 0
    tell(st, "unmap", ptep, folio)
    folio_put(st, folio)


def unmap_everywhere(st: "Kernel", folio: int, scan: "RmapWalkControl") -> None:
    """Go on from one entry of a file's page to all of them by i_mmap (v2.4.23aa2).

    Only trylocks, since page_table_lock of the process being scanned is held.
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
