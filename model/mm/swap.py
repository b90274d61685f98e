"""Pages and swap: reference counts, the swap cache, reclaim.

After mm/swapfile.c, mm/swap_state.c and mm/vmscan.c. A swap slot lives while entries or the swap
cache name it. Left out: writeback (a page is on disk as soon as it is unmapped), readahead,
several swap devices, and that v2.5 … v2.6.33 kept a page in the swap cache after a write fault
had reused it.
"""

from typing import TYPE_CHECKING

from model.cost import count_entries, count_nodes
from model.events import tell
from model.heap import kmem_cache_alloc, kmem_cache_free
from model.locks import ANON_VMA_LOCK, FOLIO_LOCK, PTL, acquire, assert_held, release
from model.mm.vma import vma_lookup
from model.state import (
    PTE_EXCLUSIVE,
    PTE_YOUNG,
    RmapWalkControl,
    ptep_to_address,
    ptep_to_mm,
)

if TYPE_CHECKING:
    from model.state import State

REFERENCED = 1
UNMAP = 2


def alloc_folio(st: "State") -> int:
    """Return a page with one reference, or 0; alloc_page_vma()."""
    folio = kmem_cache_alloc(st, st.folio)
    if folio:
        st.folio[folio].refcount = 1
    return folio


def folio_put(st: "State", folio: int) -> None:
    """Drop a reference; the last one frees the page. folio_put(), linux/mm.h."""
    st.folio[folio].refcount -= 1
    if st.folio[folio].refcount == 0:
        st.scheme.folio_free(st, folio)
        kmem_cache_free(st, st.folio, folio)
        tell(st, "free_page", folio)


def swap_duplicate(st: "State", entry: int) -> None:
    """One more swap PTE names the slot; swap_duplicate(), mm/swapfile.c."""
    st.swap[entry].count += 1


def swap_free(st: "State", entry: int) -> None:
    """One swap PTE less names the slot; swap_free(), mm/swapfile.c."""
    s = st.swap[entry]
    s.count -= 1
    if s.count == 0 and s.folio == 0:
        kmem_cache_free(st, st.swap, entry)


def free_swap_and_cache(st: "State", entry: int) -> None:
    """Drop a swap PTE for good, and a swap-cache page nobody needs; mm/swapfile.c."""
    folio = st.swap[entry].folio
    swap_free(st, entry)
    if folio:
        free_swap_cache(st, folio)


def folio_free_swap(st: "State", folio: int) -> bool:
    """Take the page out of the swap cache if no swap PTE needs it; mm/swapfile.c."""
    entry = st.folio[folio].swap
    if entry == 0 or st.swap[entry].count > 0:
        return False
    st.rules.append("a page leaves the swap cache")
    st.folio[folio].swap = 0
    st.swap[entry].folio = 0
    kmem_cache_free(st, st.swap, entry)
    folio_put(st, folio)
    return True


def free_swap_cache(st: "State", folio: int) -> None:
    """Free the swap-cache copy of a page that nobody maps; free_swap_cache(), mm/swap_state.c."""
    if st.folio[folio].swap and not st.scheme.folio_mapped(st, folio):
        folio_free_swap(st, folio)


def add_to_swap(st: "State", folio: int) -> bool:
    """Give the page a swap slot and put it into the swap cache; add_to_swap(), mm/swap_state.c."""
    entry = kmem_cache_alloc(st, st.swap)
    if entry == 0:
        st.exhausted = ""
        return False
    st.swap[entry].folio = folio
    st.folio[folio].swap = entry
    st.folio[folio].refcount += 1
    tell(st, "add_to_swap", folio, entry)
    return True


def swap_out(st: "State", folio: int) -> int:
    """Reclaim one page: unmap it everywhere through its rmap, write it, free it. Return 0.

    shrink_folio_list(), mm/vmscan.c: add_to_swap(), try_to_unmap(), pageout(), __remove_mapping().
    A page that stays mapped somewhere stays in the swap cache.
    """
    acquire(st, FOLIO_LOCK, folio)
    if st.folio[folio].swap:
        st.rules.append("swap-out of a page in the swap cache")
    if st.folio[folio].refcount > 1 and not st.folio[folio].swap:
        st.rules.append("swap-out of a shared page")
    if st.folio[folio].swap or add_to_swap(st, folio):
        if st.scheme.folio_mapped(st, folio):
            rmap_walk(st, folio, UNMAP)
        if st.folio[folio].refcount == 1:
            entry = st.folio[folio].swap
            st.folio[folio].swap = 0
            st.swap[entry].folio = 0
            tell(st, "swap_out", folio, entry)
            release(st, FOLIO_LOCK, folio)
            folio_put(st, folio)
            if st.swap[entry].count == 0:
                kmem_cache_free(st, st.swap, entry)
            return 0
        tell(st, "swap_out", folio, st.folio[folio].swap)
    release(st, FOLIO_LOCK, folio)
    return 0


def folio_referenced(st: "State", folio: int) -> int:
    """Return how many entries had their accessed bit set, and clear it; mm/rmap.c."""
    acquire(st, FOLIO_LOCK, folio)
    referenced = rmap_walk(st, folio, REFERENCED)
    release(st, FOLIO_LOCK, folio)
    return referenced


def rmap_walk(st: "State", folio: int, action: int) -> int:
    """Visit each entry that the scheme's walk yields and act on it; rmap_walk(), mm/rmap.c.

    Return the number of entries on which `action` had an effect.
    """
    lock = st.scheme.rmap_lock(st, folio)
    walk_lock = st.scheme.walk_lock(st, folio)
    if walk_lock:
        assert_held(st, ANON_VMA_LOCK, walk_lock, "the rmap is walked")
    rwc = RmapWalkControl()
    st.scheme.rmap_walk(st, folio, rwc)
    count_nodes(st, rwc.nodes)
    count_entries(st, len(rwc.visited))
    done = 0
    for ptep in rwc.visited:
        mm = ptep_to_mm(st, ptep)
        acquire(st, PTL, mm)
        if st.pte[ptep].folio == folio or not st.scheme.walk_checks_pte:
            done += _walk_one(st, folio, ptep, action)
        release(st, PTL, mm)
    st.scheme.rmap_unlock(st, lock)
    return done


def _walk_one(st: "State", folio: int, ptep: int, action: int) -> int:
    if action == UNMAP:
        try_to_unmap_one(st, folio, ptep)
        return 1
    if st.pte[ptep].flags & PTE_YOUNG:
        st.pte[ptep].flags &= ~PTE_YOUNG
        return 1
    return 0


def try_to_unmap_one(st: "State", folio: int, ptep: int) -> None:
    """Replace an entry by a swap entry; try_to_unmap_one(), mm/rmap.c."""
    mm = ptep_to_mm(st, ptep)
    address = ptep_to_address(st, ptep)
    entry = st.folio[folio].swap
    exclusive = st.scheme.anon_exclusive and st.folio[folio].exclusive
    if exclusive:
        st.rules.append("swap-out of an exclusive page")
    st.folio[folio].exclusive = 0
    swap_duplicate(st, entry)
    p = st.pte[ptep]
    p.folio = 0
    p.swap = entry
    p.flags = PTE_EXCLUSIVE if exclusive else 0
    vma = vma_lookup(st, mm, address)
    st.scheme.folio_remove_rmap(st, folio, vma, address, ptep)
    tell(st, "unmap", ptep, folio, entry)
    folio_put(st, folio)
