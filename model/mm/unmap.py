"""Unmapping: munmap, the zap of page tables, exit.

After mm/vma.c (do_vmi_align_munmap()), mm/memory.c (zap_pte_range()) and mm/mmap.c (exit_mmap()).
The order since v2.6.15: entries are zapped, then VMAs leave the rmap, then page tables are freed.
Left out: the downgrade to a read lock (v4.20), TLB gathering, page-table pages themselves.
"""

from typing import TYPE_CHECKING

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.events import tell
from rmapcheck.model.machine.heap import kmem_cache_free
from rmapcheck.model.machine.locks import MMAP_LOCK, PTL, acquire, release
from rmapcheck.model.machine.state import pte_offset
from rmapcheck.model.mm.swap import folio_put, free_swap_and_cache, free_swap_cache
from rmapcheck.model.mm.virtual_scan import mmlist_del
from rmapcheck.model.mm.vma import find_vma, remove_vma, split_vma

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def zap_page_range(st: "Kernel", vma: int, start: int, end: int) -> None:
    """Clear all entries of `vma` in `start` … `end` - 1; unmap_page_range(), mm/memory.c."""
    mm = st.vma[vma].vm_mm
    address = max(start, st.vma[vma].vm_start)
    end = min(end, st.vma[vma].vm_end)
    while address < end:
        acquire(st, PTL, mm)
        zap_pte(st, vma, address, pte_offset(st, mm, address))
        release(st, PTL, mm)
        address += 1


def zap_pte(st: "Kernel", vma: int, address: int, ptep: int) -> None:
    """Clear one entry and drop what it held; zap_pte_range(), mm/memory.c."""
    p = st.pte[ptep]
    folio = p.folio
    entry = p.swap
    p.folio = 0
    p.swap = 0
    p.flags = 0
    if st.scope.nonlinear:
        p.pgoff = 0
    if folio:
        passed(st, "zap of a page")
        st.scheme.folio_remove_rmap(st, folio, vma, address, ptep)
        tell(st, "zap", vma, ptep, folio)
        free_swap_cache(st, folio, held=1)
        folio_put(st, folio)
    elif entry:
        tell(st, "zap", vma, ptep, 0, entry)
        passed(st, "zap of a swap entry")
        free_swap_and_cache(st, entry)


def do_munmap(st: "Kernel", mm: int, start: int, end: int) -> int:
    """Unmap everything in `start` … `end` - 1. Return 0 or -ENOMEM.

    do_vmi_munmap(), mm/vma.c. If the split at `end` fails, the split at `start` is not undone::

        AAAAAAAABBCCCCCC   `start` is in A, `end` in C
        AAAAaaaabbccCCCC   both are split; what is in small letters is unmapped
        AAAA        CCCC
    """
    vma = find_vma(st, mm, start)
    if vma and st.vma[vma].vm_start < start < st.vma[vma].vm_end:
        passed(st, "munmap keeps the lower end of a VMA")
        if split_vma(st, mm, vma, start, new_below=False):
            return -ENOMEM
        vma = st.vma[vma].vm_next
    last = find_vma(st, mm, end - 1)
    if last and st.vma[last].vm_start < end < st.vma[last].vm_end:
        passed(st, "munmap keeps the upper end of a VMA")
        if split_vma(st, mm, last, end, new_below=True):
            return -ENOMEM
        vma = find_vma(st, mm, start)
    unmap_region(st, mm, vma, start, end)
    return 0


def unmap_region(st: "Kernel", mm: int, vma: int, start: int, end: int) -> None:
    """Zap and remove the VMAs from `vma` on that lie below `end`; none of them extends beyond."""
    # Clear all entries before any VMA leaves the rmap: a walk must find each mapped page.
    first = vma
    while vma and st.vma[vma].vm_start < end:
        zap_page_range(st, vma, start, end)
        vma = st.vma[vma].vm_next
    vma = first
    while vma and st.vma[vma].vm_start < end:
        following = st.vma[vma].vm_next
        remove_vma(st, mm, vma)
        tell(st, "munmap", vma)
        vma = following


def exit_mmap(st: "Kernel", mm: int) -> None:
    """Empty the address space; exit_mmap(), mm/mmap.c."""
    acquire(st, MMAP_LOCK, mm)
    unmap_region(st, mm, st.mm[mm].mmap, 0, st.pages)
    st.scheme.exit_mmap(st, mm)
    release(st, MMAP_LOCK, mm)


def mmput(st: "Kernel", mm: int) -> None:
    """Free the address space of a process that has exited; mmput(), kernel/fork.c."""
    if st.scheme.virtual_scan:
        mmlist_del(st, mm)
    exit_mmap(st, mm)
    st.scheme.exit_rmap(st, mm)
    tell(st, "exit_mm", mm)
    kmem_cache_free(st, st.mm, mm)
