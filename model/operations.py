"""The operations: what processes and the kernel can do, as data.

A run is a list of operations; each is a frozen attrs class, so that a run prints as a program,
saves as JSON and replays. `possible` enumerates the operations of one class that mean something in
a state; exhaustive search, the random walker and Hypothesis all draw from that same list. Names of
pages are (mm, address): frames, slots and rmap objects have no name outside the model.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs

from model.errors import KernelOops
from model.heap import claim
from model.mm.exec import sys_execve
from model.mm.fault import handle_mm_fault
from model.mm.fork import sys_fork
from model.mm.mmap import (
    madvise_dontneed,
    madvise_flags,
    sys_brk,
    sys_mmap,
    sys_mprotect,
    sys_munmap,
)
from model.mm.mremap import sys_mremap
from model.mm.swap import folio_referenced, swap_out
from model.mm.unmap import mmput
from model.mm.vma import find_vma, vma_lookup
from model.state import (
    PTE_WRITE,
    PTE_ZERO,
    VM_ACCESS_FLAGS,
    VM_DONTCOPY,
    VM_WIPEONFORK,
    VM_WRITE,
    pte_offset,
    ptep_to_address,
    ptep_to_mm,
)

if TYPE_CHECKING:
    from model.scheme import Scheme
    from model.scope import Scope
    from model.state import State

PROTECTIONS = {"rw": 3, "r": 1, "none": 0, "rwx": 7}
"""Protections by their name in case files; a scope uses the first `protections` of them."""
PROTECTION_NAMES = tuple(PROTECTIONS)

ADVICES = {
    "dontfork": (VM_DONTCOPY, 0),
    "dofork": (0, VM_DONTCOPY),
    "wipeonfork": (VM_WIPEONFORK, 0),
    "keeponfork": (0, VM_WIPEONFORK),
}
"""Flags that each advice sets and clears; `dontneed` is the advice that has none."""


@attrs.frozen(kw_only=True)
class Operation:
    """Base of all operations."""

    name: ClassVar[str] = ""
    group: ClassVar[str] = ""
    atomic: ClassVar[bool] = False
    """An error leaves every page and VMA as it was."""

    mm: int
    """The process that acts, from 1."""
    fail: int = 0
    """Which of the operation's allocations fails, from 1; 0: none."""

    @classmethod
    def possible(cls, st: "State") -> Iterator[Self]:
        """Yield each operation of this class that has an effect in `st`, in a fixed order."""
        raise NotImplementedError

    def enabled(self, st: "State") -> bool:
        """Tell whether the operation may be asked for in `st` (it may still return an error)."""
        return st.mm.is_live(self.mm)

    def apply(self, st: "State") -> int:
        """Carry the operation out; return what the system call returns: 0 or -errno."""
        raise NotImplementedError

    def beyond(self, scope: "Scope") -> str:
        """Return why the operation does not fit into `scope`, or ""."""
        return _beyond(self, scope)

    def lacking(self, scheme: "Scheme") -> str:
        """Return the feature of the operation that the scheme's kernels did not have, or ""."""
        return ""

    def __str__(self) -> str:
        shown = [
            f"{a.name}={getattr(self, a.name)!r}"
            for a in sorted(attrs.fields(type(self)), key=lambda a: a.name == "fail")
            if a.default is attrs.NOTHING or getattr(self, a.name) != a.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def _beyond(op: Operation, scope: "Scope") -> str:
    values = attrs.asdict(op)
    for name in ("mm", "child"):
        if name in values and not 1 <= values[name] <= scope.mms:
            return f"{name} must be from 1 to {scope.mms}, not {values[name]}"
    start = values.get("start", values.get("address", 0))
    if not 0 <= start < scope.pages:
        return f"page {start} is outside 0 … {scope.pages - 1}"
    lengths = [(start, "length"), (start, "new_length")]
    if values.get("to", -1) != -1:
        lengths[1] = (values["to"], "new_length")
        if not 0 <= values["to"] < scope.pages:
            return f"page {values['to']} is outside 0 … {scope.pages - 1}"
    for first, name in lengths:
        if name in values and not 1 <= values[name] <= scope.pages - first:
            return f"{name} must be from 1 to {scope.pages - first}, not {values[name]}"
    if values["fail"] < 0:
        return f"fail must be 0 or more, not {values['fail']}"
    if not 0 <= values.get("shift", 0) < scope.pages:
        return f"shift must be from 0 to {scope.pages - 1}, not {values['shift']}"
    return ""


def covered(st: "State", mm: int, start: int, length: int) -> bool:
    """Tell whether the first and the last page of a range are in VMAs."""
    return vma_lookup(st, mm, start) != 0 and vma_lookup(st, mm, start + length - 1) != 0


def _prot(_instance: object, _attribute: object, value: str) -> None:
    if value not in PROTECTIONS:
        raise ValueError(f"prot must be one of {', '.join(PROTECTIONS)}, not {value!r}")


def _advice(_instance: object, _attribute: object, value: str) -> None:
    if value != "dontneed" and value not in ADVICES:
        names = ", ".join(("dontneed", *ADVICES))
        raise ValueError(f"advice must be one of {names}, not {value!r}")


@attrs.frozen(kw_only=True)
class Mmap(Operation):
    """mmap(MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED) of `length` pages."""

    name = "mmap"
    group = "mmap"
    atomic = False
    start: int
    length: int
    prot: str = attrs.field(default="rw", validator=_prot)

    @classmethod
    def possible(cls, st: "State") -> Iterator[Self]:
        for mm in st.mm.indices():
            for start in range(st.pages):
                for length in range(1, st.pages - start + 1):
                    for prot in PROTECTION_NAMES[: st.scope.protections]:
                        yield cls(mm=mm, start=start, length=length, prot=prot)

    def apply(self, st: "State") -> int:
        return sys_mmap(st, self.mm, self.start, self.length, PROTECTIONS[self.prot])


@attrs.frozen(kw_only=True)
class Brk(Operation):
    """brk: grow the heap, the VMA that ends at `start`, by free pages."""

    name = "brk"
    group = "brk"
    atomic = True
    start: int
    length: int

    @classmethod
    def possible(cls, st: "State") -> Iterator[Self]:
        for mm in st.mm.indices():
            for start in range(1, st.pages):
                if vma_lookup(st, mm, start - 1) and not vma_lookup(st, mm, start):
                    vma = find_vma(st, mm, start)
                    end = st.vma[vma].vm_start if vma else st.pages
                    for length in range(1, end - start + 1):
                        yield cls(mm=mm, start=start, length=length)

    def enabled(self, st: "State") -> bool:
        if not st.mm.is_live(self.mm):
            return False
        vma = find_vma(st, self.mm, self.start)
        return vma == 0 or st.vma[vma].vm_start >= self.start + self.length

    def apply(self, st: "State") -> int:
        return sys_brk(st, self.mm, self.start, self.length)


@attrs.frozen(kw_only=True)
class Munmap(Operation):
    """munmap of `length` pages, which may span several VMAs and holes."""

    name = "munmap"
    group = "munmap"
    start: int
    length: int

    @classmethod
    def possible(cls, st: "State") -> Iterator[Self]:
        for mm in st.mm.indices():
            for start in range(st.pages):
                for length in range(1, st.pages - start + 1):
                    if covered(st, mm, start, length):
                        yield cls(mm=mm, start=start, length=length)

    def apply(self, st: "State") -> int:
        return sys_munmap(st, self.mm, self.start, self.length)


@attrs.frozen(kw_only=True)
class Mprotect(Operation):
    """mprotect; splits and merges VMAs."""

    name = "mprotect"
    group = "mprotect"
    start: int
    length: int
    prot: str = attrs.field(validator=_prot)

    @classmethod
    def possible(cls, st: "State") -> Iterator[Self]:
        for mm in st.mm.indices():
            for start in range(st.pages):
                for length in range(1, st.pages - start + 1):
                    for prot in PROTECTION_NAMES[: st.scope.protections]:
                        if _changes(st, mm, start, length, PROTECTIONS[prot]):
                            yield cls(mm=mm, start=start, length=length, prot=prot)

    def apply(self, st: "State") -> int:
        return sys_mprotect(st, self.mm, self.start, self.length, PROTECTIONS[self.prot])


def _changes(st: "State", mm: int, start: int, length: int, prot: int) -> bool:
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
class Read(Operation):
    """A load from page `address`: maps the zero page, or brings a page back from swap."""

    name = "read"
    group = "fault"
    address: int

    @classmethod
    def possible(cls, st: "State") -> Iterator[Self]:
        for mm in st.mm.indices():
            for address in range(st.pages):
                p = st.pte[pte_offset(st, mm, address)]
                vma = vma_lookup(st, mm, address)
                if (
                    vma
                    and st.vma[vma].vm_flags & VM_ACCESS_FLAGS
                    and (p.swap or not (p.folio or p.flags & PTE_ZERO))
                ):
                    yield cls(mm=mm, address=address)

    def apply(self, st: "State") -> int:
        return handle_mm_fault(st, self.mm, self.address, write=False)


@attrs.frozen(kw_only=True)
class Write(Operation):
    """A store to page `address`: first write, copy on write or reuse, swap-in."""

    name = "write"
    group = "fault"
    address: int

    @classmethod
    def possible(cls, st: "State") -> Iterator[Self]:
        for mm in st.mm.indices():
            for address in range(st.pages):
                p = st.pte[pte_offset(st, mm, address)]
                vma = vma_lookup(st, mm, address)
                if vma and st.vma[vma].vm_flags & VM_WRITE and not p.flags & PTE_WRITE:
                    yield cls(mm=mm, address=address)

    def apply(self, st: "State") -> int:
        return handle_mm_fault(st, self.mm, self.address, write=True)


@attrs.frozen(kw_only=True)
class Fork(Operation):
    """fork: process `child` becomes a copy of `mm`."""

    name = "fork"
    group = "fork"
    atomic = True
    child: int

    @classmethod
    def possible(cls, st: "State") -> Iterator[Self]:
        for mm in st.mm.indices():
            for child in range(1, st.mm.size + 1):
                if not st.mm.is_live(child):
                    yield cls(mm=mm, child=child)
                    if not st.every_name:
                        break

    def enabled(self, st: "State") -> bool:
        return st.mm.is_live(self.mm) and not st.mm.is_live(self.child)

    def apply(self, st: "State") -> int:
        return sys_fork(st, self.mm, self.child)


@attrs.frozen(kw_only=True)
class Exec(Operation):
    """execve: a new image with a one-page stack, which moves down by `shift` pages."""

    name = "exec"
    group = "exec"
    shift: int = 0

    @classmethod
    def possible(cls, st: "State") -> Iterator[Self]:
        for mm in st.mm.indices():
            for shift in range(min(st.pages, 2)):
                op = cls(mm=mm, shift=shift)
                if not op.lacking(st.scheme):
                    yield op

    def apply(self, st: "State") -> int:
        return sys_execve(st, self.mm, self.shift)

    def lacking(self, scheme: "Scheme") -> str:
        if self.shift and "exec_shift" in scheme.lacks:
            return "a stack that moves at exec (v2.6.23)"
        return ""


@attrs.frozen(kw_only=True)
class Exit(Operation):
    """exit of a process that is not the last one."""

    name = "exit"
    group = "exit"

    @classmethod
    def possible(cls, st: "State") -> Iterator[Self]:
        if st.mm.live > 1:
            for mm in st.mm.indices():
                yield cls(mm=mm)

    def enabled(self, st: "State") -> bool:
        return st.mm.is_live(self.mm) and st.mm.live > 1

    def apply(self, st: "State") -> int:
        mmput(st, self.mm)
        return 0


@attrs.frozen(kw_only=True)
class Mremap(Operation):
    """mremap of `length` pages at `start` to `new_length` pages.

    `to` = -1 resizes in place; else the range moves to `to`, over whatever is there
    (MREMAP_FIXED). `dontunmap` leaves the old range mapped and empty (MREMAP_DONTUNMAP).
    """

    name = "mremap"
    group = "mremap"
    start: int
    length: int
    new_length: int
    to: int = -1
    dontunmap: bool = False

    @classmethod
    def possible(cls, st: "State") -> Iterator[Self]:
        for mm in st.mm.indices():
            for start in range(st.pages):
                for length in range(1, st.pages - start + 1):
                    if covered(st, mm, start, length):
                        yield from cls._range(st, mm, start, length)

    @classmethod
    def _range(cls, st: "State", mm: int, start: int, length: int) -> Iterator[Self]:
        vma = vma_lookup(st, mm, start)
        whole = st.vma[vma].vm_end >= start + length
        if not whole and not st.scheme.mremap_many:
            return
        if whole:
            yield from cls._resizes(st, mm, start, length)
        yield from cls._moves(st, mm, start, length)

    @classmethod
    def _resizes(cls, st: "State", mm: int, start: int, length: int) -> Iterator[Self]:
        end = start + length
        if st.vma[vma_lookup(st, mm, start)].vm_end == end:
            following = find_vma(st, mm, end)
            limit = st.vma[following].vm_start if following else st.pages
            for new_length in range(length + 1, limit - start + 1):
                yield cls(mm=mm, start=start, length=length, new_length=new_length)

    @classmethod
    def _moves(cls, st: "State", mm: int, start: int, length: int) -> Iterator[Self]:
        for to in range(st.pages - length + 1):
            if to + length <= start or start + length <= to:
                yield cls(mm=mm, start=start, length=length, new_length=length, to=to)
                if "dontunmap" not in st.scheme.lacks:
                    yield cls(
                        mm=mm, start=start, length=length, new_length=length, to=to, dontunmap=True
                    )

    def apply(self, st: "State") -> int:
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
        if self.dontunmap and "dontunmap" in scheme.lacks:
            return "MREMAP_DONTUNMAP (v5.7)"
        return ""


@attrs.frozen(kw_only=True)
class Madvise(Operation):
    """madvise: dontneed drops pages; the others set or clear a flag that fork obeys."""

    name = "madvise"
    group = "madvise"
    start: int
    length: int
    advice: str = attrs.field(validator=_advice)

    @classmethod
    def possible(cls, st: "State") -> Iterator[Self]:
        for mm in st.mm.indices():
            for start in range(st.pages):
                for length in range(1, st.pages - start + 1):
                    if covered(st, mm, start, length):
                        yield from cls._range(st, mm, start, length)

    @classmethod
    def _range(cls, st: "State", mm: int, start: int, length: int) -> Iterator[Self]:
        for advice in ("dontneed", *ADVICES):
            op = cls(mm=mm, start=start, length=length, advice=advice)
            if not op.lacking(st.scheme) and op.has_effect(st):
                yield op

    def has_effect(self, st: "State") -> bool:
        """Tell whether some page of the range is not yet as advised."""
        for address in range(self.start, self.start + self.length):
            vma = vma_lookup(st, self.mm, address)
            if self.advice == "dontneed":
                p = st.pte[pte_offset(st, self.mm, address)]
                if p.folio or p.swap or p.flags:
                    return True
            elif vma == 0:
                return False
            else:
                set_flags, clear_flags = ADVICES[self.advice]
                flags = st.vma[vma].vm_flags
                if (flags | set_flags) & ~clear_flags != flags:
                    return True
        return False

    def apply(self, st: "State") -> int:
        if self.advice == "dontneed":
            return madvise_dontneed(st, self.mm, self.start, self.length)
        set_flags, clear_flags = ADVICES[self.advice]
        return madvise_flags(st, self.mm, self.start, self.length, set_flags, clear_flags)

    def lacking(self, scheme: "Scheme") -> str:
        if self.advice in ("wipeonfork", "keeponfork") and "wipeonfork" in scheme.lacks:
            return "MADV_WIPEONFORK (v4.14)"
        if self.advice in ("dontfork", "dofork") and "dontfork" in scheme.lacks:
            return "MADV_DONTFORK (v2.6.16)"
        return ""


def folio_of(st: "State", ptep: int) -> int:
    """Return the page that an entry maps, or the swap-cache copy of what it names, or 0."""
    p = st.pte[ptep]
    if p.folio:
        return p.folio
    return st.swap[p.swap].folio if p.swap else 0


def folio_named(st: "State", mm: int, address: int) -> int:
    """Return the page at (mm, address), or 0."""
    return folio_of(st, pte_offset(st, mm, address))


def newly_named(st: "State", ptep: int) -> int:
    """Return the page that entry `ptep` is the first to name, or 0."""
    folio = folio_of(st, ptep)
    for before in range(1, ptep if folio else 1):
        if folio_of(st, before) == folio:
            return 0
    return folio


@attrs.frozen(kw_only=True)
class SwapOut(Operation):
    """Reclaim takes the page at (mm, address): unmaps it everywhere, writes it, frees it."""

    name = "swap_out"
    group = "swap"
    address: int

    @classmethod
    def possible(cls, st: "State") -> Iterator[Self]:
        for ptep in range(1, st.pte.size + 1):
            folio = newly_named(st, ptep)
            if folio and (st.folio[folio].swap or st.swap.live < st.swap.size):
                yield cls(mm=ptep_to_mm(st, ptep), address=ptep_to_address(st, ptep))

    def enabled(self, st: "State") -> bool:
        return st.mm.is_live(self.mm) and folio_named(st, self.mm, self.address) != 0

    def apply(self, st: "State") -> int:
        return swap_out(st, folio_named(st, self.mm, self.address))


@attrs.frozen(kw_only=True)
class FolioReferenced(Operation):
    """Reclaim asks whether the page at (mm, address) was used, and clears its accessed bits."""

    name = "referenced"
    group = "referenced"
    address: int

    @classmethod
    def possible(cls, st: "State") -> Iterator[Self]:
        if st.scope.young:
            for ptep in range(1, st.pte.size + 1):
                folio = newly_named(st, ptep)
                if folio and st.scheme.folio_mapped(st, folio):
                    yield cls(mm=ptep_to_mm(st, ptep), address=ptep_to_address(st, ptep))

    def enabled(self, st: "State") -> bool:
        return st.mm.is_live(self.mm) and folio_named(st, self.mm, self.address) != 0

    def apply(self, st: "State") -> int:
        folio_referenced(st, folio_named(st, self.mm, self.address))
        return 0


OPERATIONS: tuple[type[Operation], ...] = (
    Mmap,
    Brk,
    Munmap,
    Mprotect,
    Read,
    Write,
    Fork,
    Exec,
    Exit,
    Mremap,
    Madvise,
    SwapOut,
    FolioReferenced,
)
BY_NAME: dict[str, type[Operation]] = {cls.name: cls for cls in OPERATIONS}


def possible_operations(st: "State") -> list[Operation]:
    """Return all operations that mean something in `st`, in a fixed order, none failing."""
    ops = st.scope.ops
    return [op for cls in OPERATIONS if cls.group in ops for op in cls.possible(st)]


def rename(op: Operation, names: dict[int, int]) -> Operation:
    """Return `op` with the processes renamed."""
    changes: dict[str, Any] = {"mm": names[op.mm]}
    if isinstance(op, Fork):
        changes["child"] = names[op.child]
    return attrs.evolve(op, **changes)


@attrs.frozen
class Outcome:
    """What an operation did, besides changing the state."""

    error: int = 0
    """0 or -errno."""
    oops: KernelOops | None = None
    splats: tuple[str, ...] = ()
    """Complaints of the lock checker."""
    exhausted: str = ""
    """The pool that the scope made too small for this step; the step then does not count."""
    allocations: int = 0
    reached: tuple[str, ...] = ()


def run(st: "State", op: Operation) -> Outcome:
    """Apply `op` to `st` and report."""
    st.begin(op.fail)
    error = 0
    oops = None
    try:
        error = op.apply(st)
    except KernelOops as caught:
        oops = caught
    if st.held and oops is None:
        st.splats.extend(f"{lock} is still held at the end" for lock in st.held)
    return Outcome(error, oops, tuple(st.splats), st.exhausted, st.nr_allocs, tuple(st.reached))


def boot(st: "State") -> None:
    """Make the first state: process 1, with `premapped` pages mapped and nothing else."""
    claim(st.mm, 1)
    if st.scope.premapped:
        run(st, Mmap(mm=1, start=0, length=st.scope.premapped))
