"""pte_chain: a page has a list of the page-table entries that map it (v2.5.27 … v2.6.6).

Until July 2002 nothing led from a page to the processes that map it. To free one page, swap_out()
scanned the page tables of all processes and unmapped every page that it met: a machine with 32 GB
and large shared segments unmapped 4 GB to free 4 KB. Rik van Riel's rmap gives each page a list of
its entries, so that reclaim finds them directly. A page-table page has its mm and its first
address, so that (mm, address) follows from the entry alone::

    page with three, as first    pte_chain ──> node ──> node ──> node
                                                │        │        │
                                              entry    entry    entry     the newest in front

    page with one, v2.5.27       PG_direct, pte.direct ──> entry

    page with four, v2.6.0       pte.chain ──> chunk { next, idx 2, ptes[. . e4] }
                                                 └─> chunk { 0,  idx 0, ptes[e3 e2 e1] }

No VMA and no offset is needed: mmap, mprotect and munmap leave the chains alone, while fork,
mremap and every fault must update them. The walker changes the entries in the chain without
checking that they map the page. So the chain must be exact. With one entry too many, reclaim
overwrites the page table of another page (E01). With one too few, the page stays mapped after it
was freed.

The price was a slow fork: one node and one lock for each page. PG_direct saved the node of
unshared pages, and arrays as long as a cache line (pte_chain.py) saved most of the others; then
anon_vma replaced all of it. Also, a node was allocated where nothing may fail, under two
spinlocks: a kernel before v2.5.55 that got none stopped (E06).

Left out: the node that try_to_unmap() of v2.5.27 … v2.5.31 lost after it met a locked VMA, which
is E03; the trylock of page_table_lock under PG_chainlock (here the walk releases PG_chainlock
first, since one operation runs at a time); page_referenced() in a race; the list of free nodes
(the pool has the same purpose). VMAs merge only with matching linear pgoff, which here is the
address; these kernels did not check pgoff at all.

Sources: mm/rmap.c, mm/memory.c, mm/mremap.c, include/asm-generic/rmap.h of c48c43e6ed41 (the first
commit, 2002-07-18), 4250169826 (PG_direct, the same day), b9efd6106a (slab, v2.5.30). Hashes of
that time are those of the mirror dmgerman/history-token; that the allocation was unchecked was
read in the patch that introduced the slab.
"""

from typing import TYPE_CHECKING, ClassVar

import attrs

from rmapcheck.model.branches import passed
from rmapcheck.model.era import Era
from rmapcheck.model.i_mmap.list import IMmap, IMmapLists
from rmapcheck.model.machine.cost import count_nodes
from rmapcheck.model.machine.heap import bug, kmem_cache_alloc, kmem_cache_free, ref
from rmapcheck.model.machine.locks import CHAIN_LOCK, PTL, acquire, assert_held_write, release
from rmapcheck.model.machine.state import ptep_to_address, ptep_to_mm
from rmapcheck.model.scheme import Scheme

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State
    from rmapcheck.model.machine.structs import RmapWalkControl


@attrs.define(slots=True, eq=False)
class PteChain:
    """struct pte_chain, mm/rmap.c; PG_chainlock of the page."""

    next: int = ref("pte_chain")
    ptep: int = ref("pte")
    """The one entry of a node (v2.5.27 … v2.5.34)"""


