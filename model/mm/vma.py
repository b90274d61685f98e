"""VMAs: the ordered list of an address space, merge and split.

After mm/vma.c, v6.13 … v7.0; the cases of vma_merge() before v6.11 give the same address space and
are named by their old numbers. Left out: the maple tree (a list in address order instead),
policies, VM_SOFTDIRTY and the other flags that merging ignores, the limit on the number of VMAs,
and the pre-v4.9 habit of keeping the *other* VMA object in case 8.

Which VMAs may join, as far as rmap has a say, and what a joined VMA inherits is the scheme's::

    can_vma_merge_*     is_mergeable_anon_vma, are_anon_vmas_compatible
    before the change   dup_anon_vma, vma_prepare
    after it            vma_complete, unlink_anon_vmas of a VMA that went
"""

from typing import TYPE_CHECKING

from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.events import tell
from rmapcheck.model.machine.heap import kmem_cache_alloc, kmem_cache_free
from rmapcheck.model.machine.locks import ANON_VMA_LOCK, assert_held_write
from rmapcheck.model.machine.state import vma_flags
from rmapcheck.model.machine.structs import VM_NONLINEAR
from rmapcheck.model.mm.filemap import (
    unlink_file_vma,
    vma_complete_file,
    vma_link_file,
    vma_prepare_file,
)
from rmapcheck.model.scheme import VMA_OP_SPLIT

if TYPE_CHECKING:
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


def vma_prev(st: "State", mm: int, address: int) -> int:
    """Return the last VMA of `mm` that ends at or below `address`, or 0."""
    prev = 0
    vma = st.mm[mm].mmap
    while vma and st.vma[vma].vm_end <= address:
        prev = vma
        vma = st.vma[vma].vm_next
    return prev


def vma_link(st: "State", mm: int, vma: int) -> None:
    """Put `vma` into the address space and its file's list; vma_link(), mm/vma.c."""
    vma_link_list(st, mm, vma)
    vma_link_file(st, vma, 0)


def vma_link_list(st: "State", mm: int, vma: int) -> None:
    """Put `vma` into the list of the address space; __vma_link_list(), mm/mmap.c."""
    v = st.vma[vma]
    v.vm_mm = mm
    prev = vma_prev(st, mm, v.vm_start)
    if prev:
        v.vm_next = st.vma[prev].vm_next
        st.vma[prev].vm_next = vma
    else:
        v.vm_next = st.mm[mm].mmap
        st.mm[mm].mmap = vma


def vma_unlink(st: "State", mm: int, vma: int) -> None:
    """Take `vma` out of the address space's list."""
    following = st.vma[vma].vm_next
    if st.mm[mm].mmap == vma:
        st.mm[mm].mmap = following
    else:
        prev = st.mm[mm].mmap
        while st.vma[prev].vm_next != vma:
            prev = st.vma[prev].vm_next
        st.vma[prev].vm_next = following
    st.vma[vma].vm_next = 0


def vm_area_dup(st: "State", vma: int) -> int:
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
    n.anon_vma = v.anon_vma
    return new


def remove_vma(st: "State", mm: int, vma: int) -> None:
    """Unlink and free a VMA whose page-table entries are gone or another VMA's."""
    st.scheme.unlink_anon_vmas(st, vma)
    unlink_file_vma(st, vma)
    vma_unlink(st, mm, vma)
    kmem_cache_free(st, st.vma, vma)


def range_changes(st: "State", vma: int, adjust: int) -> None:
    """Announce that the range of `vma` (and `adjust`) changes; vma_prepare(), mm/vma.c."""
    if st.scope.files:
        vma_prepare_file(st, vma, adjust)
    st.scheme.vma_prepare(st, vma, adjust)
    lock = st.scheme.range_lock(st, vma)
    if lock == 0 and adjust:
        lock = st.scheme.range_lock(st, adjust)
    if lock:
        assert_held_write(st, ANON_VMA_LOCK, lock, "the range of a VMA changes")


def range_changed(st: "State", vma: int, adjust: int) -> None:
    """Announce that the range of `vma` (and `adjust`) has changed; vma_complete(), mm/vma.c."""
    st.scheme.vma_complete(st, vma, adjust)
    if st.scope.files:
        vma_complete_file(st, vma, adjust)


def is_mergeable_vma(st: "State", vma: int, flags: int, file: int) -> bool:
    """Tell whether flags and file are those of `vma`; is_mergeable_vma(), mm/vma.c."""
    if vma_flags(st, vma) != flags:
        st.rules.append("no merge: vm_flags")
        return False
    if st.vma[vma].vm_file != file:
        st.rules.append("no merge: the files differ")
        return False
    return True


