"""anon_vma_chain that stops growing: reuse at fork, merge rules, today's clone (since v3.19).

Take a server that forks, lets the parent exit, and continues in the child, again and again. Each
fork added one anon_vma to its chain, without limit (B19). Since v3.19 fork may give the child an
*idle* anon_vma of an ancestor instead of a new one. An idle anon_vma is not the own anon_vma of
any VMA, and has at most one child left::

    A ── B ── C      B's process has exited: B is in the chains of C's VMA and its children,
             ▲           but is not any VMA's own. The next fork from C takes B again.
             └─ own anon_vma of the new child

The first rule counted children and VMAs in one number, `degree`. So an abandoned leaf looked idle
twice, and two VMAs with different chains got the same anon_vma (B23, CVE-2022-42703). Since v6.0
there are two counters. v6.16 allowed merges of never-faulted VMAs with faulted ones on either
side, but did not handle mremap (B29, CVE-2026-23077). v7.0 builds a clone where no walker sees it,
and publishes it under the lock, so that a failed allocation leaves nothing to undo.

Left out: v5.10 … v5.18 did not move a page to the writer's anon_vma on reuse; MREMAP_DONTUNMAP
kept the old VMA's chain before v5.12, and v6.17 removed VM_ACCOUNT from that VMA. What else is
left out, and the sources, are in anon_vma_chain.py.
"""

from typing import TYPE_CHECKING, ClassVar

import attrs

from rmapcheck.model.branches import passed
from rmapcheck.model.era import Row
from rmapcheck.model.i_mmap.list import IMmap
from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.heap import kmem_cache_alloc, kmem_cache_free
from rmapcheck.model.machine.locks import ANON_VMA_LOCK, acquire, release
from rmapcheck.model.scheme import VMA_OP_FORK
from rmapcheck.model.schemes.anon_vma_graph import (
    anon_vma_chain_assign,
    chain_is_singular,
    chain_length,
    chain_nth,
)
from rmapcheck.model.schemes.anon_vma_root import AvcRoot, AvcTree
from rmapcheck.model.schemes.same_anon_vma import AvcFifo

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State


class AvcDegree(AvcRoot):
    """v3.19 … v6.0-rc3: fork reuses an idle anon_vma, so that chains stop growing."""

    name = "avc-3.19"
    title = "anon_vma_chain with reuse by degree"
    era = attrs.evolve(
        AvcTree.era,
        kernels="v3.19 … v4.13, v5.7 … v6.0-rc3",
        flaws=("B23",),
        lacks=(),  # v3.19 was the last with remap_file_pages(), which v4.0 only emulates
    )
    rows: ClassVar[tuple[Row, ...]] = (
        Row(
            "avc-4.14",
            "anon_vma_chain with reuse, and wiped VMAs prepared",
            "v4.14 … v5.6: fork prepares an anon_vma for a VMA with VM_WIPEONFORK, and may take "
            "that of a neighbour in the parent (d2cd9ede6e19, 93949bb21bf1; recalled).",
            attrs.evolve(era, kernels="v4.14 … v5.6", wipe_prepares=True),
        ),
    )
    i_mmap: ClassVar[IMmap] = AvcTree.i_mmap
    same_anon_vma: ClassVar[AvcFifo] = AvcTree.same_anon_vma
    merges_with_fork_child = AvcTree.merges_with_fork_child
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        **AvcTree.fields,
        "anon_vma": ("head", "root", "refcount", "parent", "degree"),
    }
    invariants: ClassVar[tuple[str, ...]] = (
        *AvcTree.invariants,
        "anon_vma_counts",
        "bounded_chain",
        "chain_ancestors",
    )
    goals: ClassVar[tuple[str, ...]] = (*AvcTree.goals, "anon_vma reused at fork")

    def may_reuse(self, st: "State", anon_vma: int, own: int) -> bool:
        """Return whether a forked VMA may take `anon_vma`; `own` is that of the parent's VMA.

        At most one user may be left, child or VMA (7a3ef208e662).
        """
        degree: int = st.anon_vma[anon_vma].degree
        return anon_vma != own and degree < 2

    def consider_reuse(self, st: "State", dst: int, src: int, anon_vma: int) -> None:
        if st.vma[dst].anon_vma == 0 and self.may_reuse(st, anon_vma, st.vma[src].anon_vma):
            st.vma[dst].anon_vma = anon_vma

    def undo_clone(self, st: "State", dst: int) -> None:
        """Remove the AVCs without uncounting the VMA, which was not counted (3fe89b3e2a7b)."""
        st.vma[dst].anon_vma = 0
        self.unlink_anon_vmas(st, dst)

    def anon_vma_alloc(self, st: "State") -> int:
        anon_vma = super().anon_vma_alloc(st)
        if anon_vma:
            st.anon_vma[anon_vma].parent = anon_vma
            self.count_alloc(st, anon_vma)
        return anon_vma

    def join_family(self, st: "State", vma: int, pvma: int, anon_vma: int) -> None:
        super().join_family(st, vma, pvma, anon_vma)
        st.anon_vma[anon_vma].parent = st.vma[pvma].anon_vma

    def count_alloc(self, st: "State", anon_vma: int) -> None:
        """Count the first VMA of a new anon_vma at once."""
        st.anon_vma[anon_vma].degree = 1

    def count_active(self, st: "State", anon_vma: int, by: int) -> None:
        st.anon_vma[anon_vma].degree += by

    def count_child(self, st: "State", anon_vma: int) -> None:
        st.anon_vma[st.anon_vma[anon_vma].parent].degree += 1

    def uncount_child(self, st: "State", anon_vma: int) -> None:
        st.anon_vma[st.anon_vma[anon_vma].parent].degree -= 1


