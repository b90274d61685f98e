"""anon_vma before it was merged: the first posting (RFC2, 2004-03-11), and what SLES 9 shipped.

Andrea Arcangeli's first anon_vma saved memory. Before the first fork, a page needs no object at
all: one word of struct page, `as`, is a mapping, a VMA or an anon_vma, and PG_direct means that it
is the VMA. Only fork allocates an anon_vma, for a VMA whose pages it is about to share::

    written                 PG_direct, as.vma ──> the VMA            index: linear in it
    shared by fork          as.anon_vma ──> A ──> VMA of the parent ──> VMA of the child

It did not work, because a page cannot keep a pointer to a VMA. After a split of the VMA, half of
its pages point to the wrong part, and no walk finds them (E61). After a merge that removes the
VMA, pages point to freed memory (E62). A shared page that comes back from swap has lost PG_direct
and has two mappers, for which page_add_rmap() has BUG() (E63). And no anon_vma was ever freed
(E64). The version merged in May, and SLES 9 before it, allocates the anon_vma with the first page,
and pages point only to that.

In what the model can show, the SLES 9 form differs from v2.6.7 only in that mprotect passes an
anon_vma on. Its anon_vma_prepare() takes no lock, neither for an anon_vma that others already use
(E05), nor against a second thread that faults in the same VMA. The second would be needed since
mmap_sem is held only for reading, although the comment claims that mmap_sem is enough.

Left out: nonlinear VMAs; page_referenced_anon() walked the inode by mistake; pgoff was computed by
a shift in the wrong direction; threads. Two facts are guesses: fork links the child's VMA even if
the parent's has no page yet, and mremap moves the pointer of PG_direct pages to the new VMA.

Sources: the patch of RFC2 (20040311065254.GT30940), read for its walk of files, which goes through
two lists; mm/objrmap.c of SLES 9 (ROCm/ROCK-Kernel-Driver, 0a71295f6a1c), read: verified. The rest
is from docs/reference/spec/anon_vma.md: recalled.
"""

from typing import TYPE_CHECKING, ClassVar

import attrs

from rmapcheck.model.i_mmap.list import IMmap, IMmapLists
from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.heap import bug, kmem_cache_alloc
from rmapcheck.model.machine.locks import ANON_VMA_LOCK, acquire, release
from rmapcheck.model.machine.state import (
    folio_test_anon,
    linear_page_index,
    ptep_to_address,
    vma_address,
)
from rmapcheck.model.schemes.anon_vma import AnonVma267

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State
    from rmapcheck.model.machine.structs import RmapWalkControl


class AnonVmaRfc2(AnonVma267):
    """RFC2, as posted. It was never correct: E61 … E64."""

    name = "anon_vma-rfc2"
    title = "anon_vma as first posted"
    era = attrs.evolve(
        AnonVma267.era,
        kernels="patch for 2.6.4, not merged",
        flaws=("E61", "E62", "E63", "E64"),
    )
    i_mmap: ClassVar[IMmap] = IMmapLists()
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "vma": ("anon_vma", "anon_vma_node"),
        "folio": ("mapcount", "mapping", "index", "as_vma"),
    }
    invariants: ClassVar[tuple[str, ...]] = ("mapcount", "anon_vma_list", "merge_same_anon_vma")
    goals: ClassVar[tuple[str, ...]] = ()
    never_held = True

    def anon_vma_prepare(self, st: "State", vma: int) -> int:
        """Do nothing: the first page needs no anon_vma."""
        return 0

    def anon_vma_fork(self, st: "State", vma: int, pvma: int) -> int:
        """Give both an anon_vma, if the parent's VMA has none yet; dup_mmap()."""
        if st.vma[pvma].anon_vma == 0:
            anon_vma = kmem_cache_alloc(st, st.anon_vma)
            if anon_vma == 0:
                return -ENOMEM
            self.assign(st, pvma, anon_vma)
            st.vma[vma].anon_vma = anon_vma
        self.anon_vma_link(st, vma)
        return 0

    def unlink_anon_vmas(self, st: "State", vma: int) -> None:
        """Remove `vma` from the list; an empty anon_vma is not freed."""
        anon_vma = st.vma[vma].anon_vma
        if anon_vma:
            acquire(st, ANON_VMA_LOCK, anon_vma)
            self.list_del(st, anon_vma, vma)
            release(st, ANON_VMA_LOCK, anon_vma)
            st.vma[vma].anon_vma = 0

    # Pages.

    def set_direct(self, st: "State", folio: int, vma: int, address: int) -> None:
        """Set PG_direct and the VMA in page->as."""
        st.folio[folio].as_vma = vma
        st.folio[folio].index = linear_page_index(st, vma, address)

    def folio_add_new_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        st.folio[folio].mapcount = 1
        self.set_direct(st, folio, vma, address)

    def folio_add_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int, *, exclusive: bool
    ) -> None:
        """Set the VMA, and stop the kernel if the page is mapped already; page_add_rmap()."""
        if st.folio[folio].mapcount:
            bug(st, "BUG_ON(page->mapcount != 1) in page_add_rmap()")
        self.folio_add_new_anon_rmap(st, folio, vma, address, ptep)

    def folio_dup_anon_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        """Change the pointer from the VMA to the anon_vma of both; page_add_rmap_fork()."""
        f = st.folio[folio]
        f.mapcount += 1
        if f.as_vma:
            f.as_vma = 0
            f.mapping = st.vma[pvma].anon_vma

    def folio_remove_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        super().folio_remove_rmap(st, folio, vma, address, ptep)
        if st.folio[folio].mapcount == 0:
            st.folio[folio].as_vma = 0

    def move_rmap(
        self, st: "State", folio: int, vma: int, new_vma: int, old_ptep: int, new_ptep: int
    ) -> None:
        if folio_test_anon(st, folio) and st.folio[folio].as_vma:
            self.set_direct(st, folio, new_vma, ptep_to_address(st, new_ptep))

    def rmap_lock(self, st: "State", folio: int) -> int:
        return 0 if st.folio[folio].as_vma else super().rmap_lock(st, folio)

    def rmap_walk(self, st: "State", folio: int, rwc: "RmapWalkControl") -> None:
        vma = st.folio[folio].as_vma
        if vma == 0:
            super().rmap_walk(st, folio, rwc)
            return
        rwc.nodes += 1
        address = vma_address(st, vma, st.folio[folio].index)
        if address >= 0:
            self.visit(st, rwc, st.vma[vma].vm_mm, address)


class AnonVmaSles9(AnonVma267):
    """SLES 9: as merged for v2.6.7, but mprotect passes the anon_vma on (E04, E05)."""

    name = "anon_vma-sles9"
    title = "anon_vma of SLES 9 and the -aa tree"
    era = attrs.evolve(AnonVma267.era, kernels="SLES 9, v2.6.5-aa", flaws=("E04", "E05"))
    i_mmap: ClassVar[IMmap] = IMmapLists()

    def importer(self, dst: int) -> int:
        """Return the VMA that grows: anon_vma_merge() keeps the anon_vma of either VMA."""
        return dst
