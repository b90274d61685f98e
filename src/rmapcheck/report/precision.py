"""The precision of a scheme's walks: how many of the visited entries do map the page.

Schemes are compared on the same operations. After each operation there is one walk for every
mapped page. A chain of entries leads only to entries that map the page. An object (an anon_vma, a
file) leads also to places where the page might be mapped. Without an rmap, the scan of page tables
looks at all entries until the page is free.
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
    """The cost of one walk for one page, or the sum of many."""

    pages: int = 0
    """Number of pages for which there was a walk."""
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
        """Share of the visited entries that map the page, from 0 to 1; 1.0 if none is visited."""
        return self.mapping / self.visited if self.visited else 1.0


def walk_cost(st: Kernel, folio: int) -> WalkCost:
    """Return the cost of a walk for `folio` in the state `st`, which is not changed."""
    mapping = len(mappers_of(st, folio))
    if st.scheme.virtual_scan:
        return WalkCost(pages=1, mapping=mapping, visited=_scanned_for(st, folio))
    rwc = RmapWalkControl()
    # A walk that reads freed memory ends there; what it visited so far counts.
    with contextlib.suppress(KernelOops):
        rmap_visits(st, folio, rwc)
    return WalkCost(pages=1, mapping=mapping, visited=len(rwc.visited), nodes=rwc.nodes)


def _scanned_for(st: Kernel, folio: int) -> int:
    """Return how many entries swap_out() looks at until no entry maps the page.

    If it cannot free the page, for lack of a swap slot, it looks at all entries.
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
    """Return the summed cost of the walks for all mapped pages after each of `steps`."""
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
    """Return a table with a line for each scheme, given the costs by name."""
    width = max(map(len, ("scheme", *costs)))
    head = f"{'scheme':{width}}  walks  mappings  visited  in vain  nodes"
    lines = [
        f"{name:{width}}  {c.pages:5}  {c.mapping:8}  {c.visited:7}  {_in_vain(c)}  {c.nodes:6}"
        for name, c in costs.items()
    ]
    return "\n".join([head, *lines])
