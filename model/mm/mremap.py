"""mremap: shrink, grow in place, move, MREMAP_FIXED, MREMAP_DONTUNMAP.

After mm/mremap.c and copy_vma() in mm/vma.c. An anonymous VMA that was never faulted gets the
vm_pgoff of its new place. A faulted VMA, or a VMA of a file, keeps its vm_pgoff, so that the
indexes of its pages stay correct::

    before     start AA vm_pgoff 1        pages have index 1, 2
    after      ...........AA vm_pgoff 1   still 1, 2, although now at 9, 10

Left out: moves of whole page-table pages, huge pages, userfaultfd, uprobes, locked_vm. v6.15 …
v6.17 also cleared VM_ACCOUNT of the VMA that MREMAP_DONTUNMAP keeps. Since v3.7 the kernel
takes the lock of i_mmap only if a walk may visit the new place before the old one; the model takes
it always.

Not modelled, because it is fixed here: in rmap 11 (0c35710493), when a COW found no memory at page
k, move_page_tables() returned k - 1. So page k - 1 was not moved back, and was unmapped with the
new range. At k = 0 it returned -PAGE_SIZE, which as unsigned long is not less than old_len: mremap
succeeded and unmapped the old range. The data are lost, but no invariant of rmap can detect that.
"""

from typing import TYPE_CHECKING

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.errors import EFAULT, EINVAL, ENOMEM
from rmapcheck.model.machine.events import tell
from rmapcheck.model.machine.heap import kmem_cache_free
from rmapcheck.model.machine.locks import I_MMAP_LOCK, MMAP_LOCK, PTL, acquire, release
from rmapcheck.model.machine.state import linear_page_index, pte_offset, vma_flags
from rmapcheck.model.machine.structs import PTE_WRITE, VM_ACCOUNT, VM_LOCKED
from rmapcheck.model.mm.fault import make_page_exclusive
from rmapcheck.model.mm.unmap import do_munmap
from rmapcheck.model.mm.vma import find_vma, vm_area_dup, vma_link, vma_lookup, vma_prev
from rmapcheck.model.mm.vma_merge import VmaMergeStruct, vma_expand, vma_merge_new_range
from rmapcheck.model.scheme import VMA_OP_REMAP

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def sys_mremap(
    st: "Kernel", mm: int, start: int, length: int, new_length: int, to: int, *, dontunmap: bool
) -> int:
    """Resize at `start` (`to` < 0) or move to `to`. Return 0, -EFAULT, -EINVAL or -ENOMEM."""
    acquire(st, MMAP_LOCK, mm)
    if to < 0:
        error = resize(st, mm, start, length, new_length)
    else:
        error = remap_move(st, mm, start, length, new_length, to, dontunmap=dontunmap)
    release(st, MMAP_LOCK, mm)
    return error


def resize(st: "Kernel", mm: int, start: int, length: int, new_length: int) -> int:
    """Shrink or grow in place; shrink_vma(), expand_vma_in_place(), mm/mremap.c.

    Return 0, -EFAULT, -EINVAL or -ENOMEM. Page offsets of the scope end at its last address; those
    of the kernel at 2^52 (vma_to_resize()).
    """
    vma = vma_lookup(st, mm, start)
    if vma == 0:
        return -EFAULT
    if new_length < length:
        passed(st, "mremap shrinks in place")
        return do_munmap(st, mm, start + new_length, start + length)
    if new_length == length:
        passed(st, "mremap changes nothing")
        return 0
    v = st.vma[vma]
    end = start + new_length
    if v.vm_end < start + length:
        passed(st, "mremap grows no range of several VMAs")
        return -EFAULT
    if v.vm_end != start + length or end > st.pages:
        return -ENOMEM
    if v.vm_next and st.vma[v.vm_next].vm_start < end:
        passed(st, "mremap finds no room to grow")
        return -ENOMEM
    pgoff = linear_page_index(st, vma, v.vm_end)
    if beyond_pgoff(st, vma, pgoff + new_length - length):
        return -EINVAL
    vmg = VmaMergeStruct(
        mm=mm,
        start=v.vm_end,
        end=end,
        pgoff=pgoff,
        flags=vma_flags(st, vma),
        file=v.vm_file,
        anon_vma=v.anon_vma,
    )
    if expand_vma_in_place(st, vmg, vma):
        return -ENOMEM
    passed(st, "mremap grows in place")
    return 0


