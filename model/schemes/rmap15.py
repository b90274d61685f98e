"""rmap 15: Rik van Riel's patch for v2.4, with limits on how much of a process stays in memory.

v2.5 got rmap in July 2002. The patch for v2.4 was continued until 2004, also in Red Hat's kernels.
Since rmap 15b it has what v2.5.35 had, PG_direct and chains of arrays (pte_chain.py), and since
15c the caller allocates the chunks. In addition, page_referenced() reports whether all processes
that map the page have more memory than RLIMIT_RSS allows. If so, the page may be reclaimed
although it is in use::

    page ──> chain ──> entry of process 1    rss 9, limit 4    over
                       entry of process 2    rss 2, limit 4    under: the page is kept
                                                               both over: *rsslimit = 1

One process under its limit is enough to keep the page. A page that no process maps counts as over
the limit.

Left out: different limits of processes, the lists and page ages of rmap 15, its compact form of a
highmem entry (chain_ptep_t). Here the rss is counted in page_add_rmap() and page_remove_rmap(),
where it changes; v2.4 counts it in each of their callers. There are no nonlinear mappings, and no
entries with a file offset (pte_file()).

Sources: mm/rmap.c of rmap 15 and 15b, read in the patches as posted (2002-11-13 and after): the
rule and the collapse to PG_direct are verified; the history is from the changelog of rmap 15h
(mail Pine.LNX.4.44.0305081122210.2394).
"""

from typing import TYPE_CHECKING, ClassVar

import attrs

from rmapcheck.model.machine.state import ptep_to_mm
from rmapcheck.model.machine.structs import RmapWalkControl
from rmapcheck.model.schemes.pte_chain import PteChainSupplied
from rmapcheck.model.schemes.pte_chain_list import PteChainMinimal

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State


class Rmap15(PteChainSupplied):
    """v2.4 with rmap 15c … 15l: chains of arrays, and page_referenced() checks RLIMIT_RSS."""

    name = "rmap15"
    title = "pte_chain of arrays, with rss limits"
    era = attrs.evolve(
        PteChainSupplied.era,
        kernels="v2.4.19 … v2.4.25 with rmap 15c … 15l",
        lacks=PteChainMinimal.era.lacks,
    )
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
        """Return whether the process has fewer pages than its limit allows, or no limit."""
        return st.scope.rss_limit == 0 or st.mm[mm].rss < st.scope.rss_limit

    def page_over_rsslimit(self, st: "State", folio: int) -> bool:
        """Return whether all processes that map the page are over the limit; page_referenced()."""
        rwc = RmapWalkControl()
        self.rmap_walk(st, folio, rwc)
        for ptep in rwc.visited:
            if self.under_rsslimit(st, ptep_to_mm(st, ptep)):
                return False
        return True
