"""pte_chain: a page knows the page-table entries that map it (v2.5.27 … v2.6.6).

Until July 2002 nothing led from a page to the processes that map it. To free one page, swap_out()
went through the page tables of everybody and unmapped whatever it met: a machine with 32 GB and
large shared segments took away 4 GB of mappings to gain 4 KB. Rik van Riel's rmap hangs on each
page the list of its entries, so that reclaim goes straight to them. A page-table page knows its mm
and its first address, so that (mm, address) follows from the entry alone::

    page with one mapping        PG_direct, pte.direct ──> entry

    page with three, v2.5.27     pte.chain ──> node ──> node ──> node
                                                 │        │        │
                                               entry    entry    entry     the newest in front

    page with four, v2.6.0       pte.chain ──> chunk { next, idx 2, ptes[. . e4] }
                                                 └─> chunk { 0,  idx 0, ptes[e3 e2 e1] }

No VMA and no offset comes into it: mmap, mprotect and munmap leave the chains alone, while fork,
mremap and every fault must keep them. The walker believes the chain and alters what it names
without a look at the entry. So the chain must be exact: one entry too many, and reclaim overwrites
a stranger's page table (E01); one too few, and the page stays mapped after it was freed.

The price was fork: one node and one lock for each page. PG_direct saved the node of unshared
pages, arrays as long as a cache line most of the others; then anon_vma did without any of it.

Left out: files, mlock and so the node that try_to_unmap() of v2.5.27 … v2.5.31 lost when it met a
locked VMA; the trylock of page_table_lock under PG_chainlock (here the walk lets go of
PG_chainlock first, since one operation runs at a time); page_referenced() in a race. VMAs
are merged by linear pgoff, which is the address, though these kernels asked for no pgoff at all.

Sources: mm/rmap.c, mm/memory.c, mm/mremap.c, include/asm-generic/rmap.h of 4250169826 (PG_direct,
2002-07-18), d5c829324013 (arrays, 2002-09-09), 7cb2b0f4b630 (packed index, 2003-04-08) and
v2.6.0. Hashes of that time are those of the mirror dmgerman/history-token.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from model.errors import ENOMEM
from model.heap import kmem_cache_alloc, kmem_cache_free, num, ref, refs
from model.locks import CHAIN_LOCK, PTL, acquire, assert_held_write, release
from model.scheme import Scheme
from model.state import ptep_to_address, ptep_to_mm

if TYPE_CHECKING:
    from model.state import RmapWalkControl, State

NRPTE = 3
"""Entries in a chunk: cache line less one word, by entry. 3 is i386 with PAE and HIGHPTE and lines
of 32 bytes; without them it is 7, 15 or 31. Always 2^k - 1, since the index shares a word."""


@attrs.define(slots=True, eq=False)
class PteChain:
    """struct pte_chain, mm/rmap.c; PG_chainlock of the page."""

    next: int = ref("pte_chain")
    ptep: int = ref("pte")
    """The one entry of a node (v2.5.27 … v2.5.34)."""


class PteChainList(Scheme):
    """v2.5.27 … v2.5.34: a list with one node for each entry, and PG_direct for a single one.

    page_add_rmap() of these kernels took its nodes under two spinlocks, and panicked when there
    were none. Here pte_chain_alloc() sets two nodes aside before any lock, as later kernels did
    with one chunk, so that an operation that runs out of memory can be taken back.
    """

    name = "pte_chain-2.5.27"
    title = "linked pte_chain with PG_direct"
    kernels = "v2.5.27 … v2.5.34"
    structs = (PteChain,)
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
    sizes: ClassVar[dict[str, tuple[int, int]]] = {"pte_chain": (8, 16)}
    walk_checks_pte = False
    lacks = ("exec_shift", "dontfork", "wipeonfork", "dontunmap")

    def pfn_valid(self, st: "State", ptep: int) -> bool:
        """Tell whether page_remove_rmap() gets a page that rmap keeps.

        It asks about the page that its caller names, not about the entry, which has been cleared
        by now (fc563f53a880, v2.5.28).
        """
        return True

    # mm/rmap.c

    def pte_chain_alloc(self, st: "State") -> int:
        """Set two nodes aside: a page that leaves PG_direct takes both."""
        first = kmem_cache_alloc(st, st.pte_chain)
        if first == 0:
            return -ENOMEM
        second = kmem_cache_alloc(st, st.pte_chain)
        if second == 0:
            kmem_cache_free(st, st.pte_chain, first)
            return -ENOMEM
        st.pte_chain[first].next = second
        st.spare = first
        return 0

    def pte_chain_free(self, st: "State") -> None:
        while st.spare:
            kmem_cache_free(st, st.pte_chain, self.take_spare(st))

    def take_spare(self, st: "State") -> int:
        """Return one of the nodes set aside; pte_chain_pop(), v2.5.27."""
        spare = st.spare
        st.spare = st.pte_chain[spare].next
        return spare

    def page_add_rmap(self, st: "State", folio: int, ptep: int) -> None:
        """Note that `ptep` maps the page; page_add_rmap(). page_table_lock is held."""
        assert_held_write(st, PTL, ptep_to_mm(st, ptep), "a mapping is added")
        acquire(st, CHAIN_LOCK, folio)
        self.chain_add(st, folio, ptep)
        release(st, CHAIN_LOCK, folio)

    def page_remove_rmap(self, st: "State", folio: int, ptep: int) -> None:
        """Forget that `ptep` maps the page; page_remove_rmap(). page_table_lock is held."""
        assert_held_write(st, PTL, ptep_to_mm(st, ptep), "a mapping is removed")
        acquire(st, CHAIN_LOCK, folio)
        if st.folio[folio].direct:
            if st.folio[folio].direct == ptep:
                st.folio[folio].direct = 0
        else:
            self.chain_remove(st, folio, ptep)
        release(st, CHAIN_LOCK, folio)

    def chain_add(self, st: "State", folio: int, ptep: int) -> None:
        """The first entry goes into the page itself; the second makes a chain of both."""
        f = st.folio[folio]
        if f.direct:
            node = self.take_spare(st)
            st.pte_chain[node].ptep = f.direct
            st.pte_chain[node].next = 0
            f.direct = 0
            f.pte_chain = node
            st.reached.append("a direct page gets a chain")
        if f.pte_chain == 0:
            f.direct = ptep
            return
        node = self.take_spare(st)
        st.pte_chain[node].ptep = ptep
        st.pte_chain[node].next = f.pte_chain
        f.pte_chain = node

    def chain_remove(self, st: "State", folio: int, ptep: int) -> None:
        """Take the entry's node out of the chain; a chain of one becomes PG_direct."""
        f = st.folio[folio]
        prev = 0
        node = f.pte_chain
        while node and st.pte_chain[node].ptep != ptep:
            prev = node
            node = st.pte_chain[node].next
        if node == 0:
            return
        if prev:
            st.pte_chain[prev].next = st.pte_chain[node].next
        else:
            f.pte_chain = st.pte_chain[node].next
        kmem_cache_free(st, st.pte_chain, node)
        self.make_direct(st, folio)

    def make_direct(self, st: "State", folio: int) -> None:
        """Turn a chain of one node back into PG_direct."""
        f = st.folio[folio]
        node = f.pte_chain
        if st.pte_chain[node].next == 0:
            f.direct = st.pte_chain[node].ptep
            f.pte_chain = 0
            kmem_cache_free(st, st.pte_chain, node)
            st.reached.append("a chain becomes direct")

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
        """copy_page_range(), mm/memory.c: the child's entry is one more."""
        self.page_add_rmap(st, folio, ptep)

    def folio_remove_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        if self.pfn_valid(st, ptep):
            self.page_remove_rmap(st, folio, ptep)

    def move_rmap(
        self, st: "State", folio: int, vma: int, new_vma: int, old_ptep: int, new_ptep: int
    ) -> None:
        """copy_one_pte(), mm/mremap.c: the old entry out, then the new one in."""
        self.page_remove_rmap(st, folio, old_ptep)
        self.page_add_rmap(st, folio, new_ptep)

    def folio_mapped(self, st: "State", folio: int) -> bool:
        """The union of both pointers is not NULL; page_mapped(), include/linux/mm.h."""
        return st.folio[folio].direct != 0 or st.folio[folio].pte_chain != 0

    # The walk.

    def visit_ptep(self, st: "State", rwc: "RmapWalkControl", ptep: int) -> None:
        """Visit one entry; ptep_to_mm() and ptep_to_address(), include/asm-generic/rmap.h."""
        self.visit(st, rwc, ptep_to_mm(st, ptep), ptep_to_address(st, ptep))

    def rmap_walk(self, st: "State", folio: int, rwc: "RmapWalkControl") -> None:
        """Visit what the page names; page_referenced(), try_to_unmap()."""
        if st.folio[folio].direct:
            self.visit_ptep(st, rwc, st.folio[folio].direct)
        node = st.folio[folio].pte_chain
        while node and rwc.nodes < rwc.limit:
            rwc.nodes += 1
            self.walk_node(st, node, rwc)
            node = st.pte_chain[node].next

    def walk_node(self, st: "State", node: int, rwc: "RmapWalkControl") -> None:
        """Visit the entry of one node."""
        self.visit_ptep(st, rwc, st.pte_chain[node].ptep)


