"""No rmap: swap_out() scans the page tables of all processes (2.4, 2.5.0 … 2.5.26).

The walk looks at every entry, so it is always complete. What is proved is that the machine's own
data stay consistent: VMAs, entries, references, swap counts, i_mmap.
"""

from typing import Any, ClassVar

from rmapcheck.logic import define, operation
from rmapcheck.logic.terms import Expr
from rmapcheck.specs.machine import Machine
from rmapcheck.specs.vocabulary import Address, Folio, St, Swap, Vma


class VirtualScan(Machine):
    """try_to_swap_out() for each entry of each VMA of each process."""

    name = "virtual-scan"
    title = "no rmap: page tables are scanned"
    kernels = "v2.4.0 … v2.5.26"
    schemes: ClassVar[tuple[str, ...]] = ("virtual_scan-2.4", "virtual_scan-2.4.23aa2")

    exec_grow: Any = None  # since v2.6.23
    exec_move: Any = None
    stack_known_by_origin: Any = None

    def keeps_pgoff(self, st: St, v: Expr) -> Expr | bool:
        """Nothing uses the offset of anonymous memory; do_mremap() sets it by the new place."""
        return st.file_vma(v)

    def finds(self, st: St, p: Expr, v: Expr, x: Expr) -> Expr:
        """The scan visits every address of every VMA."""
        covered: Expr = st.covers(v, x)
        return covered

    @operation
    def try_to_swap_out(self, st: St, v: Vma, x: Address, p: Folio, s: Swap) -> None:
        """Take away one entry; others may still map the page; try_to_swap_out()."""
        st.require(st.pte(v, x, p) & st.swap_cache(s, p) & st.anon(p))
        self.clear_entries(
            st, define(Vma, Address, Folio, lambda w, y, q: (w == v) & (y == x) & (q == p))
        )
        st.swap_pte[v, x, s] = True
        st.swap_map.inc(s, v, x)
