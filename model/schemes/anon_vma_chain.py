"""anon_vma_chain: every process has anon_vmas of its own (v2.6.34 … today).

Before, one anon_vma served a VMA and all its copies in all descendants, so that finding the one
mapper of a page meant looking at every process forked from the first. Rik van Riel gave each
process's VMA an anon_vma of its own (5beb49305251, 2010): a page that only the child maps is
looked for in the child alone. A page shared since before the fork is still in the parent's
anon_vma, so the child's VMA must be found from there as well. VMAs and anon_vmas thus form a
graph, and an anon_vma_chain (AVC) is one of its edges, in two lists at once::

        vma (parent) ──avc── anon_vma A          page written before fork:   mapping = A
                              │                  page written by the child:  mapping = B
        vma (child) ───avc────┘
             └─────────avc── anon_vma B (parent A, root A)

    vma->anon_vma_chain         list of the VMA's AVCs, newest anon_vma first (same_vma)
    anon_vma->head              list, since v3.7 interval tree by vm_pgoff (same_anon_vma)

What must hold is simple: whoever maps a page has an AVC to page->mapping. What went wrong was the
copying of these chains (B01 … B04, all in one April week of 2010), their growth over generations
of forks (B19), the reuse that bounds the growth (B23, CVE-2022-42703), and merges that join VMAs
with different chains (B28, B29). Each of these is one decision below.

Left out: KSM, migration and the pins they need (refcount counts the tree, and for a root its
family, which is what v2.6.39 and later do; v2.6.36 called it external_refcount), huge pages,
memory policies, that v2.6.36 … v3.6 changed vm_end alone without the lock and that v2.6.36 …
v2.6.39 unlinked AVC by AVC, that v5.10 … v5.18 did not move a page to the writer's anon_vma on
reuse, that MREMAP_DONTUNMAP kept the old VMA's chain before v5.12, and that v6.17 took VM_ACCOUNT
from that VMA.

Sources: mm/rmap.c and mm/mmap.c of v2.6.34-rc1, v2.6.34, v2.6.36, v3.0.8, v3.19.8, v5.10.7,
v6.4.6, v6.12, v6.17, v7.1.5, read for each era.
"""

from typing import TYPE_CHECKING, ClassVar

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.heap import kmem_cache_alloc, kmem_cache_free
from rmapcheck.model.machine.locks import ANON_VMA_LOCK, acquire, assert_held_write, release
from rmapcheck.model.machine.state import (
    anon_vma_compatible,
    linear_page_index,
    vma_address,
)
from rmapcheck.model.scheme import VMA_OP_FORK, VMA_OP_MERGE_UNFAULTED, Scheme
from rmapcheck.model.schemes.anon_vma_graph import (
    AnonVma,
    AnonVmaChain,
    chain_is_singular,
    chain_length,
    chain_nth,
)
from rmapcheck.model.schemes.same_anon_vma import AvcFifo

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State
    from rmapcheck.model.machine.structs import RmapWalkControl


