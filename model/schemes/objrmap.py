"""Partial objrmap: a file's pages are found by the file, anonymous pages by pte_chains (2003-04).

Chains cost a lock and a slot for each entry, and most entries map files: C libraries, programs,
shared segments. For these the kernel had always had another way, which truncation used: a page has
its mapping and index, and the mapping has its VMAs. Dave McCracken's objrmap uses that way. The
word of struct page that held the chain now counts the entries. Only anonymous pages, which have no
object, keep their chains::

    page of a file     pte.mapcount 2     mapping ──> i_mmap ──> vma ──> vma ──> vma
                                          index 5       each: address start + 5 - pgoff, if inside
                                                        it; does the entry there map the page?
    anonymous page     pte.chain ──> chunk [e2 e1]      PG_anon tells which of the two the word is

Fork copies entries of files without an allocation: fork and exit became one and a half times as
fast. The cost is in the walk, which visits every VMA of the file, even those that do not map the
page.

This file has the first posting (5a), which does not handle nonlinear mappings. What later variants
did about these is in objrmap_nonlinear.py.

What must hold: a page without PG_anon has a mapping (objrmap#object-has-mapping), is where its
index says in every linear VMA (files#linear), and its mapcount is right (objrmap#object-mapcount).
A page with PG_anon has an exact chain, because that walker does not check an entry before it acts
(objrmap#anon-chain). The flag tells which of the two the word is (objrmap#word-by-flag).

Left out: trylocks (5a gave up at the first VMA whose lock was taken), VM_LOCKED, drivers whose
pages have no mapping.

Sources: the patches as posted, in the mails 8390000.1045757611 (2.5.62-3), 135130000.1045781211
(2.5.62-5), 61050000.1049405305 (against 2.5.66-mm3), 20040308202433.GA12612 (objrmap-core-1);
history:79603666b5 and history:2a6053ea95 (rmap 7 and 8) of the mirror dmgerman/history-token.
"""

from typing import TYPE_CHECKING, ClassVar

import attrs

from rmapcheck.model.machine.heap import bug
from rmapcheck.model.machine.locks import CHAIN_LOCK, I_MMAP_LOCK, acquire, release
from rmapcheck.model.machine.state import vma_address
from rmapcheck.model.schemes.pte_chain import PteChainSupplied

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State
    from rmapcheck.model.machine.structs import RmapWalkControl


