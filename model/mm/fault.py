"""Page faults: zero page, first write, copy on write, swap-in, pages of files.

After mm/memory.c, v6.x. The decisions have been the same since v2.6.7 as long as no page is
pinned. A read fault on a shared mapping maps the page read-only, as kernels since v2.6.19 do if
dirty pages are accounted.

Left out: huge pages, userfaultfd, pins (GUP), and differences of some kernels. v2.6.24 … v2.6.31
had no zero page. Kernels before v2.6.32 removed the old page from the rmap before they added the
copy. v5.10 copied every page in the swap cache. Kernels since v6.1 may make an entry writable in
mprotect (can_change_pte_writable()).
"""

from typing import TYPE_CHECKING

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.errors import EFAULT, ENOMEM
from rmapcheck.model.machine.events import tell
from rmapcheck.model.machine.locks import FOLIO_LOCK, MMAP_LOCK, PTL, acquire, release
from rmapcheck.model.machine.state import folio_test_anon, linear_page_index, pte_offset
from rmapcheck.model.machine.structs import (
    PTE_EXCLUSIVE,
    PTE_FILE,
    PTE_WRITE,
    PTE_YOUNG,
    PTE_ZERO,
    VM_ACCESS_FLAGS,
    VM_LOCKED,
    VM_SHARED,
    VM_WRITE,
)
from rmapcheck.model.mm.filemap import filemap_fault
from rmapcheck.model.mm.swap import (
    alloc_folio,
    folio_free_swap,
    folio_put,
    free_swap_cache,
    swap_free,
)
from rmapcheck.model.mm.vma import vma_lookup

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def handle_mm_fault(st: "Kernel", mm: int, address: int, *, write: bool) -> int:
    """Make `address` accessible. Return 0, -EFAULT (SIGSEGV) or -ENOMEM; mm/memory.c."""
    acquire(st, MMAP_LOCK, mm, write=False)
    vma = vma_lookup(st, mm, address)
    error = -EFAULT
    if vma == 0:
        passed(st, "fault outside all VMAs")
    else:
        flags = st.vma[vma].vm_flags
        if flags & (VM_WRITE if write else VM_ACCESS_FLAGS):
            error = handle_pte_fault(st, vma, address, pte_offset(st, mm, address), write=write)
        else:
            passed(st, "fault that the protection forbids")
    release(st, MMAP_LOCK, mm)
    return error


def handle_pte_fault(st: "Kernel", vma: int, address: int, ptep: int, *, write: bool) -> int:
    """Call the handler for what the entry holds; handle_pte_fault(), mm/memory.c."""
    p = st.pte[ptep]
    if p.swap:
        return do_swap_page(st, vma, address, ptep, write=write, swapoff=False)
    if p.folio == 0 and not p.flags & PTE_ZERO:
        if st.vma[vma].vm_file:
            return do_fault(st, vma, address, ptep, write=write)
        return do_anonymous_page(st, vma, address, ptep, write=write)
    if write and not p.flags & PTE_WRITE:
        return do_wp_page(st, vma, address, ptep)
    if st.scope.young:
        p.flags |= PTE_YOUNG
    return 0


def make_page_exclusive(st: "Kernel", vma: int, address: int) -> int:
    """Break COW, even if the VMA forbids writing; mmap_lock is held. Return 0 or -ENOMEM.

    make_page_exclusive(), include/linux/rmap.h, rmap 11 (0c35710493).
    """
    mm = st.vma[vma].vm_mm
    return handle_pte_fault(st, vma, address, pte_offset(st, mm, address), write=True)


def maybe_mkwrite(st: "Kernel", vma: int) -> int:
    """Return the write bit if the VMA permits writing, else 0; maybe_mkwrite(), linux/mm.h."""
    return PTE_WRITE if st.vma[vma].vm_flags & VM_WRITE else 0


def young(st: "Kernel") -> int:
    """Return the accessed bit for a new entry if the scope models it, else 0."""
    return PTE_YOUNG if st.scope.young else 0


