"""Operations on files: map, truncate, punch a hole, reclaim a page of the page cache.

A file is named by its number, one of its pages by (file, index). The process that truncates a
file, or needs memory, makes no difference, so such operations name none.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

import attrs

from rmapcheck.model.mm.fremap import may_remap, sys_remap_file_pages
from rmapcheck.model.mm.mmap import sys_mmap_file
from rmapcheck.model.mm.truncate import truncate_pagecache_range, truncate_setsize
from rmapcheck.model.mm.vma import vma_lookup
from rmapcheck.model.mm.vmscan import reclaim_file_folio
from rmapcheck.model.operations.base import (
    PROT,
    PROTECTION_NAMES,
    PROTECTIONS,
    FileOperation,
    Operation,
    known_protection,
)
from rmapcheck.model.operations.syscall import RANGE, Argument, Syscall

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel
    from rmapcheck.model.machine.scope import Scope
    from rmapcheck.model.scheme import Scheme


@attrs.frozen(kw_only=True)
class MmapFile(Operation):
    """mmap(MAP_FIXED) of `length` pages of a file from page `pgoff` on; private or shared."""

    name = "mmap_file"
    group = "file"
    needs = "files"
    syscall = Syscall(
        program="MMAP_FILE",
        puppet="MMAP_FILE",
        arguments=(
            *RANGE,
            Argument("prot", "arg", PROT),
            Argument("shared", "arg", {False: ("", 0), True: ("SHARED", 256)}),
            Argument("file"),
            Argument("pgoff"),
        ),
    )
    start: int
    length: int
    file: int
    pgoff: int
    shared: bool
    prot: str = attrs.field(default="rw", validator=known_protection)

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        for mm in st.mm.indices():
            for start in range(st.pages):
                for length in range(1, min(st.pages - start, st.scope.file_pages) + 1):
                    yield from cls._range(st, mm, start, length)

    @classmethod
    def _range(cls, st: "Kernel", mm: int, start: int, length: int) -> Iterator[Self]:
        for file in range(1, st.scope.files + 1):
            for pgoff in range(st.scope.file_pages - length + 1):
                for shared in (False, True):
                    for prot in PROTECTION_NAMES[: st.scope.protections]:
                        yield cls(
                            mm=mm,
                            start=start,
                            length=length,
                            file=file,
                            pgoff=pgoff,
                            shared=shared,
                            prot=prot,
                        )

    def apply(self, st: "Kernel") -> int:
        return sys_mmap_file(
            st,
            self.mm,
            self.start,
            self.length,
            PROTECTIONS[self.prot],
            self.file,
            self.pgoff,
            shared=self.shared,
        )

    def beyond(self, scope: "Scope") -> str:
        wrong = super().beyond(scope)
        if not wrong and self.pgoff + self.length > scope.file_pages:
            last = scope.file_pages - self.length
            return f"pgoff must be from 0 to {last}, not {self.pgoff}"
        return wrong


@attrs.frozen(kw_only=True)
class Reclaim(FileOperation):
    """Reclaim unmaps page `index` of a file from all entries and drops it from the page cache."""

    name = "reclaim"
    group = "reclaim"
    syscall = Syscall()
    index: int

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        for file in range(1, st.scope.files + 1):
            for index in range(st.scope.file_pages):
                if can_reclaim(st, st.address_space[file].i_pages[index]):
                    yield cls(file=file, index=index)

    def enabled(self, st: "Kernel") -> bool:
        return can_reclaim(st, st.address_space[self.file].i_pages[self.index])

    def apply(self, st: "Kernel") -> int:
        return reclaim_file_folio(st, st.address_space[self.file].i_pages[self.index])


def can_reclaim(st: "Kernel", folio: int) -> bool:
    """Return whether reclaim can try to take a page. Without rmap, no process may map it."""
    return folio != 0 and not (st.scheme.virtual_scan and st.scheme.folio_mapped(st, folio))


@attrs.frozen(kw_only=True)
class Truncate(FileOperation):
    """truncate: sets the length of the file to `size` pages, shorter or longer than before."""

    name = "truncate"
    group = "truncate"
    syscall = Syscall(
        why_not="all copies of the run share one file, so the program cannot cut it for one",
        puppet="TRUNCATE",
        arguments=(Argument("file"), Argument("size")),
    )
    size: int

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        for file in range(1, st.scope.files + 1):
            for size in range(st.scope.file_pages + 1):
                if size != st.address_space[file].i_size:
                    yield cls(file=file, size=size)

    def apply(self, st: "Kernel") -> int:
        return truncate_setsize(st, self.file, self.size)

    def beyond(self, scope: "Scope") -> str:
        wrong = super().beyond(scope)
        if not wrong and not 0 <= self.size <= scope.file_pages:
            return f"size must be from 0 to {scope.file_pages}, not {self.size}"
        return wrong


@attrs.frozen(kw_only=True)
class PunchHole(FileOperation):
    """fallocate(FALLOC_FL_PUNCH_HOLE): drops `length` pages of the file from `index` on."""

    name = "punch_hole"
    group = "truncate"
    syscall = Syscall(
        puppet="PUNCH_HOLE",
        arguments=(Argument("file"), Argument("index"), Argument("length")),
    )
    index: int
    length: int = 1

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        if "punch_hole" not in st.scheme.era.lacks:
            for file in range(1, st.scope.files + 1):
                for index in range(st.address_space[file].i_size):
                    if st.address_space[file].i_pages[index]:
                        for length in range(1, st.address_space[file].i_size - index + 1):
                            yield cls(file=file, index=index, length=length)

    def enabled(self, st: "Kernel") -> bool:
        return self.index + self.length <= st.address_space[self.file].i_size

    def apply(self, st: "Kernel") -> int:
        last = self.index + self.length - 1
        return truncate_pagecache_range(st, self.file, self.index, last)

    def lacking(self, scheme: "Scheme") -> str:
        return "FALLOC_FL_PUNCH_HOLE (v2.6.38)" if "punch_hole" in scheme.era.lacks else ""


@attrs.frozen(kw_only=True)
class RemapFilePages(Operation):
    """remap_file_pages: maps pages of the same file, from `pgoff` on, in a shared range."""

    name = "remap_file_pages"
    group = "remap"
    needs = "files"
    syscall = Syscall(
        why_not="kernels since v4.0 map another VMA instead of changing the entries of this one"
    )
    start: int
    length: int
    pgoff: int

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        if "remap_file_pages" not in st.scheme.era.lacks:
            for mm in st.mm.indices():
                for start in range(st.pages):
                    vma = vma_lookup(st, mm, start)
                    if vma and st.vma[vma].vm_file:
                        yield from cls._range(st, mm, start, vma)

    @classmethod
    def _range(cls, st: "Kernel", mm: int, start: int, vma: int) -> Iterator[Self]:
        for length in range(1, st.vma[vma].vm_end - start + 1):
            for pgoff in range(st.scope.file_pages):
                if may_remap(st, vma, start, length, pgoff):
                    yield cls(mm=mm, start=start, length=length, pgoff=pgoff)

    def apply(self, st: "Kernel") -> int:
        return sys_remap_file_pages(st, self.mm, self.start, self.length, self.pgoff)

    def lacking(self, scheme: "Scheme") -> str:
        if "remap_file_pages" in scheme.era.lacks:
            return "remap_file_pages with entries that keep a page's offset (v2.5.66 … v3.19)"
        return ""
