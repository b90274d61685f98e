"""Uses of rmap, the same for all schemes: find all entries of a page, and act on them.

After mm/rmap.c: rmap_walk(), folio_referenced() (page_referenced() before v5.18), try_to_unmap().
Left out: a walk ends as soon as all mappings have been found; a walker gives up if a trylock
fails; a walk over anonymous pages does more about VM_LOCKED than leave the entry as it is.
"""

from typing import TYPE_CHECKING

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.cost import count_entries, count_nodes
from rmapcheck.model.machine.events import tell
from rmapcheck.model.machine.locks import (
    ANON_VMA_LOCK,
    FOLIO_LOCK,
    PTL,
    acquire,
    assert_held,
    release,
)
from rmapcheck.model.machine.state import (
    folio_test_anon,
    linear_page_index,
    ptep_to_address,
    ptep_to_mm,
)
from rmapcheck.model.machine.structs import (
    PTE_EXCLUSIVE,
    PTE_FILE,
    PTE_YOUNG,
    VM_LOCKED,
    RmapWalkControl,
)
from rmapcheck.model.mm.swap import folio_put, swap_duplicate
from rmapcheck.model.mm.vma import vma_lookup

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel

REFERENCED = 1
UNMAP = 2


def rmap_visits(st: "Kernel", folio: int, rwc: RmapWalkControl) -> None:
    """Fill `rwc` with the scheme's walk: where the page, anonymous or a file's, may be mapped."""
    if st.scope.files and not folio_test_anon(st, folio):
        st.scheme.rmap_walk_file(st, folio, rwc)
    else:
        st.scheme.rmap_walk(st, folio, rwc)


def rmap_lock(st: "Kernel", folio: int) -> int:
    """Take the lock that a walk of the page's rmap needs; return what to unlock."""
    if st.scope.files and not folio_test_anon(st, folio):
        return st.scheme.rmap_lock_file(st, folio)
    lock = st.scheme.rmap_lock(st, folio)
    walk_lock = st.scheme.walk_lock(st, folio)
    if walk_lock:
        assert_held(st, ANON_VMA_LOCK, walk_lock, "the rmap is walked")
    return lock


def rmap_unlock(st: "Kernel", folio: int, lock: int) -> None:
    """Release the lock that `rmap_lock` took."""
    if st.scope.files and not folio_test_anon(st, folio):
        st.scheme.rmap_unlock_file(st, folio, lock)
    else:
        st.scheme.rmap_unlock(st, lock)


def rmap_walk(st: "Kernel", folio: int, action: int) -> int:
    """Visit each entry that the scheme's walk yields and act on it; rmap_walk(), mm/rmap.c.

    Return the number of entries on which `action` had an effect.
    """
    lock = rmap_lock(st, folio)
    rwc = RmapWalkControl()
    rmap_visits(st, folio, rwc)
    count_nodes(st, rwc.nodes)
    count_entries(st, len(rwc.visited))
    done = 0
    found = 0
    count = 0
    for ptep in rwc.visited:
        mm = ptep_to_mm(st, ptep)
        acquire(st, PTL, mm)
        # The scheme yields where the page may be. Whether it is there can be checked only under
        # this lock. Chains of entries need no check, because they contain no other entries.
        if st.pte[ptep].folio == folio or not st.scheme.walker_checks_pte(st, folio):
            found = found or ptep
            count += 1
            done += _walk_one(st, folio, ptep, action)
        release(st, PTL, mm)
    rmap_unlock(st, folio, lock)
    if found and action == REFERENCED:
        st.scheme.folio_found(st, folio, found, count)
        tell(st, "found", found, folio)
    return done


def _walk_one(st: "Kernel", folio: int, ptep: int, action: int) -> int:
    if action == UNMAP:
        return try_to_unmap_one(st, folio, ptep)
    if st.pte[ptep].flags & PTE_YOUNG:
        st.pte[ptep].flags &= ~PTE_YOUNG
        return 1
    return 0


def try_to_unmap_one(st: "Kernel", folio: int, ptep: int) -> int:
    """Replace an entry by a swap entry, or for a file's page clear it; try_to_unmap_one().

    In mm/rmap.c. Return 1, or 0 if the page is locked in memory.
    """
    mm = ptep_to_mm(st, ptep)
    address = ptep_to_address(st, ptep)
    vma = vma_lookup(st, mm, address)
    if "mlock" in st.scope.ops and vma and st.vma[vma].vm_flags & VM_LOCKED:
        passed(st, "a locked page stays mapped")
        return 0
    if folio_test_anon(st, folio):
        unmap_anon(st, folio, ptep)
    else:
        unmap_file(st, folio, vma, ptep)
    st.scheme.folio_remove_rmap(st, folio, vma, address, ptep)
    tell(st, "unmap", ptep, folio, st.pte[ptep].swap)
    folio_put(st, folio)
    return 1


def unmap_anon(st: "Kernel", folio: int, ptep: int) -> None:
    """Replace the entry by a swap entry for the page's slot."""
    entry = st.folio[folio].swap
    exclusive = st.scheme.era.anon_exclusive and st.folio[folio].exclusive
    if exclusive:
        passed(st, "swap-out of an exclusive page")
    st.folio[folio].exclusive = 0
    swap_duplicate(st, entry)
    p = st.pte[ptep]
    p.folio = 0
    p.swap = entry
    p.flags = PTE_EXCLUSIVE if exclusive else 0


def unmap_file(st: "Kernel", folio: int, vma: int, ptep: int) -> None:
    """Clear the entry, unless the page is not at its linear place.

    Then the entry keeps the offset, so that a fault finds the page again (pgoff_to_pte(),
    v2.5.66 … v3.19).
    """
    p = st.pte[ptep]
    p.folio = 0
    p.flags = 0
    if st.scope.nonlinear:
        index = st.folio[folio].index
        if vma and linear_page_index(st, vma, ptep_to_address(st, ptep)) != index:
            p.flags = PTE_FILE
            p.pgoff = index


def folio_referenced(st: "Kernel", folio: int) -> int:
    """Return how many entries had their accessed bit set, and clear it; mm/rmap.c."""
    acquire(st, FOLIO_LOCK, folio)
    referenced = rmap_walk(st, folio, REFERENCED)
    release(st, FOLIO_LOCK, folio)
    return referenced
