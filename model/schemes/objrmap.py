"""Partial objrmap: pages of files are found by their file, anonymous ones by pte_chains (2003-04).

Chains cost a lock and a slot for each entry, and most entries map files: C libraries, programs,
shared segments. For these the kernel had another way all along, which truncation used: the page
knows its mapping and index, the mapping its VMAs. Dave McCracken's objrmap goes that way, and lets
the word of struct page that held the chain count the entries instead; only anonymous pages, which
have no object, keep their chains::

    page of a file     pte.mapcount 2     mapping ──> i_mmap ──> vma ──> vma ──> vma
                                          index 5       each: address start + 5 - pgoff, if inside
                                                        it; does the entry there map the page?
    anonymous page     pte.chain ──> chunk [e2 e1]      PG_anon says which of both the word is

Fork copies entries of files without an allocation: fork and exit became half again as fast. What
it costs is the walk, which looks at every VMA of the file, whoever maps the page.

But remap_file_pages() had come into v2.5.46: a page of a file may be anywhere in a nonlinear VMA.
As first posted (5a) such a page is lost (E41). The second posting the same day (5b) marks it
PG_anon and chains it, which turns its mapcount into a pointer if somebody had it mapped already
(E42). Then page_convert_anon() (5c) gives the page a chain of all its entries before it is first
mapped off its place; its second form does so VMA by VMA, with PG_anon set first, so that until it
ends, and for good if it runs out of memory, the chain is not complete (E43). Meanwhile truncation
missed nonlinear pages (E44). Andrea Arcangeli's objrmap-core-1 (5d) is the same on v2.6; what was
merged for one day in May 2004 (5e) converts nothing and searches nonlinear VMAs page by page.

What must hold: a page without PG_anon has a mapping (objrmap#object-has-mapping), is where its
index says in every linear VMA (files#linear), and its mapcount is right (objrmap#object-mapcount).
One with PG_anon has an exact chain, since that walker does not look before it acts
(objrmap#anon-chain). The flag says which of the two the word is (objrmap#word-by-flag).

Left out: trylocks (5a gave up at the first VMA whose lock it did not get), VM_LOCKED, drivers
whose pages have no mapping, that 5b asked for MAP_NONLINEAR at mmap, that the scan of 5e unmaps
whatever else it meets, and other threads while page_convert_anon() runs. Both its forms are
verified: the patch in mail 61050000.1049405305 takes the first away (number of chunks, and the
BUG_ON() if another number of entries is found than mapcount) and adds the second, which was
compared with the mm/rmap.c of objrmap-core-1 too, and what follows if it fails. The caller holds
the page lock as in the latter; the patch of 2003-04-03 set PG_locked itself.

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
    """2.5.62-3, as first posted: nonlinear pages are not thought of (E41)."""

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
        """Tell whether PG_chainlock is held for mapcount; here it is an atomic_t."""
        return False

    def marks_nonlinear(self, st: "State", vma: int) -> bool:
        """Tell whether a page of a file becomes PG_anon by being mapped in `vma`."""
        return False

    def walks_nonlinear(self) -> bool:
        """Tell whether nonlinear VMAs are searched page by page."""
        return False

    # Anonymous pages: chains, and the flag that says so.

    def walker_checks_pte(self, st: "State", folio: int) -> bool:
        """A chain is believed; what an object leads to is looked at."""
        return st.folio[folio].pg_anon == 0

    def page_add_rmap(self, st: "State", folio: int, ptep: int) -> None:
        self.assert_word_is_chain(st, folio)
        super().page_add_rmap(st, folio, ptep)

    def page_remove_rmap(self, st: "State", folio: int, ptep: int) -> None:
        self.assert_word_is_chain(st, folio)
        super().page_remove_rmap(st, folio, ptep)

    def assert_word_is_chain(self, st: "State", folio: int) -> None:
        """Stop where the kernel would follow a count as a pointer."""
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

    # Pages of files: a count, unless they were given a chain.

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
        """Fork needs no memory for a page of a file."""
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
        """A page of a file is found at its new place too."""
        if st.folio[folio].pg_anon:
            super().move_rmap(st, folio, vma, new_vma, old_ptep, new_ptep)

    def folio_mapped(self, st: "State", folio: int) -> bool:
        f = st.folio[folio]
        return f.direct != 0 or f.pte_chain != 0 or f.mapcount != 0

    # The walk.

    def rmap_lock_file(self, st: "State", folio: int) -> int:
        """i_shared_sem for an object; a converted page needs none."""
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
