"""System calls on VMAs: mmap, munmap, brk, mprotect, madvise.

After mm/vma.c, mm/mmap.c, mm/mprotect.c and mm/madvise.c. Left out: shared anonymous memory,
limits, MAP_GROWSDOWN. Left out too: before v6.12, a MAP_FIXED mmap that ran out of memory had
already unmapped the range.
"""

from typing import TYPE_CHECKING

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.errors import EINVAL, ENOMEM
from rmapcheck.model.machine.events import tell
from rmapcheck.model.machine.heap import kmem_cache_alloc
from rmapcheck.model.machine.locks import MMAP_LOCK, PTL, acquire, release
from rmapcheck.model.machine.state import pte_offset
from rmapcheck.model.machine.structs import (
    PTE_WRITE,
    VM_ACCESS_FLAGS,
    VM_ACCOUNT,
    VM_LOCKED,
    VM_SHARED,
    VM_WIPEONFORK,
    VM_WRITE,
)
from rmapcheck.model.mm.unmap import do_munmap, zap_page_range
from rmapcheck.model.mm.vma import find_vma, vma_link
from rmapcheck.model.mm.vma_merge import (
    VmaMergeStruct,
    can_vma_merge_right,
    vma_merge_new_range,
    vma_modify,
)

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def sys_mmap(st: "Kernel", mm: int, start: int, length: int, prot: int) -> int:
    """Map anonymous private memory, and unmap what was there (MAP_FIXED). Return 0 or -ENOMEM."""
    acquire(st, MMAP_LOCK, mm)
    error = do_munmap(st, mm, start, start + length)
    if error == 0:
        flags = prot | accountable(prot)
        error = mmap_region(st, mm, start, start + length, flags, 0, start, just_expand=False)
    release(st, MMAP_LOCK, mm)
    return error


def sys_mmap_file(
    st: "Kernel",
    mm: int,
    start: int,
    length: int,
    prot: int,
    file: int,
    pgoff: int,
    *,
    shared: bool,
) -> int:
    """Map pages of a file from `pgoff` on, and unmap what was there. Return 0 or -ENOMEM."""
    acquire(st, MMAP_LOCK, mm)
    error = do_munmap(st, mm, start, start + length)
    if error == 0:
        flags = prot | (VM_SHARED if shared else accountable(prot))
        error = mmap_region(st, mm, start, start + length, flags, file, pgoff, just_expand=False)
    release(st, MMAP_LOCK, mm)
    return error


def accountable(prot: int) -> int:
    """Return VM_ACCOUNT for writable private memory, else 0; accountable_mapping()."""
    return VM_ACCOUNT if prot & VM_WRITE else 0


def sys_brk(st: "Kernel", mm: int, start: int, length: int) -> int:
    """Grow the heap by free pages from `start` on; do_brk_flags(), mm/vma.c. Return 0 or -ENOMEM.

    Only the VMA below may grow. Before v6.1 (2e7ce7d354f2) it called vma_merge(), as mmap does.
    """
    acquire(st, MMAP_LOCK, mm)
    flags = 3 | accountable(3)
    just_expand = st.scheme.era.brk_only_expands
    error = mmap_region(st, mm, start, start + length, flags, 0, start, just_expand=just_expand)
    release(st, MMAP_LOCK, mm)
    return error


