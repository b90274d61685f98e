"""The model as predictor: what a state of it says the kernel must show, and whether it does.

There is no second model: the state is the one that all engines search. Frames and swap slots of
the model and of the kernel are matched when they first appear and must stay matched as long as
they live, so that "the same page as before" is part of the comparison: a write that should have
reused a page and got a copy is a difference, although nobody else maps either.
"""

from typing import TYPE_CHECKING

from rmapcheck.model.machine.state import folio_test_anon, linear_page_index, pte_offset
from rmapcheck.model.machine.structs import PTE_ZERO, VM_ACCESS_FLAGS, VM_SHARED
from rmapcheck.model.mm.vma import vma_lookup
from rmapcheck.model.operations import (
    Operation,
    Outcome,
    PunchHole,
    Read,
    SwapOut,
    Truncate,
    run,
)
from rmapcheck.oracle.comparison import Difference, Step
from rmapcheck.oracle.observe.look import ZERO, Frame, Look, Process, Range, slot_number
from rmapcheck.oracle.puppets.files import Cached

Place = int | tuple[int, int]
"""A frame or slot of the model, or a page of a file."""

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rmapcheck.model.kernel import Kernel


def model_vmas(st: "Kernel", mm: int) -> tuple[Range, ...]:
    """Return the VMAs of a process, as /proc/PID/maps shows them."""
    found = []
    vma = st.mm[mm].mmap
    while vma:
        v = st.vma[vma]
        seen: Range = (v.vm_start, v.vm_end, v.vm_flags & VM_ACCESS_FLAGS)
        if v.vm_file:
            seen += (v.vm_file, v.vm_pgoff, int(v.vm_flags & VM_SHARED != 0))
        found.append(seen)
        vma = v.vm_next
    return tuple(found)


def model_entries(st: "Kernel", mm: int) -> tuple[int, ...]:
    """Return what each page of a process maps, with the model's numbers of frames and slots."""
    first = pte_offset(st, mm, 0)
    return tuple(
        p.folio or (slot_number(p.swap) if p.swap else ZERO if p.flags & PTE_ZERO else 0)
        for p in st.pte[first : first + st.pages]
    )


def model_look(st: "Kernel") -> Look:
    """Return what the model says of all processes and mapped frames."""
    processes = {m: Process(model_vmas(st, m), model_entries(st, m)) for m in st.mm.indices()}
    frames = {}
    for process in processes.values():
        for entry in process.entries:
            if entry > 0 and entry not in frames:
                f = st.folio[entry]
                anon = folio_test_anon(st, entry)
                frames[entry] = Frame(f.mapcount, bool(f.exclusive), f.swap != 0, anon)
    return Look(processes, frames, model_cached(st))


def model_cached(st: "Kernel") -> Cached:
    """Return which pages of files are in the page cache."""
    return frozenset(
        (file, index)
        for file in range(1, st.scope.files + 1)
        for index, folio in enumerate(st.address_space[file].i_pages)
        if folio
    )


def entry_text(entry: int) -> str:
    """Return an entry in words."""
    if entry == 0:
        return "nothing"
    if entry == ZERO:
        return "the zero page"
    return f"frame {entry}" if entry > 0 else f"swap slot {slot_number(entry)}"


def vmas_text(vmas: tuple[Range, ...]) -> str:
    """Return VMAs in words: ``0-3 rw, 3-4 r of file 1 from 2 shared``."""
    return ", ".join(vma_text(*vma) for vma in vmas) or "none"


def vma_text(
    start: int, end: int, prot: int, file: int = 0, pgoff: int = 0, shared: int = 0
) -> str:
    """Return a VMA in words."""
    name = "".join(c for i, c in enumerate("rwx") if prot >> i & 1) or "none"
    place = f" of file {file} from {pgoff}" if file else ""
    return f"{start}-{end} {name}{place}{' shared' if shared else ''}"


