"""anon_vma_chain: every process has anon_vmas of its own (v2.6.34 … today).

Before, one anon_vma served a VMA and all its copies in all descendants. To find the one entry of a
page, a walk visited every process forked from the first. Rik van Riel gave the VMA of each process
an anon_vma of its own (5beb49305251, 2010): the walk for a page that only the child maps visits
the child alone. A page that was shared before the fork is still in the parent's anon_vma, so a
walk must find the child's VMA from there as well. VMAs and anon_vmas thus form a graph. An
anon_vma_chain (AVC) is one of its edges, and is in two lists at once::

        vma (parent) ──avc── anon_vma A          page written before fork:   mapping = A
                              │                  page written by the child:  mapping = B
        vma (child) ───avc────┘
             └─────────avc── anon_vma B (parent A, root A)

    vma->anon_vma_chain         list of the VMA's AVCs, newest anon_vma first (same_vma)
    anon_vma->head              list, since v3.7 interval tree by vm_pgoff (same_anon_vma)

So a VMA that maps a page must have an AVC to the anon_vma in page->mapping, and its vm_pgoff must
lead the walk to page->index. What went wrong was the copying of these chains (B01 … B04, all in
one week of April 2010), their growth over generations of forks (B19), the reuse that limits the
growth (B23, CVE-2022-42703), and merges that join VMAs with different chains (B28, B29). Each of
these is one decision below.

Left out: KSM, migration and the references that they need (here refcount counts the tree, and of a
root its family, as in v2.6.39 and later; v2.6.36 called it external_refcount), huge pages, memory
policies. What is left out of one era only is named in the file of that era.

Sources: mm/rmap.c and mm/mmap.c of v2.6.34-rc1, v2.6.34, v2.6.36, v3.0.8, v3.19.8, v5.10.7,
v6.4.6, v6.12, v6.17, v7.1.5, read for each era.
"""

from typing import TYPE_CHECKING, ClassVar

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.heap import kmem_cache_alloc, kmem_cache_free
from rmapcheck.model.machine.locks import ANON_VMA_LOCK, acquire, assert_held_write, release
from rmapcheck.model.machine.state import anon_vma_compatible
from rmapcheck.model.scheme import VMA_OP_FORK, VMA_OP_MERGE_UNFAULTED, Scheme
from rmapcheck.model.schemes import anon_vma_pages as pages
from rmapcheck.model.schemes.anon_vma_graph import (
    AnonVma,
    AnonVmaChain,
    anon_vma_chain_assign,
    chain_is_singular,
    chain_length,
    chain_nth,
)
from rmapcheck.model.schemes.same_anon_vma import AvcFifo

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State