def mmap_region(
    st: "Kernel",
    mm: int,
    start: int,
    end: int,
    flags: int,
    file: int,
    pgoff: int,
    *,
    just_expand: bool,
) -> int:
    """Grow a neighbour over a free range, or insert a new VMA; mmap_region(), mm/vma.c.

    Return 0 or -ENOMEM.
    """
    vmg = VmaMergeStruct(
        mm=mm,
        start=start,
        end=end,
        pgoff=pgoff,
        flags=flags,
        file=file,
        just_expand=just_expand,
    )
    if not st.scheme.era.mmap_asks_both and not just_expand:
        vmg.anon_vma = anon_vma_behind(st, vmg)
    if vma_merge_new_range(st, vmg):
        return 0
    passed(st, "mmap makes a VMA")
    # No neighbour takes the range. The new VMA gets an anon_vma at its first fault.
    vma = kmem_cache_alloc(st, st.vma)
    if vma == 0:
        return -ENOMEM
    v = st.vma[vma]
    v.vm_start = start
    v.vm_end = end
    v.vm_pgoff = pgoff
    v.vm_flags = flags
    v.vm_file = file
    vma_link(st, mm, vma)
    tell(st, "mmap", vma)
    return 0


def anon_vma_behind(st: "Kernel", vmg: VmaMergeStruct) -> int:
    """Return the anon_vma of the VMA above a new range, if that VMA may take the range, or 0.

    mmap_region(), mm/mmap.c, v6.1: the check whether the VMA below may grow uses this anon_vma,
    not "no anon_vma". So a VMA below that was never faulted may not grow if the VMA above was
    faulted.
    """
    vmg.next = find_vma(st, vmg.mm, vmg.end)
    if can_vma_merge_right(st, vmg):
        return st.vma[vmg.next].anon_vma
    return 0


def sys_munmap(st: "Kernel", mm: int, start: int, length: int) -> int:
    """Unmap a range. Return 0 or -ENOMEM."""
    acquire(st, MMAP_LOCK, mm)
    error = do_munmap(st, mm, start, start + length)
    release(st, MMAP_LOCK, mm)
    return error


def sys_mprotect(st: "Kernel", mm: int, start: int, length: int, prot: int) -> int:
    """Change the protection up to the first hole. Return 0, or -ENOMEM at a hole.

    do_mprotect_pkey(), mm/mprotect.c.
    """
    acquire(st, MMAP_LOCK, mm)
    error = 0
    end = start + length
    while start < end and error == 0:
        vma = find_vma(st, mm, start)
        if vma == 0 or st.vma[vma].vm_start > start:
            passed(st, "mprotect stops at a hole")
            error = -ENOMEM
        else:
            stop = min(end, st.vma[vma].vm_end)
            error = mprotect_fixup(st, mm, vma, start, stop, prot)
            start = st.scheme.mprotect_continues(st, mm, stop)
    release(st, MMAP_LOCK, mm)
    return error


def mprotect_fixup(st: "Kernel", mm: int, vma: int, start: int, end: int, prot: int) -> int:
    """Change the protection of part of one VMA; mprotect_fixup(), mm/mprotect.c.

    Return 0 or -ENOMEM.
    """
    v = st.vma[vma]
    flags = (v.vm_flags & ~VM_ACCESS_FLAGS) | prot
    if flags == v.vm_flags:
        passed(st, "mprotect changes nothing")
        return 0
    if prot & VM_WRITE:
        # Private memory is charged when it becomes writable for the first time.
        if v.vm_flags & (VM_WRITE | VM_ACCOUNT | VM_SHARED) == 0:
            passed(st, "mprotect charges")
            flags |= VM_ACCOUNT
    elif v.vm_file:
        if v.vm_flags & VM_ACCOUNT and v.anon_vma == 0:
            passed(st, "mprotect leaves a range of a file charged")
    elif st.scheme.era.mprotect_unaccounts and v.anon_vma == 0:
        passed(st, "mprotect uncharges")
        flags &= ~VM_ACCOUNT
    vma = vma_modify(st, vma, start, end, flags)
    if vma < 0:
        return vma
    st.vma[vma].vm_flags = flags
    change_protection(st, mm, start, end, prot)
    return 0


def change_protection(st: "Kernel", mm: int, start: int, end: int, prot: int) -> None:
    """Clear the write bit of the entries; a write fault sets it again; mm/mprotect.c.

    Nothing changes if `prot` permits writing.
    """
    if prot & VM_WRITE:
        return
    acquire(st, PTL, mm)
    for address in range(start, end):
        st.pte[pte_offset(st, mm, address)].flags &= ~PTE_WRITE
    release(st, PTL, mm)