class AvcBase(Scheme):
    """What all eras have in common."""

    same_anon_vma: ClassVar[AvcFifo] = AvcFifo()
    """The container of an anon_vma's AVCs, anon_vma->head."""
    merges_with_fork_child: ClassVar[bool] = True
    """A never-faulted VMA may merge with a fork child's (until 965f55dea0e3, v3.0)."""
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

    # Decisions of this era.

    def lock_of(self, st: "State", anon_vma: int) -> int:
        """Return the anon_vma whose lock protects the AVCs of `anon_vma`."""
        raise NotImplementedError

    def reusable_anon_vma(self, st: "State", old: int, a: int, b: int) -> int:
        """Return the anon_vma of `old` (`a` or `b`, which adjoin) if the other may adopt it, or 0.

        reusable_anon_vma(), mm/mmap.c: what mprotect could make alike, linear, and with a chain of
        one only (d0e9fe1758f2, v2.6.34-rc4).
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
        """Return which AVC of the source is copied in step `i` of `length`.

        From the tail, so that pushing each at the head keeps the order (646d87b481da).
        """
        return length - 1 - i

    def adjust_source(self, exporter: int, adjusted: int) -> int:
        """Return the VMA whose chain the importer copies (287d97ac0321)."""
        return exporter

    def shared_anon_vma(self, st: "State", vma: int) -> int:
        """Return the anon_vma for a page that may be shared already."""
        raise NotImplementedError

    def insert(self, st: "State", anon_vma: int, avc: int) -> None:
        """Put an AVC into the anon_vma's list or tree."""
        self.assert_locked(st, anon_vma, "an AVC is linked")
        self.same_anon_vma.insert(st, anon_vma, avc)

    # mm/rmap.c

    def assert_locked(self, st: "State", anon_vma: int, what: str) -> None:
        """Report that the list of `anon_vma` is changed without its lock held for writing."""
        assert_held_write(st, ANON_VMA_LOCK, self.lock_of(st, anon_vma), what)

    def anon_vma_alloc(self, st: "State") -> int:
        """Return a fresh anon_vma that is its own root and parent, or 0."""
        return kmem_cache_alloc(st, st.anon_vma)

    def remove(self, st: "State", avc: int) -> None:
        """Take an AVC out of its anon_vma's list; list_del(), anon_vma_interval_tree_remove()."""
        anon_vma = st.anon_vma_chain[avc].anon_vma
        self.assert_locked(st, anon_vma, "an AVC is unlinked")
        self.same_anon_vma.remove(st, anon_vma, avc)

    def anon_vma_chain_assign(self, st: "State", vma: int, avc: int, anon_vma: int) -> None:
        """Put an AVC at the head of the VMA's list."""
        c = st.anon_vma_chain[avc]
        c.vma = vma
        c.anon_vma = anon_vma
        c.same_vma = st.vma[vma].anon_vma_chain
        st.vma[vma].anon_vma_chain = avc

    def anon_vma_chain_link(self, st: "State", vma: int, avc: int, anon_vma: int) -> None:
        """Put an AVC into both lists; anon_vma_chain_link(), mm/rmap.c."""
        self.anon_vma_chain_assign(st, vma, avc, anon_vma)
        self.insert(st, anon_vma, avc)

    def find_mergeable_anon_vma(self, st: "State", vma: int) -> int:
        """Return a neighbour's anon_vma that `vma` may adopt, or 0; mm/mmap.c (mm/vma.c)."""
        v = st.vma[vma]
        # With one anon_vma for both, they can merge as soon as their protections are alike.
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
        # Allocations may sleep: first those, then the lock.
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
        # Others may be walking an adopted anon_vma.
        lock = self.lock_of(st, anon_vma)
        acquire(st, ANON_VMA_LOCK, lock)
        st.vma[vma].anon_vma = anon_vma
        self.anon_vma_chain_assign(st, vma, avc, anon_vma)
        self.insert_prepared(st, anon_vma, avc)
        self.count_active(st, anon_vma, 1)
        release(st, ANON_VMA_LOCK, lock)
        return 0

    def insert_prepared(self, st: "State", anon_vma: int, avc: int) -> None:
        """Insert the AVC that anon_vma_prepare() has assigned."""
        self.insert(st, anon_vma, avc)

    def anon_vma_clone(self, st: "State", dst: int, src: int, operation: int) -> int:
        """Give `dst` an AVC for each of `src`; anon_vma_clone(). Return 0 or -ENOMEM."""
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
            # Only a child may get another anon_vma for its own; split and merge share that of the
            # source.
            if operation == VMA_OP_FORK:
                self.consider_reuse(st, dst, src, anon_vma)
        # Counted last: of a clone that fails, nothing has to be taken back.
        if st.vma[dst].anon_vma:
            self.count_active(st, st.vma[dst].anon_vma, 1)
        if length > 1:
            passed(st, "chain of two cloned")
        return 0

    def undo_clone(self, st: "State", dst: int) -> None:
        """Take back a clone that ran out of memory."""
        self.unlink_anon_vmas(st, dst)

    def consider_reuse(self, st: "State", dst: int, src: int, anon_vma: int) -> None:
        """Fork may let the child have `anon_vma` for its own (since v3.19)."""

    def anon_vma_fork(self, st: "State", vma: int, pvma: int) -> int:
        """Give the child's VMA the parent's chain and an anon_vma of its own; anon_vma_fork()."""
        # Never faulted: there is no page to share.
        if st.vma[pvma].anon_vma == 0:
            return 0
        # Copied with the struct, it is the parent's; new pages of the child shall not go there.
        st.vma[vma].anon_vma = 0
        # Shared pages are in the anon_vmas of the parent: walks from there must come by the child.
        if self.anon_vma_clone(st, vma, pvma, VMA_OP_FORK):
            return -ENOMEM
        # The clone has found an idle anon_vma, which now serves as the child's own.
        if st.vma[vma].anon_vma:
            passed(st, "anon_vma reused at fork")
            return 0
        # One of its own, for what the child writes: no walk for these pages comes by the parent.
        anon_vma = self.anon_vma_alloc(st)
        if anon_vma == 0:
            self.unlink_anon_vmas(st, vma)
            return -ENOMEM
        avc = kmem_cache_alloc(st, st.anon_vma_chain)
        if avc == 0:
            self.put_anon_vma(st, anon_vma)
            self.unlink_anon_vmas(st, vma)
            return -ENOMEM
        # Before it is linked, since the lock of its list is the root's (from v2.6.36 on).
        self.join_family(st, vma, pvma, anon_vma)
        lock = self.lock_of(st, anon_vma)
        acquire(st, ANON_VMA_LOCK, lock)
        self.anon_vma_chain_link(st, vma, avc, anon_vma)
        self.count_child(st, anon_vma)
        release(st, ANON_VMA_LOCK, lock)
        if chain_length(st, vma) > 2:
            passed(st, "chain of three")
        return 0

    def join_family(self, st: "State", vma: int, pvma: int, anon_vma: int) -> None:
        """Make the child's fresh `anon_vma` a descendant of the parent's."""
        st.vma[vma].anon_vma = anon_vma

    def dup_anon_vma(self, st: "State", dst: int, src: int, adjusted: int) -> int:
        """A never-faulted `dst` takes over pages of `src`, and so its chain.

        The importer of vma_adjust(), mm/mmap.c; dup_anon_vma(), mm/vma.c since v6.3.
        """
        # Where `dst` has one, it is the same, with the same chain: else they would not merge.
        if st.vma[src].anon_vma == 0 or st.vma[dst].anon_vma:
            return 0
        st.vma[dst].anon_vma = st.vma[src].anon_vma
        source = self.adjust_source(src, adjusted)
        if self.anon_vma_clone(st, dst, source, VMA_OP_MERGE_UNFAULTED):
            # With one, and no chain, the next fault would take the VMA for prepared.
            st.vma[dst].anon_vma = 0
            return -ENOMEM
        passed(st, "merge imports a chain")
        return 0

    def put_anon_vma(self, st: "State", anon_vma: int) -> None:
        """Drop a reference to an anon_vma without AVCs, which may free it."""
        raise NotImplementedError

    # Counters that later eras keep.

    def count_root(self, st: "State", anon_vma: int) -> None:
        """A fresh anon_vma becomes a root."""

    def count_active(self, st: "State", anon_vma: int, by: int) -> None:
        """One VMA more (or less) has `anon_vma` for its own."""

    def count_child(self, st: "State", anon_vma: int) -> None:
        """A forked anon_vma has been linked below its parent."""

    # VMAs that merge.

    def is_mergeable_anon_vma(
        self, st: "State", tgt: int, anon_vma: int, middle: int, copied_from: int
    ) -> bool:
        """Equal, or one of them none; is_mergeable_anon_vma(), mm/mmap.c.

        Since v3.0 one of them none, and the neighbour's chain of one (965f55dea0e3). A
        never-faulted neighbour has a chain of none, so it never takes over faulted pages.
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

    # Pages.

    def set_anon(
        self, st: "State", folio: int, vma: int, address: int, *, exclusive: bool
    ) -> None:
        """Point the page at an anon_vma; __page_set_anon_rmap(), __folio_set_anon()."""
        f = st.folio[folio]
        f.mapping = st.vma[vma].anon_vma if exclusive else self.shared_anon_vma(st, vma)
        f.index = linear_page_index(st, vma, address)

    def folio_add_new_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        st.folio[folio].mapcount = 1
        self.set_anon(st, folio, vma, address, exclusive=True)

    def folio_dup_anon_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        st.folio[folio].mapcount += 1

    def folio_add_file_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        """A page of a file is counted; its file leads to it."""
        st.folio[folio].mapcount += 1

    def folio_dup_file_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        st.folio[folio].mapcount += 1

    def folio_remove_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        st.folio[folio].mapcount -= 1

    def folio_move_anon_rmap(self, st: "State", folio: int, vma: int) -> None:
        """The writer is alone: move the page down to its own anon_vma (c44b674323f4)."""
        st.folio[folio].mapping = st.vma[vma].anon_vma

    def fork_copies(self, st: "State", pvma: int) -> bool:
        return st.vma[pvma].anon_vma != 0 or st.vma[pvma].vm_nonlinear != 0

    # The walk.

    def walk_lock(self, st: "State", folio: int) -> int:
        return self.lock_of(st, st.folio[folio].mapping)

    def rmap_lock(self, st: "State", folio: int) -> int:
        """page_lock_anon_vma(), folio_lock_anon_vma_read(), mm/rmap.c."""
        lock = self.lock_of(st, st.folio[folio].mapping)
        acquire(st, ANON_VMA_LOCK, lock, write=False)
        return lock

    def rmap_unlock(self, st: "State", lock: int) -> None:
        release(st, ANON_VMA_LOCK, lock)

    def rmap_walk(self, st: "State", folio: int, rwc: "RmapWalkControl") -> None:
        """Visit the page's place in each VMA of its anon_vma; rmap_walk_anon()."""
        index = st.folio[folio].index
        avc = st.anon_vma[st.folio[folio].mapping].head
        while avc:
            rwc.nodes += 1
            vma = st.anon_vma_chain[avc].vma
            address = vma_address(st, vma, index)
            if address >= 0:
                self.visit(st, rwc, st.vma[vma].vm_mm, address)
            avc = st.anon_vma_chain[avc].same_anon_vma