class PteChainArray(PteChainList):
    """v2.5.35 … v2.6.6: a chain of arrays, each as long as a cache line.

    All free slots are at the low end of the first chunk, so that nobody has to look for one; the
    lowest slot in use is kept in the low bits of the next pointer (v2.5.68), here as `idx`. The
    caller brings the chunk that page_add_rmap() may need (7aebf77c5959, v2.5.55).
    """

    name = "pte_chain-2.6.0"
    title = "pte_chain of arrays"
    kernels = "v2.5.35 … v2.6.6"
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "folio": ("direct", "pte_chain"),
        "pte_chain": ("next",),
    }
    extra_fields: ClassVar[dict[str, dict[str, Any]]] = {
        "pte_chain": {"idx": num(NRPTE), "ptes": refs("pte", NRPTE)},
    }
    invariants: ClassVar[tuple[str, ...]] = (
        "chain_equals_ptes",
        "direct_alone",
        "chain_packed",
        "chain_head_used",
    )
    goals: ClassVar[tuple[str, ...]] = (
        "a direct page gets a chain",
        "a chunk is full",
        "a page has two chunks",
    )
    sizes: ClassVar[dict[str, tuple[int, int]]] = {"pte_chain": (32, 64)}

    def pte_chain_alloc(self, st: "State") -> int:
        st.spare = kmem_cache_alloc(st, st.pte_chain)
        return 0 if st.spare else -ENOMEM

    def pte_chain_free(self, st: "State") -> None:
        if st.spare:
            kmem_cache_free(st, st.pte_chain, self.take_spare(st))

    def take_spare(self, st: "State") -> int:
        """Return the chunk that the caller brought."""
        spare = st.spare
        st.spare = 0
        return spare

    def chain_add(self, st: "State", folio: int, ptep: int) -> None:
        """Fill the page, then the first chunk from its high end, then a chunk in front of it."""
        f = st.folio[folio]
        if f.direct:
            self.push_chunk(st, folio, f.direct)
            self.use_slot(st, f.pte_chain, ptep)
            f.direct = 0
            st.reached.append("a direct page gets a chain")
        elif f.pte_chain == 0:
            f.direct = ptep
        elif st.pte_chain[f.pte_chain].ptes[0]:
            self.push_chunk(st, folio, ptep)
            st.reached.append("a page has two chunks")
        else:
            self.use_slot(st, f.pte_chain, ptep)

    def push_chunk(self, st: "State", folio: int, ptep: int) -> None:
        """Put the caller's chunk in front, with one entry in it."""
        chunk = self.take_spare(st)
        c = st.pte_chain[chunk]
        c.ptes[NRPTE - 1] = ptep
        c.idx = NRPTE - 1
        c.next = st.folio[folio].pte_chain
        st.folio[folio].pte_chain = chunk

    def use_slot(self, st: "State", chunk: int, ptep: int) -> None:
        """Take the highest free slot of the first chunk."""
        c = st.pte_chain[chunk]
        c.idx -= 1
        c.ptes[c.idx] = ptep
        if c.idx == 0:
            st.reached.append("a chunk is full")

    def chain_remove(self, st: "State", folio: int, ptep: int) -> None:
        """Let the first entry of the first chunk take the place of the one that goes."""
        chunk = st.folio[folio].pte_chain
        while chunk:
            c = st.pte_chain[chunk]
            for i in range(c.idx, NRPTE):
                if c.ptes[i] == ptep:
                    self.fill_hole(st, folio, chunk, i)
                    return
            chunk = c.next

    def fill_hole(self, st: "State", folio: int, chunk: int, i: int) -> None:
        """Move the victim, the lowest entry of the first chunk, to slot `i` of `chunk`."""
        f = st.folio[folio]
        start = f.pte_chain
        s = st.pte_chain[start]
        victim = s.idx
        st.pte_chain[chunk].ptes[i] = s.ptes[victim]
        s.ptes[victim] = 0
        s.idx += 1
        if s.idx == NRPTE:
            f.pte_chain = s.next
            kmem_cache_free(st, st.pte_chain, start)

    def rmap_lock(self, st: "State", folio: int) -> int:
        """Name the page to rmap_unlock(); for PG_chainlock see the head of this file."""
        return folio

    def rmap_unlock(self, st: "State", lock: int) -> None:
        """A chain of one entry becomes PG_direct again, but only here; page_referenced().

        try_to_unmap() does not do this; but it leaves no entry, unless it has to give up.
        """
        f = st.folio[lock]
        chunk = f.pte_chain
        if chunk == 0 or st.pte_chain[chunk].next or st.pte_chain[chunk].idx < NRPTE - 1:
            return
        acquire(st, CHAIN_LOCK, lock)
        f.direct = st.pte_chain[chunk].ptes[NRPTE - 1]
        f.pte_chain = 0
        kmem_cache_free(st, st.pte_chain, chunk)
        release(st, CHAIN_LOCK, lock)
        st.reached.append("a chain becomes direct")

    def walk_node(self, st: "State", node: int, rwc: "RmapWalkControl") -> None:
        """Visit the entries of one chunk, from its lowest used slot up."""
        for i in range(st.pte_chain[node].idx, NRPTE):
            self.visit_ptep(st, rwc, st.pte_chain[node].ptes[i])
