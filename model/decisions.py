"""Decisions: what the MM core asks the scheme, although they are not about the rmap.

Kernels differed in some of these decisions, and a proposal may differ in any. Each is one method
with the behaviour of most kernels, and most are one line, so that an author overrides one in a
line or two::

    class CopiesAlways(AvcPublish):
        def is_only_user(self, st, folio):
            return False

What differs only by kernel is data: `era`. `Scheme` has these functions as its methods.
"""

from typing import TYPE_CHECKING, ClassVar, Protocol

from rmapcheck.model.machine.structs import VM_SHARED

if TYPE_CHECKING:
    from rmapcheck.model.era import Era
    from rmapcheck.model.machine.state import State


class OfEra(Protocol):
    """What a decision may look at besides the state."""

    era: ClassVar["Era"]


def joins_mmlist_first(self: "OfEra", st: "State") -> bool:
    """Return whether fork puts the child on mmlist before it copies anything; dup_mmap()."""
    return True


def swap_mm_moves_on(self: "OfEra", st: "State") -> bool:
    """Return whether a dying process that is swap_mm passes that on; mmput(), v2.4.16."""
    return True


def is_anon_exclusive(self: "OfEra", st: "State", folio: int) -> bool:
    """Return whether a write fault takes over the page without a look at its references.

    wp_page_reuse() of a page with PageAnonExclusive, do_wp_page(), mm/memory.c, v5.19.
    """
    return self.era.anon_exclusive and st.folio[folio].exclusive != 0


def is_only_user(self: "OfEra", st: "State", folio: int) -> bool:
    """Return whether nobody uses the page but the entry that faults and the swap cache.

    Then a write takes the page over instead of copying it. wp_can_reuse_anon_folio() and
    should_try_to_free_swap(), mm/memory.c, count references; reuse_swap_page() until v5.8
    counted mappings and swap entries. At a swap-in, the entry that faults is counted by neither:
    it is asked for after swap_free() and before the page is mapped.
    """
    f = st.folio[folio]
    return f.refcount <= (2 if f.swap else 1)


def fork_copies(self: "OfEra", st: "State", pvma: int) -> bool:
    """Return whether fork copies the entries of `pvma`, or leaves them to later faults.

    vma_needs_copy(), mm/memory.c: since d992895ba2b2 (v2.6.14) fork copies only entries that a
    fault could not fill in again.
    """
    return True


def fork_copies_pte(self: "OfEra", st: "State", pvma: int, folio: int, entry: int) -> bool:
    """Return whether fork copies an entry of `pvma`, or leaves it to later faults.

    The entry holds page `folio` or swap slot `entry` (the other is 0); both are 0 for the zero
    page and for an entry that holds nothing.
    """
    return True


def fork_write_protects(self: "OfEra", st: "State", pvma: int, folio: int) -> bool:
    """Return whether the next write to a page that fork shares must fault.

    copy_present_page(), mm/memory.c: yes, unless the mapping is shared.
    """
    return st.vma[pvma].vm_flags & VM_SHARED == 0


def merge_source(self: "OfEra", st: "State", middle: int, next_: int) -> int:
    """Return the VMA whose anon_vma the VMA below takes over if all three become one.

    One source is enough: if both have an anon_vma, it is the same, with the same chain.
    vma_merge_existing_range(), mm/vma.c.
    """
    return next_ if st.vma[next_].anon_vma else middle


def merge_pgoff(self: "OfEra", st: "State", vma: int, start: int) -> int:
    """Return the vm_pgoff of a VMA that will begin at `start`, after a merge.

    vma_set_range(), mm/vma.c: indexes of its pages stay correct.
    """
    return st.vma[vma].vm_pgoff + start - st.vma[vma].vm_start


def vma_iter_prealloc(self: "OfEra", st: "State") -> int:
    """Allocate what the tree of VMAs needs for a merge. Return 0 or -ENOMEM.

    vma_iter_prealloc(), mm/vma.c, since v6.1. The model has no such tree, so nothing can fail
    unless a scheme lets it.
    """
    return 0


def growth_may_join(self: "OfEra", st: "State", vma: int) -> bool:
    """Return whether mremap that grows `vma` in place may also join it to the VMA behind."""
    return self.era.growth_joins


def dontunmap_unlinks(self: "OfEra", st: "State", vma: int, start: int, length: int) -> bool:
    """Return whether the VMA that MREMAP_DONTUNMAP keeps leaves the rmap.

    dontunmap_complete(), mm/mremap.c: yes, unless only a part of it was moved. The rest may
    have pages in the same anon_vmas.
    """
    return st.vma[vma].vm_start == start and st.vma[vma].vm_end == start + length


def mprotect_continues(self: "OfEra", st: "State", mm: int, stop: int) -> int:
    """Return where mprotect continues after it has changed a VMA up to `stop`.

    do_mprotect_pkey(), mm/mprotect.c. If the VMA has merged with the one behind it, the kernel
    goes on behind both. The pages in between have the new protection, so that the effect is
    the same.
    """
    return stop
