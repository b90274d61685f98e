"""How well a scheme aims: what a walk for one page visits, against what maps it.

Two schemes are compared by the same operations: after each of them, every mapped page is walked
for. A chain of entries visits just the mappings; an object (an anon_vma, a file) also visits
places that could hold the page; without rmap, the scan looks at entries until the page is free.
"""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from rmapcheck.invariants.completeness import mapped_folios, mappers_of
from rmapcheck.model.kernel import Kernel
from rmapcheck.model.machine.errors import KernelOops
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.structs import RmapWalkControl
from rmapcheck.model.mm.rmap import rmap_visits
from rmapcheck.model.mm.virtual_scan import SWAP_CLUSTER_MAX, scan_page_tables
from rmapcheck.model.operations import Operation
from rmapcheck.model.scheme import Scheme
from rmapcheck.report.recording import Recording, record

if TYPE_CHECKING:
    from collections.abc import Iterator


@attrs.frozen(kw_only=True)
class WalkCost:
    """One walk for one page, or the sum of many."""

    pages: int = 0
    """How many pages were walked for."""
    mapping: int = 0
    """Entries that map them."""
    visited: int = 0
    """Entries that the walks look at."""
    nodes: int = 0
    """List and tree nodes (of arrays: chunks) that they touch on the way."""

    def __add__(self, other: "WalkCost") -> "WalkCost":
        return WalkCost(
            pages=self.pages + other.pages,
            mapping=self.mapping + other.mapping,
            visited=self.visited + other.visited,
            nodes=self.nodes + other.nodes,
        )

    @property
    def precision(self) -> float:
        """Entries that map a page, of those that are looked at; 1.0 where none is in vain."""
        return self.mapping / self.visited if self.visited else 1.0


def walk_cost(st: Kernel, folio: int) -> WalkCost:
    """Return what a walk for `folio` costs in state `st`, which stays as it is."""
    mapping = len(mappers_of(st, folio))
    if st.scheme.virtual_scan:
        return WalkCost(pages=1, mapping=mapping, visited=_scanned_for(st, folio))
    rwc = RmapWalkControl()
    # A walk that runs into freed memory ends there.
    with contextlib.suppress(KernelOops):
        rmap_visits(st, folio, rwc)
    return WalkCost(pages=1, mapping=mapping, visited=len(rwc.visited), nodes=rwc.nodes)


def _scanned_for(st: Kernel, folio: int) -> int:
    """Return how many entries swap_out() looks at until nobody maps the page any more.

    A page that it cannot free (there is no swap slot) costs a scan of everything.
    """
    other = Kernel(st.scope, st.scheme)
    st.layout.load_raw(other, st.layout.encode_raw(st))
    other.begin()
    for _ in range(other.pte.size + 2):
        if not mappers_of(other, folio):
            break
        scan_page_tables(other, SWAP_CLUSTER_MAX, RmapWalkControl())
    return other.nr_entries


def precision(scheme: type[Scheme], scope: Scope, steps: Sequence[Operation]) -> WalkCost:
    """Return the sum over all walks for all mapped pages after each of `steps`."""
    total = WalkCost()
    for st in _states(record(scheme, scope, steps)):
        for folio in mapped_folios(st):
            total += walk_cost(st, folio)
    return total


def _states(run: Recording) -> "Iterator[Kernel]":
    for frame in run.frames:
        if frame.outcome.oops is None:
            yield run.state(frame.after)


def _in_vain(cost: WalkCost) -> str:
    if cost.visited < cost.mapping:
        return "missed"
    return f"{1 - cost.precision:6.0%}"


def report(costs: dict[str, WalkCost]) -> str:
    """Return a line for each scheme."""
    width = max(map(len, ("scheme", *costs)))
    head = f"{'scheme':{width}}  walks  mappings  visited  in vain  nodes"
    lines = [
        f"{name:{width}}  {c.pages:5}  {c.mapping:8}  {c.visited:7}  {_in_vain(c)}  {c.nodes:6}"
        for name, c in costs.items()
    ]
    return "\n".join([head, *lines])
