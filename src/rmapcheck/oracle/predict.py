"""The model as predictor: what the kernel should show after each step, and whether it does.

There is no second model: the state is the same one that all engines search. A frame or swap slot
of the kernel is matched with one of the model when both first appear, and they must stay matched
as long as they live. So "the same page as before" is part of the comparison: a write that should
have reused a page but got a copy is a difference, even if no other process maps either page.
"""

from typing import TYPE_CHECKING

from rmapcheck.model.machine.state import folio_test_anon, linear_page_index, pte_offset
from rmapcheck.model.machine.structs import PTE_ZERO
from rmapcheck.model.maps import maps
from rmapcheck.model.mm.vma import vma_lookup
from rmapcheck.model.operations import (
    PROTECTIONS,
    Operation,
    Outcome,
    PunchHole,
    Read,
    SwapOut,
    Truncate,
    run,
)
from rmapcheck.oracle.comparison import Difference, Step
from rmapcheck.oracle.observe.proc import ZERO, Frame, Observation, Process, Range, slot_number
from rmapcheck.oracle.puppets.files import Cached

Place = int | tuple[int, int]
"""Where content is stored: a frame or slot of the model, or a page of a file (file, index)."""

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rmapcheck.model.kernel import Kernel


def model_vmas(st: "Kernel", mm: int) -> tuple[Range, ...]:
    """Return the VMAs of a process, as /proc/PID/maps shows them."""
    found = []
    for vma in maps(st, mm):
        seen: Range = (vma.start, vma.end, PROTECTIONS[vma.prot])
        found.append((*seen, vma.file, vma.pgoff, int(vma.shared)) if vma.file else seen)
    return tuple(found)


def model_entries(st: "Kernel", mm: int) -> tuple[int, ...]:
    """Return the entry of each page of a process, with the model's numbers of frames and slots."""
    first = pte_offset(st, mm, 0)
    return tuple(
        p.folio or (slot_number(p.swap) if p.swap else ZERO if p.flags & PTE_ZERO else 0)
        for p in st.pte[first : first + st.pages]
    )


def model_observation(st: "Kernel") -> Observation:
    """Return what the kernel should show of all processes and mapped frames."""
    processes = {m: Process(model_vmas(st, m), model_entries(st, m)) for m in st.mm.indices()}
    frames = {}
    for process in processes.values():
        for entry in process.entries:
            if entry > 0 and entry not in frames:
                f = st.folio[entry]
                anon = folio_test_anon(st, entry)
                frames[entry] = Frame(f.mapcount, bool(f.exclusive), f.swap != 0, anon)
    return Observation(processes, frames, model_cached(st))


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
    """Runs steps in the model, and matches its frames and slots with those of the kernel."""

    def __init__(self, st: "Kernel") -> None:
        self.st = st
        self.names: dict[int, int] = {}
        """Entry of the model (a frame or a slot) → entry of the kernel."""
        self.used: set[int] = set()
        """Frames of the kernel that were mapped before the step. A new page cannot be one of them,
        because the page that a copy is made from still exists while it is copied."""
        self.content: dict[Place, int] = {}
        """Place in memory, swap or a file → the number that was last written there."""
        self.away: set[tuple[int, int]] = set()
        """Pages of files that were reclaimed. They may be read ahead from swap at any time."""

    def run(self, step: Step) -> "Iterator[Outcome]":
        """Run a step in the model, operation by operation; yield each outcome."""
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
        """Return where the content at an address of a process is: a frame, a slot, or a file."""
        st = self.st
        p = st.pte[pte_offset(st, mm, address)]
        if p.folio and not folio_test_anon(st, p.folio):
            return st.folio[p.folio].address_space, st.folio[p.folio].index
        vma = vma_lookup(st, mm, address)
        if p.folio or p.swap or vma == 0 or st.vma[vma].vm_file == 0:
            return p.folio or slot_number(p.swap)
        return st.vma[vma].vm_file, linear_page_index(st, vma, address)

    def _held(self, op: Operation) -> int:
        """Return the content of the page that `op` swaps in or out."""
        if not isinstance(op, SwapOut | Read):
            return 0
        return self.content.get(self.place(op.mm, op.address), 0)

    def _keep(self, op: Operation, held: int) -> None:
        """Note where the content of a page is after `op`: in a slot, in a frame, or gone."""
        if held and isinstance(op, SwapOut | Read):
            self.content[self.place(op.mm, op.address)] = held
        if isinstance(op, Truncate):
            self._drop(op.file, op.size, self.st.scope.file_pages)
        if isinstance(op, PunchHole):
            self._drop(op.file, op.index, op.index + op.length)

    def _drop(self, file: int, first: int, end: int) -> None:
        """Forget the content of pages `first` to `end` - 1 of a file."""
        for index in range(first, end):
            self.content.pop((file, index), None)
            self.away.discard((file, index))

    def _forget(self) -> None:
        """Forget matches and content of objects that the last operation freed."""
        for pool, index in self.st.freed:
            if pool in ("folio", "swap"):
                entry = index if pool == "folio" else slot_number(index)
                self.names.pop(entry, None)
                self.content.pop(entry, None)

    def compare(self, seen: Observation) -> "Iterator[Difference]":
        """Yield where `seen` differs from the model's state; match new frames and slots."""
        expected = model_observation(self.st)
        taken = {k: m for m, k in self.names.items()}
        for m, process in expected.processes.items():
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
        yield from self._frames(seen, expected)
        yield from self._cached(seen.cached, expected.cached)

    def _entries(
        self, m: int, there: tuple[int, ...], expected: tuple[int, ...], taken: dict[int, int]
    ) -> "Iterator[Difference]":
        for address, (kernel, model) in enumerate(zip(there, expected, strict=True)):
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

    def _frames(self, seen: Observation, expected: Observation) -> "Iterator[Difference]":
        for folio, frame in expected.frames.items():
            pfn = self.names.get(folio)
            there = seen.frames.get(pfn) if pfn is not None else None
            if there is None or there == frame:
                continue
            for name in ("mapcount", "exclusive", "swapcache", "anon"):
                kernel, model = getattr(there, name), getattr(frame, name)
                if kernel != model:
                    yield Difference(name, f"frame {pfn}", str(kernel), str(model))

    def _cached(self, seen: Cached, expected: Cached) -> "Iterator[Difference]":
        for file, index in sorted((expected - seen) | (seen - expected - self.away)):
            there = ("nothing", "a page")[(file, index) in seen]
            model = ("nothing", "a page")[(file, index) in expected]
            yield Difference("page cache", f"page {index} of file {file}", there, model)


def kind(entry: int) -> int:
    """Return the sort of an entry: 0 for none, ZERO for the zero page, 1 a frame, 2 a slot."""
    return entry if entry in (0, ZERO) else 1 if entry > 0 else 2
