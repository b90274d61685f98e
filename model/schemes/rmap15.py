"""rmap 15: Rik van Riel's patch for v2.4, with limits on how much of a process stays in memory.

While v2.5 got rmap in July 2002, the patch for v2.4 went on until 2004, in Red Hat's kernels too.
From rmap 15b on it has what v2.5.35 had, PG_direct and chains of arrays (pte_chain.py), and from
15c on chunks that the caller brings. What it had beside: page_referenced() also tells whether all
processes that map the page have more memory than they are allowed (RLIMIT_RSS), and then the page
may be reclaimed although it is in use::

    page ──> chain ──> entry of process 1    rss 9, limit 4    over
                       entry of process 2    rss 2, limit 4    under: the page is spared
                                                               both over: *rsslimit = 1

One process under its limit is enough to spare the page; a page that nobody maps counts as over it.

Left out: that the limit can differ between processes, the lists and page ages of rmap 15, its
compact form of a highmem entry (chain_ptep_t). The rss is counted here in page_add_rmap() and
page_remove_rmap(), which is where it changes, by v2.4 in each of their callers. No nonlinear
mappings, no entries of files.

Sources: mm/rmap.c of rmap 15 and 15b, read in the patches as posted (2002-11-13 and after): the
rule and the collapse to PG_direct are verified; the history is from the changelog of rmap 15h
(mail Pine.LNX.4.44.0305081122210.2394).
"""

from typing import TYPE_CHECKING, ClassVar

import attrs

from rmapcheck.model.machine.state import ptep_to_mm
from rmapcheck.model.machine.structs import RmapWalkControl
from rmapcheck.model.schemes.pte_chain import PteChainSupplied

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State


class Rmap15(PteChainSupplied):
    """v2.4 with rmap 15c … 15l: chains of arrays, and page_referenced() heeds RLIMIT_RSS."""

    name = "rmap15"
    title = "pte_chain of arrays, with rss limits"
    era = attrs.evolve(PteChainSupplied.era, kernels="v2.4.19 … v2.4.25 with rmap 15c … 15l")
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "mm": ("rss",),
        "folio": ("direct", "pte_chain"),
        "pte_chain": ("next",),
    }
    invariants: ClassVar[tuple[str, ...]] = (
        *PteChainSupplied.invariants,
        "rss_counts",
        "rsslimit",
    )

    def page_add_rmap(self, st: "State", folio: int, ptep: int) -> None:
        super().page_add_rmap(st, folio, ptep)
        st.mm[ptep_to_mm(st, ptep)].rss += 1

    def page_remove_rmap(self, st: "State", folio: int, ptep: int) -> None:
        super().page_remove_rmap(st, folio, ptep)
        st.mm[ptep_to_mm(st, ptep)].rss -= 1

    def under_rsslimit(self, st: "State", mm: int) -> bool:
        """Tell whether the process may have more pages than it has."""
        return st.scope.rss_limit == 0 or st.mm[mm].rss < st.scope.rss_limit

    def page_over_rsslimit(self, st: "State", folio: int) -> bool:
        """Tell whether all who map the page are over their limits; page_referenced()."""
        rwc = RmapWalkControl()
        self.rmap_walk(st, folio, rwc)
        for ptep in rwc.visited:
            if self.under_rsslimit(st, ptep_to_mm(st, ptep)):
                return False
        return True
