"""Partial objrmap and nonlinear mappings: mark a page, convert it, or search (2003 … 2004).

remap_file_pages() came with v2.5.46. Since then a file's page may be mapped anywhere in a
nonlinear VMA, where a walk by the file does not look. As first posted (5a, objrmap.py), objrmap
loses such a page (E41). Each later variant has another answer::

    5b   install_page() sets PG_anon, and chains the new entry
    5c   page_convert_anon() first gives the page a chain of all its entries, then it is mapped
         5c, first form     count the entries, allocate all chunks, collect all entries at once
         5c, second form    set PG_anon, then move one entry after the other into the chain
    5d   as the second form of 5c, for v2.6 (Andrea Arcangeli's objrmap-core-1)
    5e   no conversion: a walk visits every page of each nonlinear VMA (merged for one day)

5b was posted on the same day as 5a. If the page is mapped already, its mapcount is then read as a
pointer (E42). In the second form of 5c the chain is incomplete until the conversion ends, and it
stays incomplete if there is no memory (E43). With 5a … 5d truncation misses nonlinear pages (E44).

Left out: 5b expected MAP_NONLINEAR at mmap; the scan of 5e unmaps every other page that it meets;
other threads while page_convert_anon() runs. The caller holds the page lock, as in objrmap-core-1;
the patch of 2003-04-03 set PG_locked itself.

Sources: as in objrmap.py. Both forms of page_convert_anon() are verified: the patch in mail
61050000.1049405305 removes the first (number of chunks, and the BUG_ON() if it finds another
number of entries than mapcount) and adds the second, which was also compared with objrmap-core-1.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.heap import bug, kmem_cache_alloc
from rmapcheck.model.machine.locks import (
    CHAIN_LOCK,
    FOLIO_LOCK,
    I_MMAP_LOCK,
    PTL,
    acquire,
    assert_held,
    release,
)
from rmapcheck.model.machine.state import pte_offset, vma_address
from rmapcheck.model.machine.structs import RmapWalkControl
from rmapcheck.model.schemes.objrmap import Objrmap5a
from rmapcheck.model.schemes.pte_chain import PteChainArray

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State


class Objrmap5b(Objrmap5a):
    """2.5.62-5, the same day: install_page() marks a page of a nonlinear VMA as PG_anon (E42)."""

    name = "objrmap-2.5.62-5"
    title = "partial objrmap, nonlinear pages chained"
    era = attrs.evolve(
        Objrmap5a.era, kernels="2.5.62, second patch of 2003-02-20", flaws=("E42", "E44")
    )

    def marks_nonlinear(self, st: "State", vma: int) -> bool:
        return st.vma[vma].vm_nonlinear != 0


class Objrmap5c(Objrmap5a):
    """2.5.62-mm3 … 2.5.66-mm3: page_convert_anon(), first form (truncation has E44)."""

    name = "objrmap-2.5.66-mm2"
    title = "partial objrmap with page_convert_anon"
    era = attrs.evolve(Objrmap5a.era, kernels="2.5.62-mm3 … 2.5.66-mm3", flaws=("E44",))
    goals: ClassVar[tuple[str, ...]] = (*Objrmap5a.goals, "a page of a file is converted")

    def counts_locked(self) -> bool:
        return True

    def find_pte(self, st: "State", vma: int, folio: int) -> int:
        """Return the entry of `vma` that maps the page at its linear place, or 0; mm/rmap.c.

        In the kernel, too, this function reads page tables.
        """
        address = vma_address(st, vma, st.folio[folio].index)
        if address < 0:
            return 0
        ptep = pte_offset(st, st.vma[vma].vm_mm, address)
        return ptep if st.pte[ptep].folio == folio else 0

    def page_convert_anon(self, st: "State", folio: int) -> int:
        """Give the page a chain of all its entries. Return 0, or -ENOMEM with nothing changed.

        The chunks for all entries are allocated before any lock is taken; then all entries are
        collected.
        """
        assert_held(st, FOLIO_LOCK, folio, "a page is converted")
        f = st.folio[folio]
        mapping = f.address_space
        # Another process has converted it before this one got the lock, or it was truncated.
        if f.pg_anon or mapping == 0:
            return 0
        chunks = (f.mapcount + self.nrpte - 1) // self.nrpte if f.mapcount > 1 else 0
        spare = self.chunks_alloc(st, chunks)
        if spare < 0:
            return spare
        acquire(st, I_MMAP_LOCK, mapping)
        found = self.collect(st, folio, mapping)
        # The count is about to be cleared: after that, only the chain leads to the entries.
        if len(found) != f.mapcount:
            bug(st, "page_convert_anon() finds another number of entries than mapcount")
        f.mapcount = 0
        f.pg_anon = 1
        self.install_chain(st, folio, spare, found)
        release(st, I_MMAP_LOCK, mapping)
        passed(st, "a page of a file is converted")
        return 0

    def chunks_alloc(self, st: "State", number: int) -> int:
        """Return a list of `number` chunks (0 if `number` is 0), or -ENOMEM."""
        first = 0
        for _ in range(number):
            chunk = kmem_cache_alloc(st, st.pte_chain)
            if chunk == 0:
                self.chunks_free(st, first)
                return -ENOMEM
            st.pte_chain[chunk].next = first
            first = chunk
        return first

    def chunks_free(self, st: "State", first: int) -> None:
        """Free a list of empty chunks."""
        while first:
            following = st.pte_chain[first].next
            st.pte_chain[first].next = 0
            self.chunk_free(st, first)
            first = following

    def collect(self, st: "State", folio: int, mapping: int) -> list[int]:
        """Return all entries that map the page, without page_table_lock."""
        rwc = RmapWalkControl()
        found: list[int] = []
        index = st.folio[folio].index
        for vma in self.i_mmap.foreach(st, mapping, index, index, rwc):
            ptep = self.find_pte(st, vma, folio)
            if ptep:
                found.append(ptep)
        return found

    def install_chain(self, st: "State", folio: int, spare: int, found: list[int]) -> None:
        """Make the entries the page's chain, in the chunks of the list `spare`."""
        acquire(st, CHAIN_LOCK, folio)
        for ptep in found:
            full = st.folio[folio].pte_chain == 0 and st.folio[folio].direct != 0
            if st.folio[folio].pte_chain:
                full = st.pte_chain[st.folio[folio].pte_chain].ptes[0] != 0
            if full:
                st.spare = spare
                spare = st.pte_chain[spare].next
                st.pte_chain[st.spare].next = 0
            self.chain_add(st, folio, ptep)
        release(st, CHAIN_LOCK, folio)


