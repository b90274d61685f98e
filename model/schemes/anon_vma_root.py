"""anon_vma_chain with one lock for a family: root, refcount, interval trees (v2.6.36 … v3.18).

With a lock in each anon_vma, a change of a VMA would have to take all these locks. Since v2.6.36
every anon_vma has a pointer to its *root*, the oldest of its family, and only the root's lock is
used::

        A (root) ◄─root── B ◄─parent── C          lock(A), lock(B), lock(C): all are A's
            ▲─────────────root─────────┘

So the root must outlive its family and be freed last: each member holds a reference to it
(76545066c852). A page that may be shared is put into the root at once, for whichever process maps
it. Since v3.0 a VMA and a never-faulted one do not merge if the first has inherited anon_vmas. As
a side effect, a never-faulted VMA no longer takes over faulted pages, and that closed a hole which
nobody had found (E04). Since v3.7 the VMAs of an anon_vma are in an interval tree, sorted by
vm_pgoff. The model keeps a list in that order, and removes a VMA from it while its range changes.

Left out: v2.6.36 … v3.6 changed vm_end alone without the lock; v2.6.36 … v2.6.39 unlinked AVC by
AVC. What else is left out, and the sources, are in anon_vma_chain.py.
"""

from typing import TYPE_CHECKING, ClassVar

import attrs

from rmapcheck.model.branches import passed
from rmapcheck.model.i_mmap.interval_tree import IMmapIntervalTree
from rmapcheck.model.i_mmap.list import IMmap
from rmapcheck.model.machine.heap import kmem_cache_alloc, kmem_cache_free
from rmapcheck.model.machine.locks import ANON_VMA_LOCK, acquire, release
from rmapcheck.model.schemes.anon_vma_chain import AvcBase
from rmapcheck.model.schemes.anon_vma_chain_list import AvcList
from rmapcheck.model.schemes.same_anon_vma import AvcFifo, AvcIntervalTree

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State


