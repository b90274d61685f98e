"""Operations on VMAs: mmap, brk, munmap, mprotect, mremap, madvise."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

import attrs

from rmapcheck.model.machine.state import pte_offset
from rmapcheck.model.machine.structs import VM_ACCESS_FLAGS, VM_LOCKED
from rmapcheck.model.mm.mmap import (
    madvise_dontneed,
    madvise_flags,
    sys_brk,
    sys_mlock,
    sys_mmap,
    sys_mprotect,
    sys_munmap,
)
from rmapcheck.model.mm.mremap import sys_mremap
from rmapcheck.model.mm.vma import find_vma, vma_lookup
from rmapcheck.model.operations.base import (
    ADVICE,
    ADVICE_FLAGS,
    ADVICE_NAMES,
    PROT,
    PROTECTION_NAMES,
    PROTECTIONS,
    Operation,
    covered,
    free,
    known_protection,
)
from rmapcheck.model.operations.syscall import RANGE, Argument, Syscall

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel
    from rmapcheck.model.scheme import Scheme


def _advice(_instance: object, _attribute: object, value: str) -> None:
    if value not in ADVICE:
        raise ValueError(f"advice must be one of {', '.join(ADVICE)}, not {value!r}")


@attrs.frozen(kw_only=True)
class Mmap(Operation):
    """mmap(MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED) of `length` pages."""

    name = "mmap"
    group = "mmap"
    syscall = Syscall(
        program="MMAP", puppet="MMAP", arguments=(*RANGE, Argument("prot", "arg", PROT))
    )
    parts = ("mmap_free",)
    atomic = False
    start: int
    length: int
    prot: str = attrs.field(default="rw", validator=known_protection)

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        for mm in st.mm.indices():
            for start in range(st.pages):
                for length in range(1, st.pages - start + 1):
                    if "mmap" not in st.scope.ops and not free(st, mm, start, length):
                        continue
                    for prot in PROTECTION_NAMES[: st.scope.protections]:
                        yield cls(mm=mm, start=start, length=length, prot=prot)

    def apply(self, st: "Kernel") -> int:
        return sys_mmap(st, self.mm, self.start, self.length, PROTECTIONS[self.prot])


@attrs.frozen(kw_only=True)
class Brk(Operation):
    """brk: grow the heap, the VMA that ends at `start`, by free pages."""

    name = "brk"
    group = "brk"
    syscall = Syscall(program="BRK", arguments=RANGE)
    atomic = True
    start: int
    length: int

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        for mm in st.mm.indices():
            for start in range(1, st.pages):
                if vma_lookup(st, mm, start - 1) and not vma_lookup(st, mm, start):
                    vma = find_vma(st, mm, start)
                    end = st.vma[vma].vm_start if vma else st.pages
                    for length in range(1, end - start + 1):
                        yield cls(mm=mm, start=start, length=length)

    def enabled(self, st: "Kernel") -> bool:
        if not st.mm.is_live(self.mm):
            return False
        vma = find_vma(st, self.mm, self.start)
        return vma == 0 or st.vma[vma].vm_start >= self.start + self.length

    def apply(self, st: "Kernel") -> int:
        return sys_brk(st, self.mm, self.start, self.length)


@attrs.frozen(kw_only=True)
class Munmap(Operation):
    """munmap of `length` pages, which may span several VMAs and holes."""

    name = "munmap"
    group = "munmap"
    syscall = Syscall(program="MUNMAP", puppet="MUNMAP", arguments=RANGE)
    start: int
    length: int

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        for mm in st.mm.indices():
            for start in range(st.pages):
                for length in range(1, st.pages - start + 1):
                    if covered(st, mm, start, length):
                        yield cls(mm=mm, start=start, length=length)

    def apply(self, st: "Kernel") -> int:
        return sys_munmap(st, self.mm, self.start, self.length)


@attrs.frozen(kw_only=True)
class Mprotect(Operation):
    """mprotect of `length` pages; splits and merges VMAs."""

    name = "mprotect"
    group = "mprotect"
    syscall = Syscall(
        program="MPROTECT", puppet="MPROTECT", arguments=(*RANGE, Argument("prot", "arg", PROT))
    )
    start: int
    length: int
    prot: str = attrs.field(validator=known_protection)

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        for mm in st.mm.indices():
            for start in range(st.pages):
                for length in range(1, st.pages - start + 1):
                    for prot in PROTECTION_NAMES[: st.scope.protections]:
                        if _changes(st, mm, start, length, PROTECTIONS[prot]):
                            yield cls(mm=mm, start=start, length=length, prot=prot)

    def apply(self, st: "Kernel") -> int:
        return sys_mprotect(st, self.mm, self.start, self.length, PROTECTIONS[self.prot])


def _changes(st: "Kernel", mm: int, start: int, length: int, prot: int) -> bool:
    if not covered(st, mm, start, length):
        return False
    for address in range(start, start + length):
        vma = vma_lookup(st, mm, address)
        if vma == 0:
            return False
        if st.vma[vma].vm_flags & VM_ACCESS_FLAGS != prot:
            return True
    return False


@attrs.frozen(kw_only=True)
class Mremap(Operation):
    """mremap of `length` pages at `start` to `new_length` pages.

    `to` = -1 resizes in place. Otherwise the range moves to `to`, and what was mapped there is
    unmapped (MREMAP_FIXED). `dontunmap` leaves the old range mapped and empty (MREMAP_DONTUNMAP).
    """

    name = "mremap"
    group = "mremap"
    syscall = Syscall(
        program="MREMAP",
        puppet="MREMAP",
        arguments=(
            *RANGE,
            Argument("new_length"),
            Argument("to"),
            Argument("dontunmap", "arg", {False: ("", 0), True: ("MREMAP_DONTUNMAP", 1)}),
        ),
    )
    parts = ("mremap_move",)
    start: int
    length: int
    new_length: int
    to: int = -1
    dontunmap: bool = False

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        for mm in st.mm.indices():
            for start in range(st.pages):
                for length in range(1, st.pages - start + 1):
                    if covered(st, mm, start, length):
                        yield from cls._range(st, mm, start, length)

    @classmethod
    def _range(cls, st: "Kernel", mm: int, start: int, length: int) -> Iterator[Self]:
        vma = vma_lookup(st, mm, start)
        whole = st.vma[vma].vm_end >= start + length
        if "mremap" not in st.scope.ops:
            if whole:
                yield from cls._plain_moves(st, mm, start, length)
            return
        if not whole and not st.scheme.era.mremap_many:
            return
        if whole:
            yield from cls._resizes(st, mm, start, length)
            yield from cls._moves(st, mm, start, length, length + 1)
        yield from cls._moves(st, mm, start, length, length)

    @classmethod
    def _plain_moves(cls, st: "Kernel", mm: int, start: int, length: int) -> Iterator[Self]:
        for to in range(st.pages - length + 1):
            if free(st, mm, to, length):
                yield cls(mm=mm, start=start, length=length, new_length=length, to=to)

    @classmethod
    def _resizes(cls, st: "Kernel", mm: int, start: int, length: int) -> Iterator[Self]:
        for new_length in range(1, length):
            yield cls(mm=mm, start=start, length=length, new_length=new_length)
        end = start + length
        if st.vma[vma_lookup(st, mm, start)].vm_end == end:
            following = find_vma(st, mm, end)
            limit = st.vma[following].vm_start if following else st.pages
            for new_length in range(length + 1, limit - start + 1):
                yield cls(mm=mm, start=start, length=length, new_length=new_length)

    @classmethod
    def _moves(
        cls, st: "Kernel", mm: int, start: int, length: int, new_length: int
    ) -> Iterator[Self]:
        for to in range(st.pages - new_length + 1):
            if to + new_length <= start or start + length <= to:
                yield cls(mm=mm, start=start, length=length, new_length=new_length, to=to)
                if length == new_length and "dontunmap" not in st.scheme.era.lacks:
                    yield cls(
                        mm=mm, start=start, length=length, new_length=length, to=to, dontunmap=True
                    )

    def apply(self, st: "Kernel") -> int:
        return sys_mremap(
            st,
            self.mm,
            self.start,
            self.length,
            self.new_length,
            self.to,
            dontunmap=self.dontunmap,
        )

    def lacking(self, scheme: "Scheme") -> str:
        if self.dontunmap and "dontunmap" in scheme.era.lacks:
            return "MREMAP_DONTUNMAP (v5.7)"
        return ""


@attrs.frozen(kw_only=True)
class Madvise(Operation):
    """madvise: dontneed drops pages; each other advice sets or clears a flag that fork reads."""

    name = "madvise"
    group = "madvise"
    syscall = Syscall(
        program="MADVISE",
        puppet="MADVISE",
        arguments=(
            *RANGE,
            Argument("advice", "arg", {n: (a.word, a.number) for n, a in ADVICE.items()}),
        ),
    )
    start: int
    length: int
    advice: str = attrs.field(validator=_advice)

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        for mm in st.mm.indices():
            for start in range(st.pages):
                for length in range(1, st.pages - start + 1):
                    if covered(st, mm, start, length):
                        yield from cls._range(st, mm, start, length)

    @classmethod
    def _range(cls, st: "Kernel", mm: int, start: int, length: int) -> Iterator[Self]:
        for advice in ADVICE_NAMES:
            op = cls(mm=mm, start=start, length=length, advice=advice)
            if not op.lacking(st.scheme) and op.has_effect(st):
                yield op

    def has_effect(self, st: "Kernel") -> bool:
        """Return whether the advice changes some page of the range."""
        for address in range(self.start, self.start + self.length):
            vma = vma_lookup(st, self.mm, address)
            if self.advice == "dontneed":
                p = st.pte[pte_offset(st, self.mm, address)]
                if p.folio or p.swap or p.flags:
                    return True
            elif vma == 0:
                return False
            else:
                set_flags, clear_flags = ADVICE_FLAGS[self.advice]
                flags = st.vma[vma].vm_flags
                if (flags | set_flags) & ~clear_flags != flags:
                    return True
        return False

    def apply(self, st: "Kernel") -> int:
        if self.advice == "dontneed":
            return madvise_dontneed(st, self.mm, self.start, self.length)
        set_flags, clear_flags = ADVICE_FLAGS[self.advice]
        return madvise_flags(st, self.mm, self.start, self.length, set_flags, clear_flags)

    def lacking(self, scheme: "Scheme") -> str:
        if self.advice in ("wipeonfork", "keeponfork") and "wipeonfork" in scheme.era.lacks:
            return "MADV_WIPEONFORK (v4.14)"
        if self.advice in ("dontfork", "dofork") and "dontfork" in scheme.era.lacks:
            return "MADV_DONTFORK (v2.6.16)"
        return ""


@attrs.frozen(kw_only=True)
class Mlock(Operation):
    """mlock, or munlock if `on` is false: reclaim does not unmap pages of a locked range."""

    name = "mlock"
    group = "mlock"
    syscall = Syscall(
        program="MLOCK",
        arguments=(*RANGE, Argument("on", "arg", {False: ("", 0), True: ("1", 1)})),
    )
    start: int
    length: int
    on: bool = True

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        for mm in st.mm.indices():
            for start in range(st.pages):
                for length in range(1, st.pages - start + 1):
                    if covered(st, mm, start, length):
                        yield from cls._range(st, mm, start, length)

    @classmethod
    def _range(cls, st: "Kernel", mm: int, start: int, length: int) -> Iterator[Self]:
        for on in (True, False):
            changes = False
            for address in range(start, start + length):
                vma = vma_lookup(st, mm, address)
                if vma and (st.vma[vma].vm_flags & VM_LOCKED != 0) != on:
                    changes = True
            if changes:
                yield cls(mm=mm, start=start, length=length, on=on)

    def apply(self, st: "Kernel") -> int:
        return sys_mlock(st, self.mm, self.start, self.length, on=self.on)
