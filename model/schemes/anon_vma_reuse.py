"""anon_vma_chain that stops growing: reuse at fork, merge rules, today's clone (since v3.19).

A server that forks, lets the parent exit, and goes on in the child, added one anon_vma to its
chain at each turn, for ever (B19). Since v3.19 fork may give the child an *idle* anon_vma of an
ancestor instead of a new one: one that is not any VMA's own, and has at most one child left::

    A ── B ── C      B's process has exited: B is in the chains of C's VMA and its children,
             ▲           but nobody's own. The next fork from C takes B again.
             └─ own anon_vma of the new child

The first rule counted children and VMAs in one number, `degree`; an abandoned leaf then looked
free twice, and two VMAs with different chains got the same anon_vma (B23, CVE-2022-42703). Since
v6.0 there are two counters. v6.16 let never-faulted VMAs merge with faulted ones on either side,
and forgot mremap (B29, CVE-2026-23077). v7.0 builds a clone unseen and publishes it under the
lock, so that a failed allocation has nothing to tear down.

What the model leaves out, and its sources, are named in anon_vma_chain.py.
"""

from typing import TYPE_CHECKING, ClassVar

import attrs

from rmapcheck.model.branches import passed
from rmapcheck.model.i_mmap.list import IMmap
from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.heap import kmem_cache_alloc, kmem_cache_free
from rmapcheck.model.machine.locks import ANON_VMA_LOCK, acquire, release
from rmapcheck.model.scheme import VMA_OP_FORK
from rmapcheck.model.schemes.anon_vma_graph import chain_is_singular, chain_length, chain_nth
from rmapcheck.model.schemes.anon_vma_root import AvcRoot, AvcTree
from rmapcheck.model.schemes.same_anon_vma import AvcFifo

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State


