"""Reclaim of one page: unmap it from all its entries through its rmap, then free it.

After shrink_folio_list(), mm/vmscan.c (shrink_page_list() before v5.18). Left out: LRU lists,
dirty pages and writeback, and the reasons why reclaim chooses a page: any page may be taken at any
time.
"""

from typing import TYPE_CHECKING

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.events import tell
from rmapcheck.model.machine.heap import kmem_cache_free
from rmapcheck.model.machine.locks import FOLIO_LOCK, acquire, release
from rmapcheck.model.mm.filemap import filemap_remove_folio
from rmapcheck.model.mm.rmap import UNMAP, rmap_walk
from rmapcheck.model.mm.swap import add_to_swap, folio_put

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def swap_out(st: "Kernel", folio: int) -> int:
    """Reclaim an anonymous page: add_to_swap(), try_to_unmap(), pageout(), __remove_mapping().

    Return 0. A page that stays mapped somewhere stays in the swap cache.
    """
    acquire(st, FOLIO_LOCK, folio)
    if st.folio[folio].swap:
        passed(st, "swap-out of a page in the swap cache")
    if st.folio[folio].refcount > 1 and not st.folio[folio].swap:
        passed(st, "swap-out of a shared page")
    # Each entry will name the slot, so the page must have a slot before it is unmapped.
    if st.folio[folio].swap or add_to_swap(st, folio):
        if st.scheme.folio_mapped(st, folio):
            rmap_walk(st, folio, UNMAP)
        # Only the swap cache refers to it now, so the walk found every mapping.
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


def reclaim_file_folio(st: "Kernel", folio: int) -> int:
    """Reclaim a page of the page cache: try_to_unmap(), __remove_mapping(). Return 0.

    A page that stays mapped somewhere stays in the cache.
    """
    acquire(st, FOLIO_LOCK, folio)
    if st.scheme.folio_mapped(st, folio):
        if rmap_walk(st, folio, UNMAP):
            passed(st, "a mapped page of a file is reclaimed")
        tell(st, "reclaim", folio)
    # If only the page cache refers to it now, the walk found every mapping.

    freed = st.folio[folio].refcount == 1
    release(st, FOLIO_LOCK, folio)
    if freed:
        filemap_remove_folio(st, folio)
    return 0
