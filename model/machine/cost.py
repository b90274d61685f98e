"""What the running operation costs, in steps; the bytes are in `Scheme.sizes`.

    st.nr_allocs    allocations asked for         counted by kmem_cache_alloc()
    st.nr_locks     locks taken                   by acquire()
    st.nr_nodes     list and tree nodes touched   by count_nodes(), where a scheme looks at one
    st.nr_entries   page-table entries looked at  by count_entries(), in walks and scans

Each operation starts again from 0 (`State.begin`). Only the interpreted model counts: in C these
calls are nothing (docs/adr/0003-costs.md).
"""

from typing import Protocol


class Counts(Protocol):
    """A state, as far as its counters of steps are concerned."""

    nr_nodes: int
    nr_entries: int


def count_nodes(st: Counts, number: int = 1) -> None:
    """Count nodes of a list or tree, or slots of an array, that are looked at."""
    st.nr_nodes += number


def count_entries(st: Counts, number: int = 1) -> None:
    """Count page-table entries that a walk or a scan looks at, whatever is in them."""
    st.nr_entries += number