class AvcDegree(AvcRoot):
    """v3.19 … v6.0-rc3: fork reuses an idle anon_vma, so that chains stop growing."""

    name = "avc-3.19"
    title = "anon_vma_chain with reuse by degree"
    era = attrs.evolve(
        AvcTree.era, kernels="v3.19 … v6.0-rc3", flaws=("B23",), lacks=("remap_file_pages",)
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
        """Tell whether a forked VMA may take `anon_vma`; `own` is its parent VMA's.

        At most one user is left, child or VMA (7a3ef208e662).
        """
        degree: int = st.anon_vma[anon_vma].degree
        return anon_vma != own and degree < 2

    def consider_reuse(self, st: "State", dst: int, src: int, anon_vma: int) -> None:
        if st.vma[dst].anon_vma == 0 and self.may_reuse(st, anon_vma, st.vma[src].anon_vma):
            st.vma[dst].anon_vma = anon_vma

    def undo_clone(self, st: "State", dst: int) -> None:
        """The VMA was not counted yet, so it must not be uncounted (3fe89b3e2a7b)."""
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
        """A fresh anon_vma counts its first VMA at once."""
        st.anon_vma[anon_vma].degree = 1

    def count_active(self, st: "State", anon_vma: int, by: int) -> None:
        st.anon_vma[anon_vma].degree += by

    def count_child(self, st: "State", anon_vma: int) -> None:
        st.anon_vma[st.anon_vma[anon_vma].parent].degree += 1

    def uncount_child(self, st: "State", anon_vma: int) -> None:
        st.anon_vma[st.anon_vma[anon_vma].parent].degree -= 1


class AvcCounters(AvcDegree):
    """v6.0-rc4 … v6.15: children and active VMAs are counted apart (CVE-2022-42703 mended)."""

    name = "avc-6.0"
    title = "anon_vma_chain with two counters"
    era = attrs.evolve(
        AvcDegree.era,
        kernels="v6.0-rc4 … v6.15",
        flaws=(),
        anon_exclusive=True,
        mprotect_unaccounts=True,
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
        """No VMA has it for its own, and it has at most one child (2555283eb40d)."""
        a = st.anon_vma[anon_vma]
        if a.num_active_vmas:
            passed(st, "no reuse: a VMA has the anon_vma for its own")
        elif a.num_children > 1:
            passed(st, "no reuse: the anon_vma has two children")
        idle: bool = a.num_children < 2 and a.num_active_vmas == 0
        return idle

    def count_alloc(self, st: "State", anon_vma: int) -> None:
        """Nobody uses a fresh anon_vma yet."""

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

    With 61f67c230a5e (v6.19, v6.18.8); v6.16 … v6.18.7 had CVE-2026-23077 (B29), and did
    not ask whether the source of mremap's copy is a fork child's (3b617fd3d317, v6.18.8). mremap
    moves ranges over several VMAs since v6.17.
    """

    name = "avc-6.16"
    title = "anon_vma_chain with symmetric merging"
    era = attrs.evolve(
        AvcCounters.era, kernels="v6.16 … v6.19", inherits_copied_from=True, mremap_many=True
    )
    invariants: ClassVar[tuple[str, ...]] = (*AvcCounters.invariants, "merge_symmetric")

    def is_fork_child(self, st: "State", vma: int) -> bool:
        """Tell whether the VMA has inherited anon_vmas; vma_is_fork_child(), mm/vma.c."""
        return vma != 0 and st.vma[vma].anon_vma != 0 and not chain_is_singular(st, vma)

    def is_mergeable_anon_vma(
        self, st: "State", tgt: int, anon_vma: int, middle: int, copied_from: int
    ) -> bool:
        """Whichever side is faulted must not be a fork child (879bca0a2c4f, v6.16)."""
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
    """v7.0 …: a clone is assembled unseen, then published under the lock.

    As read in v7.1.5. The order of a clone is the reverse of its source; which anon_vma is the
    oldest no longer depends on it.
    """

    name = "avc-7.0"
    title = "anon_vma_chain, assign then publish"
    era = attrs.evolve(AvcMerge.era, kernels="v7.0 …")
    invariants: ClassVar[tuple[str, ...]] = tuple(
        n for n in AvcMerge.invariants if n != "chain_order"
    )

    def anon_vma_clone(self, st: "State", dst: int, src: int, operation: int) -> int:
        if st.vma[src].anon_vma == 0:
            return 0
        # No lock yet: no walker sees what is only in the list of the VMA.
        pavc = st.vma[src].anon_vma_chain
        while pavc:
            avc = kmem_cache_alloc(st, st.anon_vma_chain)
            if avc == 0:
                self.cleanup_partial_anon_vmas(st, dst)
                return -ENOMEM
            self.anon_vma_chain_assign(st, dst, avc, st.anon_vma_chain[pavc].anon_vma)
            pavc = st.anon_vma_chain[pavc].same_vma
        # From here on nothing can fail.
        self.publish(st, dst, src, operation)
        return 0

    def publish(self, st: "State", dst: int, src: int, operation: int) -> None:
        """Make the assembled chain visible to walkers, from its tail on."""
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
        """Both allocations come before the clone, so that nothing need be torn down after it."""
        # Never faulted: there is no page to share.
        if st.vma[pvma].anon_vma == 0:
            return 0
        # Copied with the struct, it is the parent's; new pages of the child shall not go there.
        st.vma[vma].anon_vma = 0
        anon_vma = self.anon_vma_alloc(st)
        if anon_vma == 0:
            return -ENOMEM
        avc = kmem_cache_alloc(st, st.anon_vma_chain)
        if avc == 0:
            self.put_anon_vma(st, anon_vma)
            return -ENOMEM
        # Shared pages are in the anon_vmas of the parent: walks from there must come by the child.
        error = self.anon_vma_clone(st, vma, pvma, VMA_OP_FORK)
        if error or st.vma[vma].anon_vma:
            # Not needed: the clone has failed, or found an idle anon_vma for the child.
            self.put_anon_vma(st, anon_vma)
            kmem_cache_free(st, st.anon_vma_chain, avc)
            if error == 0:
                passed(st, "anon_vma reused at fork")
            return error
        # Before it is linked, since the lock of its tree is the root's.
        self.join_family(st, vma, pvma, anon_vma)
        lock = self.lock_of(st, anon_vma)
        acquire(st, ANON_VMA_LOCK, lock)
        self.anon_vma_chain_link(st, vma, avc, anon_vma)
        self.count_child(st, anon_vma)
        release(st, ANON_VMA_LOCK, lock)
        if chain_length(st, vma) > 2:
            passed(st, "chain of three")
        return 0