class Objrmap5a(PteChainSupplied):
    """2.5.62-3, as first posted: nonlinear pages are lost (E41)."""

    name = "objrmap-2.5.62-3"
    title = "partial objrmap, as first posted"
    era = attrs.evolve(
        PteChainSupplied.era,
        kernels="2.5.62, patch of 2003-02-20",
        flaws=("E41", "E44"),
        lacks=("exec_shift", "dontfork", "wipeonfork", "dontunmap", "punch_hole"),
        truncates_nonlinear=False,
    )
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "folio": ("direct", "pte_chain", "mapcount", "pg_anon"),
        "pte_chain": ("next",),
    }
    invariants: ClassVar[tuple[str, ...]] = (
        *PteChainSupplied.invariants,
        "word_by_flag",
        "object_mapcount",
        "object_has_mapping",
    )

    # Decisions of the variants.

    def counts_locked(self) -> bool:
        """Return whether mapcount changes under PG_chainlock; here it is an atomic_t."""
        return False

    def marks_nonlinear(self, st: "State", vma: int) -> bool:
        """Return whether a file's page that is mapped in `vma` gets PG_anon."""
        return False

    def walks_nonlinear(self) -> bool:
        """Return whether a walk visits every page of nonlinear VMAs."""
        return False

    # Anonymous pages: chains, and the flag PG_anon.

    def walker_checks_pte(self, st: "State", folio: int) -> bool:
        """Return whether the page is found by its file; entries in a chain are not checked."""
        return st.folio[folio].pg_anon == 0

    def page_add_rmap(self, st: "State", folio: int, ptep: int) -> None:
        self.assert_word_is_chain(st, folio)
        super().page_add_rmap(st, folio, ptep)

    def page_remove_rmap(self, st: "State", folio: int, ptep: int) -> None:
        self.assert_word_is_chain(st, folio)
        super().page_remove_rmap(st, folio, ptep)

    def assert_word_is_chain(self, st: "State", folio: int) -> None:
        """Stop the kernel if it is about to use a count as a pointer."""
        if st.folio[folio].mapcount:
            bug(st, "page->pte.mapcount is followed as if it were a pte_chain")

    def folio_add_new_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        st.folio[folio].pg_anon = 1
        super().folio_add_new_anon_rmap(st, folio, vma, address, ptep)

    def folio_add_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int, *, exclusive: bool
    ) -> None:
        st.folio[folio].pg_anon = 1
        super().folio_add_anon_rmap(st, folio, vma, address, ptep, exclusive=exclusive)

    # Pages of files: a count, unless they have got a chain.

    def count(self, st: "State", folio: int, by: int) -> None:
        """Count an entry; page_add_rmap() and page_remove_rmap() of a page without PG_anon."""
        if st.folio[folio].address_space == 0:
            bug(st, "a page without PG_anon and without mapping is mapped or unmapped")
        if self.counts_locked():
            acquire(st, CHAIN_LOCK, folio)
        st.folio[folio].mapcount += by
        if self.counts_locked():
            release(st, CHAIN_LOCK, folio)

    def folio_add_file_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        if self.marks_nonlinear(st, vma):
            st.folio[folio].pg_anon = 1
        self.folio_dup_file_rmap(st, folio, vma, vma, address, ptep)

    def folio_dup_file_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        """Count or chain the child's entry; a count needs no memory."""
        if st.folio[folio].pg_anon:
            self.page_add_rmap(st, folio, ptep)
        else:
            self.count(st, folio, 1)

    def folio_remove_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        if st.folio[folio].pg_anon:
            self.page_remove_rmap(st, folio, ptep)
        else:
            self.count(st, folio, -1)

    def move_rmap(
        self, st: "State", folio: int, vma: int, new_vma: int, old_ptep: int, new_ptep: int
    ) -> None:
        """Move an entry of a chain; a page without PG_anon is found at its new place too."""
        if st.folio[folio].pg_anon:
            super().move_rmap(st, folio, vma, new_vma, old_ptep, new_ptep)

    def folio_mapped(self, st: "State", folio: int) -> bool:
        f = st.folio[folio]
        return f.direct != 0 or f.pte_chain != 0 or f.mapcount != 0

    # The walk.

    def rmap_lock_file(self, st: "State", folio: int) -> int:
        """Take i_shared_sem if the page is found by its file; a chain does not need it."""
        mapping = 0 if st.folio[folio].pg_anon else st.folio[folio].address_space
        if mapping:
            acquire(st, I_MMAP_LOCK, mapping, write=False)
        return mapping

    def rmap_unlock_file(self, st: "State", folio: int, lock: int) -> None:
        if lock:
            release(st, I_MMAP_LOCK, lock)
        elif st.folio[folio].pg_anon:
            self.rmap_unlock(st, folio)

    def rmap_walk_file(self, st: "State", folio: int, rwc: "RmapWalkControl") -> None:
        """Visit the chain, or the page's place in each VMA; try_to_unmap_obj()."""
        mapping = st.folio[folio].address_space
        if st.folio[folio].pg_anon:
            self.rmap_walk(st, folio, rwc)
            return
        if mapping == 0:
            return
        index = st.folio[folio].index
        for vma in self.i_mmap.foreach(st, mapping, index, index, rwc):
            address = vma_address(st, vma, index)
            if address >= 0 and not (self.walks_nonlinear() and st.vma[vma].vm_nonlinear):
                self.visit(st, rwc, st.vma[vma].vm_mm, address)
        if st.scope.nonlinear and self.walks_nonlinear():
            for vma in self.i_mmap.nonlinear(st, mapping, rwc):
                self.visit_all(st, vma, rwc)