class PteChainMinimal(Scheme):
    """The first commit (c48c43e6ed41), and rmap 1 … 15 for v2.4: one node for each entry."""

    name = "pte_chain-minimal"
    title = "linked pte_chain, as first committed"
    era = Era(
        kernels="2002-07-18; v2.4 with rmap 1 … 15",
        flaws=("E06",),
        lacks=(
            "exec_shift",
            "dontfork",
            "wipeonfork",
            "dontunmap",
            "punch_hole",
            "remap_file_pages",
        ),
    )
    i_mmap: ClassVar[IMmap] = IMmapLists()
    structs = (PteChain,)
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "folio": ("pte_chain",),
        "pte_chain": ("next", "ptep"),
    }
    invariants: ClassVar[tuple[str, ...]] = ("chain_equals_ptes",)
    goals: ClassVar[tuple[str, ...]] = ("a chain of two",)
    sizes: ClassVar[dict[str, tuple[int, int]]] = {"pte_chain": (8, 16)}
    walk_checks_pte = False
    maps_files = True

    def pfn_valid(self, st: "State", ptep: int) -> bool:
        """Return whether page_remove_rmap() is called for a page that rmap tracks.

        It checks the page that its caller passes, not the entry, which has been cleared by now
        (fc563f53a880, v2.5.28).
        """
        return True

    # mm/rmap.c

    def chain_node(self, st: "State") -> int:
        """Return a new node; pte_chain_alloc(), alloc_new_pte_chains(), GFP_ATOMIC.

        No caller could handle a failure. v2.5.27 … v2.5.29 called panic(). After that, slab
        returned a NULL pointer, and page_add_rmap() used it.
        """
        node = kmem_cache_alloc(st, st.pte_chain)
        if node == 0:
            bug(st, "there is no memory for a pte_chain, and page_add_rmap() cannot fail")
        return node

    def page_add_rmap(self, st: "State", folio: int, ptep: int) -> None:
        """Add `ptep` to the entries of the page; page_add_rmap().

        The caller holds page_table_lock.
        """
        assert_held_write(st, PTL, ptep_to_mm(st, ptep), "a mapping is added")
        lock = self.chain_lock(st, folio)
        self.chain_add(st, folio, ptep)
        self.chain_unlock(st, lock)

    def page_remove_rmap(self, st: "State", folio: int, ptep: int) -> None:
        """Remove `ptep` from the entries of the page; page_remove_rmap().

        The caller holds page_table_lock.
        """
        assert_held_write(st, PTL, ptep_to_mm(st, ptep), "a mapping is removed")
        lock = self.chain_lock(st, folio)
        self.chain_remove(st, folio, ptep)
        self.chain_unlock(st, lock)

    def chain_lock(self, st: "State", folio: int) -> int:
        """Take the lock of the page's chain; pte_chain_lock(). Return what to unlock."""
        acquire(st, CHAIN_LOCK, folio)
        return folio

    def chain_unlock(self, st: "State", lock: int) -> None:
        """Release the lock that `chain_lock` took; pte_chain_unlock()."""
        release(st, CHAIN_LOCK, lock)

    def assert_chain_locked(self, st: "State", folio: int) -> None:
        """Report an error if the page's chain is changed without its lock."""
        assert_held_write(st, CHAIN_LOCK, folio, "the chain of a page changes")

    def chain_add(self, st: "State", folio: int, ptep: int) -> None:
        """Insert the entry at the front of the chain."""
        node = self.chain_node(st)
        self.push(st, folio, node, ptep)

    def push(self, st: "State", folio: int, node: int, ptep: int) -> None:
        """Insert `node`, for entry `ptep`, at the front of the chain."""
        self.assert_chain_locked(st, folio)
        f = st.folio[folio]
        if f.pte_chain:
            passed(st, "a chain of two")
        st.pte_chain[node].ptep = ptep
        st.pte_chain[node].next = f.pte_chain
        f.pte_chain = node

    def chain_remove(self, st: "State", folio: int, ptep: int) -> None:
        """Remove the entry's node from the chain."""
        self.assert_chain_locked(st, folio)
        f = st.folio[folio]
        prev = 0
        node = f.pte_chain
        while node and st.pte_chain[node].ptep != ptep:
            count_nodes(st)
            prev = node
            node = st.pte_chain[node].next
        if node == 0:
            return
        count_nodes(st)
        if prev:
            st.pte_chain[prev].next = st.pte_chain[node].next
        else:
            f.pte_chain = st.pte_chain[node].next
        kmem_cache_free(st, st.pte_chain, node)

    # Pages.

    def folio_add_new_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        self.page_add_rmap(st, folio, ptep)

    def folio_add_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int, *, exclusive: bool
    ) -> None:
        self.page_add_rmap(st, folio, ptep)

    def folio_dup_anon_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        """Add the child's entry; copy_page_range(), mm/memory.c."""
        self.page_add_rmap(st, folio, ptep)

    def folio_add_file_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        """Add the entry: pages of files have chains like all others."""
        self.page_add_rmap(st, folio, ptep)

    def folio_dup_file_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        self.page_add_rmap(st, folio, ptep)

    def folio_remove_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        if self.pfn_valid(st, ptep):
            self.page_remove_rmap(st, folio, ptep)

    def move_rmap(
        self, st: "State", folio: int, vma: int, new_vma: int, old_ptep: int, new_ptep: int
    ) -> None:
        """Remove the old entry, then add the new one; copy_one_pte(), mm/mremap.c."""
        self.page_remove_rmap(st, folio, old_ptep)
        self.page_add_rmap(st, folio, new_ptep)

    def folio_mapped(self, st: "State", folio: int) -> bool:
        """Return whether the pointer to chain or entry is not NULL; page_mapped()."""
        return st.folio[folio].direct != 0 or st.folio[folio].pte_chain != 0

    # The walk.

    def visit_ptep(self, st: "State", rwc: "RmapWalkControl", ptep: int) -> None:
        """Visit one entry; ptep_to_mm() and ptep_to_address(), include/asm-generic/rmap.h."""
        self.visit(st, rwc, ptep_to_mm(st, ptep), ptep_to_address(st, ptep))

    def rmap_walk(self, st: "State", folio: int, rwc: "RmapWalkControl") -> None:
        """Visit the entries in the page's chain; page_referenced(), try_to_unmap()."""
        if st.folio[folio].direct:
            self.visit_ptep(st, rwc, st.folio[folio].direct)
        node = st.folio[folio].pte_chain
        while node and rwc.nodes < rwc.limit:
            rwc.nodes += 1
            self.walk_node(st, node, rwc)
            node = st.pte_chain[node].next

    def rmap_walk_file(self, st: "State", folio: int, rwc: "RmapWalkControl") -> None:
        self.rmap_walk(st, folio, rwc)

    def rmap_lock_file(self, st: "State", folio: int) -> int:
        """Take no lock of the file, because a chain does not depend on VMAs."""
        return self.rmap_lock(st, folio)

    def rmap_unlock_file(self, st: "State", folio: int, lock: int) -> None:
        self.rmap_unlock(st, lock)

    def walk_node(self, st: "State", node: int, rwc: "RmapWalkControl") -> None:
        """Visit the entry of one node."""
        self.visit_ptep(st, rwc, st.pte_chain[node].ptep)


