"""swapoff: replaces swap entries by their pages.

After try_to_unuse() and unuse_pte(), mm/swapfile.c. The kernel visits all processes for each slot
(since v5.1 all slots for each process). Here one step handles one entry, in any order, so that a
half-done swapoff is an ordinary state. Unlike a fault, it does not check whether the process may
read the page. Left out: pages of shmem.
"""

from typing import TYPE_CHECKING

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.errors import EINVAL
from rmapcheck.model.machine.locks import FOLIO_LOCK, MMAP_LOCK, acquire, release
from rmapcheck.model.machine.state import pte_offset
from rmapcheck.model.mm.fault import do_swap_page
from rmapcheck.model.mm.swap import folio_free_swap
from rmapcheck.model.mm.vma import vma_lookup

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def unuse_pte(st: "Kernel", mm: int, address: int) -> int:
    """Map the page that an entry has in swap; the slot is freed with its last entry.

    Return 0, -EINVAL or -ENOMEM.
    """
    acquire(st, MMAP_LOCK, mm, write=False)
    ptep = pte_offset(st, mm, address)
    vma = vma_lookup(st, mm, address)
    error = -EINVAL
    if vma and st.pte[ptep].swap:
        error = do_swap_page(st, vma, address, ptep, write=False, swapoff=True)
        folio = st.pte[ptep].folio
        if folio and st.folio[folio].swap:
            acquire(st, FOLIO_LOCK, folio)
            if folio_free_swap(st, folio):
                passed(st, "swapoff frees a slot")
            release(st, FOLIO_LOCK, folio)
    release(st, MMAP_LOCK, mm)
    return error
