"""anon_vma, its later kernels: v2.6.14 … v2.6.33. A class where behaviour changed, else a row.

These kernels changed little for the pages that rmap has to find. Most changes are about locks::

    v2.6.14   fork copies only VMAs with an anon_vma; the walker no longer checks rss
    v2.6.15   page_table_lock is split, so a VMA leaves its lists before its page tables are freed
    v2.6.16   page_add_new_anon_rmap() for a page that no other process can see; MADV_DONTFORK
    v2.6.18   the list is in the order of forks: with swapless migration a walk must not miss a
              VMA, and remove_migration_ptes() must visit the parent first
    v2.6.21   page_lock_anon_vma() stays in its RCU section, for preemptible RCU
    v2.6.23   the stack of a new image is moved down (shift_arg_pages())
    v2.6.28   a new anon_vma is locked too: its memory may have been an anon_vma before (E71)
    v2.6.32   a VMA that only grows at its end grows without the lock; KSM

All of them have the hole of mremap (E04). Left out: RCU, split locks, page tables and KSM, so
v2.6.15 and v2.6.21 behave here like the kernel before.

Sources: as in anon_vma.py; 8f4f8c164cb, 34bbd704051 and d9d332e0874 from
docs/reference/spec/anon_vma.md.
"""

from typing import TYPE_CHECKING, ClassVar

import attrs

from rmapcheck.model.era import Row
from rmapcheck.model.i_mmap.list import IMmap
from rmapcheck.model.i_mmap.prio_tree import IMmapPrioTree
from rmapcheck.model.machine.locks import ANON_VMA_LOCK, assert_held_write
from rmapcheck.model.schemes.anon_vma import AnonVma269

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State

ERA_2614 = attrs.evolve(AnonVma269.era, kernels="v2.6.14")
ERA_2616 = attrs.evolve(
    ERA_2614, kernels="v2.6.16 … v2.6.17", lacks=("exec_shift", "wipeonfork", "dontunmap")
)
ERA_2623 = attrs.evolve(ERA_2616, kernels="v2.6.23 … v2.6.27", lacks=("wipeonfork", "dontunmap"))
ERA_2628 = attrs.evolve(ERA_2623, kernels="v2.6.28 … v2.6.31", locked_frees_slot=True)


class AnonVma2614(AnonVma269):
    """v2.6.14: fork leaves a VMA without anon_vma to later faults (E04 loses data)."""

    name = "anon_vma-2.6.14"
    title = "anon_vma with lazy fork"
    era = ERA_2614
    rows: ClassVar[tuple[Row, ...]] = (
        Row(
            "anon_vma-2.6.15",
            "anon_vma with split page_table_lock",
            "v2.6.15: VMAs leave list and tree before their page tables are freed "
            "(8f4f8c164cb, E04).",
            attrs.evolve(ERA_2614, kernels="v2.6.15"),
        ),
        Row(
            "anon_vma-2.6.16",
            "anon_vma with MADV_DONTFORK",
            "v2.6.16 and v2.6.17: page_add_new_anon_rmap(), MADV_DONTFORK (E04).",
            ERA_2616,
        ),
    )
    i_mmap: ClassVar[IMmap] = IMmapPrioTree()

    def fork_copies(self, st: "State", pvma: int) -> bool:
        """Return whether the VMA has an anon_vma, or is nonlinear (d992895ba2b2).

        Later faults map the pages of other VMAs. Of a nonlinear VMA only the entries tell which
        page is where.
        """
        return st.vma[pvma].anon_vma != 0 or st.vma[pvma].vm_nonlinear != 0


class AnonVma2618(AnonVma2614):
    """v2.6.18 … v2.6.20: the list is in the order of forks, which page migration needs (E04)."""

    name = "anon_vma-2.6.18"
    title = "anon_vma with the list in order"
    era = attrs.evolve(ERA_2616, kernels="v2.6.18 … v2.6.20")
    rows: ClassVar[tuple[Row, ...]] = (
        Row(
            "anon_vma-2.6.21",
            "anon_vma under preemptible RCU",
            "v2.6.21 and v2.6.22: the RCU section lasts until the lock is dropped "
            "(34bbd704051, E04).",
            attrs.evolve(ERA_2616, kernels="v2.6.21 … v2.6.22"),
        ),
        Row(
            "anon_vma-2.6.23",
            "anon_vma with stacks that move",
            "v2.6.23 … v2.6.27: exec moves the stack (b6a2fea39318, E04).",
            ERA_2623,
        ),
    )

    def list_add(self, st: "State", anon_vma: int, vma: int) -> None:
        """Insert `vma` at the tail, behind its parent (0697212a411c)."""
        st.vma[vma].anon_vma_node = 0
        last = st.anon_vma[anon_vma].head
        if last == 0:
            st.anon_vma[anon_vma].head = vma
            return
        while st.vma[last].anon_vma_node:
            last = st.vma[last].anon_vma_node
        st.vma[last].anon_vma_node = vma


class AnonVma2628(AnonVma2618):
    """v2.6.28 … v2.6.31: a new anon_vma is locked as well (d9d332e0874, E04)."""

    name = "anon_vma-2.6.28"
    title = "anon_vma, locked from the first"
    era = ERA_2628
    rows: ClassVar[tuple[Row, ...]] = (
        Row(
            "anon_vma-2.6.32",
            "anon_vma with ends that move unlocked",
            "v2.6.32 and v2.6.33: no lock where only the end of a VMA moves (252c5f94d94, E04).",
            attrs.evolve(ERA_2628, kernels="v2.6.32 … v2.6.33", end_unlocked=True),
        ),
    )

    def locks_fresh(self) -> bool:
        """Return True: a walker may still use this memory as the anon_vma that it was before."""
        return True

    def assign(self, st: "State", vma: int, anon_vma: int) -> None:
        """Check that the lock of the anon_vma is held, even if it is new."""
        assert_held_write(st, ANON_VMA_LOCK, anon_vma, "a VMA joins the list")
        super().assign(st, vma, anon_vma)
