"""No rmap: swap_out() scans the page tables of all processes (2.4, 2.5.0 … 2.5.26).

The walk finds an entry because it looks at every entry; so it is complete by itself, and what is
proved is that the machine keeps its own books: VMAs, entries, references, swap counts, i_mmap.
"""

from typing import Any

from invariants.logic.terms import Expr
from rmapcheck.prove.specs.machine import Machine
from rmapcheck.prove.specs.vocabulary import St


class VirtualScan(Machine):
    """try_to_swap_out() for each entry of each VMA of each process."""

    name = "virtual-scan"
    title = "no rmap: page tables are scanned"
    kernels = "v2.4.0 … v2.5.26"

    exec_grow: Any = None  # since v2.6.23
    exec_move: Any = None
    stack_known_by_origin: Any = None

    def finds(self, st: St, p: Expr, v: Expr, x: Expr) -> Expr:
        """The scan comes to every address of every VMA."""
        covered: Expr = st.covers(v, x)
        return covered
