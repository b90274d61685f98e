"""Rmap speedup: pte_chain with a few hashed locks instead of one a page (Daniel Phillips, 2002).

With one node and one bit spinlock for each page that it shares, fork took half as long again on a
machine with four processors. This patch leaves the nodes and thins out the locks: 256 for all
pages, chosen by page->index, so that neighbours in a file share one; to anonymous pages the page
allocator gives running numbers for the same end. Fork keeps the lock as long as the next page has
the same, and takes its nodes 16 at a time::

    rmap_locks[]    [ 0 ]   [ 1 ]   …              page->index >> 4, modulo 256
                      │
    fork:         lock 0 ── page 0, page 1 ── unlock 0, lock 1 ── page 2 ── unlock 1
                  nodes     o o o o o o …            no lock held while they are allocated

But page->index of an anonymous page changes, when it gets a place in swap, and with it which lock
is its lock. So it is changed under the old lock (set_page_index()), and a lock once taken is
compared again with the one that is the page's now (lock_rmap(); as posted it compares with the
number that it read first, and would spin for ever if that had changed): pte_chain#hashed-lock.

As posted it also loses a node for each entry of the zero page that fork copies: add_rmap_nolock()
returns at once, and nobody takes the node back (E09, found by reading). Here it is not taken.

Measured by the author: 35 % less overhead in fork and exit; by Andrew Morton: still 50 % in all.

Numbers of the model: 2 locks of 2 neighbouring pages each and 2 nodes at a time, so that 3 pages
show all of it; the running number is the page's address; every swap entry counts as one number.

Source: mail E17aiJv-0007cr-00@starship (linux-kernel, 2002-08-02), "[PATCH] Rmap speedup", against
v2.4.19-pre7 with rmap 13b; verified. Never merged.
"""

from typing import TYPE_CHECKING, ClassVar

import attrs

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.heap import kmem_cache_free
from rmapcheck.model.machine.locks import (
    PTL,
    RMAP_LOCK,
    acquire,
    assert_held_write,
    held_index,
    release,
)
from rmapcheck.model.machine.state import ptep_to_mm
from rmapcheck.model.schemes.pte_chain_list import PteChainMinimal

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State


class RmapSpeedup(PteChainMinimal):
    """Linked nodes, hashed locks, and forks that keep a lock over several pages."""

    name = "rmap-speedup"
    title = "linked pte_chain with hashed locks (Phillips)"
    era = attrs.evolve(
        PteChainMinimal.era, kernels="2002-08-02, for v2.4.19-pre7 with rmap 13b", flaws=("E06",)
    )
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "folio": ("pte_chain", "index"),
        "pte_chain": ("next", "ptep"),
    }
    goals: ClassVar[tuple[str, ...]] = (
        "a chain of two",
        "fork keeps the lock for the next page",
        "fork changes the lock on its way",
    )
    fork_batch = 32
    num_rmap_locks: ClassVar[int] = 2
    locknum_shift: ClassVar[int] = 1
    nodes_at_once: ClassVar[int] = 2

    def rmap_locknum(self, index: int) -> int:
        """Return which of rmap_locks[] the pages with that index have, from 1."""
        return index // (1 << self.locknum_shift) % self.num_rmap_locks + 1

    # The lock of a page.

    def chain_lock(self, st: "State", folio: int) -> int:
        """Take the lock that the page's index leads to; lock_rmap()."""
        lock = self.rmap_locknum(st.folio[folio].index)
        acquire(st, RMAP_LOCK, lock)
        return lock

    def chain_unlock(self, st: "State", lock: int) -> None:
        release(st, RMAP_LOCK, lock)

    def assert_chain_locked(self, st: "State", folio: int) -> None:
        """The lock is that of the index which the page has now."""
        lock = self.rmap_locknum(st.folio[folio].index)
        assert_held_write(st, RMAP_LOCK, lock, "the chain of a page changes")

    def set_page_index(self, st: "State", folio: int, index: int) -> None:
        """Change the page's index under the lock that it leads to so far; set_page_index()."""
        lock = self.chain_lock(st, folio)
        self.write_index(st, folio, index)
        self.chain_unlock(st, lock)

    def write_index(self, st: "State", folio: int, index: int) -> None:
        """Store the page's new index."""
        lock = self.rmap_locknum(st.folio[folio].index)
        assert_held_write(st, RMAP_LOCK, lock, "the index of a page changes")
        st.folio[folio].index = index

    def folio_add_new_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        """A fresh page has got a number from the allocator, when nobody knew it yet."""
        st.folio[folio].index = address
        super().folio_add_new_anon_rmap(st, folio, vma, address, ptep)

    def add_to_swap_cache(self, st: "State", folio: int) -> None:
        """The index is the swap entry now; add_to_page_cache_unique(), mm/filemap.c."""
        self.set_page_index(st, folio, st.scope.offsets)

    # Nodes.

    def chain_node(self, st: "State") -> int:
        """Return a node; its list has a lock of its own, so that none of rmap_locks is held."""
        if held_index(st, RMAP_LOCK):
            st.splats.append("a pte_chain is allocated while one of rmap_locks is held")
        return super().chain_node(st)

    def page_add_rmap(self, st: "State", folio: int, ptep: int) -> None:
        """Take the node first, then the lock; page_add_rmap()."""
        assert_held_write(st, PTL, ptep_to_mm(st, ptep), "a mapping is added")
        node = self.chain_node(st)
        lock = self.chain_lock(st, folio)
        self.push(st, folio, node, ptep)
        self.chain_unlock(st, lock)

    # Fork.

    def folio_dup_anon_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        self.add_rmap_nolock(st, folio, ptep)

    def folio_dup_file_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        self.add_rmap_nolock(st, folio, ptep)

    def add_rmap_nolock(self, st: "State", folio: int, ptep: int) -> None:
        """Note one entry of many; copy_page_range(), add_rmap_nolock()."""
        assert_held_write(st, PTL, ptep_to_mm(st, ptep), "a mapping is added")
        self.grab_nodes(st)
        self.change_lock(st, folio)
        self.push(st, folio, self.local_node(st), ptep)

    def grab_nodes(self, st: "State") -> None:
        """If none is left, take more nodes, and let go of the lock for that."""
        if st.spare:
            return
        self.drop_lock(st)
        for _ in range(self.nodes_at_once):
            node = self.chain_node(st)
            st.pte_chain[node].next = st.spare
            st.spare = node

    def local_node(self, st: "State") -> int:
        """Return one of the nodes taken."""
        node = st.spare
        st.spare = st.pte_chain[node].next
        return node

    def change_lock(self, st: "State", folio: int) -> None:
        """Have the page's lock: perhaps it is the one that the page before had."""
        held = held_index(st, RMAP_LOCK)
        if held == self.rmap_locknum(st.folio[folio].index):
            passed(st, "fork keeps the lock for the next page")
            return
        if held:
            self.drop_lock(st)
            passed(st, "fork changes the lock on its way")
        self.chain_lock(st, folio)

    def drop_lock(self, st: "State") -> None:
        """Let go of the lock that fork holds, if it does."""
        held = held_index(st, RMAP_LOCK)
        if held:
            self.chain_unlock(st, held)

    def fork_batch_ends(self, st: "State") -> None:
        """The last page of a page-table page is done."""
        self.drop_lock(st)

    def pte_chain_free(self, st: "State") -> None:
        """Give back the nodes that were not needed; the end of copy_page_range()."""
        while st.spare:
            kmem_cache_free(st, st.pte_chain, self.local_node(st))