def do_anonymous_page(st: "Kernel", vma: int, address: int, ptep: int, *, write: bool) -> int:
    """Handle a first access: map the zero page for a read, a new page for a write; mm/memory.c."""
    if not write:
        passed(st, "read fault maps the zero page")
        st.pte[ptep].flags = PTE_ZERO | young(st)
        return 0
    passed(st, "first write")
    return _map_new_page(st, vma, address, ptep)


def file_offset(st: "Kernel", vma: int, address: int, ptep: int) -> int:
    """Return the offset of the page that a fault maps: from the entry, or else the linear one."""
    if st.scope.nonlinear and st.pte[ptep].flags & PTE_FILE:
        return st.pte[ptep].pgoff
    return linear_page_index(st, vma, address)


def faults_beyond(st: "Kernel", vma: int, address: int, ptep: int) -> bool:
    """Return whether a fault finds no page because it is beyond the end of the file: SIGBUS."""
    if not st.scope.files or st.vma[vma].vm_file == 0 or st.pte[ptep].folio or st.pte[ptep].swap:
        return False
    index = file_offset(st, vma, address, ptep)
    return index >= st.address_space[st.vma[vma].vm_file].i_size


def do_fault(st: "Kernel", vma: int, address: int, ptep: int, *, write: bool) -> int:
    """Map a page of the file, or its copy for a private write. Return 0, -EFAULT or -ENOMEM.

    do_fault(), mm/memory.c, with do_read_fault(), do_cow_fault() and do_shared_fault();
    do_no_page() before v2.6.23. Beyond the end of the file the kernel returns VM_FAULT_SIGBUS, the
    model -EFAULT.
    """
    if not st.scope.files:
        return -EFAULT
    if st.scheme.era.fault_around and not write:
        do_fault_around(st, vma, address)
        if st.pte[ptep].folio:
            return 0
    # A write to a private range needs a copy at once, and never maps the page of the file.
    copies = write and not st.vma[vma].vm_flags & VM_SHARED
    if st.scheme.era.cow_prepares_first and copies and st.scheme.anon_vma_prepare(st, vma):
        return -ENOMEM
    if faults_beyond(st, vma, address, ptep):
        passed(st, "fault beyond the end of a file")
        return -EFAULT
    v = st.vma[vma]
    index = file_offset(st, vma, address, ptep)
    folio = filemap_fault(st, v.vm_file, index)
    if folio == 0:
        return -ENOMEM
    if copies:
        passed(st, "a page of a file is copied")
        error = _map_new_page(st, vma, address, ptep)
    else:
        passed(st, "a write fault maps a page" if write else "a read fault maps a page")
        error = finish_fault(st, vma, address, ptep, folio, write=write)
        if error == 0:
            return 0
    # filemap_fault() took a reference. A mapped page keeps it; a page that was copied does not.
    folio_put(st, folio)
    return error


def do_fault_around(st: "Kernel", vma: int, address: int) -> None:
    """Map all pages of the VMA that are in the page cache; do_fault_around(), mm/memory.c, v3.15.

    filemap_map_pages(), mm/filemap.c. Its window is 16 pages, more than the scopes that use this
    have.
    """
    v = st.vma[vma]
    for page in range(v.vm_start, v.vm_end):
        ptep = pte_offset(st, v.vm_mm, page)
        p = st.pte[ptep]
        if p.folio == 0 and p.swap == 0 and not faults_beyond(st, vma, page, ptep):
            folio = st.address_space[v.vm_file].i_pages[linear_page_index(st, vma, page)]
            if folio:
                passed(st, "fault-around" if page != address else "a read fault finds its page")
                st.folio[folio].refcount += 1
                finish_fault(st, vma, page, ptep, folio, write=False)


