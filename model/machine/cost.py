"""Counters of what the running operation costs, in steps. Bytes are in `Scheme.sizes`.

    st.nr_allocs    allocations tried             counted by kmem_cache_alloc()
    st.nr_locks     locks taken                   by acquire()
    st.nr_nodes     list and tree nodes visited   by count_nodes(), which schemes call
    st.nr_entries   page-table entries visited    by count_entries(), in walks and scans

Each operation starts again from 0 (`State.begin`). Only the interpreted model counts: the C search
leaves these calls out (docs/adr/0003-costs.md).
"""

from typing import Protocol


class Counts(Protocol):
    """The part of a state that has these counters."""

    nr_nodes: int
    nr_entries: int


def count_nodes(st: Counts, number: int = 1) -> None:
    """Count visited nodes of a list or tree, or visited slots of an array."""
    st.nr_nodes += number


def count_entries(st: Counts, number: int = 1) -> None:
    """Count page-table entries that a walk or a scan visits, including empty ones."""
    st.nr_entries += number