class Objrmap5cAgain(Objrmap5c):
    """page_convert_anon(), second form: VMA by VMA, and not atomic (E43, E44).

    It is the form posted against 2.5.66-mm3, hence the name; that kernel itself has the first
    form.
    """

    name = "objrmap-2.5.66-mm3"
    title = "partial objrmap, converted VMA by VMA"
    era = attrs.evolve(
        Objrmap5c.era, kernels="2.5.66-mm3, patch of 2003-04-03", flaws=("E43", "E44")
    )

    def page_convert_anon(self, st: "State", folio: int) -> int:
        """Give the page a chain, entry by entry. Return 0, or -ENOMEM in the middle of the work.

        The page lock excludes reclaim. Removing an entry that is not in the chain yet does
        nothing.
        """
        assert_held(st, FOLIO_LOCK, folio, "a page is converted")
        f = st.folio[folio]
        mapping = f.address_space
        if f.pg_anon or mapping == 0:
            return 0
        acquire(st, I_MMAP_LOCK, mapping)
        mapped = f.mapcount
        f.pg_anon = 1
        f.mapcount = 0
        error = self.convert_all(st, folio, mapping) if mapped else 0
        release(st, I_MMAP_LOCK, mapping)
        passed(st, "a page of a file is converted")
        return error

    def convert_all(self, st: "State", folio: int, mapping: int) -> int:
        """Insert the entry of each VMA into the chain, one after the other.

        Return 0 or -ENOMEM.
        """
        rwc = RmapWalkControl()
        index = st.folio[folio].index
        for vma in self.i_mmap.foreach(st, mapping, index, index, rwc):
            if self.pte_chain_alloc(st):
                return -ENOMEM
            mm = st.vma[vma].vm_mm
            acquire(st, PTL, mm)
            ptep = self.find_pte(st, vma, folio)
            if ptep:
                self.page_remove_rmap(st, folio, ptep)
                self.page_add_rmap(st, folio, ptep)
            release(st, PTL, mm)
            self.pte_chain_free(st)
        return 0


class Objrmap5d(Objrmap5cAgain):
    """objrmap-core-1 of 2004-03-08, for v2.6: as before, with packed chunks (E43, E44)."""

    name = "objrmap-core-1"
    title = "partial objrmap for v2.6"
    era = attrs.evolve(Objrmap5cAgain.era, kernels="2.6.4-rc2, patch of 2004-03-08")
    packs_index = True
    extra_fields: ClassVar[dict[str, dict[str, Any]]] = PteChainArray.extra_fields
    sizes: ClassVar[dict[str, tuple[int, int]]] = PteChainArray.sizes


class Objrmap5e(Objrmap5a):
    """rmap 7 and 8, in Linus's tree for a day: nonlinear VMAs are searched, PG_anon is cleared."""

    name = "objrmap-2.6.6"
    title = "partial objrmap, nonlinear VMAs searched"
    era = attrs.evolve(
        Objrmap5a.era,
        kernels="2.6.6, between two commits of 2004-05-22",
        flaws=(),
        truncates_nonlinear=True,
    )
    packs_index = True
    extra_fields: ClassVar[dict[str, dict[str, Any]]] = PteChainArray.extra_fields
    sizes: ClassVar[dict[str, tuple[int, int]]] = PteChainArray.sizes

    def counts_locked(self) -> bool:
        return True

    def walks_nonlinear(self) -> bool:
        return True

    def folio_remove_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        """Count or unchain the entry; the last unmapping clears PG_anon."""
        super().folio_remove_rmap(st, folio, vma, address, ptep)
        if not self.folio_mapped(st, folio):
            st.folio[folio].pg_anon = 0