def finish_fault(
    st: "Kernel", vma: int, address: int, ptep: int, folio: int, *, write: bool
) -> int:
    """Map a page of the page cache; finish_fault(), mm/memory.c. Return 0 or -ENOMEM.

    If the page is not at its linear place: do_file_page(), do_nonlinear_fault() (v2.5.66 … v3.19).
    """
    acquire(st, FOLIO_LOCK, folio)
    error = 0
    # A walk by the file visits the linear place. For another place the scheme needs a record.
    if st.scope.nonlinear and st.folio[folio].index != linear_page_index(st, vma, address):
        error = st.scheme.page_convert_anon(st, folio)
        tell(st, "convert", folio)
    # This may sleep, so it comes before page_table_lock, a spinlock, is taken.
    if error or st.scheme.pte_chain_alloc(st):
        release(st, FOLIO_LOCK, folio)
        return -ENOMEM
    acquire(st, PTL, st.vma[vma].vm_mm)
    p = st.pte[ptep]
    p.folio = folio
    p.flags = young(st) | (PTE_WRITE if write else 0)
    if st.scope.nonlinear:
        p.pgoff = 0
    st.scheme.folio_add_file_rmap(st, folio, vma, address, ptep)
    tell(st, "file_fault", vma, ptep, folio)
    release(st, PTL, st.vma[vma].vm_mm)
    release(st, FOLIO_LOCK, folio)
    st.scheme.pte_chain_free(st)
    return 0


def _map_new_page(st: "Kernel", vma: int, address: int, ptep: int) -> int:
    """Map a new page, and unmap what the entry mapped before. Return 0 or -ENOMEM."""
    # Everything that may sleep or fail comes before page_table_lock is taken.
    if st.scheme.pte_chain_alloc(st):
        return -ENOMEM
    if st.scheme.anon_vma_prepare(st, vma):
        st.scheme.pte_chain_free(st)
        return -ENOMEM
    tell(st, "prepare", vma)
    folio = alloc_folio(st)
    if folio == 0:
        st.scheme.pte_chain_free(st)
        return -ENOMEM
    mm = st.vma[vma].vm_mm
    acquire(st, PTL, mm)
    old = st.pte[ptep].folio
    st.scheme.folio_add_new_anon_rmap(st, folio, vma, address, ptep)
    if st.scheme.era.anon_exclusive:
        st.folio[folio].exclusive = 1
    p = st.pte[ptep]
    p.folio = folio
    p.flags = maybe_mkwrite(st, vma) | young(st)
    # Only now that the entry maps the copy: a process that is left alone with the old page writes
    # to it, and must not do so while the page can still be read here.
    if old:
        st.scheme.folio_remove_rmap(st, old, vma, address, ptep)
    tell(st, "fault", vma, ptep, folio, old)
    release(st, PTL, mm)
    st.scheme.pte_chain_free(st)
    if old:
        # If this was its last mapping, nobody needs its copy in swap.
        free_swap_cache(st, old, held=1)
        folio_put(st, old)
    return 0


def do_wp_page(st: "Kernel", vma: int, address: int, ptep: int) -> int:
    """Write to a page mapped read-only: reuse it if nobody shares it, else copy; mm/memory.c.

    In a shared mapping, the file's page itself is written to (wp_page_shared()).
    """
    p = st.pte[ptep]
    folio = p.folio
    if folio and st.vma[vma].vm_flags & VM_SHARED:
        passed(st, "a write fault makes a shared entry writable")
        p.flags |= PTE_WRITE | young(st)
        return 0
    if folio and folio_test_anon(st, folio) and wp_can_reuse_anon_folio(st, folio, vma):
        p.flags |= maybe_mkwrite(st, vma) | young(st)
        return 0
    if folio:
        passed(st, "copy on write")
        if not folio_test_anon(st, folio):
            passed(st, "copy on write of a page of a file")
    else:
        passed(st, "write fault replaces the zero page")
    return _map_new_page(st, vma, address, ptep)


def wp_can_reuse_anon_folio(st: "Kernel", folio: int, vma: int) -> bool:
    """Return whether only this entry maps the page; if so, mark it as this process's own.

    wp_can_reuse_anon_folio(), mm/memory.c, v6.x; reuse_swap_page(), mm/swapfile.c, v2.6.34 … v5.8.
    """
    f = st.folio[folio]
    if st.scheme.is_anon_exclusive(st, folio):
        passed(st, "write fault reuses an exclusive page")
        return True
    if not st.scheme.is_only_user(st, folio):
        return False
    acquire(st, FOLIO_LOCK, folio)
    if f.swap:
        passed(st, "write fault on a page of the swap cache")
        # The swap cache drops its reference only if no swap entry names the slot.
        folio_free_swap(st, folio)
    reuse = f.swap == 0 and st.scheme.is_only_user(st, folio)
    if reuse:
        # No other process maps the page now, so a walk does not need to visit any other.
        st.scheme.folio_move_anon_rmap(st, folio, vma)
        if st.scheme.era.anon_exclusive:
            f.exclusive = 1
        tell(st, "reuse", vma, folio)
        passed(st, "write fault reuses")
    release(st, FOLIO_LOCK, folio)
    return reuse