ERA_60 = attrs.evolve(
    AvcDegree.era,
    kernels="v6.0-rc4 … v6.0",
    flaws=(),
    lacks=("remap_file_pages",),
    anon_exclusive=True,
)
ERA_61 = attrs.evolve(
    ERA_60,
    kernels="v6.1 … v6.11",
    growth_joins=True,
    brk_only_expands=True,
    mmap_asks_both=False,
    mprotect_unaccounts=True,
)
ERA_612 = attrs.evolve(ERA_61, kernels="v6.12 … v6.15", mmap_asks_both=True, swap_in_writable=True)


class AvcCounters(AvcDegree):
    """v6.0-rc4 … v6.15: separate counts of children and of active VMAs fix CVE-2022-42703."""

    name = "avc-6.0"
    title = "anon_vma_chain with two counters"
    era = ERA_60
    rows: ClassVar[tuple[Row, ...]] = (
        Row(
            "avc-6.1",
            "anon_vma_chain with the maple tree",
            "v6.1 … v6.11: in-place growth also joins the VMA behind (ca3d76b0aa80), brk only "
            "grows the VMA below (2e7ce7d354f2); for mmap the VMA below has to fit the anon_vma "
            "of the VMA above. mprotect uncharges since v6.3.",
            ERA_61,
        ),
        Row(
            "avc-6.12",
            "anon_vma_chain with vma_merge_struct",
            "v6.12 … v6.15: mmap asks both neighbours; swap-in by a read maps a page that is "
            "not shared writable (c18160dba5ff, v6.11).",
            ERA_612,
        ),
    )
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "vma": ("anon_vma", "anon_vma_chain"),
        "folio": ("mapcount", "mapping", "index", "exclusive"),
        "anon_vma": ("head", "root", "refcount", "parent", "num_children", "num_active_vmas"),
    }
    invariants: ClassVar[tuple[str, ...]] = (
        *AvcDegree.invariants,
        "exclusive_once",
        "active_in_one_process",
    )

    def may_reuse(self, st: "State", anon_vma: int, own: int) -> bool:
        """Return whether no VMA has it as its own, and it has at most one child (2555283eb40d)."""
        a = st.anon_vma[anon_vma]
        if a.num_active_vmas:
            passed(st, "no reuse: a VMA has the anon_vma for its own")
        elif a.num_children > 1:
            passed(st, "no reuse: the anon_vma has two children")
        idle: bool = a.num_children < 2 and a.num_active_vmas == 0
        return idle

    def count_alloc(self, st: "State", anon_vma: int) -> None:
        """Count nothing: a new anon_vma has neither children nor VMAs."""

    def count_root(self, st: "State", anon_vma: int) -> None:
        st.anon_vma[anon_vma].num_children += 1

    def join_family(self, st: "State", vma: int, pvma: int, anon_vma: int) -> None:
        super().join_family(st, vma, pvma, anon_vma)
        st.anon_vma[anon_vma].num_active_vmas = 1

    def count_active(self, st: "State", anon_vma: int, by: int) -> None:
        st.anon_vma[anon_vma].num_active_vmas += by

    def count_child(self, st: "State", anon_vma: int) -> None:
        st.anon_vma[st.anon_vma[anon_vma].parent].num_children += 1

    def uncount_child(self, st: "State", anon_vma: int) -> None:
        st.anon_vma[st.anon_vma[anon_vma].parent].num_children -= 1


