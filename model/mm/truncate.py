"""A file becomes shorter, or gets a hole: its pages are unmapped, then leave the page cache.

After mm/truncate.c and unmap_mapping_range() in mm/memory.c (vmtruncate_list() before v2.6.3).
Truncation removes private copies too (`even_cows`); a hole keeps them. Accesses beyond the end get
SIGBUS until the file grows again. Left out: partial pages, the second unmapping for faults that
raced with the first (d00806b18315, v2.6.23: recalled), pages under writeback.
"""

from typing import TYPE_CHECKING

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.locks import FOLIO_LOCK, I_MMAP_LOCK, PTL, acquire, release
from rmapcheck.model.machine.state import folio_test_anon, linear_page_index, pte_offset
from rmapcheck.model.machine.structs import PTE_FILE, RmapWalkControl
from rmapcheck.model.mm.filemap import filemap_remove_folio
from rmapcheck.model.mm.unmap import zap_pte

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def truncate_setsize(st: "Kernel", mapping: int, size: int) -> int:
    """Make the file `size` pages long; truncate_setsize(), vmtruncate() before v2.6.36. Return 0.

    The size changes first, so that no fault brings a page back.
    """
    old = st.address_space[mapping].i_size
    st.address_space[mapping].i_size = size
    if size > old:
        passed(st, "a file grows")
    if size < old:
        unmap_mapping_range(st, mapping, size, old - 1, even_cows=True)
        truncate_inode_pages_range(st, mapping, size, old - 1)
    return 0


def truncate_pagecache_range(st: "Kernel", mapping: int, first: int, last: int) -> int:
    """Make pages `first` … `last` of the file a hole (FALLOC_FL_PUNCH_HOLE). Return 0."""
    unmap_mapping_range(st, mapping, first, last, even_cows=False)
    truncate_inode_pages_range(st, mapping, first, last)
    return 0


def unmap_mapping_range(
    st: "Kernel", mapping: int, first: int, last: int, *, even_cows: bool
) -> None:
    """Clear all entries of file pages `first` … `last`; unmap_mapping_range(), mm/memory.c."""
    acquire(st, I_MMAP_LOCK, mapping)
    rwc = RmapWalkControl()
    for vma in st.scheme.i_mmap.foreach(st, mapping, first, last, rwc):
        v = st.vma[vma]
        if not (v.vm_nonlinear and st.scheme.era.truncates_nonlinear):
            start = max(v.vm_start, v.vm_start + first - v.vm_pgoff)
            end = min(v.vm_end, v.vm_start + last + 1 - v.vm_pgoff)
            for address in range(start, end):
                unmap_mapping_page(st, vma, address, even_cows=even_cows)
    if st.scope.nonlinear and st.scheme.era.truncates_nonlinear:
        # The range of a nonlinear VMA does not tell which pages it maps, so check every entry.
        for vma in st.scheme.i_mmap.nonlinear(st, mapping, rwc):
            for address in range(st.vma[vma].vm_start, st.vma[vma].vm_end):
                unmap_nonlinear_page(st, vma, address, first, last)
    release(st, I_MMAP_LOCK, mapping)


def unmap_mapping_page(st: "Kernel", vma: int, address: int, *, even_cows: bool) -> None:
    """Clear one entry, unless it is a private copy that must stay; zap_details.check_mapping."""
    mm = st.vma[vma].vm_mm
    ptep = pte_offset(st, mm, address)
    folio = st.pte[ptep].folio
    copy = st.pte[ptep].swap != 0 or (folio != 0 and folio_test_anon(st, folio))
    if copy and not even_cows:
        passed(st, "a hole leaves a private copy")
        return
    if copy:
        passed(st, "truncation takes a private copy")
        if st.pte[ptep].swap:
            passed(st, "truncation takes a private copy from swap")
    elif folio:
        passed(st, "truncation unmaps a page")
        if not even_cows:
            passed(st, "a hole unmaps a page")
    acquire(st, PTL, mm)
    zap_pte(st, vma, address, ptep)
    release(st, PTL, mm)


def unmap_nonlinear_page(st: "Kernel", vma: int, address: int, first: int, last: int) -> None:
    """Clear an entry of a nonlinear VMA if its page is `first` … `last` of the file.

    zap_details.nonlinear_vma.

    Entries without a page do not change. An entry whose page is not at its linear place keeps the
    offset (66d25df0b1, v2.6.6).
    """
    mm = st.vma[vma].vm_mm
    ptep = pte_offset(st, mm, address)
    folio = st.pte[ptep].folio
    if folio == 0 or st.folio[folio].index < first or st.folio[folio].index > last:
        return
    index = st.folio[folio].index
    acquire(st, PTL, mm)
    zap_pte(st, vma, address, ptep)
    if index != linear_page_index(st, vma, address):
        st.pte[ptep].flags = PTE_FILE
        st.pte[ptep].pgoff = index
    release(st, PTL, mm)


def truncate_inode_pages_range(st: "Kernel", mapping: int, first: int, last: int) -> None:
    """Remove pages from the cache; a page that is still mapped stays, without a mapping."""
    for index in range(first, last + 1):
        folio: int = st.address_space[mapping].i_pages[index]
        if folio:
            acquire(st, FOLIO_LOCK, folio)
            release(st, FOLIO_LOCK, folio)
            filemap_remove_folio(st, folio)