class AvcBase(Scheme):
    """What all eras have in common."""

    same_anon_vma: ClassVar[AvcFifo] = AvcFifo()
    """The container of an anon_vma's AVCs, anon_vma->head."""
    merges_with_fork_child: ClassVar[bool] = True
    """A never-faulted VMA may merge with a fork child's VMA (until 965f55dea0e3, v3.0)."""
    structs = (AnonVma, AnonVmaChain)
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "vma": ("anon_vma", "anon_vma_chain"),
        "folio": ("mapcount", "mapping", "index"),
        "anon_vma": ("head",),
    }
    invariants: ClassVar[tuple[str, ...]] = (
        "mapcount",
        "chain_symmetry",
        "active_in_chain",
        "chain_order",
        "same_anon_vma_same_chain",
        "anon_vma_lifetime",
        "coverage",
        "mapping_alive",
    )
    goals: ClassVar[tuple[str, ...]] = ("chain of three", "neighbour's anon_vma adopted")
    maps_files = True
    sizes: ClassVar[dict[str, tuple[int, int]]] = {
        "anon_vma": (12, 24),
        "anon_vma_chain": (28, 56),
    }

    # Decisions.

    def lock_of(self, st: "State", anon_vma: int) -> int:
        """Return the anon_vma whose lock protects the AVCs of `anon_vma`."""
        raise NotImplementedError

    def shared_anon_vma(self, st: "State", vma: int) -> int:
        """Return the anon_vma for a page that may be shared already."""
        raise NotImplementedError

    def reusable_anon_vma(self, st: "State", old: int, a: int, b: int) -> int:
        """Return the anon_vma of `old` if the other of two adjacent VMAs may adopt it, or 0.

        `a` and `b` are the two, in order of addresses; `old` is one of them. reusable_anon_vma(),
        mm/mmap.c: mprotect must be able to make the two VMAs one, and `old` must have exactly one
        AVC (d0e9fe1758f2, v2.6.34-rc4).
        """
        if not anon_vma_compatible(st, a, b):
            return 0
        anon_vma = st.vma[old].anon_vma
        if anon_vma and chain_is_singular(st, old):
            passed(st, "next's anon_vma adopted" if old == b else "prev's anon_vma adopted")
            return anon_vma
        if anon_vma:
            passed(st, "no anon_vma adopted from a fork child")
        return 0

    def clone_nth(self, length: int, i: int) -> int:
        """Return the number of the AVC of the source that is copied in step `i` of `length`.

        It starts at the tail. Each copy is inserted at the head, so the order stays the same
        (646d87b481da).
        """
        return length - 1 - i

    def adjust_source(self, exporter: int, adjusted: int) -> int:
        """Return the VMA whose chain is copied in a merge: the exporter's (287d97ac0321)."""
        return exporter

    def insert(self, st: "State", anon_vma: int, avc: int) -> None:
        """Insert an AVC into the list or tree of its anon_vma."""
        self.assert_locked(st, anon_vma, "an AVC is linked")
        self.same_anon_vma.insert(st, anon_vma, avc)

    # mm/rmap.c

    def assert_locked(self, st: "State", anon_vma: int, what: str) -> None:
        """Report an error if `what` is done without the lock for the AVCs of `anon_vma`."""
        assert_held_write(st, ANON_VMA_LOCK, self.lock_of(st, anon_vma), what)

    def anon_vma_alloc(self, st: "State") -> int:
        """Return a new anon_vma that is its own root and parent, or 0."""
        return kmem_cache_alloc(st, st.anon_vma)

    def remove(self, st: "State", avc: int) -> None:
        """Remove an AVC from its anon_vma; list_del(), anon_vma_interval_tree_remove()."""
        anon_vma = st.anon_vma_chain[avc].anon_vma
        self.assert_locked(st, anon_vma, "an AVC is unlinked")
        self.same_anon_vma.remove(st, anon_vma, avc)

    def anon_vma_chain_link(self, st: "State", vma: int, avc: int, anon_vma: int) -> None:
        """Insert an AVC into both lists; anon_vma_chain_link(), mm/rmap.c."""
        anon_vma_chain_assign(st, vma, avc, anon_vma)
        self.insert(st, anon_vma, avc)

    def find_mergeable_anon_vma(self, st: "State", vma: int) -> int:
        """Return a neighbour's anon_vma that `vma` may adopt, or 0; mm/mmap.c (mm/vma.c)."""
        v = st.vma[vma]
        # With one anon_vma for both, they can merge as soon as their protections are equal.
        near = v.vm_next
        if near:
            anon_vma = self.reusable_anon_vma(st, near, vma, near)
            if anon_vma:
                return anon_vma
        near = st.mm[v.vm_mm].mmap
        while near and st.vma[near].vm_next != vma:
            near = st.vma[near].vm_next
        if near:
            return self.reusable_anon_vma(st, near, near, vma)
        return 0

    def anon_vma_prepare(self, st: "State", vma: int) -> int:
        """Give `vma` its first anon_vma, a neighbour's if possible; anon_vma_prepare()."""
        if st.vma[vma].anon_vma:
            return 0
        # Allocations may sleep, so they come before the lock.
        avc = kmem_cache_alloc(st, st.anon_vma_chain)
        if avc == 0:
            return -ENOMEM
        anon_vma = self.find_mergeable_anon_vma(st, vma)
        if anon_vma:
            passed(st, "neighbour's anon_vma adopted")
        else:
            anon_vma = self.anon_vma_alloc(st)
            if anon_vma == 0:
                kmem_cache_free(st, st.anon_vma_chain, avc)
                return -ENOMEM
            self.count_root(st, anon_vma)
            passed(st, "a root anon_vma is made")
        # Other processes may walk an adopted anon_vma now.
        lock = self.lock_of(st, anon_vma)
        acquire(st, ANON_VMA_LOCK, lock)
        st.vma[vma].anon_vma = anon_vma
        anon_vma_chain_assign(st, vma, avc, anon_vma)
        self.insert_prepared(st, anon_vma, avc)
        self.count_active(st, anon_vma, 1)
        release(st, ANON_VMA_LOCK, lock)
        return 0

    def insert_prepared(self, st: "State", anon_vma: int, avc: int) -> None:
        """Insert the AVC that anon_vma_prepare() has assigned."""
        self.insert(st, anon_vma, avc)

    def anon_vma_clone(self, st: "State", dst: int, src: int, operation: int) -> int:
        """Give `dst` an AVC for each AVC of `src`; anon_vma_clone(). Return 0 or -ENOMEM."""
        length = chain_length(st, src)
        for i in range(length):
            pavc = chain_nth(st, src, self.clone_nth(length, i))
            anon_vma = st.anon_vma_chain[pavc].anon_vma
            avc = kmem_cache_alloc(st, st.anon_vma_chain)
            if avc == 0:
                self.undo_clone(st, dst)
                return -ENOMEM
            lock = self.lock_of(st, anon_vma)
            acquire(st, ANON_VMA_LOCK, lock)
            self.anon_vma_chain_link(st, dst, avc, anon_vma)
            release(st, ANON_VMA_LOCK, lock)
            # Only fork may choose another anon_vma for `dst`; after a split or merge both VMAs
            # have the same.
            if operation == VMA_OP_FORK:
                self.consider_reuse(st, dst, src, anon_vma)
        # Counted last, so that a clone that fails need not uncount anything.
        if st.vma[dst].anon_vma:
            self.count_active(st, st.vma[dst].anon_vma, 1)
        if length > 1:
            passed(st, "chain of two cloned")
        return 0

    def undo_clone(self, st: "State", dst: int) -> None:
        """Remove the AVCs of a clone that ran out of memory."""
        self.unlink_anon_vmas(st, dst)

    def consider_reuse(self, st: "State", dst: int, src: int, anon_vma: int) -> None:
        """Let fork choose `anon_vma` as the child's own, if it is idle (since v3.19)."""

    def anon_vma_fork(self, st: "State", vma: int, pvma: int) -> int:
        """Give the child's VMA the parent's chain and an anon_vma of its own; anon_vma_fork()."""
        if not self.fork_shares(st, vma, pvma):
            return 0
        # Shared pages are in the parent's anon_vmas, so walks from there must visit the child.
        if self.anon_vma_clone(st, vma, pvma, VMA_OP_FORK):
            return -ENOMEM
        # The clone has found an idle anon_vma, which is the child's own now.
        if st.vma[vma].anon_vma:
            passed(st, "anon_vma reused at fork")
            return 0
        return self.fork_own(st, vma, pvma)

    def fork_shares(self, st: "State", vma: int, pvma: int) -> bool:
        """Return whether the parent may have pages to share; the child starts without anon_vma.

        A VMA that was never faulted has no pages.
        """
        if st.vma[pvma].anon_vma == 0:
            return False
        # The copied struct has the parent's anon_vma. New pages of the child must not use that.
        st.vma[vma].anon_vma = 0
        return True

    def fork_own(self, st: "State", vma: int, pvma: int) -> int:
        """Give the child an anon_vma for the pages that it writes, so that walks skip the parent.

        Return 0 or -ENOMEM.
        """
        anon_vma = self.anon_vma_alloc(st)
        if anon_vma == 0:
            self.undo_fork(st, vma)
            return -ENOMEM
        avc = kmem_cache_alloc(st, st.anon_vma_chain)
        if avc == 0:
            self.put_anon_vma(st, anon_vma)
            self.undo_fork(st, vma)
            return -ENOMEM
        self.fork_link(st, vma, pvma, anon_vma, avc)
        return 0

    def undo_fork(self, st: "State", vma: int) -> None:
        """Remove the clone of a fork that finds no memory for the child's own anon_vma."""
        self.unlink_anon_vmas(st, vma)

    def fork_link(self, st: "State", vma: int, pvma: int, anon_vma: int, avc: int) -> None:
        """Make the new `anon_vma` the child's own, linked by `avc`. Nothing can fail here."""
        # Set the root before the AVC is linked, since its lock is needed for that (v2.6.36).
        self.join_family(st, vma, pvma, anon_vma)
        lock = self.lock_of(st, anon_vma)
        acquire(st, ANON_VMA_LOCK, lock)
        self.anon_vma_chain_link(st, vma, avc, anon_vma)
        self.count_child(st, anon_vma)
        release(st, ANON_VMA_LOCK, lock)
        if chain_length(st, vma) > 2:
            passed(st, "chain of three")

    def join_family(self, st: "State", vma: int, pvma: int, anon_vma: int) -> None:
        """Make the child's new `anon_vma` a descendant of the parent's."""
        st.vma[vma].anon_vma = anon_vma

    def dup_anon_vma(self, st: "State", dst: int, src: int, adjusted: int) -> int:
        """Give a never-faulted `dst`, which takes over pages of `src`, the chain of `src`.

        Return 0 or -ENOMEM. The importer of vma_adjust(), mm/mmap.c; dup_anon_vma(), mm/vma.c
        since v6.3.
        """
        # If `dst` has an anon_vma, it is the same, with the same chain, or they would not merge.
        if st.vma[src].anon_vma == 0 or st.vma[dst].anon_vma:
            return 0
        st.vma[dst].anon_vma = st.vma[src].anon_vma
        source = self.adjust_source(src, adjusted)
        if self.anon_vma_clone(st, dst, source, VMA_OP_MERGE_UNFAULTED):
            # With an anon_vma but no chain, the VMA would look prepared to the next fault.
            st.vma[dst].anon_vma = 0
            return -ENOMEM
        passed(st, "merge imports a chain")
        return 0

    def put_anon_vma(self, st: "State", anon_vma: int) -> None:
        """Drop a reference to an anon_vma without AVCs; the last reference frees it."""
        raise NotImplementedError

    # Counters that later eras keep.

    def count_root(self, st: "State", anon_vma: int) -> None:
        """Count a new anon_vma as a root."""

    def count_active(self, st: "State", anon_vma: int, by: int) -> None:
        """Count `by` VMAs more (or less) whose own anon_vma is `anon_vma`."""

    def count_child(self, st: "State", anon_vma: int) -> None:
        """Count a forked anon_vma at its parent, after it has been linked."""

    def fork_copies(self, st: "State", pvma: int) -> bool:
        return st.vma[pvma].anon_vma != 0 or st.vma[pvma].vm_nonlinear != 0

    # VMAs that merge.

    def is_mergeable_anon_vma(
        self, st: "State", tgt: int, anon_vma: int, middle: int, copied_from: int
    ) -> bool:
        """Return whether both are equal, or one of them is 0 and the merge is allowed.

        is_mergeable_anon_vma(), mm/mmap.c. Since v3.0, if one is 0, the neighbour must have
        exactly one AVC (965f55dea0e3). A never-faulted neighbour has none, so it never takes over
        faulted pages.
        """
        other = st.vma[tgt].anon_vma
        if other == 0 or anon_vma == 0:
            if self.merges_with_fork_child or chain_is_singular(st, tgt):
                return True
        return other == anon_vma

    def are_anon_vmas_compatible(self, st: "State", prev: int, next_: int) -> bool:
        a = st.vma[prev].anon_vma
        b = st.vma[next_].anon_vma
        return a == 0 or b == 0 or a == b

    # What a page stores, and the walk: anon_vma_pages.py.

    set_anon = pages.set_anon
    folio_add_new_anon_rmap = pages.folio_add_new_anon_rmap
    folio_dup_anon_rmap = pages.folio_dup_anon_rmap
    folio_add_file_rmap = pages.folio_add_file_rmap
    folio_dup_file_rmap = pages.folio_dup_file_rmap
    folio_remove_rmap = pages.folio_remove_rmap
    folio_move_anon_rmap = pages.folio_move_anon_rmap
    walk_lock = pages.walk_lock
    rmap_lock = pages.rmap_lock
    rmap_unlock = pages.rmap_unlock
    rmap_walk = pages.rmap_walk