class PteChainList(PteChainMinimal):
    """v2.5.27 … v2.5.34: the same list, and PG_direct for a page that one entry maps.

    Posted on the day of the first commit. The pointer to the entry takes the place of the pointer
    to the chain, and a flag tells which of the two it is.
    """

    name = "pte_chain-2.5.27"
    title = "linked pte_chain with PG_direct"
    era = attrs.evolve(PteChainMinimal.era, kernels="v2.5.27 … v2.5.34")
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "folio": ("direct", "pte_chain"),
        "pte_chain": ("next", "ptep"),
    }
    invariants: ClassVar[tuple[str, ...]] = (
        "chain_equals_ptes",
        "direct_alone",
        "chain_not_single",
    )
    goals: ClassVar[tuple[str, ...]] = ("a direct page gets a chain", "a chain becomes direct")

    def chain_add(self, st: "State", folio: int, ptep: int) -> None:
        """Store the first entry in the page itself; with the second, make a chain of both."""
        self.assert_chain_locked(st, folio)
        f = st.folio[folio]
        if f.direct == 0 and f.pte_chain == 0:
            f.direct = ptep
            return
        if f.direct:
            direct = f.direct
            f.direct = 0
            super().chain_add(st, folio, direct)
            passed(st, "a direct page gets a chain")
        super().chain_add(st, folio, ptep)

    def chain_remove(self, st: "State", folio: int, ptep: int) -> None:
        """Remove the entry; a chain of one becomes PG_direct again."""
        f = st.folio[folio]
        if f.direct:
            self.assert_chain_locked(st, folio)
            if f.direct == ptep:
                f.direct = 0
            return
        super().chain_remove(st, folio, ptep)
        self.make_direct(st, folio)

    def make_direct(self, st: "State", folio: int) -> None:
        """Turn a chain of one node back into PG_direct."""
        f = st.folio[folio]
        node = f.pte_chain
        if node and st.pte_chain[node].next == 0:
            f.direct = st.pte_chain[node].ptep
            f.pte_chain = 0
            kmem_cache_free(st, st.pte_chain, node)
            passed(st, "a chain becomes direct")