def expand_vma_in_place(st: "Kernel", vmg: VmaMergeStruct, vma: int) -> int:
    """Grow `vma` over the free range of `vmg` behind it. Return 0 or -ENOMEM.

    expand_vma_in_place(), mm/mremap.c, v6.16. vma_merge_extend(), mm/vma.c, also joins the VMA
    behind, but creates none: if `vma` itself cannot grow, the call fails. Until v6.0 mremap()
    called vma_adjust(), which joined nothing.
    """
    if st.scheme.growth_may_join(st, vma):
        return 0 if vma_merge_new_range(st, vmg) == vma else -ENOMEM
    vmg.target = vma
    vmg.start = st.vma[vma].vm_start
    return vma_expand(st, vmg)


def beyond_pgoff(st: "Kernel", vma: int, end: int) -> bool:
    """Return whether `end` is beyond the scope's page offsets; then the step does not count.

    A moved VMA keeps its vm_pgoff. If it grew at each new place, its offsets would grow without
    limit. Offsets in a file end at the largest length that the scope gives to files.
    """
    limit = st.scope.file_pages if st.vma[vma].vm_file else st.pages
    if end > limit:
        st.exhausted = "vm_pgoff"
    return end > limit


def remap_move(
    st: "Kernel", mm: int, start: int, length: int, new_length: int, to: int, *, dontunmap: bool
) -> int:
    """Move to `to`, VMA by VMA, and unmap what was there; remap_move(), mm/mremap.c, v6.17.

    Return 0, -EFAULT, -EINVAL or -ENOMEM.
    """
    overlap = start < to + new_length and to < start + length
    if overlap and (st.scheme.era.mremap_checks_first or vma_lookup(st, mm, start)):
        passed(st, "mremap refuses an overlap")
        return -EINVAL
    error = check_range(st, mm, start, length, new_length)
    if error:
        if not st.scheme.era.mremap_checks_first and vma_lookup(st, mm, start):
            return unmap_too_soon(st, mm, start, length, new_length, to) or error
        return error
    # The target goes first, so that it is gone even if memory runs out when the tail is cut off.
    if new_length < length:
        passed(st, "mremap moves and shrinks")
        error = do_munmap(st, mm, to, to + new_length)
        if error == 0:
            error = do_munmap(st, mm, start + new_length, start + length)
        length = new_length
    address = start
    while error == 0 and address < start + length:
        vma = find_vma(st, mm, address)
        if vma == 0 or st.vma[vma].vm_start >= start + length:
            break
        if st.vma[vma].vm_start > address:
            passed(st, "mremap moves the hole between VMAs")
        # Nothing is moved from a hole, so what is mapped at its place in the target stays.
        address = max(address, st.vma[vma].vm_start)
        end = min(start + length, st.vma[vma].vm_end)
        if address > start:
            passed(st, "mremap moves several VMAs")
        grown = end - address + max(new_length - length, 0)
        error = mremap_to(
            st, mm, address, end - address, grown, to + address - start, dontunmap=dontunmap
        )
        address = end
    return error


def unmap_too_soon(
    st: "Kernel", mm: int, start: int, length: int, new_length: int, to: int
) -> int:
    """Unmap the target, and the tail of a shrinking range, before the move is refused.

    In mremap_to(), mm/mremap.c, v6.1, vma_to_resize() comes after both. Return 0 or -ENOMEM.
    """
    error = do_munmap(st, mm, to, to + new_length)
    if error == 0 and new_length < length:
        error = do_munmap(st, mm, start + new_length, start + length)
    return error


def check_range(st: "Kernel", mm: int, start: int, length: int, new_length: int) -> int:
    """Return 0 if the range may be moved, else -EFAULT.

    It must be in one VMA; since v6.17 it may span several if the length does not change.
    """
    vma = vma_lookup(st, mm, start)
    if vma == 0:
        passed(st, "mremap of no VMA")
        return -EFAULT
    if st.vma[vma].vm_end >= start + min(length, new_length):
        return 0
    if st.scheme.era.mremap_many and length == new_length:
        return 0
    passed(st, "mremap refuses several VMAs")
    return -EFAULT