def madvise_dontneed(st: "Kernel", mm: int, start: int, length: int) -> int:
    """Drop the pages of a range; madvise_dontneed(), mm/madvise.c.

    Return 0, -EINVAL at a locked VMA, or -ENOMEM if part is not mapped.
    """
    acquire(st, MMAP_LOCK, mm, write=False)
    error = 0
    end = start + length
    while start < end:
        vma = find_vma(st, mm, start)
        if vma == 0 or st.vma[vma].vm_start > start:
            passed(st, "dontneed meets a hole")
            error = -ENOMEM
        if vma == 0:
            break
        start = max(start, st.vma[vma].vm_start)
        stop = min(end, st.vma[vma].vm_end)
        if start < stop and not can_madv_lru_vma(st, vma):
            # Unlike a hole, this ends the call.
            error = -EINVAL
            break
        if start < stop:
            zap_page_range(st, vma, start, stop)
        start = st.vma[vma].vm_end
    release(st, MMAP_LOCK, mm)
    return error


def can_madv_lru_vma(st: "Kernel", vma: int) -> bool:
    """Return whether MADV_DONTNEED may drop pages of the VMA: not if it is locked; mm/madvise.c.

    v5.4; in every kernel before, madvise_dontneed() checked the same.
    """
    return "mlock" not in st.scope.ops or st.vma[vma].vm_flags & VM_LOCKED == 0


def madvise_flags(
    st: "Kernel", mm: int, start: int, length: int, set_flags: int, clear_flags: int
) -> int:
    """Set and clear vm_flags of a range, even beyond holes; madvise_walk_vmas(), mm/madvise.c.

    Return 0, or -ENOMEM if part is not mapped, or -EINVAL for MADV_WIPEONFORK of a file.
    """
    acquire(st, MMAP_LOCK, mm)
    end = start + length
    # A hole is an error, but the VMAs beyond it are changed all the same.
    unmapped = -ENOMEM if has_hole(st, mm, start, end) else 0
    error = 0
    while start < end and error == 0:
        vma = find_vma(st, mm, start)
        if vma == 0 or st.vma[vma].vm_start >= end:
            break
        start = max(start, st.vma[vma].vm_start)
        if set_flags & VM_WIPEONFORK and st.vma[vma].vm_file:
            passed(st, "madvise refuses to wipe a range of a file")
            error = -EINVAL
            break
        stop = min(end, st.vma[vma].vm_end)
        flags = (st.vma[vma].vm_flags | set_flags) & ~clear_flags
        if flags != st.vma[vma].vm_flags:
            vma = vma_modify(st, vma, start, stop, flags)
            if vma < 0:
                error = vma
            else:
                st.vma[vma].vm_flags = flags
        start = stop
    release(st, MMAP_LOCK, mm)
    return error or unmapped


def has_hole(st: "Kernel", mm: int, start: int, end: int) -> bool:
    """Return whether some page of `start` … `end` - 1 is in no VMA."""
    while start < end:
        vma = find_vma(st, mm, start)
        if vma == 0 or st.vma[vma].vm_start > start:
            passed(st, "madvise meets a hole")
            return True
        start = st.vma[vma].vm_end
    return False


def sys_mlock(st: "Kernel", mm: int, start: int, length: int, *, on: bool) -> int:
    """Set or clear VM_LOCKED of a range; mlock_fixup(), mm/mlock.c. Return 0 or -ENOMEM.

    Left out: mlock() also brings the pages in, and it stops at the first hole. In the model, pages
    of a locked VMA are not reclaimed once they are there.
    """
    if on:
        return madvise_flags(st, mm, start, length, VM_LOCKED, 0)
    return madvise_flags(st, mm, start, length, 0, VM_LOCKED)