class Predictor:
    """A state of the model, and which frame and slot of the kernel is which of its own."""

    def __init__(self, st: "Kernel") -> None:
        self.st = st
        self.names: dict[int, int] = {}
        """Entry of the model (a frame or a slot) → entry of the kernel."""
        self.used: set[int] = set()
        """Frames of the kernel that were mapped before the step: no new page can be one of them,
        since a copy is made while the page that it is made of is still there."""
        self.content: dict[Place, int] = {}
        """Place in memory, swap or a file → what was last written there."""
        self.away: set[tuple[int, int]] = set()
        """Pages of files that were reclaimed; one may be read ahead from swap at any time."""

    def run(self, step: Step) -> "Iterator[Outcome]":
        """Take a step in the model, operation by operation."""
        self.used = {entry for entry in self.names.values() if entry > 0}
        cached = model_cached(self.st)
        for op in step.ops:
            held = self._held(op)
            outcome = run(self.st, op)
            yield outcome
            self._keep(op, held)
            self._forget()
        self.away |= cached if step.reclaim else set()
        self.away -= model_cached(self.st)

    def place(self, mm: int, address: int) -> Place:
        """Return where what a process has at an address is: in a page, a slot, or a file."""
        st = self.st
        p = st.pte[pte_offset(st, mm, address)]
        if p.folio and not folio_test_anon(st, p.folio):
            return st.folio[p.folio].address_space, st.folio[p.folio].index
        vma = vma_lookup(st, mm, address)
        if p.folio or p.swap or vma == 0 or st.vma[vma].vm_file == 0:
            return p.folio or slot_number(p.swap)
        return st.vma[vma].vm_file, linear_page_index(st, vma, address)

    def _held(self, op: Operation) -> int:
        """Return what the page that is swapped in or out holds."""
        if not isinstance(op, SwapOut | Read):
            return 0
        return self.content.get(self.place(op.mm, op.address), 0)

    def _keep(self, op: Operation, held: int) -> None:
        """Note that what a page held is now in its slot, or the other way round, or gone."""
        if held and isinstance(op, SwapOut | Read):
            self.content[self.place(op.mm, op.address)] = held
        if isinstance(op, Truncate):
            self._drop(op.file, op.size, self.st.scope.file_pages)
        if isinstance(op, PunchHole):
            self._drop(op.file, op.index, op.index + op.length)

    def _drop(self, file: int, first: int, end: int) -> None:
        """Forget what pages of a file held."""
        for index in range(first, end):
            self.content.pop((file, index), None)
            self.away.discard((file, index))

    def _forget(self) -> None:
        """Drop what was matched with objects that the last operation freed."""
        for pool, index in self.st.freed:
            if pool in ("folio", "swap"):
                entry = index if pool == "folio" else slot_number(index)
                self.names.pop(entry, None)
                self.content.pop(entry, None)

    def compare(self, seen: Look) -> "Iterator[Difference]":
        """Yield where `seen` is not what the model's state says, and match what is new."""
        said = model_look(self.st)
        taken = {k: m for m, k in self.names.items()}
        for m, process in said.processes.items():
            there = seen.processes.get(m)
            if there is None:
                yield Difference("existence", f"process {m}", "no such process", "one")
                continue
            if there.vmas != process.vmas:
                yield Difference(
                    "VMAs", f"process {m}", vmas_text(there.vmas), vmas_text(process.vmas)
                )
            if there.entries != process.entries:
                yield from self._entries(m, there.entries, process.entries, taken)
        yield from self._frames(seen, said)
        yield from self._cached(seen.cached, said.cached)

    def _entries(
        self, m: int, there: tuple[int, ...], said: tuple[int, ...], taken: dict[int, int]
    ) -> "Iterator[Difference]":
        for address, (kernel, model) in enumerate(zip(there, said, strict=True)):
            where = f"page {address} of process {m}"
            if model in (0, ZERO) or kind(kernel) != kind(model):
                if kernel != model:
                    yield Difference("entry", where, entry_text(kernel), entry_text(model))
                continue
            known = self.names.get(model)
            if known is None and kernel in self.used:
                yield Difference("new page", where, "a page that was there before", "a new one")
            elif known is None and kernel not in taken:
                self.names[model] = kernel
                taken[kernel] = model
            elif known is None:
                other = entry_text(taken[kernel])
                yield Difference("new page", where, f"what is {other} of the model", "a new one")
            elif known != kernel:
                yield Difference("same page", where, entry_text(kernel), entry_text(known))

    def _frames(self, seen: Look, said: Look) -> "Iterator[Difference]":
        for folio, frame in said.frames.items():
            pfn = self.names.get(folio)
            there = seen.frames.get(pfn) if pfn is not None else None
            if there is None or there == frame:
                continue
            for name in ("mapcount", "exclusive", "swapcache", "anon"):
                kernel, model = getattr(there, name), getattr(frame, name)
                if kernel != model:
                    yield Difference(name, f"frame {pfn}", str(kernel), str(model))

    def _cached(self, seen: Cached, said: Cached) -> "Iterator[Difference]":
        for file, index in sorted((said - seen) | (seen - said - self.away)):
            there = ("nothing", "a page")[(file, index) in seen]
            model = ("nothing", "a page")[(file, index) in said]
            yield Difference("page cache", f"page {index} of file {file}", there, model)


def kind(entry: int) -> int:
    """Return what sort of entry it is: none, zero page, frame or slot."""
    return entry if entry in (0, ZERO) else 1 if entry > 0 else 2
