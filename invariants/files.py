"""Files: is each VMA in the right i_mmap, each page at its index, and none beyond the end?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmapcheck.invariants.completeness import mapped_folios, mappers_of, place
from rmapcheck.invariants.lists import vma_of
from rmapcheck.invariants.registry import Violation, invariant
from rmapcheck.model.machine.state import (
    folio_test_anon,
    linear_page_index,
    ptep_to_address,
)

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


@invariant("files#members", universal=True)
def i_mmap_members(st: "Kernel") -> Iterator[Violation]:
    """A VMA that maps a file is in the i_mmap of that file, once, and in no other."""
    if not st.scope.files:
        return
    for vma in st.vma.indices():
        for file in range(1, st.scope.files + 1):
            times = st.scheme.i_mmap.members(st, file).count(vma)
            wanted = int(st.vma[vma].vm_file == file)
            if times != wanted:
                yield Violation(
                    f"v be VMA {vma}, which maps {_file(st.vma[vma].vm_file)}",
                    f"v must be in the i_mmap of file {file} {wanted} times",
                    f"it is there {times} times",
                    (("vma", vma), ("address_space", file)),
                )
    for file in range(1, st.scope.files + 1):
        for vma in st.scheme.i_mmap.members(st, file):
            if not st.vma.is_live(vma):
                yield Violation(
                    f"v be VMA {vma}, in the i_mmap of file {file}",
                    "v must be alive",
                    "it has been freed",
                    (("vma", vma), ("address_space", file)),
                )


def _file(file: int) -> str:
    return f"file {file}" if file else "no file"


@invariant("files#linear", universal=True)
def file_page_linear(st: "Kernel") -> Iterator[Violation]:
    """The page that an entry of a linear VMA maps is the page of the file at that offset."""
    if not st.scope.files:
        return
    for folio in mapped_folios(st):
        if folio_test_anon(st, folio):
            continue
        f = st.folio[folio]
        for ptep in mappers_of(st, folio):
            vma = vma_of(st, ptep)
            if vma == 0 or st.vma[vma].vm_nonlinear:
                continue
            index = linear_page_index(st, vma, ptep_to_address(st, ptep))
            if f.address_space != st.vma[vma].vm_file or f.index != index:
                yield Violation(
                    f"f be folio {folio}, mapped at {place(st, ptep)} in the linear VMA {vma}",
                    f"f must be page {index} of {_file(st.vma[vma].vm_file)}",
                    f"it is page {f.index} of {_file(f.address_space)}",
                    (("folio", folio), ("vma", vma)),
                )


@invariant("files#truncated", universal=True)
def nothing_beyond_the_end(st: "Kernel") -> Iterator[Violation]:
    """No entry maps a page that truncation removed from its file.

    An entry of a linear VMA beyond the end of the file is empty: it has no private copy either.
    """
    if not st.scope.files:
        return
    for ptep in range(1, st.pte.size + 1):
        p = st.pte[ptep]
        vma = vma_of(st, ptep) if p.folio or p.swap else 0
        file = st.vma[vma].vm_file if vma else 0
        if file == 0:
            continue
        size = st.address_space[file].i_size
        let = f"e be the entry of {place(st, ptep)}, which maps file {file} of {size} pages"
        if p.folio and not folio_test_anon(st, p.folio) and not in_cache(st, p.folio):
            yield Violation(
                let,
                "e's page must be in the page cache",
                f"folio {p.folio} is no longer in it",
                (("pte", ptep), ("folio", p.folio)),
            )
        elif not st.vma[vma].vm_nonlinear:
            index = linear_page_index(st, vma, ptep_to_address(st, ptep))
            if index >= size:
                yield Violation(
                    let,
                    f"e, at offset {index}, must be empty",
                    "it contains a page or a swap entry",
                    (("pte", ptep), ("vma", vma)),
                )


def in_cache(st: "Kernel", folio: int) -> bool:
    """Return whether the page cache leads back to the page from its mapping and index."""
    file = st.folio[folio].address_space
    index = st.folio[folio].index
    if file == 0 or index >= st.scope.file_pages:
        return False
    return st.address_space[file].i_pages[index] == folio


@invariant("files#page-cache, radix_tree_lookup()", universal=True)
def page_cache_agrees(st: "Kernel") -> Iterator[Violation]:
    """Each page of the page cache has the right mapping and index, and is before the end."""
    if not st.scope.files:
        return
    for file in range(1, st.scope.files + 1):
        for index in range(st.scope.file_pages):
            folio = st.address_space[file].i_pages[index]
            if folio == 0:
                continue
            f = st.folio[folio]
            if (
                f.address_space != file
                or f.index != index
                or index >= st.address_space[file].i_size
            ):
                yield Violation(
                    f"f be folio {folio}, in the cache as page {index} of file {file}",
                    "f's own mapping and index must say the same, before the end of the file",
                    f"they say page {f.index} of {_file(f.address_space)}, "
                    f"and the file has {st.address_space[file].i_size} pages",
                    (("folio", folio), ("address_space", file)),
                )
