"""Pages and swap: reference counts, swap slots, the swap cache.

After mm/swapfile.c and mm/swap_state.c. A swap slot is in use while entries or the swap cache
refer to it. Left out: writeback (a page is on disk as soon as it is unmapped), readahead, several
swap devices. Left out too: v2.5 … v2.6.33 kept a page in the swap cache after a write fault had
reused it.
"""

from typing import TYPE_CHECKING

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.events import tell
from rmapcheck.model.machine.heap import kmem_cache_alloc, kmem_cache_free

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def alloc_folio(st: "Kernel") -> int:
    """Return a new anonymous page with one reference, or 0; alloc_page_vma()."""
    folio = kmem_cache_alloc(st, st.folio)
    if folio:
        st.folio[folio].refcount = 1
        if st.scope.files:
            st.folio[folio].anon = 1
    return folio


def folio_put(st: "Kernel", folio: int) -> None:
    """Drop a reference; the last one frees the page. folio_put(), linux/mm.h."""
    st.folio[folio].refcount -= 1
    if st.folio[folio].refcount == 0:
        st.scheme.folio_free(st, folio)
        kmem_cache_free(st, st.folio, folio)
        tell(st, "free_page", folio)


def swap_duplicate(st: "Kernel", entry: int) -> None:
    """Count one more swap PTE that names the slot; swap_duplicate(), mm/swapfile.c."""
    st.swap[entry].count += 1


def swap_free(st: "Kernel", entry: int) -> None:
    """Count one swap PTE less that names the slot, and free an unused slot; mm/swapfile.c."""
    s = st.swap[entry]
    s.count -= 1
    if s.count == 0 and s.folio == 0:
        kmem_cache_free(st, st.swap, entry)


def free_swap_and_cache(st: "Kernel", entry: int) -> None:
    """Free what a cleared swap PTE named, if nobody else uses it; mm/swapfile.c."""
    folio = st.swap[entry].folio
    swap_free(st, entry)
    if folio:
        free_swap_cache(st, folio)


def folio_free_swap(st: "Kernel", folio: int) -> bool:
    """Remove the page from the swap cache if no swap PTE names its slot; mm/swapfile.c.

    Return whether it was removed.
    """
    entry = st.folio[folio].swap
    if entry == 0 or st.swap[entry].count > 0:
        return False
    passed(st, "a page leaves the swap cache")
    st.folio[folio].swap = 0
    st.swap[entry].folio = 0
    kmem_cache_free(st, st.swap, entry)
    folio_put(st, folio)
    return True


def free_swap_cache(st: "Kernel", folio: int, *, held: int = 0) -> None:
    """Remove a page that nobody maps from the swap cache; free_swap_cache(), mm/swap_state.c.

    Without rmap the references decide, of which the caller holds `held`;
    free_page_and_swap_cache() and remove_exclusive_swap_page(), v2.4.
    """
    f = st.folio[folio]
    if f.swap == 0:
        return
    if st.scheme.virtual_scan:
        mapped = f.refcount > 1 + held
    else:
        mapped = st.scheme.folio_mapped(st, folio)
    if not mapped:
        folio_free_swap(st, folio)


def add_to_swap(st: "Kernel", folio: int) -> bool:
    """Put the page into the swap cache, in a new slot; add_to_swap(), mm/swap_state.c.

    Return False if no slot is free.
    """
    entry = kmem_cache_alloc(st, st.swap)
    if entry == 0:
        st.exhausted = ""
        return False
    st.swap[entry].folio = folio
    st.folio[folio].swap = entry
    st.folio[folio].refcount += 1
    st.scheme.add_to_swap_cache(st, folio)
    tell(st, "add_to_swap", folio, entry)
    return True
