"""A machine of any size that counts what its operations cost.

It runs the same model as the checker, with pools beyond the limits of stored states. Steps are
counted as in model/machine/cost.py. Bytes are the scheme's live objects times their size in the
kernels of that time. Work outside rmap is the same for all schemes, so it is not counted, except
for locks and allocations: these are counted for the whole operation.
"""

from typing import Any

import attrs

from rmapcheck.model.kernel import Kernel
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.state import pte_offset
from rmapcheck.model.machine.structs import RmapWalkControl
from rmapcheck.model.operations import Operation, Read, SwapOut, boot, run
from rmapcheck.model.operations.file import Reclaim
from rmapcheck.model.operations.reclaim import SwapScan
from rmapcheck.model.scheme import Scheme

I386, BITS64 = 0, 1


class CostError(Exception):
    """A workload could not be carried out, so its counts are not valid."""


@attrs.frozen
class Steps:
    """Numbers of steps, by kind."""

    locks: int = 0
    allocs: int = 0
    nodes: int = 0
    """List and tree nodes, and slots of arrays, that were looked at."""
    entries: int = 0
    """Page-table entries that a walk or a scan looked at."""

    def __add__(self, other: "Steps") -> "Steps":
        return Steps(
            self.locks + other.locks,
            self.allocs + other.allocs,
            self.nodes + other.nodes,
            self.entries + other.entries,
        )

    def __sub__(self, other: "Steps") -> "Steps":
        return Steps(
            self.locks - other.locks,
            self.allocs - other.allocs,
            self.nodes - other.nodes,
            self.entries - other.entries,
        )

    @property
    def total(self) -> int:
        """The sum of all steps, as if each cost the same."""
        return self.locks + self.allocs + self.nodes + self.entries


class Machine:
    """A run of `scheme` that counts steps. `limits` are those of Scope, but may be larger."""

    def __init__(self, scheme: type[Scheme], **limits: Any) -> None:  # noqa: ANN401
        self.scheme = scheme
        if scheme.virtual_scan:
            limits["swaps"] = limits["folios"]  # a scan swaps out every page on its way
        self.scope = Scope.large(**limits)
        self.st = Kernel(self.scope, scheme())
        for name in self.st.layout.structs:
            if name not in ("mm", "pte", "address_space"):
                getattr(self.st, name).enlarge()
        self.steps = Steps()
        boot(self.st)

    def do(self, op: Operation) -> None:
        """Carry out `op` and add its steps. Raise CostError if it fails."""
        outcome = run(self.st, op)
        if outcome.error or outcome.oops or outcome.exhausted:
            why = outcome.oops or outcome.exhausted or f"error {outcome.error}"
            raise CostError(f"{self.scheme.name}: {op}: {why}")
        st = self.st
        self.steps += Steps(st.nr_locks, st.nr_allocs, st.nr_nodes, st.nr_entries)

    def read_all(self, mm: int, start: int, length: int) -> None:
        """Read from each page of a range."""
        for address in range(start, start + length):
            self.do(Read(mm=mm, address=address))

    # Reclaim.

    def folio_at(self, mm: int, address: int) -> int:
        """Return the page that an entry maps, or 0."""
        folio: int = self.st.pte[pte_offset(self.st, mm, address)].folio
        return folio

    def reclaim_anon(self, mm: int, address: int) -> None:
        """Free the anonymous page at (mm, address): by its rmap, or by a scan if it has none."""
        if self.scheme.virtual_scan:
            folio = self.folio_at(mm, address)
            self.scan_until(folio)
        else:
            self.do(SwapOut(mm=mm, address=address))

    def reclaim_file(self, mm: int, address: int, index: int) -> None:
        """Free page `index` of file 1, which (mm, address) maps."""
        folio = self.folio_at(mm, address)
        if self.scheme.virtual_scan:
            self.scan_until(folio)
        if self.st.folio.is_live(folio) and self.st.address_space[1].i_pages[index] == folio:
            self.do(Reclaim(mm=mm, file=1, index=index))

    def scan_until(self, folio: int) -> None:
        """Scan page tables until no entry maps `folio`, as swap_out() of v2.4 does.

        Raise CostError if the scan does not find all entries.
        """
        st = self.st
        for _ in range(4 * st.pte.size):
            if not st.folio.is_live(folio):
                return
            f = st.folio[folio]
            cached = self.scope.files > 0 and f.address_space != 0
            if f.refcount == (f.swap != 0) + cached:
                return
            turn = next(m for m in st.mm.indices() if st.mm[m].swap_mm)
            self.do(SwapScan(mm=turn))
        raise CostError(f"{self.scheme.name}: the scan does not find page {folio}")

    # Measuring the state.

    def size(self, word: int) -> int:
        """Return the bytes of the scheme's own structs; `word` is I386 or BITS64."""
        total = 0
        for name, sizes in self.scheme.sizes.items():
            if name not in ("folio", "vma", "mm"):
                total += getattr(self.st, name).live * sizes[word]
        return total

    def mappings(self) -> int:
        """Return how many entries map a page."""
        return sum(1 for p in self.st.pte[1:-1] if p.folio)

    def precision(self, folio: int) -> tuple[int, int, int]:
        """Walk for one page; return the nodes touched, entries visited, and entries mapping it."""
        from rmapcheck.model.mm.rmap import rmap_visits

        rwc = RmapWalkControl(limit=10**9)
        rmap_visits(self.st, folio, rwc)
        mapping = sum(1 for p in self.st.pte[1:-1] if p.folio == folio)
        return rwc.nodes, len(rwc.visited), mapping
