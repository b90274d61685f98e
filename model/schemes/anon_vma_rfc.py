"""anon_vma before it was merged: the first posting (RFC2, 2004-03-11), and what SLES 9 shipped.

Andrea Arcangeli's first anon_vma was thrifty. As long as nobody forked, a page needs no object at
all: one word of struct page, `as`, is a mapping, a VMA or an anon_vma, and PG_direct says that it
is the VMA. Only fork makes an anon_vma, for a VMA whose pages it is about to share::

    written                 PG_direct, as.vma ──> the VMA            index: linear in it
    shared by fork          as.anon_vma ──> A ──> VMA of the parent ──> VMA of the child

It did not hold, for a VMA is not what a page can name. When the VMA is split, half of its pages
name the wrong part, and no walk finds them (E61). When a merge swallows it, pages name freed
memory (E62). A shared page that comes back from swap finds PG_direct gone and two mappers, for
which page_add_rmap() has BUG() (E63). And nobody ever freed an anon_vma (E64). What was merged in
May, and SLES 9 before it, makes the anon_vma with the first page, and pages name only that.

The SLES 9 form differs from v2.6.7 in what the model can show by one thing, that mprotect hands an
anon_vma on. Its anon_vma_prepare() takes no lock, neither for an anon_vma that others use already
(E05) nor, since mmap_sem is held for reading only, against a second thread that faults in the same
VMA, though its comment says that mmap_sem is enough.

Left out: nonlinear VMAs; the inode walk that page_referenced_anon() was by mistake; that pgoff was
computed by a shift in the wrong direction; threads. That fork links the child's VMA even where the
parent's has no page yet, and what mremap did to PG_direct pages (here they follow to the new VMA),
are guesses.

Sources: the patch of RFC2 (20040311065254.GT30940), read for its walk of files, which goes through
two lists; mm/objrmap.c of SLES 9 (ROCm/ROCK-Kernel-Driver, 0a71295f6a1c), read: verified. Else as
docs/reference/spec/anon_vma.md has them: recalled.
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
    """RFC2, as posted. It never held: E61 … E64."""

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
        """The first page needs nothing."""
        return 0

    def anon_vma_fork(self, st: "State", vma: int, pvma: int) -> int:
        """An anon_vma for both, if the parent's VMA has none yet; dup_mmap()."""
        if st.vma[pvma].anon_vma == 0:
            anon_vma = kmem_cache_alloc(st, st.anon_vma)
            if anon_vma == 0:
                return -ENOMEM
            self.assign(st, pvma, anon_vma)
            st.vma[vma].anon_vma = anon_vma
        self.anon_vma_link(st, vma)
        return 0

    def unlink_anon_vmas(self, st: "State", vma: int) -> None:
        """Leave the list; an empty anon_vma stays."""
        anon_vma = st.vma[vma].anon_vma
        if anon_vma:
            acquire(st, ANON_VMA_LOCK, anon_vma)
            self.list_del(st, anon_vma, vma)
            release(st, ANON_VMA_LOCK, anon_vma)
            st.vma[vma].anon_vma = 0

    # Pages.

    def set_direct(self, st: "State", folio: int, vma: int, address: int) -> None:
        """PG_direct, and the VMA in page->as."""
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
        """page_add_rmap(): only fork, it says, maps an anonymous page a second time."""
        if st.folio[folio].mapcount:
            bug(st, "BUG_ON(page->mapcount != 1) in page_add_rmap()")
        self.folio_add_new_anon_rmap(st, folio, vma, address, ptep)

    def folio_dup_anon_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        """page_add_rmap_fork(): from now on the anon_vma of both, for good."""
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
    """What SLES 9 shipped: as merged for v2.6.7, but mprotect hands the anon_vma on (E04, E05)."""

    name = "anon_vma-sles9"
    title = "anon_vma of SLES 9 and the -aa tree"
    era = attrs.evolve(AnonVma267.era, kernels="SLES 9, v2.6.5-aa", flaws=("E04", "E05"))
    i_mmap: ClassVar[IMmap] = IMmapLists()

    def importer(self, dst: int) -> int:
        """anon_vma_merge() and its like keep the anon_vma whichever VMA dies."""
        return dst