def can_vma_merge_left(
    st: "State",
    prev: int,
    start: int,
    pgoff: int,
    flags: int,
    file: int,
    anon_vma: int,
    middle: int,
    copied_from: int,
) -> bool:
    """Tell whether `prev` may grow up over `start`; can_vma_merge_left(), mm/vma.c."""
    if prev == 0 or st.vma[prev].vm_end != start:
        return False
    if not is_mergeable_vma(st, prev, flags, file):
        return False
    p = st.vma[prev]
    if p.vm_pgoff + p.vm_end - p.vm_start != pgoff:
        st.rules.append("no merge left: vm_pgoff")
        return False
    return st.scheme.is_mergeable_anon_vma(st, prev, anon_vma, middle, copied_from)


def can_vma_merge_right(
    st: "State",
    nxt: int,
    end: int,
    pgoff_end: int,
    flags: int,
    file: int,
    anon_vma: int,
    middle: int,
    copied_from: int,
) -> bool:
    """Tell whether `nxt` may grow down below `end`; can_vma_merge_right(), mm/vma.c."""
    if nxt == 0 or st.vma[nxt].vm_start != end:
        return False
    if not is_mergeable_vma(st, nxt, flags, file):
        return False
    if st.vma[nxt].vm_pgoff != pgoff_end:
        st.rules.append("no merge right: vm_pgoff")
        return False
    return st.scheme.is_mergeable_anon_vma(st, nxt, anon_vma, middle, copied_from)


def vma_merge_new_range(
    st: "State",
    mm: int,
    start: int,
    end: int,
    pgoff: int,
    flags: int,
    file: int,
    anon_vma: int,
    copied_from: int,
    just_expand: bool,
) -> int:
    """Cover the free range `start` … `end` by growing neighbours; return the VMA grown, or 0.

    vma_merge_new_range(), mm/vma.c; cases 1, 2, 3. `just_expand`: only the VMA before may grow
    (do_brk_flags()). An allocation failure counts as "no merge".
    """
    prev = vma_prev(st, mm, start)
    nxt = st.vma[prev].vm_next if prev else st.mm[mm].mmap
    left = can_vma_merge_left(st, prev, start, pgoff, flags, file, anon_vma, 0, copied_from)
    right = not just_expand and can_vma_merge_right(
        st, nxt, end, pgoff + end - start, flags, file, anon_vma, 0, copied_from
    )
    if left and right and not st.scheme.are_anon_vmas_compatible(st, prev, nxt):
        st.rules.append("a new range joins one side only: anon_vmas differ")
        right = False
    if not left and not right:
        return 0
    if left and right:
        st.reached.append("merge case 1")
    else:
        st.rules.append("merge case 2" if left else "merge case 3")
    if file:
        st.rules.append("a new range of a file joins a neighbour")
    new_start = st.vma[prev].vm_start if left else start
    new_end = st.vma[nxt].vm_end if right else end
    new_pgoff = st.vma[prev].vm_pgoff if left else pgoff
    target = prev if left else nxt
    if vma_expand(st, mm, target, new_start, new_end, new_pgoff, nxt, copied_from):
        return 0
    return target


def vma_expand(
    st: "State",
    mm: int,
    target: int,
    start: int,
    end: int,
    pgoff: int,
    nxt: int,
    copied_from: int,
) -> int:
    """Grow `target` to `start` … `end`, swallowing `nxt` if it ends there. Return 0 or -ENOMEM.

    vma_expand(), mm/vma.c.
    """
    remove_next = nxt != 0 and target != nxt and st.vma[nxt].vm_end == end
    if remove_next and st.scheme.dup_anon_vma(st, target, nxt, target):
        return -ENOMEM
    if (
        copied_from
        and st.scheme.inherits_copied_from
        and st.scheme.dup_anon_vma(st, target, copied_from, target)
    ):
        return -ENOMEM
    t = st.vma[target]
    if st.scheme.end_unlocked and not remove_next and start == t.vm_start:
        move_end(st, target, end)
    else:
        range_changes(st, target, nxt if remove_next else 0)
        t.vm_start = start
        t.vm_end = end
        t.vm_pgoff = pgoff
        range_changed(st, target, nxt if remove_next else 0)
    if remove_next:
        remove_vma(st, mm, nxt)
    if copied_from == 0:
        tell(st, "expand", target, nxt if remove_next else 0)
    return 0


def move_end(st: "State", vma: int, end: int) -> None:
    """Grow at the end alone, which no index depends on; vma_adjust(), v2.6.32 (252c5f94d94)."""
    if st.scope.files:
        vma_prepare_file(st, vma, 0)
    st.vma[vma].vm_end = end
    if st.scope.files:
        vma_complete_file(st, vma, 0)


