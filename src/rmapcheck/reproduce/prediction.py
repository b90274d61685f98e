"""Predicts with the model what the C program of a case will find on a kernel.

At the end the program reclaims everything. A page stays mapped if the rmap does not lead to its
entry. So the prediction is: all entries that map a page but are not visited by the scheme's walk
of that page. A case that no program can carry out is rejected here with one sentence.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from rmapcheck.cases.case import Case
from rmapcheck.cases.replay import scheme_of
from rmapcheck.model.machine.errors import KernelOops, ModelError
from rmapcheck.model.machine.state import (
    folio_test_anon,
    pte_offset,
    ptep_to_address,
    ptep_to_mm,
)
from rmapcheck.model.machine.structs import PTE_ZERO, VM_ACCESS_FLAGS, RmapWalkControl
from rmapcheck.model.mm.rmap import rmap_visits
from rmapcheck.model.mm.vma import find_vma, vma_lookup
from rmapcheck.model.operations import (
    Brk,
    Exit,
    Fork,
    Mmap,
    Mremap,
    Operation,
    Reclaim,
    SwapOut,
    Write,
    folio_named,
)
from rmapcheck.model.scheme import Scheme
from rmapcheck.run import NotPossible, Run

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel

SPARE = 40
"""At least so many frames and swap slots, so that there are enough to reclaim everything."""


@attrs.frozen(kw_only=True)
class Page:
    """A page of a process that is alive at the end of the run."""

    mm: int
    address: int
    holds: str = "NOTHING"
    """NOTHING; ZERO (the zero page); ANON, whether present or in swap; OF_FILE, a page of the page
    cache; ANY: nothing, but a kernel may map a page of the file here that it has anyway."""
    value: int = 0
    """Number of the step that wrote its content; -1 if the content cannot be read."""
    stays: bool = False
    """The page stays mapped when everything is reclaimed."""
    freed: bool = False
    """The walk of the page begins in memory that has been freed."""


@attrs.frozen
class Prediction:
    """The run in the model: its steps, their results (0 or -errno), and all pages at the end."""

    steps: tuple[Operation, ...]
    results: tuple[int, ...]
    pages: tuple[Page, ...]
    scheme: type[Scheme]

    @property
    def stays(self) -> tuple[Page, ...]:
        """Return the pages that stay mapped."""
        return tuple(page for page in self.pages if page.stays)

    @property
    def places(self) -> set[tuple[int, int]]:
        """Return process and address of each page that stays mapped."""
        return {(page.mm, page.address) for page in self.stays}


def refuse(number: int, op: Operation) -> None:
    """Raise ModelError if no program can do `op`."""
    place = f"step {number}, {op}"
    if op.syscall.why_not:
        raise ModelError(f"{place}: {op.syscall.why_not}")
    if op.fail:
        raise ModelError(f"{place}: no program can make an allocation of the kernel fail")
    # A subclass is another operation; the Syscall that it inherits does not describe it.
    if "syscall" not in vars(type(op)) or not op.syscall.program:
        raise ModelError(f"{place}: the C program has no operation {op.name}")
    for a in attrs.fields(type(op)):
        known = a.name in ("mm", "fail") or op.syscall.covers(a.name)
        if not known and getattr(op, a.name) != a.default:
            raise ModelError(f"{place}: the C program has no argument {a.name}")


def predict(case: Case, scheme: type[Scheme] | None = None) -> Prediction:
    """Run the case in the model as the program does, and return what it should find.

    A swap_out reclaims all pages, here and in the program, because no program can choose one.
    Raise ModelError if no program can carry out the case.
    """
    cls = scheme or scheme_of(case)
    steps = list(case.steps[: case.expect.step or len(case.steps)])
    for number, op in enumerate(steps, 1):
        refuse(number, op)
    if case.scope.premapped:
        steps.insert(0, Mmap(mm=1, start=0, length=case.scope.premapped))
    room = max(SPARE, case.scope.mms * case.scope.pages)
    scope = attrs.evolve(case.scope, premapped=0, folios=room, swaps=room)
    machine = Run(cls, scope)
    contents = Contents(scope.pages)
    results = []
    for number, op in enumerate(steps, 1):
        if not _apply(machine, number, op):
            break
        error = machine.outcome.error
        contents.apply(machine.st, op, number, error)
        results.append(error)
    pages = tuple(_pages(machine.st, contents))
    return Prediction(tuple(steps[: len(results)]), tuple(results), pages, cls)


def _apply(machine: Run, number: int, op: Operation) -> bool:
    """Carry out a step. Return False at an oops of reclaim; then the final reclaim shows it."""
    if isinstance(op, Brk):
        _check_brk(machine.st, number, op)
    reclaim = isinstance(op, SwapOut)
    if reclaim and not op.enabled(machine.st):
        raise ModelError(f"step {number}, {op}: there is no such page")
    todo = tuple(_swap_outs(machine.st)) if reclaim else (op,)
    for one in todo:
        try:
            machine.apply(one)
        except NotPossible as error:
            raise ModelError(f"step {number}, {error}") from None
        outcome = machine.outcome
        if outcome.exhausted:
            raise ModelError(f"step {number}, {op}: the scope has too few {outcome.exhausted}")
        if outcome.oops and reclaim:
            return False
        if outcome.oops:
            raise ModelError(
                f"step {number}, {op}: the model ends in an oops here ({outcome.oops}), "
                "so it cannot predict what a kernel does"
            )
    return True


def _check_brk(st: "Kernel", number: int, op: Brk) -> None:
    """Raise ModelError if something is mapped just above the new end of the heap."""
    end = op.start + op.length
    vma = find_vma(st, op.mm, op.start)
    if vma and st.vma[vma].vm_start <= end:
        raise ModelError(
            f"step {number}, {op}: brk leaves the page above the heap free, but page {end} of "
            f"process {op.mm} is mapped"
        )


def _swap_outs(st: "Kernel") -> Iterator[Operation]:
    """Yield the operations that reclaim everything."""
    seen = set()
    for mm in st.mm.indices():
        for address in range(st.pages):
            folio = folio_named(st, mm, address)
            if folio and folio not in seen and folio_test_anon(st, folio):
                seen.add(folio)
                yield SwapOut(mm=mm, address=address)
    for file in range(1, st.scope.files + 1):
        for index in range(st.scope.file_pages):
            if st.address_space[file].i_pages[index]:
                yield Reclaim(file=file, index=index)


class Contents:
    """Tracks which step wrote the content of each page of private memory, without any rmap."""

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self.of: dict[int, list[int]] = {}

    def apply(self, st: "Kernel", op: Operation, number: int, error: int) -> None:
        """Take one operation into account; `st` is the state after it."""
        mine = self.of.setdefault(op.mm, [0] * self.pages)
        if isinstance(op, Exit):
            del self.of[op.mm]
        elif isinstance(op, Fork):
            self.of[op.child] = list(mine)
        elif isinstance(op, Write) and not error:
            mine[op.address] = number
        elif isinstance(op, Mremap) and op.to >= 0:
            _move(mine, op, unknown=bool(error))
        for address in range(self.pages):
            entry = st.pte[pte_offset(st, op.mm, address)]
            if op.mm in self.of and not entry.folio and not entry.swap:
                mine[address] = 0


def _move(mine: list[int], op: Mremap, *, unknown: bool) -> None:
    length = min(op.length, op.new_length)
    taken = mine[op.start : op.start + length]
    mine[op.start : op.start + length] = [0] * length
    mine[op.to : op.to + length] = [-1] * length if unknown else taken


def _pages(st: "Kernel", contents: Contents) -> Iterator[Page]:
    """Yield all pages of all processes as they are before the final reclaim."""
    visited = {folio: _visited(st, folio) for folio in st.folio.indices()}
    for ptep in range(1, st.pte.size + 1):
        mm, address = ptep_to_mm(st, ptep), ptep_to_address(st, ptep)
        if not st.mm.is_live(mm):
            continue
        p = st.pte[ptep]
        page = Page(mm=mm, address=address, holds="ZERO" if p.flags & PTE_ZERO else "NOTHING")
        vma = vma_lookup(st, mm, address)
        of_file = vma != 0 and st.vma[vma].vm_file != 0
        if p.folio and not folio_test_anon(st, p.folio):
            page = attrs.evolve(page, holds="OF_FILE", value=-1)
        elif of_file and not p.folio and not p.swap:
            page = attrs.evolve(page, holds="ANY")
        elif p.folio or p.swap:
            legible = vma and st.vma[vma].vm_flags & VM_ACCESS_FLAGS
            value = contents.of[mm][address] if legible else -1
            page = attrs.evolve(page, holds="ANON", value=value)
        if p.folio:
            found, freed = visited[p.folio]
            page = attrs.evolve(page, stays=ptep not in found, freed=freed)
        yield page


def _visited(st: "Kernel", folio: int) -> tuple[list[int], bool]:
    """Return the entries that the walk of a page visits, and whether it accesses freed memory."""
    rwc = RmapWalkControl()
    raw = st.layout.encode_raw(st)
    try:
        rmap_visits(st, folio, rwc)
    except KernelOops:
        return rwc.visited, True
    finally:
        st.layout.load_raw(st, raw)
    return rwc.visited, False