class AvcMerge(AvcCounters):
    """v6.16 … v6.19: a never-faulted VMA may take over faulted neighbours.

    With 61f67c230a5e (v6.19, v6.18.8). v6.16 … v6.18.7 had CVE-2026-23077 (B29), and did not check
    whether mremap copies from a fork child (3b617fd3d317, v6.18.8). Since v6.17 mremap moves
    ranges that span several VMAs.
    """

    name = "avc-6.16"
    title = "anon_vma_chain with symmetric merging"
    era = attrs.evolve(
        ERA_612, kernels="v6.16 … v6.19", inherits_copied_from=True, mremap_many=True
    )
    invariants: ClassVar[tuple[str, ...]] = (*AvcCounters.invariants, "merge_symmetric")

    def is_fork_child(self, st: "State", vma: int) -> bool:
        """Return whether the VMA has inherited anon_vmas; vma_is_fork_child(), mm/vma.c."""
        return vma != 0 and st.vma[vma].anon_vma != 0 and not chain_is_singular(st, vma)

    def is_mergeable_anon_vma(
        self, st: "State", tgt: int, anon_vma: int, middle: int, copied_from: int
    ) -> bool:
        """Return whether they are equal, or one is 0 and the other not of a fork child.

        Since 879bca0a2c4f (v6.16).
        """
        other = st.vma[tgt].anon_vma
        if other == 0 and anon_vma:
            if self.is_fork_child(st, middle):
                passed(st, "no merge: the range is of a fork child")
                return False
            if self.era.asks_copied_from and self.is_fork_child(st, copied_from):
                passed(st, "no merge: the range is copied from a fork child")
                return False
            passed(st, "a never-faulted neighbour takes faulted pages")
            return True
        if other and anon_vma == 0:
            if self.is_fork_child(st, tgt):
                passed(st, "no merge: the neighbour is a fork child")
                return False
            passed(st, "a faulted neighbour takes a never-faulted range")
            return True
        if other != anon_vma:
            passed(st, "no merge: anon_vmas differ")
        return other == anon_vma


class AvcPublish(AvcMerge):
    """v7.0 …: a clone is built where no walker sees it, then published under the lock.

    As read in v7.1.5. The order of a clone is the reverse of its source; the search for the oldest
    anon_vma no longer depends on the order.
    """

    name = "avc-7.0"
    title = "anon_vma_chain, assign then publish"
    era = attrs.evolve(AvcMerge.era, kernels="v7.0 …")

    def anon_vma_clone(self, st: "State", dst: int, src: int, operation: int) -> int:
        if st.vma[src].anon_vma == 0:
            return 0
        # No lock is needed yet: walkers do not see AVCs that are only in the list of the VMA.
        pavc = st.vma[src].anon_vma_chain
        while pavc:
            avc = kmem_cache_alloc(st, st.anon_vma_chain)
            if avc == 0:
                self.cleanup_partial_anon_vmas(st, dst)
                return -ENOMEM
            anon_vma_chain_assign(st, dst, avc, st.anon_vma_chain[pavc].anon_vma)
            pavc = st.anon_vma_chain[pavc].same_vma
        # From here on nothing can fail.
        self.publish(st, dst, src, operation)
        return 0

    def publish(self, st: "State", dst: int, src: int, operation: int) -> None:
        """Make the new chain visible to walkers, from its tail on."""
        root = self.lock_of(st, st.vma[src].anon_vma)
        acquire(st, ANON_VMA_LOCK, root)
        length = chain_length(st, dst)
        for i in range(length):
            avc = chain_nth(st, dst, length - 1 - i)
            anon_vma = st.anon_vma_chain[avc].anon_vma
            self.insert(st, anon_vma, avc)
            if operation == VMA_OP_FORK:
                self.consider_reuse(st, dst, src, anon_vma)
        if st.vma[dst].anon_vma:
            self.count_active(st, st.vma[dst].anon_vma, 1)
        release(st, ANON_VMA_LOCK, root)
        if length > 1:
            passed(st, "chain of two cloned")

    def cleanup_partial_anon_vmas(self, st: "State", dst: int) -> None:
        """Free AVCs that no walker has seen; cleanup_partial_anon_vmas(), mm/rmap.c."""
        avc = st.vma[dst].anon_vma_chain
        while avc:
            following = st.anon_vma_chain[avc].same_vma
            kmem_cache_free(st, st.anon_vma_chain, avc)
            avc = following
        st.vma[dst].anon_vma_chain = 0
        st.vma[dst].anon_vma = 0

    def anon_vma_fork(self, st: "State", vma: int, pvma: int) -> int:
        """Do both allocations before the clone, so that nothing has to be undone after it."""
        if not self.fork_shares(st, vma, pvma):
            return 0
        anon_vma = self.anon_vma_alloc(st)
        if anon_vma == 0:
            return -ENOMEM
        avc = kmem_cache_alloc(st, st.anon_vma_chain)
        if avc == 0:
            self.put_anon_vma(st, anon_vma)
            return -ENOMEM
        # Shared pages are in the parent's anon_vmas, so walks from there must visit the child.
        error = self.anon_vma_clone(st, vma, pvma, VMA_OP_FORK)
        if error or st.vma[vma].anon_vma:
            # Not needed: the clone has failed, or has found an idle anon_vma for the child.
            self.put_anon_vma(st, anon_vma)
            kmem_cache_free(st, st.anon_vma_chain, avc)
            if error == 0:
                passed(st, "anon_vma reused at fork")
            return error
        self.fork_link(st, vma, pvma, anon_vma, avc)
        return 0
