"""VMAs: the ordered list of an address space, copies, and split; vma_merge.py has the merges.

After mm/vma.c, v6.13 … v7.0. Left out: the maple tree (here a list in address order), and the
limit on the number of VMAs.
"""

from typing import TYPE_CHECKING

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.events import tell
from rmapcheck.model.machine.heap import kmem_cache_alloc, kmem_cache_free
from rmapcheck.model.machine.locks import ANON_VMA_LOCK, assert_held_write
from rmapcheck.model.mm.filemap import (
    unlink_file_vma,
    vma_complete_file,
    vma_link_file,
    vma_prepare_file,
)
from rmapcheck.model.scheme import VMA_OP_SPLIT

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel
    from rmapcheck.model.machine.state import State


def find_vma(st: "State", mm: int, address: int) -> int:
    """Return the first VMA of `mm` that ends above `address`, or 0; find_vma(), mm/mmap.c."""
    vma = st.mm[mm].mmap
    while vma and st.vma[vma].vm_end <= address:
        vma = st.vma[vma].vm_next
    return vma


def vma_lookup(st: "State", mm: int, address: int) -> int:
    """Return the VMA that covers `address`, or 0; vma_lookup(), linux/mm.h, v5.14."""
    vma = find_vma(st, mm, address)
    if vma and st.vma[vma].vm_start > address:
        return 0
    return vma


def vma_prev(st: "Kernel", mm: int, address: int) -> int:
    """Return the last VMA of `mm` that ends at or below `address`, or 0."""
    prev = 0
    vma = st.mm[mm].mmap
    while vma and st.vma[vma].vm_end <= address:
        prev = vma
        vma = st.vma[vma].vm_next
    return prev


def vma_link(st: "Kernel", mm: int, vma: int) -> None:
    """Insert `vma` into the address space and into i_mmap of its file; vma_link(), mm/vma.c."""
    vma_link_list(st, mm, vma)
    vma_link_file(st, vma, 0)


def vma_link_list(st: "Kernel", mm: int, vma: int) -> None:
    """Insert `vma` into the list of the address space; __vma_link_list(), mm/mmap.c."""
    v = st.vma[vma]
    v.vm_mm = mm
    prev = vma_prev(st, mm, v.vm_start)
    if prev:
        v.vm_next = st.vma[prev].vm_next
        st.vma[prev].vm_next = vma
    else:
        v.vm_next = st.mm[mm].mmap
        st.mm[mm].mmap = vma


def vma_unlink(st: "Kernel", mm: int, vma: int) -> None:
    """Remove `vma` from the list of the address space."""
    following = st.vma[vma].vm_next
    if st.mm[mm].mmap == vma:
        st.mm[mm].mmap = following
    else:
        prev = st.mm[mm].mmap
        while st.vma[prev].vm_next != vma:
            prev = st.vma[prev].vm_next
        st.vma[prev].vm_next = following
    st.vma[vma].vm_next = 0


def vm_area_dup(st: "Kernel", vma: int) -> int:
    """Return a copy of the struct, in no list and with an empty chain, or 0; kernel/fork.c."""
    new = kmem_cache_alloc(st, st.vma)
    if new == 0:
        return 0
    v = st.vma[vma]
    n = st.vma[new]
    n.vm_mm = v.vm_mm
    n.vm_start = v.vm_start
    n.vm_end = v.vm_end
    n.vm_pgoff = v.vm_pgoff
    n.vm_flags = v.vm_flags
    n.vm_file = v.vm_file
    n.vm_nonlinear = v.vm_nonlinear
    n.vm_growsdown = v.vm_growsdown
    n.anon_vma = v.anon_vma
    return new


def remove_vma(st: "Kernel", mm: int, vma: int) -> None:
    """Unlink and free a VMA. Its entries are cleared or belong to another VMA now."""
    st.scheme.unlink_anon_vmas(st, vma)
    unlink_file_vma(st, vma)
    vma_unlink(st, mm, vma)
    kmem_cache_free(st, st.vma, vma)


def range_changes(st: "Kernel", vma: int, adjust: int) -> None:
    """Prepare i_mmap and rmap for a change of the range of `vma`; vma_prepare(), mm/vma.c.

    The same for `adjust`, if it is not 0.
    """
    if st.scope.files:
        vma_prepare_file(st, vma, adjust)
    st.scheme.vma_prepare(st, vma, adjust)
    lock = st.scheme.range_lock(st, vma)
    if lock == 0 and adjust:
        lock = st.scheme.range_lock(st, adjust)
    if lock:
        assert_held_write(st, ANON_VMA_LOCK, lock, "the range of a VMA changes")


def range_changed(st: "Kernel", vma: int, adjust: int) -> None:
    """Update i_mmap and rmap after a change of the range of `vma`; vma_complete(), mm/vma.c.

    The same for `adjust`, if it is not 0.
    """
    st.scheme.vma_complete(st, vma, adjust)
    if st.scope.files:
        vma_complete_file(st, vma, adjust)


def split_vma(st: "Kernel", mm: int, vma: int, address: int, *, new_below: bool) -> int:
    """Split `vma` at `address`; the new VMA is the part below or above. Return 0 or -ENOMEM.

    __split_vma(), mm/vma.c::

        VVVVVVVV -> VVVVNNNN   new above
        VVVVVVVV -> NNNNVVVV   new below: `vma` starts later, and so does its vm_pgoff
    """
    new = vm_area_dup(st, vma)
    if new == 0:
        return -ENOMEM
    v = st.vma[vma]
    n = st.vma[new]
    if new_below:
        n.vm_end = address
    else:
        n.vm_pgoff += address - n.vm_start
        n.vm_start = address
    # Pages of both parts may be in any anon_vma of the whole. No range has changed yet, so a
    # failure leaves the VMA as it was.
    if st.scheme.anon_vma_clone(st, new, vma, VMA_OP_SPLIT):
        kmem_cache_free(st, st.vma, new)
        return -ENOMEM
    passed(st, "split")
    # Trees are ordered by range, so a range may change only while its VMA is in no tree.
    range_changes(st, vma, 0)
    if new_below:
        v.vm_pgoff += address - v.vm_start
        v.vm_start = address
    else:
        v.vm_end = address
    range_changed(st, vma, 0)
    vma_link(st, mm, new)
    tell(st, "split", vma, new)
    return 0
