"""Merges: a range becomes part of a neighbour; mm/vma.c.

The range is free (mmap, brk, mremap) or part of a VMA whose flags change (mprotect, madvise,
mlock). One struct vma_merge_struct has all arguments of a merge (mm/vma.h, since v6.12; before,
vma_merge() had these as arguments).

The scheme decides which VMAs may join, as far as rmap is concerned, and what a joined VMA
inherits::

    can_vma_merge_*     is_mergeable_anon_vma, are_anon_vmas_compatible
    before the change   dup_anon_vma, vma_prepare
    after it            vma_complete, unlink_anon_vmas of a VMA that is freed

The cases have the numbers of vma_merge() before v6.11, which led to the same address spaces. P, M
and N are `prev`, `middle` and `next`; dots are free::

    a free range        PPPP....NNNN -> PPPPPPPPPPPP   case 1
                        PPPP....     -> PPPPPPPP       case 2
                            ....NNNN ->     NNNNNNNN   case 3
    all of `middle`     PPPPMMMMNNNN -> PPPPPPPPPPPP   case 6
                        PPPPMMMM     -> PPPPPPPP       case 7
                            MMMMNNNN ->     NNNNNNNN   case 8
    a part of it        PPPPMMMM     -> PPPPPPMM       case 5
                            MMMMNNNN ->     MMNNNNNN   case 4

Left out: policies, userfaultfd, names of anonymous VMAs, VM_SOFTDIRTY and the other flags that
merging ignores. Left out too: before v4.9, case 8 kept the *other* VMA object.
"""

from typing import TYPE_CHECKING

import attrs

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.events import tell
from rmapcheck.model.machine.state import linear_page_index, vma_flags
from rmapcheck.model.machine.structs import VM_SEPARATE
from rmapcheck.model.mm.filemap import vma_complete_file, vma_prepare_file
from rmapcheck.model.mm.vma import range_changed, range_changes, remove_vma, split_vma, vma_prev

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


@attrs.define(slots=True, eq=False, kw_only=True)
class VmaMergeStruct:
    """struct vma_merge_struct, mm/vma.h: a range, and the neighbours that it may join.

    It is not part of a state: it exists only during the system call.
    """

    mm: int
    start: int
    end: int
    pgoff: int
    """Page offset of `start`."""
    flags: int
    """All flags, as vma_flags() returns them."""
    file: int
    anon_vma: int = 0
    """That of the VMA which has the pages, or had them before mremap; 0: never faulted."""
    prev: int = 0
    middle: int = 0
    """The VMA that the range is part of, or 0 (called `vma` in v6.12)."""
    next: int = 0
    target: int = 0
    """The neighbour that grows over a free range."""
    copied_from: int = 0
    """The VMA that mremap copies, or 0 (since v6.19)."""
    just_expand: bool = False
    """Only `prev` may grow (VMG_FLAG_JUST_EXPAND in v6.12): do_brk_flags()."""


def is_mergeable_vma(st: "Kernel", vmg: VmaMergeStruct, vma: int) -> bool:
    """Return whether neighbour `vma` has the same flags and file; is_mergeable_vma(), mm/vma.c."""
    if vma_flags(st, vma) != vmg.flags:
        passed(st, "no merge: vm_flags")
        return False
    if st.vma[vma].vm_file != vmg.file:
        passed(st, "no merge: the files differ")
        return False
    return True


def can_vma_merge_left(st: "Kernel", vmg: VmaMergeStruct) -> bool:
    """Return whether `prev` may grow up over the range; can_vma_merge_left(), mm/vma.c."""
    prev = vmg.prev
    if prev == 0 or st.vma[prev].vm_end != vmg.start:
        return False
    if not is_mergeable_vma(st, vmg, prev):
        return False
    if linear_page_index(st, prev, vmg.start) != vmg.pgoff:
        passed(st, "no merge left: vm_pgoff")
        return False
    return st.scheme.is_mergeable_anon_vma(st, prev, vmg.anon_vma, vmg.middle, vmg.copied_from)


def can_vma_merge_right(st: "Kernel", vmg: VmaMergeStruct) -> bool:
    """Return whether `next` may grow down over the range; can_vma_merge_right(), mm/vma.c."""
    following = vmg.next
    if following == 0 or st.vma[following].vm_start != vmg.end:
        return False
    if not is_mergeable_vma(st, vmg, following):
        return False
    if st.vma[following].vm_pgoff != vmg.pgoff + vmg.end - vmg.start:
        passed(st, "no merge right: vm_pgoff")
        return False
    return st.scheme.is_mergeable_anon_vma(
        st, following, vmg.anon_vma, vmg.middle, vmg.copied_from
    )