def mremap_to(
    st: "Kernel", mm: int, start: int, length: int, new_length: int, to: int, *, dontunmap: bool
) -> int:
    """Unmap the target of one VMA, and move the VMA there; mremap_to(), mm/mremap.c.

    What the target has under a hole of the source stays mapped. Return 0 or -ENOMEM.
    """
    error = do_munmap(st, mm, to, to + new_length)
    if error:
        return error
    vma = vma_lookup(st, mm, start)
    return move_vma(st, mm, vma, start, length, new_length, to, dontunmap=dontunmap)


def move_vma(
    st: "Kernel",
    mm: int,
    vma: int,
    start: int,
    length: int,
    new_length: int,
    to: int,
    *,
    dontunmap: bool,
) -> int:
    """Copy the VMA, move its entries, drop the old range; move_vma(), mm/mremap.c.

    ::

        start     to
        OOOOOO    ......    entries are in O
        OOOOOO    NNNNNN    the copy: in the rmap of the same pages, without entries
        OOOOOO    NNNNNN    entries are in N; walks still visit both
        ......    NNNNNN    unless MREMAP_DONTUNMAP keeps O, without entries

    Return 0 or -ENOMEM.
    """
    new_vma = copy_vma(st, mm, vma, start, to, new_length)
    if new_vma == 0:
        return -ENOMEM
    # The copy may have merged with the source itself if the source was never faulted.
    source = vma_lookup(st, mm, start)
    moved = move_page_tables(st, source, start, new_vma, to, length)
    if moved < length:
        # Memory ran out half-way: move the entries back, and drop the new range.
        move_page_tables(st, new_vma, to, source, start, moved)
        tell(st, "move", source, new_vma, start, to)
        do_munmap(st, mm, to, to + new_length)
        return -ENOMEM
    tell(st, "move", source, new_vma, start, to)
    if not dontunmap:
        unmap_source_vma(st, mm, source, start, length)
        return 0
    dontunmap_complete(st, source, new_vma, start, length)
    return 0


def dontunmap_complete(st: "Kernel", vma: int, new_vma: int, start: int, length: int) -> None:
    """Keep the old range, without entries; dontunmap_complete(), mm/mremap.c, v6.16.

    move_vma() since v5.7. The VMA is no longer locked, even if only a part of it was moved.
    """
    v = st.vma[vma]
    v.vm_flags &= ~VM_LOCKED
    # Without entries it needs no place in the rmap.
    if vma != new_vma and st.scheme.dontunmap_unlinks(st, vma, start, length):
        if v.anon_vma:
            passed(st, "dontunmap takes the anon_vma from a whole VMA")
        st.scheme.unlink_anon_vmas(st, vma)
        tell(st, "dontunmap", vma)
    passed(st, "mremap keeps the old mapping")


def unmap_source_vma(st: "Kernel", mm: int, vma: int, start: int, length: int) -> None:
    """Unmap the range that was moved away; unmap_source_vma(), mm/mremap.c, v6.17.

    move_vma() before. VM_ACCOUNT is cleared meanwhile, because the charge now belongs to the copy,
    and set again on what remains of the VMA. If memory runs out, all of the VMA stays, without
    VM_ACCOUNT and without the entries that were moved, and mremap() succeeds.
    """
    v = st.vma[vma]
    start_before = v.vm_start
    end_before = v.vm_end
    account = v.vm_flags & VM_ACCOUNT
    v.vm_flags &= ~VM_ACCOUNT
    if do_munmap(st, mm, start, start + length):
        passed(st, "mremap cannot unmap its source")
        return
    if start_before < start:
        st.vma[vma_prev(st, mm, start)].vm_flags |= account
    if start + length < end_before:
        st.vma[find_vma(st, mm, start + length)].vm_flags |= account


