"""pte_chain of arrays: an element of the chain fills a cache line (v2.5.35 … v2.6.6).

A linked node (pte_chain_list.py) spends a pointer and a cache miss on each entry. Andrew Morton
made the element of the chain an array, a chunk, that fills a cache line. All chunks are full
except the first, whose free slots are at its low end::

    page with four       pte.chain ──> chunk { next, ptes[. . e4] }       new entries go leftwards
                                         └─> chunk { 0, ptes[e3 e2 e1] }

    e2 is removed        pte.chain ──> chunk { 0, ptes[e3 e4 e1] }    e4 took its place, and then
                                                                      e4's chunk was empty

An entry that is removed is replaced by the lowest entry of the first chunk, so there are never
holes. Slots of removed entries are zeroed, because a chunk must be all zeroes when it is allocated
again. The first entry is still PG_direct. A chain that has shrunk to one entry becomes direct only
when page_referenced() happens to visit it.

Three steps followed. In v2.5.55 the caller of page_add_rmap() allocates the chunk that may be
needed, before any spinlock is taken, so that a failure can be returned (E06 is fixed). In v2.5.68
the number of the first used slot is packed into the low bits of the next pointer, which saves the
search for it; for that NRPTE must be 2^k - 1. In v2.6.4 dup_mmap() links a VMA before it fills the
child's entries (E07).

Left out, besides what the head of pte_chain_list.py names: the free chunk that each CPU kept
(local_pte_chain), of which the model only checks that it is empty; that try_to_unmap() handles the
first chunk separately; nonlinear entries (v2.5.66).

Sources: mm/rmap.c of d5c829324013 (arrays, 2002-09-09), 7aebf77c5959 (caller-supplied,
2003-01-05), 7cb2b0f4b630 (packed index, 2003-04-08) and v2.6.0; hashes are those of
dmgerman/history-token. The search for a slot of the first form and the one-deep cache were read in
the patches as posted.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.cost import count_nodes
from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.heap import bug, kmem_cache_alloc, kmem_cache_free, num, refs
from rmapcheck.model.machine.locks import CHAIN_LOCK, acquire, might_sleep, release
from rmapcheck.model.schemes.pte_chain_list import PteChain, PteChainList

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State
    from rmapcheck.model.machine.structs import RmapWalkControl

__all__ = ["NRPTE", "PteChain", "PteChainArray", "PteChainChunks", "PteChainList"]

NRPTE = 3
"""Entries in a chunk: as many as fit into a cache line after one word. 3 is the smallest number
that any kernel had (i386 with PAE, HIGHPTE and lines of 32 bytes), and so the one to search.
Without HIGHPTE it is 7, 15 or 31 (see `with_line`)."""


class PteChainChunks(PteChainList):
    """v2.5.35 … v2.5.54: a chain of arrays, which are searched for their free slots."""

    name = "pte_chain-2.5.35"
    title = "pte_chain of arrays"
    era = attrs.evolve(
        PteChainList.era,
        kernels="v2.5.35 … v2.5.54",
        # v2.5.46 brought remap_file_pages().
        lacks=("exec_shift", "dontfork", "wipeonfork", "dontunmap", "punch_hole"),
    )
    nrpte: ClassVar[int] = NRPTE
    packs_index: ClassVar[bool] = False
    """The number of the first used slot is stored in the low bits of the next pointer."""
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "folio": ("direct", "pte_chain"),
        "pte_chain": ("next",),
    }
    extra_fields: ClassVar[dict[str, dict[str, Any]]] = {"pte_chain": {"ptes": refs("pte", NRPTE)}}
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

    def first_used(self, st: "State", chunk: int) -> int:
        """Return the number of the lowest used slot, or `nrpte` without one; pte_chain_idx()."""
        if self.packs_index:
            idx: int = st.pte_chain[chunk].idx
            return idx
        i = 0
        while i < self.nrpte and st.pte_chain[chunk].ptes[i] == 0:
            i += 1
        count_nodes(st, i)
        return i

    def chain_add(self, st: "State", folio: int, ptep: int) -> None:
        """Use the page's word, then a free slot of the first chunk, then a new chunk before it."""
        self.assert_chain_locked(st, folio)
        f = st.folio[folio]
        if f.direct:
            self.push_chunk(st, folio, f.direct)
            self.use_slot(st, f.pte_chain, ptep)
            f.direct = 0
            passed(st, "a direct page gets a chain")
        elif f.pte_chain == 0:
            f.direct = ptep
        elif st.pte_chain[f.pte_chain].ptes[0]:
            self.push_chunk(st, folio, ptep)
            passed(st, "a page has two chunks")
        else:
            self.use_slot(st, f.pte_chain, ptep)

    def push_chunk(self, st: "State", folio: int, ptep: int) -> None:
        """Insert a new chunk at the front, with one entry in it."""
        chunk = self.chain_node(st)
        c = st.pte_chain[chunk]
        c.ptes[self.nrpte - 1] = ptep
        c.next = st.folio[folio].pte_chain
        st.folio[folio].pte_chain = chunk
        self.slot_used(st, chunk, self.nrpte - 1)

    def use_slot(self, st: "State", chunk: int, ptep: int) -> None:
        """Put the entry into the highest free slot of the first chunk."""
        i = self.first_used(st, chunk) - 1
        st.pte_chain[chunk].ptes[i] = ptep
        self.slot_used(st, chunk, i)
        if i == 0:
            passed(st, "a chunk is full")

    def slot_used(self, st: "State", chunk: int, first: int) -> None:
        """Store that the lowest used slot is `first`; `nrpte` if the chunk is empty."""
        if self.packs_index:
            st.pte_chain[chunk].idx = first

    def chain_remove(self, st: "State", folio: int, ptep: int) -> None:
        """Remove the entry; the first entry of the first chunk takes its place."""
        self.assert_chain_locked(st, folio)
        f = st.folio[folio]
        if f.direct:
            if f.direct == ptep:
                f.direct = 0
            return
        chunk = f.pte_chain
        while chunk:
            for i in range(self.nrpte):
                if st.pte_chain[chunk].ptes[i] == ptep:
                    self.fill_hole(st, folio, chunk, i)
                    return
            count_nodes(st)
            chunk = st.pte_chain[chunk].next

    def fill_hole(self, st: "State", folio: int, chunk: int, i: int) -> None:
        """Move the lowest entry of the first chunk to slot `i` of `chunk`, which is free now."""
        start = st.folio[folio].pte_chain
        victim = self.first_used(st, start)
        st.pte_chain[chunk].ptes[i] = st.pte_chain[start].ptes[victim]
        self.empty_slot(st, start, victim)
        self.slot_used(st, start, victim + 1)
        if victim + 1 == self.nrpte:
            st.folio[folio].pte_chain = st.pte_chain[start].next
            self.chunk_free(st, start)

    def empty_slot(self, st: "State", chunk: int, i: int) -> None:
        """Zero a slot, since a chunk must be empty when it is allocated again."""
        st.pte_chain[chunk].ptes[i] = 0

    def chunk_free(self, st: "State", chunk: int) -> None:
        """Free an empty chunk; pte_chain_free().

        The slab's constructor zeroes a chunk only once, so page_add_rmap() would find any entry
        that is left in it. DEBUG_RMAP has a BUG_ON() for that in pte_chain_alloc().
        """
        for i in range(self.nrpte):
            if st.pte_chain[chunk].ptes[i]:
                bug(st, "a chunk is freed that is not empty")
        kmem_cache_free(st, st.pte_chain, chunk)

    def rmap_lock(self, st: "State", folio: int) -> int:
        """Return the page, for rmap_unlock(); pte_chain_list.py explains PG_chainlock."""
        return folio

    def rmap_unlock(self, st: "State", lock: int) -> None:
        """Make a chain of one entry PG_direct again, which happens only here; page_referenced().

        try_to_unmap() does not do this, but it leaves no entry unless it has to give up.
        """
        chunk = st.folio[lock].pte_chain
        if chunk == 0 or st.pte_chain[chunk].next:
            return
        if self.first_used(st, chunk) < self.nrpte - 1:
            return
        acquire(st, CHAIN_LOCK, lock)
        self.collapse(st, lock, chunk)
        release(st, CHAIN_LOCK, lock)
        passed(st, "a chain becomes direct")

    def collapse(self, st: "State", folio: int, chunk: int) -> None:
        """Make the last entry direct, and free its chunk."""
        self.assert_chain_locked(st, folio)
        st.folio[folio].direct = st.pte_chain[chunk].ptes[self.nrpte - 1]
        st.folio[folio].pte_chain = 0
        self.empty_slot(st, chunk, self.nrpte - 1)
        self.chunk_free(st, chunk)

    def walk_node(self, st: "State", node: int, rwc: "RmapWalkControl") -> None:
        """Visit the entries of one chunk, from its lowest used slot up."""
        for i in range(self.first_used(st, node), self.nrpte):
            self.visit_ptep(st, rwc, st.pte_chain[node].ptes[i])


