"""The containers of an anon_vma's AVCs, anon_vma->head: a list, then an interval tree.

A scheme has one of them as `same_anon_vma`. Both keep the AVCs in a list through
anon_vma_chain.same_anon_vma::

    list (v2.6.34 … v3.6)       in the order of insertion
    interval tree (v3.7 …)      by vm_pgoff of the VMA; equal ones in the order of insertion

The model keeps the order of the tree, but not its shape: see model/i_mmap/interval_tree.py, where
the same is done for the VMAs of a file.

Sources: mm/rmap.c of v2.6.34 and v3.7; mm/interval_tree.c of v3.7.
"""

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State


class AvcFifo:
    """anon_vma->head as a list_head: in the order of insertion (v2.6.34 … v3.6)."""

    keyed: ClassVar[bool] = False
    """Whether an AVC's place depends on the range of its VMA."""

    def insert(self, st: "State", anon_vma: int, avc: int) -> None:
        """Insert an AVC at the tail; list_add_tail()."""
        st.anon_vma_chain[avc].same_anon_vma = 0
        last = st.anon_vma[anon_vma].head
        if last == 0:
            st.anon_vma[anon_vma].head = avc
            return
        while st.anon_vma_chain[last].same_anon_vma:
            last = st.anon_vma_chain[last].same_anon_vma
        st.anon_vma_chain[last].same_anon_vma = avc

    def remove(self, st: "State", anon_vma: int, avc: int) -> None:
        """Remove an AVC; list_del(), anon_vma_interval_tree_remove()."""
        following = st.anon_vma_chain[avc].same_anon_vma
        at = st.anon_vma[anon_vma].head
        if at == avc:
            st.anon_vma[anon_vma].head = following
            return
        while st.anon_vma_chain[at].same_anon_vma != avc:
            at = st.anon_vma_chain[at].same_anon_vma
        st.anon_vma_chain[at].same_anon_vma = following


class AvcIntervalTree(AvcFifo):
    """anon_vma->rb_root: an interval tree by vm_pgoff (v3.7 …), here a list in its order."""

    keyed = True

    def insert(self, st: "State", anon_vma: int, avc: int) -> None:
        """Insert an AVC by vm_pgoff, behind equal ones; anon_vma_interval_tree_insert().

        Since bf181b9f9d8d (v3.7).
        """
        pgoff = st.vma[st.anon_vma_chain[avc].vma].vm_pgoff
        prev = 0
        at = st.anon_vma[anon_vma].head
        while at and st.vma[st.anon_vma_chain[at].vma].vm_pgoff <= pgoff:
            prev = at
            at = st.anon_vma_chain[at].same_anon_vma
        st.anon_vma_chain[avc].same_anon_vma = at
        if prev:
            st.anon_vma_chain[prev].same_anon_vma = avc
        else:
            st.anon_vma[anon_vma].head = avc