class AvcRoot(AvcBase):
    """v2.6.36 … v2.6.39: one lock for the whole family, the root's; a page keeps its mapping."""

    name = "avc-2.6.36"
    title = "anon_vma_chain with the root lock"
    era = attrs.evolve(AvcList.era, kernels="v2.6.36 … v2.6.39", lacks=("wipeonfork", "dontunmap"))
    i_mmap: ClassVar[IMmap] = AvcList.i_mmap
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        **AvcBase.fields,
        "anon_vma": ("head", "root", "refcount"),
    }
    # The root says who is oldest, so nothing relies on the order of a chain any longer.
    invariants: ClassVar[tuple[str, ...]] = (
        *(n for n in AvcBase.invariants if n != "chain_order"),
        "one_root",
        "anon_vma_refcount",
    )

    def lock_of(self, st: "State", anon_vma: int) -> int:
        """Return the root, whose lock the whole family uses (012f18004da3)."""
        root: int = st.anon_vma[anon_vma].root
        return root

    def shared_anon_vma(self, st: "State", vma: int) -> int:
        """Return the root (288468c334e9)."""
        root: int = st.anon_vma[st.vma[vma].anon_vma].root
        return root

    def anon_vma_alloc(self, st: "State") -> int:
        anon_vma = kmem_cache_alloc(st, st.anon_vma)
        if anon_vma:
            st.anon_vma[anon_vma].root = anon_vma
            st.anon_vma[anon_vma].refcount = 1
        return anon_vma

    def join_family(self, st: "State", vma: int, pvma: int, anon_vma: int) -> None:
        root = st.anon_vma[st.vma[pvma].anon_vma].root
        st.anon_vma[anon_vma].root = root
        st.anon_vma[root].refcount += 1
        st.vma[vma].anon_vma = anon_vma

    def put_anon_vma(self, st: "State", anon_vma: int) -> None:
        """Drop a reference; the last one frees the anon_vma, maybe its root too (76545066c852)."""
        st.anon_vma[anon_vma].refcount -= 1
        if st.anon_vma[anon_vma].refcount:
            passed(st, "a root anon_vma outlives its VMAs")
            return
        root = st.anon_vma[anon_vma].root
        passed(st, "an anon_vma goes" if root != anon_vma else "a root anon_vma goes")
        kmem_cache_free(st, st.anon_vma, anon_vma)
        # Each member holds a reference to its root, whose lock protects it.
        if root != anon_vma:
            self.put_anon_vma(st, root)

    def unlink_anon_vmas(self, st: "State", vma: int) -> None:
        """Remove all AVCs of `vma` from their anon_vmas, then free those without AVCs (v3.0)."""
        root = self.family_of(st, vma)
        if root == 0:
            return
        acquire(st, ANON_VMA_LOCK, root)
        avc = st.vma[vma].anon_vma_chain
        while avc:
            anon_vma = st.anon_vma_chain[avc].anon_vma
            self.remove(st, avc)
            # It is freed below: in the kernel, that takes the root's lock to wait for walkers.
            if st.anon_vma[anon_vma].head == 0:
                self.uncount_child(st, anon_vma)
            avc = st.anon_vma_chain[avc].same_vma
        # The anon_vma may stay for others, but it is not the own one of this VMA any longer.
        if st.vma[vma].anon_vma:
            self.count_active(st, st.vma[vma].anon_vma, -1)
        release(st, ANON_VMA_LOCK, root)
        # From the newest to the oldest, so that the root is freed last.
        avc = st.vma[vma].anon_vma_chain
        while avc:
            following = st.anon_vma_chain[avc].same_vma
            anon_vma = st.anon_vma_chain[avc].anon_vma
            kmem_cache_free(st, st.anon_vma_chain, avc)
            if st.anon_vma[anon_vma].head == 0:
                self.put_anon_vma(st, anon_vma)
            avc = following
        st.vma[vma].anon_vma_chain = 0
        st.vma[vma].anon_vma = 0

    def family_of(self, st: "State", vma: int) -> int:
        """Return the root of the VMA's anon_vmas, or 0 if it has none."""
        avc = st.vma[vma].anon_vma_chain
        anon_vma = st.anon_vma_chain[avc].anon_vma if avc else st.vma[vma].anon_vma
        return self.lock_of(st, anon_vma) if anon_vma else 0

    def uncount_child(self, st: "State", anon_vma: int) -> None:
        """Uncount `anon_vma` at its parent, when its list has become empty."""

    def adjust_lock(self, st: "State", vma: int, adjust: int) -> int:
        """Return the anon_vma to lock while the ranges of `vma` and `adjust` change, or 0."""
        if st.vma[vma].anon_vma:
            return st.vma[vma].anon_vma
        return st.vma[adjust].anon_vma if adjust else 0

    def vma_prepare(self, st: "State", vma: int, adjust: int) -> None:
        """Lock the family (vma_adjust() since v2.6.36, vma_prepare() since v6.3).

        If an AVC's place depends on the range of its VMA, remove it first.
        """
        anon_vma = self.adjust_lock(st, vma, adjust)
        if anon_vma:
            acquire(st, ANON_VMA_LOCK, self.lock_of(st, anon_vma))
        if self.same_anon_vma.keyed:
            self.remove_all(st, vma)
            if adjust:
                self.remove_all(st, adjust)

    def vma_complete(self, st: "State", vma: int, adjust: int) -> None:
        if self.same_anon_vma.keyed:
            self.insert_all(st, vma)
            if adjust:
                self.insert_all(st, adjust)
        anon_vma = self.adjust_lock(st, vma, adjust)
        if anon_vma:
            release(st, ANON_VMA_LOCK, self.lock_of(st, anon_vma))

    def remove_all(self, st: "State", vma: int) -> None:
        """Remove all AVCs of `vma`; anon_vma_interval_tree_pre_update_vma(), mm/mmap.c."""
        avc = st.vma[vma].anon_vma_chain
        while avc:
            self.remove(st, avc)
            avc = st.anon_vma_chain[avc].same_vma

    def insert_all(self, st: "State", vma: int) -> None:
        """Insert all AVCs of `vma` again; anon_vma_interval_tree_post_update_vma(), mm/mmap.c."""
        avc = st.vma[vma].anon_vma_chain
        while avc:
            self.insert(st, st.anon_vma_chain[avc].anon_vma, avc)
            avc = st.anon_vma_chain[avc].same_vma

    def range_lock(self, st: "State", vma: int) -> int:
        anon_vma = st.vma[vma].anon_vma
        return self.lock_of(st, anon_vma) if anon_vma else 0

    def folio_add_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int, *, exclusive: bool
    ) -> None:
        """Count the entry, and keep an existing mapping; do_page_add_anon_rmap(), v2.6.36."""
        st.folio[folio].mapcount += 1
        if st.folio[folio].mapping == 0:
            self.set_anon(st, folio, vma, address, exclusive=exclusive)


class AvcTree(AvcRoot):
    """v3.0 … v3.18: VMAs with inherited chains do not merge; interval trees (v3.7)."""

    name = "avc-3.0"
    title = "anon_vma_chain with interval trees"
    era = attrs.evolve(AvcRoot.era, kernels="v3.0 … v3.18", flaws=())
    i_mmap: ClassVar[IMmap] = IMmapIntervalTree()
    same_anon_vma: ClassVar[AvcFifo] = AvcIntervalTree()
    merges_with_fork_child = False
    invariants: ClassVar[tuple[str, ...]] = (*AvcRoot.invariants, "interval_tree_keys")
