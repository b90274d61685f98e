"""Figures quoted in mails about rmap, compared with what the model counts.

The model counts objects and steps; it has no clock. So bytes, objects and numbers of list nodes
can be compared, but seconds cannot. Where a quoted figure is a time, the note says what is
compared instead. Sources are message ids, commits and articles, as in docs/reference/spec.
"""

from collections.abc import Callable

import attrs

from rmapcheck.cost.machine import I386
from rmapcheck.cost.workloads import Measured, measure
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins import catalogue

Value = Callable[[], float | None]
MIB = 1 << 20
GIB = 1 << 30
SHM_PAGES = 2.7 * GIB / 4096
"""Pages of the 2.7 GB of shared memory in Andrea Arcangeli's example."""


@attrs.frozen(kw_only=True)
class Figure:
    """One quoted figure."""

    what: str
    source: str
    quoted: float
    unit: str
    counted: Value
    """Returns what the model counts, in `unit`; None if there is no scheme for it."""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The counted value divided by the quoted one; None if there is no counted value."""
        value = self.counted()
        return None if value is None else value / self.quoted


def scheme(name: str) -> type[Scheme] | None:
    """Return a scheme by its name; None if there is none."""
    return catalogue.schemes().get(name)


def phase(name: str, workload: str, starts: str, scale: int = 0) -> Measured | None:
    """Return the phase of a workload whose name starts with `starts`, on the scheme `name`."""
    cls = scheme(name)
    if cls is None:
        return None
    return next(m for m in measure(cls, workload, scale) if m.phase.startswith(starts))


def bytes_per_mapping(name: str) -> float | None:
    """Return the bytes for each mapping of a widely shared page, on i386."""
    m = phase(name, "database", "every process")
    return None if m is None else m.size[I386] / m.mappings


def scaled(name: str, mappings: float, unit: float) -> Value:
    """Return a function that returns the size of so many mappings, in units of `unit` bytes."""

    def value() -> float | None:
        per = bytes_per_mapping(name)
        return None if per is None else per * mappings / unit

    return value


def nodes_of_a_walk(name: str, workload: str, per: Callable[[Measured], float]) -> Value:
    """Return a function that returns the nodes of a walk for one page, divided by `per`."""

    def value() -> float | None:
        found = phase(name, workload, "reclaim")
        return None if found is None else found.precision[0] / per(found)

    return value


def one(_measured: Measured) -> float:
    """Return 1, to divide by: the quoted figure is a plain number of nodes."""
    return 1.0


def fork_exit_ratio(before: str, after: str) -> Value:
    """Return a function that returns fork's steps with `before`, divided by those with `after`."""

    def value() -> float | None:
        a, b = phase(before, "fork_exit", "fork"), phase(after, "fork_exit", "fork")
        return None if a is None or b is None else a.steps.total / b.steps.total

    return value


def slots_used() -> float | None:
    """Return how many of a chunk's seven slots are used on average if pages are widely shared."""
    per = bytes_per_mapping("pte_chain-2.5.35")
    return per and 32 / per


def looked_at_first() -> float | None:
    """Return the share of all mappings that a scan visits before it frees the first page."""
    cls = scheme("virtual_scan-2.4")
    if cls is None:
        return None
    from rmapcheck.cost.workloads import database

    made = list(database(cls, 40, few=1))
    return made[1].steps.entries / made[0].mappings


FIGURES: tuple[Figure, ...] = (
    Figure(
        what="pte_chains of 22,817,885 mappings",
        source="Peter Wong, 2002, OF6165D951.694A9B41: 3,411,018 chunks of 32 bytes",
        quoted=3_411_018 * 32 / MIB,
        unit="MB",
        counted=scaled("pte_chain-2.5.35", 22_817_885, MIB),
    ),
    Figure(
        what="slots in use in a chunk of seven",
        source="the same",
        quoted=22_817_885 / 3_411_018,
        unit="slots",
        counted=slots_used,
    ),
    Figure(
        what="chains of 2.7 GB of shared memory, 100 tasks",
        source="Andrea Arcangeli, 20040308202433.GA12612",
        quoted=0.53,
        unit="GB",
        counted=scaled("pte_chain-2.5.27", SHM_PAGES * 100, GIB),
        note="8 bytes a mapping, as in the list of v2.5.27; the arrays of v2.6 need 4.8",
    ),
    Figure(
        what="the same, 700 tasks",
        source="the same",
        quoted=3.7,
        unit="GB",
        counted=scaled("pte_chain-2.5.27", SHM_PAGES * 700, GIB),
    ),
    Figure(
        what="fork and exit, pte_chain over partial objrmap",
        source="Dave McCracken, 2003, mail 8390000.1045757611: about +50 %",
        quoted=1.5,
        unit="×",
        counted=fork_exit_ratio("pte_chain-2.5.55", "objrmap-2.5.62-3"),
        note="steps, not time: fork's other work takes time, too, but few steps",
    ),
    Figure(
        what="VMAs visited for one page of a file with N disjoint windows, over N",
        source="Ingo Molnar, 2004: 16,000 windows, each walk visits 16,000 VMAs",
        quoted=1.0,
        unit="×",
        counted=nodes_of_a_walk("objrmap-core-1", "windows", lambda m: m.scale),
        note="i_mmap is a plain list",
    ),
    Figure(
        what="VMAs visited for a child's own page, N children, over N: anon_vma",
        source="Rik van Riel, 5beb49305251: 1,000 children × 1,000 pages",
        quoted=1.0,
        unit="×",
        counted=nodes_of_a_walk("anon_vma-2.6.18", "children", lambda m: m.scale),
    ),
    Figure(
        what="the same: anon_vma_chain, VMAs visited",
        source="the same: each page is in one process's anon_vma",
        quoted=1.0,
        unit="VMA",
        counted=nodes_of_a_walk("avc-2.6.34", "children", one),
    ),
    Figure(
        what="mappings destroyed before the first page of shared memory is free, over all",
        source="Andrea Arcangeli, 20040227013319.GT8834: over 4 GB unmapped to free 4 KB",
        quoted=1.0,
        unit="×",
        counted=looked_at_first,
        note="swap_out() of v2.4 reaches the last mapping of any page only at the end",
    ),
)

NOT_COUNTED: tuple[tuple[str, str], ...] = (
    (
        "kernbench, SDET, AIM7, make -j, daniel.sh (seconds)",
        "a model has no clock, no caches and no contention",
    ),
    (
        "prio_tree against plain lists: 204 s against over 19,834 s (Rajesh Venkatasubramanian)",
        "seconds again; for nodes see the table of `windows`: N in a list, 3.5 in a prio_tree",
    ),
    (
        "profile ticks of page_remove_rmap() (Martin Bligh)",
        "a tick is a time; the model counts the nodes that the function visits",
    ),
)
"""Quoted figures that the model cannot count, each with the reason."""
