"""fork: dup_mmap() and copy_page_range().

After kernel/fork.c and mm/memory.c. For each VMA, in address order: copy the struct, enter the
copy into the rmap, link it into the child's list, copy the entries. Left out: pinned pages. A fork
that runs out of memory leaves the parent's pages write-protected, as in the kernel.
"""

from typing import TYPE_CHECKING

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.events import tell
from rmapcheck.model.machine.heap import bug, claim, kmem_cache_free
from rmapcheck.model.machine.locks import MMAP_LOCK, PTL, acquire, release
from rmapcheck.model.machine.state import folio_test_anon, pte_offset
from rmapcheck.model.machine.structs import (
    PTE_EXCLUSIVE,
    PTE_WRITE,
    PTE_YOUNG,
    PTE_ZERO,
    VM_DONTCOPY,
    VM_LOCKED,
    VM_WIPEONFORK,
)
from rmapcheck.model.mm.filemap import vma_link_file
from rmapcheck.model.mm.swap import swap_duplicate
from rmapcheck.model.mm.unmap import mmput
from rmapcheck.model.mm.virtual_scan import mmlist_add
from rmapcheck.model.mm.vma import find_vma, vm_area_dup, vma_link_list, vma_prev

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def sys_fork(st: "Kernel", oldmm: int, mm: int) -> int:
    """Create process `mm`, which must not exist, as a copy of `oldmm`. Return 0 or -ENOMEM."""
    claim(st.mm, mm)
    if st.scheme.dup_rmap(st, mm, oldmm):
        kmem_cache_free(st, st.mm, mm)
        return -ENOMEM
    tell(st, "dup_mm", mm, oldmm)
    acquire(st, MMAP_LOCK, oldmm)
    acquire(st, MMAP_LOCK, mm)
    # Before the child has any entry, so that the scan reaches each entry that fork copies.
    if st.scheme.virtual_scan and st.scheme.joins_mmlist_first(st):
        mmlist_add(st, mm, oldmm)
    error = dup_mmap(st, mm, oldmm)
    if st.scheme.virtual_scan and st.mm[mm].mmlist == 0:
        mmlist_add(st, mm, oldmm)
    release(st, MMAP_LOCK, mm)
    release(st, MMAP_LOCK, oldmm)
    if error:
        mmput(st, mm)
    return error


def dup_mmap(st: "Kernel", mm: int, oldmm: int) -> int:
    """Copy the VMAs one by one; dup_mmap(), kernel/fork.c (mm/mmap.c since v6.13).

    Return 0 or -ENOMEM.
    """
    mpnt = st.mm[oldmm].mmap
    while mpnt:
        if st.vma[mpnt].vm_flags & VM_DONTCOPY:
            passed(st, "fork leaves out a VMA")
        else:
            tmp = dup_vma(st, mpnt)
            if tmp == 0:
                return -ENOMEM
            error = dup_pages(st, mm, tmp, mpnt)
            tell(st, "fork", tmp, mpnt)
            if error:
                return -ENOMEM
        mpnt = st.vma[mpnt].vm_next
    return 0


def dup_pages(st: "Kernel", mm: int, tmp: int, mpnt: int) -> int:
    """Link the child's copy of one VMA and copy its entries. Return 0 or -ENOMEM."""
    # A walker that only has the entry finds its VMA by find_vma(). So link the VMA first.
    if st.scheme.era.links_vma_first:
        vma_link_list(st, mm, tmp)
    else:
        st.vma[tmp].vm_mm = mm
    error = 0
    if st.vma[tmp].vm_flags & VM_WIPEONFORK == 0:
        if st.scheme.fork_copies(st, mpnt):
            error = copy_page_range(st, tmp, mpnt)
        else:
            if st.scope.nonlinear and st.vma[mpnt].vm_nonlinear:
                bug(st, "fork forgets which pages a nonlinear VMA maps")  # no BUG() of any kernel
            passed(st, "fork copies no entries of a never-faulted VMA")
            if st.vma[mpnt].vm_file:
                passed(st, "fork leaves a range of a file to faults")
    if not st.scheme.era.links_vma_first:
        vma_link_list(st, mm, tmp)
    return error


def dup_vma(st: "Kernel", mpnt: int) -> int:
    """Return the child's copy of one VMA, in the rmap but in no list yet, or 0 without memory."""
    tmp = vm_area_dup(st, mpnt)
    if tmp == 0:
        return 0
    if st.vma[tmp].vm_flags & VM_WIPEONFORK:
        passed(st, "fork wipes a VMA")
        # The child starts without pages here, so no walk needs to visit this VMA.
        st.vma[tmp].anon_vma = 0
        error = prepare_wiped(st, tmp, mpnt) if st.scheme.era.wipe_prepares else 0
    else:
        error = st.scheme.anon_vma_fork(st, tmp, mpnt)
    if error:
        kmem_cache_free(st, st.vma, tmp)
        return 0
    # mlock() applies to the process that called it. A child does not inherit it.
    st.vma[tmp].vm_flags &= ~VM_LOCKED
    # Behind the parent in i_mmap. A truncation clears the parent's entries first and visits the
    # child later: then it finds every entry that fork has copied.
    vma_link_file(st, tmp, mpnt)
    return tmp