class PteChainSupplied(PteChainChunks):
    """v2.5.55 … v2.5.67: the caller of page_add_rmap() allocates the chunk that it may need.

    Fork allocates again for each entry, and first tries without sleeping; here both are the same.
    """

    name = "pte_chain-2.5.55"
    title = "pte_chain of arrays, supplied by the caller"
    era = attrs.evolve(PteChainChunks.era, kernels="v2.5.55 … v2.5.67", flaws=())

    def pte_chain_alloc(self, st: "State") -> int:
        """Allocate a chunk before page_table_lock is taken; pte_chain_alloc(GFP_KERNEL)."""
        might_sleep(st, "a pte_chain is allocated")
        st.spare = kmem_cache_alloc(st, st.pte_chain)
        return 0 if st.spare else -ENOMEM

    def pte_chain_free(self, st: "State") -> None:
        if st.spare:
            self.chunk_free(st, self.chain_node(st))

    def chain_node(self, st: "State") -> int:
        """Return the chunk that the caller allocated."""
        spare = st.spare
        st.spare = 0
        return spare


class PteChainArray(PteChainSupplied):
    """v2.5.68 … v2.6.6: the number of the first used slot is packed into the next pointer.

    The field is next_and_idx. A chunk is aligned to its size, so the low bits of its address are
    free for the number.
    """

    name = "pte_chain-2.6.0"
    title = "pte_chain of arrays, with packed index"
    era = attrs.evolve(PteChainSupplied.era, kernels="v2.5.68 … v2.6.6")
    packs_index = True
    extra_fields: ClassVar[dict[str, dict[str, Any]]] = {
        "pte_chain": {"idx": num(NRPTE), "ptes": refs("pte", NRPTE)},
    }
    sizes: ClassVar[dict[str, tuple[int, int]]] = {
        "pte_chain": (32, 64),
        "folio": (40, 80),
        "vma": (64, 128),
    }


def with_line(scheme: type[PteChainChunks], nrpte: int) -> type[PteChainChunks]:
    """Return `scheme` with chunks of `nrpte` entries: 3, 7, 15 or 31, by the cache line.

    On i386 a line of 32, 64, 128 bytes has 7, 15, 31 entries (3 with PAE and HIGHPTE). On a 64-bit
    machine a line of 64, 128, 256 bytes has.
    """
    chunk = dict(scheme.extra_fields["pte_chain"])
    chunk["ptes"] = refs("pte", nrpte)
    if "idx" in chunk:
        chunk["idx"] = num(nrpte)
    body = {
        "__module__": scheme.__module__,
        "__doc__": scheme.__doc__,
        "name": f"{scheme.name}-{nrpte}",
        "nrpte": nrpte,
        "extra_fields": {"pte_chain": chunk},
        "sizes": {**scheme.sizes, "pte_chain": (4 * (nrpte + 1), 8 * (nrpte + 1))},
    }
    return type(f"{scheme.__name__}{nrpte}", (scheme,), body)