def copy_vma(st: "Kernel", mm: int, vma: int, start: int, to: int, length: int) -> int:
    """Return a VMA like `vma` for `to` … `to + length`: new, or a neighbour grown; 0 if none.

    copy_vma(), mm/vma.c.
    """
    v = st.vma[vma]
    pgoff = linear_page_index(st, vma, start)
    # Never faulted: no page has an index yet. So vm_pgoff may match the new place, which allows a
    # merge there.
    if v.anon_vma == 0 and v.vm_file == 0:
        pgoff = to
    if pgoff == to:
        passed(st, "mremap makes vm_pgoff fit the new place")
    else:
        passed(st, "mremap keeps vm_pgoff")
    if v.vm_file and v.anon_vma == 0:
        passed(st, "mremap moves a never-faulted range of a file")
    if beyond_pgoff(st, vma, pgoff + length):
        return 0
    vmg = VmaMergeStruct(
        mm=mm,
        start=to,
        end=to + length,
        pgoff=pgoff,
        flags=vma_flags(st, vma),
        file=v.vm_file,
        anon_vma=v.anon_vma,
        copied_from=vma,
    )
    new = vma_merge_new_range(st, vmg)
    if new:
        passed(st, "mremap merges")
        tell(st, "copy", vma, new)
        return new
    new = vm_area_dup(st, vma)
    if new == 0:
        return 0
    n = st.vma[new]
    n.vm_start = to
    n.vm_end = to + length
    n.vm_pgoff = pgoff
    # Pages that are moved keep their anon_vma and index, so walks from these must find the copy.
    if st.scheme.anon_vma_clone(st, new, vma, VMA_OP_REMAP):
        kmem_cache_free(st, st.vma, new)
        return 0
    vma_link(st, mm, new)
    tell(st, "copy", vma, new)
    return new


def move_page_tables(
    st: "Kernel", vma: int, start: int, new_vma: int, to: int, length: int
) -> int:
    """Move the entries one by one; return how many pages were done; mm/mremap.c.

    For a file this holds the lock of i_mmap, so that truncate does not miss a page while it is
    moved (699417d2ab, v2.6.6).
    """
    mm = st.vma[vma].vm_mm
    mapping = st.vma[vma].vm_file
    for i in range(length):
        # Both calls may sleep, so they come before any lock of this page is taken.
        if break_cow(st, vma, start + i) or st.scheme.rmap_get_cpu(st):
            return i
        if mapping:
            acquire(st, I_MMAP_LOCK, mapping)
        acquire(st, PTL, mm)
        move_pte(st, vma, new_vma, pte_offset(st, mm, start + i), pte_offset(st, mm, to + i))
        release(st, PTL, mm)
        if mapping:
            release(st, I_MMAP_LOCK, mapping)
        st.scheme.rmap_put_cpu(st)
    return length


def break_cow(st: "Kernel", vma: int, address: int) -> int:
    """Copy a shared page that rmap could not find at a new address. Return 0 or -ENOMEM.

    move_page_tables(), mm/mremap.c, rmap 11 (0c35710493): move_one_page() returns -EAGAIN.
    """
    mm = st.vma[vma].vm_mm
    acquire(st, PTL, mm)
    p = st.pte[pte_offset(st, mm, address)]
    writable = p.flags & PTE_WRITE != 0
    copy = st.scheme.mremap_must_copy(st, p.folio, p.swap, writable=writable)
    release(st, PTL, mm)
    if not copy:
        return 0
    passed(st, "mremap copies a shared page")
    return make_page_exclusive(st, vma, address)


def move_pte(st: "Kernel", vma: int, new_vma: int, old_ptep: int, new_ptep: int) -> None:
    """Move one entry; move_ptes(), mm/mremap.c."""
    old = st.pte[old_ptep]
    new = st.pte[new_ptep]
    new.folio = old.folio
    new.swap = old.swap
    new.flags = old.flags
    old.folio = 0
    old.swap = 0
    old.flags = 0
    if st.scope.nonlinear:
        new.pgoff = old.pgoff
        old.pgoff = 0
    if new.folio:
        st.scheme.move_rmap(st, new.folio, vma, new_vma, old_ptep, new_ptep)
    tell(st, "move_pte", old_ptep, new_ptep, new.folio)