def prepare_wiped(st: "Kernel", tmp: int, mpnt: int) -> int:
    """Give the child's wiped VMA an anon_vma at once; dup_mmap(), v4.14 … v5.6.

    vm_next and vm_prev of the copy were still those of `mpnt`, so it could adopt the anon_vma of
    a neighbour in the parent. Return 0 or -ENOMEM.
    """
    prev = vma_prev(st, st.vma[mpnt].vm_mm, st.vma[mpnt].vm_start)
    st.vma[tmp].vm_next = st.vma[mpnt].vm_next
    if prev:
        st.vma[prev].vm_next = tmp
    error = st.scheme.anon_vma_prepare(st, tmp)
    if prev:
        st.vma[prev].vm_next = mpnt
    st.vma[tmp].vm_next = 0
    return error


def copy_page_range(st: "Kernel", dst_vma: int, src_vma: int) -> int:
    """Copy the entries of one VMA; copy_page_range(), mm/memory.c. Return 0 or -ENOMEM."""
    address = st.vma[src_vma].vm_start
    while address < st.vma[src_vma].vm_end:
        # This may sleep, so it comes before the spinlocks of both page tables are taken.
        if st.scheme.pte_chain_alloc(st):
            return -ENOMEM
        acquire(st, PTL, st.vma[src_vma].vm_mm)
        acquire(st, PTL, st.vma[dst_vma].vm_mm)
        stop = min(address + st.scheme.fork_batch, st.vma[src_vma].vm_end)
        while address < stop:
            src = st.pte[pte_offset(st, st.vma[src_vma].vm_mm, address)]
            if st.scheme.fork_copies_pte(st, src_vma, src.folio, src.swap):
                copy_one_pte(st, dst_vma, src_vma, address)
                assert_walker_finds(st, dst_vma, address)
            address += 1
        st.scheme.fork_batch_ends(st)
        release(st, PTL, st.vma[dst_vma].vm_mm)
        release(st, PTL, st.vma[src_vma].vm_mm)
        st.scheme.pte_chain_free(st)
    return 0


def assert_walker_finds(st: "Kernel", vma: int, address: int) -> None:
    """Report an error if a walker could meet this entry before it can find its VMA or process.

    Called before page_table_lock is released. try_to_unmap_one() of v2.5.27 … v2.6.6 only has the
    entry, and under that lock it calls find_vma() to check whether it may unmap the page. A scan
    of page tables (v2.4) finds processes on mmlist.
    """
    mm = st.vma[vma].vm_mm
    if st.scheme.virtual_scan and st.mm[mm].mmlist == 0:
        st.splats.append(f"page {address} of process {mm} is filled in before it is on mmlist")
    if not st.scheme.walk_checks_pte and st.pte[pte_offset(st, mm, address)].folio:
        if find_vma(st, mm, address) != vma:
            st.splats.append(
                f"page {address} of process {mm} is mapped where find_vma() misses VMA {vma}"
            )


def copy_one_pte(st: "Kernel", dst_vma: int, src_vma: int, address: int) -> None:
    """Share a page, a swap slot or the zero page with the child, both read-only.

    copy_present_pte(), copy_nonpresent_pte(), mm/memory.c. A shared mapping stays writable.
    """
    src = st.pte[pte_offset(st, st.vma[src_vma].vm_mm, address)]
    ptep = pte_offset(st, st.vma[dst_vma].vm_mm, address)
    dst = st.pte[ptep]
    if src.folio:
        passed(st, "fork shares a page")
        if st.scheme.fork_write_protects(st, src_vma, src.folio):
            # The next write by parent or child must fault, and copy the page.
            src.flags &= ~PTE_WRITE
        copy_present_page(st, src.folio, dst_vma, src_vma, address, ptep)
    elif src.swap:
        passed(st, "fork shares a swap slot")
        swap_duplicate(st, src.swap)
        # Two entries name the slot now, so neither may reuse the page at swap-in without a copy.
        src.flags &= ~PTE_EXCLUSIVE
    elif src.flags:
        passed(st, "fork copies an entry of the zero page")
        if src.flags & PTE_ZERO:
            st.scheme.dup_zero_page(st)
    dst.folio = src.folio
    dst.swap = src.swap
    dst.flags = src.flags & ~PTE_YOUNG
    if st.scope.nonlinear:
        dst.pgoff = src.pgoff
    tell(st, "fork_pte", ptep, pte_offset(st, st.vma[src_vma].vm_mm, address), src.folio)


def copy_present_page(
    st: "Kernel", folio: int, dst_vma: int, src_vma: int, address: int, ptep: int
) -> None:
    """Count the child's entry in the references and the rmap of the page."""
    st.folio[folio].refcount += 1
    if not folio_test_anon(st, folio):
        passed(st, "fork shares a page of a file")
        st.scheme.folio_dup_file_rmap(st, folio, dst_vma, src_vma, address, ptep)
        return
    if st.scheme.era.anon_exclusive:
        # Two entries map the page now. A later write fault may mark it as exclusive again.
        st.folio[folio].exclusive = 0
    st.scheme.folio_dup_anon_rmap(st, folio, dst_vma, src_vma, address, ptep)
