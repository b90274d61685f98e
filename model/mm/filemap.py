"""Files in memory: the page cache, and the lists of VMAs that map a file.

After mm/filemap.c, and mm/mmap.c (__vma_link_file(), unlink_file_vma(), vma_adjust()). A page of
the cache has one reference from the cache and one from each entry that maps it. Left out: dirty
pages and writeback (a page is on disk as soon as it is written to), readahead, fault-around except
in the predictor for running kernels (v3.15), read() and write(), denied writes, DAX, shmem (pages
of files never go to swap).
"""

from typing import TYPE_CHECKING

from rmapcheck.model.machine.events import tell
from rmapcheck.model.machine.heap import kmem_cache_alloc
from rmapcheck.model.machine.locks import I_MMAP_LOCK, acquire, assert_held_write, release
from rmapcheck.model.mm.swap import folio_put

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


# VMAs of a file.


def vma_link_file(st: "Kernel", vma: int, beside: int) -> None:
    """Enter `vma` into its file's i_mmap, if it maps one; __vma_link_file(), mm/mmap.c.

    `beside` is the parent's VMA in fork, which covers the same pages; else 0.
    """
    if st.scope.files:
        mapping = st.vma[vma].vm_file
        if mapping:
            acquire(st, I_MMAP_LOCK, mapping)
            st.scheme.i_mmap.insert(st, mapping, vma, beside)
            release(st, I_MMAP_LOCK, mapping)


def unlink_file_vma(st: "Kernel", vma: int) -> None:
    """Remove `vma` from its file's i_mmap; unlink_file_vma(), mm/mmap.c."""
    if st.scope.files:
        mapping = st.vma[vma].vm_file
        if mapping:
            acquire(st, I_MMAP_LOCK, mapping)
            st.scheme.i_mmap.remove(st, mapping, vma)
            release(st, I_MMAP_LOCK, mapping)


def vma_prepare_file(st: "Kernel", vma: int, adjust: int) -> None:
    """Lock i_mmap before a range changes, and remove the VMAs from it if it is ordered by range.

    vma_adjust() before v6.3, vma_prepare() since. `adjust`, if not 0, maps the same file.
    """
    mapping = st.vma[vma].vm_file
    if mapping == 0:
        return
    if st.scheme.era.locks_i_mmap_to_adjust:
        acquire(st, I_MMAP_LOCK, mapping)
    assert_held_write(st, I_MMAP_LOCK, mapping, "the range of a file's VMA changes")
    if st.scheme.i_mmap.keyed:
        st.scheme.i_mmap.remove(st, mapping, vma)
        if adjust:
            st.scheme.i_mmap.remove(st, mapping, adjust)


def vma_complete_file(st: "Kernel", vma: int, adjust: int) -> None:
    """Insert again what `vma_prepare_file` removed, and unlock i_mmap."""
    mapping = st.vma[vma].vm_file
    if mapping == 0:
        return
    if st.scheme.i_mmap.keyed:
        st.scheme.i_mmap.insert(st, mapping, vma, 0)
        if adjust:
            st.scheme.i_mmap.insert(st, mapping, adjust, 0)
    if st.scheme.era.locks_i_mmap_to_adjust:
        release(st, I_MMAP_LOCK, mapping)


# The page cache.


def filemap_fault(st: "Kernel", mapping: int, index: int) -> int:
    """Return the page at `index` with a new reference, or 0 without memory; filemap_fault().

    filemap_nopage() before v2.6.23. A page that is not in the cache is allocated and read.
    """
    folio: int = st.address_space[mapping].i_pages[index]
    if folio == 0:
        folio = kmem_cache_alloc(st, st.folio)
        if folio == 0:
            return 0
        filemap_add_folio(st, mapping, folio, index)
    st.folio[folio].refcount += 1
    return folio


def filemap_add_folio(st: "Kernel", mapping: int, folio: int, index: int) -> None:
    """Put a page into the cache, which takes a reference; add_to_page_cache() before v5.16."""
    f = st.folio[folio]
    f.refcount += 1
    f.address_space = mapping
    f.index = index
    st.address_space[mapping].i_pages[index] = folio
    tell(st, "cache_add", folio)


def filemap_remove_folio(st: "Kernel", folio: int) -> None:
    """Remove a page from the cache, which may free it; __delete_from_page_cache() before v5.16."""
    f = st.folio[folio]
    st.address_space[f.address_space].i_pages[f.index] = 0
    f.address_space = 0
    tell(st, "cache_del", folio)
    folio_put(st, folio)
