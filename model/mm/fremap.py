"""remap_file_pages: pages of a file in any order within one VMA (v2.5.46 … v3.19).

After mm/fremap.c. Databases needed windows on a large shared segment without one VMA for each
window. So a VMA of a shared mapping may be *nonlinear*: only the entry itself tells which page it
maps. When such a page is unmapped, the entry keeps the page's offset (pte_file(), since v2.5.66).
The index of a page no longer leads to its entries, so each scheme needed a way of its own to find
them. Since v4.0 the call creates VMAs instead (c8d78c1823f4).

Left out: MAP_NONBLOCK (pages are always read in); prot; the VM_NONLINEAR flag of mmap() in v2.6.0;
that install_page() took the page lock only in the objrmap patches (recalled); the mlocked
nonlinear VMAs of v2.6.39.
"""

from typing import TYPE_CHECKING

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.errors import EINVAL, ENOMEM
from rmapcheck.model.machine.events import tell
from rmapcheck.model.machine.locks import FOLIO_LOCK, I_MMAP_LOCK, MMAP_LOCK, PTL, acquire, release
from rmapcheck.model.machine.state import linear_page_index, pte_offset
from rmapcheck.model.machine.structs import VM_SHARED
from rmapcheck.model.mm.filemap import filemap_fault
from rmapcheck.model.mm.swap import folio_put
from rmapcheck.model.mm.unmap import zap_pte
from rmapcheck.model.mm.vma import vma_lookup

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def sys_remap_file_pages(st: "Kernel", mm: int, start: int, length: int, pgoff: int) -> int:
    """Map the pages from `pgoff` on of the same file at `start`. Return 0, -EINVAL or -ENOMEM."""
    acquire(st, MMAP_LOCK, mm)
    error = -EINVAL
    vma = vma_lookup(st, mm, start)
    if vma and may_remap(st, vma, start, length, pgoff):
        error = 0
        if linear_page_index(st, vma, start) != pgoff and not st.vma[vma].vm_nonlinear:
            make_nonlinear(st, vma)
        for i in range(length):
            if error == 0:
                error = install_page(st, vma, start + i, pgoff + i)
    release(st, MMAP_LOCK, mm)
    return error


def may_remap(st: "Kernel", vma: int, start: int, length: int, pgoff: int) -> bool:
    """Return whether a shared mapping covers the range, and the file has these pages."""
    v = st.vma[vma]
    if v.vm_file == 0 or not v.vm_flags & VM_SHARED or v.vm_end < start + length:
        return False
    return pgoff + length <= st.address_space[v.vm_file].i_size


def make_nonlinear(st: "Kernel", vma: int) -> None:
    """Set VM_NONLINEAR, which is never cleared, and enter the VMA into i_mmap again.

    Containers keep nonlinear VMAs in another place.
    """
    mapping = st.vma[vma].vm_file
    acquire(st, I_MMAP_LOCK, mapping)
    st.scheme.i_mmap.remove(st, mapping, vma)
    st.vma[vma].vm_nonlinear = 1
    st.scheme.i_mmap.insert(st, mapping, vma, 0)
    tell(st, "nonlinear", vma)
    release(st, I_MMAP_LOCK, mapping)
    passed(st, "a VMA becomes nonlinear")


def install_page(st: "Kernel", vma: int, address: int, index: int) -> int:
    """Map page `index`, and unmap what the entry mapped; install_page(), mm/fremap.c.

    Return 0, or -ENOMEM with the entry unchanged.
    """
    v = st.vma[vma]
    ptep = pte_offset(st, v.vm_mm, address)
    folio = filemap_fault(st, v.vm_file, index)
    if folio == 0:
        return -ENOMEM
    acquire(st, FOLIO_LOCK, folio)
    off = linear_page_index(st, vma, address) != index
    # A walk by the file visits the linear place. For another place the scheme needs a record.
    error = st.scheme.page_convert_anon(st, folio) if off else 0
    tell(st, "convert", folio)
    if error == 0:
        error = st.scheme.pte_chain_alloc(st)
    # Nothing has been zapped yet, so the old entry is unchanged.
    if error:
        release(st, FOLIO_LOCK, folio)
        folio_put(st, folio)
        return error
    acquire(st, PTL, v.vm_mm)
    zap_pte(st, vma, address, ptep)
    st.pte[ptep].folio = folio
    st.scheme.folio_add_file_rmap(st, folio, vma, address, ptep)
    tell(st, "file_fault", vma, ptep, folio)
    release(st, PTL, v.vm_mm)
    release(st, FOLIO_LOCK, folio)
    st.scheme.pte_chain_free(st)
    if off:
        passed(st, "a page is mapped off its linear place")
    return 0
