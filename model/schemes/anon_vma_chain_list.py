"""anon_vma_chain as released: every anon_vma has a lock and a list of its own (v2.6.34, v2.6.35).

When a VMA leaves its anon_vmas, it locks one after the other, and frees each as soon as its list
is empty. Later kernels have one lock for a family (anon_vma_root.py). What all eras have in common
is in anon_vma_chain.py, and so are the sources.
"""

from typing import TYPE_CHECKING, ClassVar

from rmapcheck.model.era import Era
from rmapcheck.model.i_mmap.list import IMmap
from rmapcheck.model.i_mmap.prio_tree import IMmapPrioTree
from rmapcheck.model.machine.heap import kmem_cache_free
from rmapcheck.model.machine.locks import ANON_VMA_LOCK, acquire, release
from rmapcheck.model.schemes.anon_vma_chain import AvcBase
from rmapcheck.model.schemes.anon_vma_graph import chain_length, chain_nth

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State


class AvcList(AvcBase):
    """v2.6.34 and v2.6.35: a lock and a list in each anon_vma."""

    name = "avc-2.6.34"
    title = "anon_vma_chain as released"
    era = Era(
        kernels="v2.6.34 … v2.6.35",
        flaws=("E04",),
        lacks=("wipeonfork", "dontunmap", "punch_hole"),
        locked_frees_slot=True,
    )
    i_mmap: ClassVar[IMmap] = IMmapPrioTree()

    def lock_of(self, st: "State", anon_vma: int) -> int:
        """Return `anon_vma` itself: each has its own lock."""
        return anon_vma

    def shared_anon_vma(self, st: "State", vma: int) -> int:
        """Return the oldest anon_vma of the VMA's chain (ea90002b0fa7)."""
        tail = chain_nth(st, vma, chain_length(st, vma) - 1)
        oldest: int = st.anon_vma_chain[tail].anon_vma
        return oldest

    def insert_prepared(self, st: "State", anon_vma: int, avc: int) -> None:
        """Insert the AVC at the head of the list, not at the tail; anon_vma_prepare(), v2.6.34."""
        self.assert_locked(st, anon_vma, "an AVC is linked")
        st.anon_vma_chain[avc].same_anon_vma = st.anon_vma[anon_vma].head
        st.anon_vma[anon_vma].head = avc

    def unlink_anon_vmas(self, st: "State", vma: int) -> None:
        """Remove and free all AVCs of `vma`, and free each anon_vma that has no AVC left."""
        avc = st.vma[vma].anon_vma_chain
        while avc:
            following = st.anon_vma_chain[avc].same_vma
            anon_vma = st.anon_vma_chain[avc].anon_vma
            lock = self.lock_of(st, anon_vma)
            acquire(st, ANON_VMA_LOCK, lock)
            self.remove(st, avc)
            empty = st.anon_vma[anon_vma].head == 0
            release(st, ANON_VMA_LOCK, lock)
            if empty:
                self.put_anon_vma(st, anon_vma)
            kmem_cache_free(st, st.anon_vma_chain, avc)
            avc = following
        st.vma[vma].anon_vma_chain = 0
        st.vma[vma].anon_vma = 0

    def put_anon_vma(self, st: "State", anon_vma: int) -> None:
        """Free an anon_vma whose list is empty."""
        kmem_cache_free(st, st.anon_vma, anon_vma)

    def folio_add_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int, *, exclusive: bool
    ) -> None:
        """Set `mapping` again at the first mapping, always as shared; page_add_anon_rmap()."""
        st.folio[folio].mapcount += 1
        if st.folio[folio].mapcount == 1:
            self.set_anon(st, folio, vma, address, exclusive=False)