def vma_merge_new_range(st: "Kernel", vmg: VmaMergeStruct) -> int:
    """Grow neighbours over a free range; return the VMA that grew, or 0.

    vma_merge_new_range(), mm/vma.c; cases 1, 2, 3. If an allocation fails, nothing merges.
    """
    vmg.prev = vma_prev(st, vmg.mm, vmg.start)
    vmg.next = st.vma[vmg.prev].vm_next if vmg.prev else st.mm[vmg.mm].mmap
    left = can_vma_merge_left(st, vmg)
    right = not vmg.just_expand and can_vma_merge_right(st, vmg)
    # A range without an anon_vma fits both neighbours, even if these do not fit each other.
    if left and right and not st.scheme.are_anon_vmas_compatible(st, vmg.prev, vmg.next):
        passed(st, "a new range joins one side only: anon_vmas differ")
        right = False
    if not left and not right:
        return 0
    if left and right:
        passed(st, "merge case 1")
    else:
        passed(st, "merge case 2" if left else "merge case 3")
    if vmg.file:
        passed(st, "a new range of a file joins a neighbour")
    if right:
        vmg.end = st.vma[vmg.next].vm_end
        vmg.target = vmg.next
    if left:
        vmg.start = st.vma[vmg.prev].vm_start
        vmg.pgoff = st.vma[vmg.prev].vm_pgoff
        vmg.target = vmg.prev
    if vma_expand(st, vmg):
        return 0
    return vmg.target


def vma_expand(st: "Kernel", vmg: VmaMergeStruct) -> int:
    """Grow `target` over the range, and remove `next` if that ends there. Return 0 or -ENOMEM.

    vma_expand(), mm/vma.c.
    """
    target = vmg.target
    gone = vmg.next if target != vmg.next else 0
    if gone and st.vma[gone].vm_end != vmg.end:
        gone = 0
    # Calls that may fail come before any range changes, so a failure only means "no merge".
    faulted = st.vma[target].anon_vma
    if gone and st.scheme.dup_anon_vma(st, target, gone, target):
        return -ENOMEM
    # mremap will move pages here that are in the anon_vmas of its source (61f67c230a5e).
    if (
        vmg.copied_from
        and st.scheme.era.inherits_copied_from
        and st.scheme.dup_anon_vma(st, target, vmg.copied_from, target)
    ):
        return -ENOMEM
    if vma_prealloc(st, target, faulted):
        return -ENOMEM
    t = st.vma[target]
    if st.scheme.era.end_unlocked and gone == 0 and vmg.start == t.vm_start:
        move_end(st, target, vmg.end)
    else:
        range_changes(st, target, gone)
        t.vm_pgoff = st.scheme.merge_pgoff(st, target, vmg.start)
        t.vm_start = vmg.start
        t.vm_end = vmg.end
        range_changed(st, target, gone)
    if gone:
        # Its chain is freed with it: the target has the same chain, or has just got a copy.
        remove_vma(st, vmg.mm, gone)
    if vmg.copied_from == 0:
        tell(st, "expand", target, gone)
    return 0


def dup_anon_vma(st: "Kernel", dst: int, src: int, adjusted: int) -> int:
    """Do all that may fail in a merge of `src` into `dst`. Return 0 or -ENOMEM.

    dup_anon_vma() and vma_iter_prealloc(), mm/vma.c.
    """
    faulted = st.vma[dst].anon_vma
    if st.scheme.dup_anon_vma(st, dst, src, adjusted):
        return -ENOMEM
    return vma_prealloc(st, dst, faulted)


def vma_prealloc(st: "Kernel", dst: int, faulted: int) -> int:
    """Allocate for the tree of VMAs; `dst` had the anon_vma `faulted` before the merge.

    Return 0, or -ENOMEM after `dst` is again as it was.
    """
    if st.scheme.vma_iter_prealloc(st):
        if faulted == 0:
            st.scheme.undo_dup_anon_vma(st, dst)
        return -ENOMEM
    return 0


def move_end(st: "Kernel", vma: int, end: int) -> None:
    """Grow only at the end, on which no index depends; vma_adjust(), v2.6.32 (252c5f94d94)."""
    if st.scope.files:
        vma_prepare_file(st, vma, 0)
    st.vma[vma].vm_end = end
    if st.scope.files:
        vma_complete_file(st, vma, 0)


