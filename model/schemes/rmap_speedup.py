"""Rmap speedup: pte_chain with a few hashed locks instead of one per page (Daniel Phillips, 2002).

With one node and one bit spinlock for each shared page, fork took one and a half times as long on
a machine with four processors. This patch keeps the nodes and reduces the locks to 256 for all
pages. page->index selects the lock, so that neighbouring pages of a file share one; for the same
purpose the page allocator gives consecutive numbers to anonymous pages. Fork keeps a lock as long
as the next page has the same one, and allocates its nodes 16 at a time::

    rmap_locks[]    [ 0 ]   [ 1 ]   …              page->index >> 4, modulo 256
                      │
    fork:         lock 0 ── page 0, page 1 ── unlock 0, lock 1 ── page 2 ── unlock 1
                  nodes     o o o o o o …            no lock held while they are allocated

But page->index of an anonymous page changes when the page gets a swap slot, and so does its lock.
Therefore the index is changed under the old lock (set_page_index()), and after a lock was taken it
is compared with the page's present lock (pte_chain#hashed-lock). As posted, lock_rmap() compares
with the number that it read first, so it would loop for ever if that had changed.

As posted it also leaks a node for each entry of the zero page that fork copies: add_rmap_nolock()
returns at once, and its node is not freed (E09, found by reading). Here that node is not
allocated.

Measured by the author: 35 % less overhead in fork and exit; by Andrew Morton: still 50 % in all.

Numbers of the model: 2 locks of 2 neighbouring pages each and 2 nodes at a time, so that 3 pages
are enough to show everything. The consecutive number of a page is its address; all swap entries
count as one number.

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
    """Linked nodes, hashed locks, and forks that keep a lock for several pages."""

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
        """Return the number of the lock for pages with this index, counted from 1."""
        return index // (1 << self.locknum_shift) % self.num_rmap_locks + 1

    # The lock of a page.

    def chain_lock(self, st: "State", folio: int) -> int:
        """Take the lock that the page's index selects; lock_rmap(). Return its number."""
        lock = self.rmap_locknum(st.folio[folio].index)
        acquire(st, RMAP_LOCK, lock)
        return lock

    def chain_unlock(self, st: "State", lock: int) -> None:
        release(st, RMAP_LOCK, lock)

    def assert_chain_locked(self, st: "State", folio: int) -> None:
        """Report an error unless the lock for the page's present index is held."""
        lock = self.rmap_locknum(st.folio[folio].index)
        assert_held_write(st, RMAP_LOCK, lock, "the chain of a page changes")

    def set_page_index(self, st: "State", folio: int, index: int) -> None:
        """Change the page's index under the lock that the old index selects; set_page_index()."""
        lock = self.chain_lock(st, folio)
        self.write_index(st, folio, index)
        self.chain_unlock(st, lock)

    def write_index(self, st: "State", folio: int, index: int) -> None:
        """Store the page's new index; the lock for the old index is held."""
        lock = self.rmap_locknum(st.folio[folio].index)
        assert_held_write(st, RMAP_LOCK, lock, "the index of a page changes")
        st.folio[folio].index = index

    def folio_add_new_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        """Set the number that the allocator gives to a new page, which nobody can see yet."""
        st.folio[folio].index = address
        super().folio_add_new_anon_rmap(st, folio, vma, address, ptep)

    def add_to_swap_cache(self, st: "State", folio: int) -> None:
        """Make the swap entry the page's index; add_to_page_cache_unique(), mm/filemap.c."""
        self.set_page_index(st, folio, st.scope.offsets)

    # Nodes.

    def chain_node(self, st: "State") -> int:
        """Return a new node; since allocation takes a lock too, none of rmap_locks may be held."""
        if held_index(st, RMAP_LOCK):
            st.splats.append("a pte_chain is allocated while one of rmap_locks is held")
        return super().chain_node(st)

    def page_add_rmap(self, st: "State", folio: int, ptep: int) -> None:
        """Allocate the node first, then take the lock; page_add_rmap()."""
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
        """Add one of many entries that fork copies; copy_page_range(), add_rmap_nolock()."""
        assert_held_write(st, PTL, ptep_to_mm(st, ptep), "a mapping is added")
        self.grab_nodes(st)
        self.change_lock(st, folio)
        self.push(st, folio, self.local_node(st), ptep)

    def grab_nodes(self, st: "State") -> None:
        """Allocate more nodes if none is left; release the lock for that."""
        if st.spare:
            return
        self.drop_lock(st)
        for _ in range(self.nodes_at_once):
            node = self.chain_node(st)
            st.pte_chain[node].next = st.spare
            st.spare = node

    def local_node(self, st: "State") -> int:
        """Return one of the allocated nodes."""
        node = st.spare
        st.spare = st.pte_chain[node].next
        return node

    def change_lock(self, st: "State", folio: int) -> None:
        """Hold the page's lock; the lock of the page before may be the same."""
        held = held_index(st, RMAP_LOCK)
        if held == self.rmap_locknum(st.folio[folio].index):
            passed(st, "fork keeps the lock for the next page")
            return
        if held:
            self.drop_lock(st)
            passed(st, "fork changes the lock on its way")
        self.chain_lock(st, folio)

    def drop_lock(self, st: "State") -> None:
        """Release the lock that fork holds, if it holds one."""
        held = held_index(st, RMAP_LOCK)
        if held:
            self.chain_unlock(st, held)

    def fork_batch_ends(self, st: "State") -> None:
        """Release the lock after the last page of a page-table page."""
        self.drop_lock(st)

    def pte_chain_free(self, st: "State") -> None:
        """Free the nodes that were not needed; end of copy_page_range()."""
        while st.spare:
            kmem_cache_free(st, st.pte_chain, self.local_node(st))