def do_swap_page(
    st: "Kernel", vma: int, address: int, ptep: int, *, write: bool, swapoff: bool
) -> int:
    """Bring a page back from swap or the swap cache; do_swap_page(), mm/memory.c.

    Return 0 or -ENOMEM. For swapoff: unuse_pte(), mm/swapfile.c, which leaves the slot to its
    caller and never maps the page writable.
    """
    p = st.pte[ptep]
    entry = p.swap
    if st.scheme.rmap_get_cpu(st):
        return -ENOMEM
    # Another process that shares the slot may have brought the page back: use that page.
    folio = st.swap[entry].folio
    if folio:
        passed(st, "swap-in from the swap cache")
    else:
        passed(st, "swap-in from disk")
        folio = alloc_folio(st)
        if folio == 0:
            st.scheme.rmap_put_cpu(st)
            return -ENOMEM
        st.folio[folio].swap = entry
        st.scheme.add_to_swap_cache(st, folio)
        st.swap[entry].folio = folio
    acquire(st, FOLIO_LOCK, folio)
    acquire(st, PTL, st.vma[vma].vm_mm)
    st.folio[folio].refcount += 1
    swap_free(st, entry)
    # Fork clears this flag. So the page was exclusive at swap-out, and no fork shared it since.
    exclusive = bool(p.flags & PTE_EXCLUSIVE)
    if not swapoff and should_try_to_free_swap(st, vma, folio, write=write):
        freed = folio_free_swap(st, folio)
        # Only this entry has the page now. Until v5.18 only a write looked.
        alone = freed and st.scheme.is_only_user(st, folio)
        if alone and (write or st.scheme.era.anon_exclusive):
            exclusive = True
    if write and exclusive:
        passed(st, "swap-in by a write takes the page over")
    p.folio = folio
    p.swap = 0
    p.flags = young(st)
    if exclusive and (write or (st.scheme.era.swap_in_writable and not swapoff)):
        p.flags |= maybe_mkwrite(st, vma)
    st.scheme.folio_add_anon_rmap(st, folio, vma, address, ptep, exclusive=exclusive)
    if exclusive and st.scheme.era.anon_exclusive:
        passed(st, "swap-in of an exclusive page")
        st.folio[folio].exclusive = 1
    tell(st, "swap_in", vma, ptep, folio, entry)
    passed(st, "swap-in")
    release(st, PTL, st.vma[vma].vm_mm)
    release(st, FOLIO_LOCK, folio)
    st.scheme.rmap_put_cpu(st)
    if write and not exclusive:
        passed(st, "swap-in by a write finds the page shared")
    # The page is mapped read-only now, so the write is handled as a write fault.
    if (write and not exclusive) or st.scheme.mremap_moved_anon_rmap(st, folio, address):
        error = do_wp_page(st, vma, address, ptep)
        if error:
            tell(st, "copy_fails", vma, ptep, folio)
        return error
    return 0


def should_try_to_free_swap(st: "Kernel", vma: int, folio: int, *, write: bool) -> bool:
    """Return whether swap-in tries to free the slot; should_try_to_free_swap(), mm/memory.c.

    v5.18 (c145e0b47c77). Before, reuse_swap_page() freed the slot for a write, and do_swap_page()
    for a locked VMA. Left out: full swap, and since v7.0 swap on RAM disks.
    """
    if write and st.scheme.is_only_user(st, folio):
        # Probably the last user: if the slot can be freed, the write needs no copy.
        return True
    # A page that is locked in memory does not need its slot again.
    locked = "mlock" in st.scope.ops and st.vma[vma].vm_flags & VM_LOCKED != 0
    return locked and st.scheme.era.locked_frees_slot