def vma_merge_existing_range(st: "Kernel", vmg: VmaMergeStruct) -> int:
    """Join a range of `middle` to a neighbour; return that neighbour, 0 or -ENOMEM.

    vma_merge_existing_range(), mm/vma.c; cases 4 … 8.
    """
    m = st.vma[vmg.middle]
    vmg.prev = vma_prev(st, vmg.mm, m.vm_start)
    vmg.next = m.vm_next
    left = vmg.start == m.vm_start and can_vma_merge_left(st, vmg)
    right = vmg.end == m.vm_end and can_vma_merge_right(st, vmg)
    if left and right and not st.scheme.are_anon_vmas_compatible(st, vmg.prev, vmg.next):
        passed(st, "a middle joins one side only: anon_vmas differ")
        right = False
    if vmg.file and (left or right):
        passed(st, "a changed range of a file joins a neighbour")
    if left and right:
        return _merge_both(st, vmg)
    if left:
        return _merge_left(st, vmg)
    if right:
        return _merge_right(st, vmg)
    return 0


def _merge_both(st: "Kernel", vmg: VmaMergeStruct) -> int:
    passed(st, "merge case 6")
    prev = vmg.prev
    source = st.scheme.merge_source(st, vmg.middle, vmg.next)
    if st.vma[prev].anon_vma == 0 and st.vma[source].anon_vma:
        passed(st, "case 6 imports a chain")
    if dup_anon_vma(st, prev, source, prev):
        return -ENOMEM
    range_changes(st, prev, source)
    st.vma[prev].vm_end = st.vma[vmg.next].vm_end
    range_changed(st, prev, source)
    remove_vma(st, vmg.mm, vmg.middle)
    remove_vma(st, vmg.mm, vmg.next)
    tell(st, "merge", prev, vmg.middle, vmg.next)
    return prev


def _merge_left(st: "Kernel", vmg: VmaMergeStruct) -> int:
    prev = vmg.prev
    middle = vmg.middle
    if dup_anon_vma(st, prev, middle, prev):
        return -ENOMEM
    whole = vmg.end == st.vma[middle].vm_end
    passed(st, "merge case 7" if whole else "merge case 5")
    range_changes(st, prev, middle)
    m = st.vma[middle]
    st.vma[prev].vm_end = vmg.end
    if not whole:
        m.vm_pgoff = st.scheme.merge_pgoff(st, middle, vmg.end)
        m.vm_start = vmg.end
    range_changed(st, prev, middle)
    if whole:
        remove_vma(st, vmg.mm, middle)
    tell(st, "merge", prev, middle)
    return prev


def _merge_right(st: "Kernel", vmg: VmaMergeStruct) -> int:
    following = vmg.next
    middle = vmg.middle
    whole = vmg.start == st.vma[middle].vm_start
    # The last argument is the VMA for which vma_adjust() was called, until v6.1.
    if dup_anon_vma(st, following, middle, following if whole else middle):
        return -ENOMEM
    passed(st, "merge case 8" if whole else "merge case 4")
    range_changes(st, following, middle)
    n = st.vma[following]
    n.vm_pgoff = st.scheme.merge_pgoff(st, following, vmg.start)
    n.vm_start = vmg.start
    if not whole:
        st.vma[middle].vm_end = vmg.start
    range_changed(st, following, middle)
    if whole:
        remove_vma(st, vmg.mm, middle)
    tell(st, "merge", following, middle)
    return following


def vma_modify(st: "Kernel", vma: int, start: int, end: int, flags: int) -> int:
    """Merge or split, so that `start` … `end` - 1 can get `flags`. Return its VMA or -ENOMEM.

    vma_modify(), mm/vma.c. A neighbour that has these flags takes the range if it may; otherwise
    the range becomes a VMA of its own by splits at both ends.
    """
    v = st.vma[vma]
    mm = v.vm_mm
    vmg = VmaMergeStruct(
        mm=mm,
        start=start,
        end=end,
        pgoff=linear_page_index(st, vma, start),
        flags=flags | vma_flags(st, vma) & VM_SEPARATE,
        file=v.vm_file,
        anon_vma=v.anon_vma,
        middle=vma,
    )
    # If no neighbour takes the range, it has to become a VMA of its own.
    merged = vma_merge_existing_range(st, vmg)
    if merged:
        return merged
    if v.vm_start < start and split_vma(st, mm, vma, start, new_below=True):
        return -ENOMEM
    if v.vm_end > end and split_vma(st, mm, vma, end, new_below=False):
        return -ENOMEM
    return vma