def vma_merge_existing_range(
    st: "State", mm: int, middle: int, start: int, end: int, flags: int
) -> int:
    """Give `start` … `end` of `middle` to a neighbour with `flags`; return that one, 0 or -ENOMEM.

    vma_merge_existing_range(), mm/vma.c::

        prev grows over middle and next   PPPPMMMMNNNN -> PPPPPPPPPPPP   case 6
        prev grows over middle            PPPPMMMM     -> PPPPPPPP       case 7
        prev grows, middle shrinks        PPPPMMMM     -> PPPPPPMM       case 5
        next grows down over middle           MMMMNNNN ->     NNNNNNNN   case 8
        next grows down, middle shrinks       MMMMNNNN ->     MMNNNNNN   case 4
    """
    m = st.vma[middle]
    file = m.vm_file
    flags |= vma_flags(st, middle) & VM_NONLINEAR
    prev = vma_prev(st, mm, m.vm_start)
    nxt = m.vm_next
    anon_vma = m.anon_vma
    pgoff = m.vm_pgoff + start - m.vm_start
    left = start == m.vm_start and can_vma_merge_left(
        st, prev, start, pgoff, flags, file, anon_vma, middle, 0
    )
    right = end == m.vm_end and can_vma_merge_right(
        st, nxt, end, pgoff + end - start, flags, file, anon_vma, middle, 0
    )
    if left and right and not st.scheme.are_anon_vmas_compatible(st, prev, nxt):
        st.rules.append("a middle joins one side only: anon_vmas differ")
        right = False
    if file and (left or right):
        st.rules.append("a changed range of a file joins a neighbour")
    if left and right:
        return _merge_both(st, mm, prev, middle, nxt)
    if left:
        return _merge_left(st, mm, prev, middle, end)
    if right:
        return _merge_right(st, mm, middle, nxt, start)
    return 0


def _merge_both(st: "State", mm: int, prev: int, middle: int, nxt: int) -> int:
    st.reached.append("merge case 6")
    source = nxt if st.vma[nxt].anon_vma else middle
    if st.vma[prev].anon_vma == 0 and st.vma[source].anon_vma:
        st.rules.append("case 6 imports a chain")
    if st.scheme.dup_anon_vma(st, prev, source, prev):
        return -ENOMEM
    range_changes(st, prev, source)
    st.vma[prev].vm_end = st.vma[nxt].vm_end
    range_changed(st, prev, source)
    remove_vma(st, mm, middle)
    remove_vma(st, mm, nxt)
    tell(st, "merge", prev, middle, nxt)
    return prev


def _merge_left(st: "State", mm: int, prev: int, middle: int, end: int) -> int:
    if st.scheme.dup_anon_vma(st, prev, middle, prev):
        return -ENOMEM
    whole = end == st.vma[middle].vm_end
    st.reached.append("merge case 7" if whole else "merge case 5")
    range_changes(st, prev, middle)
    m = st.vma[middle]
    st.vma[prev].vm_end = end
    if not whole:
        m.vm_pgoff += end - m.vm_start
        m.vm_start = end
    range_changed(st, prev, middle)
    if whole:
        remove_vma(st, mm, middle)
    tell(st, "merge", prev, middle)
    return prev


def _merge_right(st: "State", mm: int, middle: int, nxt: int, start: int) -> int:
    whole = start == st.vma[middle].vm_start
    if st.scheme.dup_anon_vma(st, nxt, middle, nxt if whole else middle):
        return -ENOMEM
    st.reached.append("merge case 8" if whole else "merge case 4")
    range_changes(st, nxt, middle)
    n = st.vma[nxt]
    n.vm_pgoff -= n.vm_start - start
    n.vm_start = start
    if not whole:
        st.vma[middle].vm_end = start
    range_changed(st, nxt, middle)
    if whole:
        remove_vma(st, mm, middle)
    tell(st, "merge", nxt, middle)
    return nxt


def split_vma(st: "State", mm: int, vma: int, address: int, *, new_below: bool) -> int:
    """Split `vma` at `address`; the new VMA is the part below or above. Return 0 or -ENOMEM.

    __split_vma(), mm/vma.c.
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
    if st.scheme.anon_vma_clone(st, new, vma, VMA_OP_SPLIT):
        kmem_cache_free(st, st.vma, new)
        return -ENOMEM
    st.reached.append("split")
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


def vma_modify(st: "State", mm: int, vma: int, start: int, end: int, flags: int) -> int:
    """Return the VMA that is exactly the one to get `flags` for `start` … `end`, or -ENOMEM.

    vma_modify(), mm/vma.c: merge if possible, else split at both ends.
    """
    merged = vma_merge_existing_range(st, mm, vma, start, end, flags)
    if merged:
        return merged
    if st.vma[vma].vm_start < start and split_vma(st, mm, vma, start, new_below=True):
        return -ENOMEM
    if st.vma[vma].vm_end > end and split_vma(st, mm, vma, end, new_below=False):
        return -ENOMEM
    return vma
