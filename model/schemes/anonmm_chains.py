"""anonmm with chains of addresses: the first version (2003-03-20).

An anonymous page that mremap moves while it is shared is at two addresses. Hugh Dickins' first
patches gave such a page a chain again, but of addresses, not of page-table entries. Fork keeps
addresses, so it need not change the chain::

    page not moved, or not shared     rmap.count                   index: its address

    page moved while shared           PG_chained, rmap.chain ──> { slot[count 7 9] next } ──> …
                                      index 5: it is at 5, 7 or 9, in each process of the family

No address is removed while the page is mapped, because nothing tells which processes still have
the page there. The walker tries all addresses in every process of the family, index first. Chains
are allocated before page_table_lock is taken, one for each CPU (rmap_get_cpu()). Here as many are
allocated as the operation may need, and the rest are freed at its end. The same chains served
nonlinear VMAs.

Left out: what anonmm.py leaves out; addresser->count, which ends a walk early (here a walk visits
all addresses); slot[0], which has the count of a chained page (here in mapcount); nonlinear pages.
NRSLOT is 7 in the patch, and 2 here, so that runs reach chains of two.

Sources: the patches anobjrmap 4 and 5 of 6, read whole: verified.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from rmapcheck.model.branches import passed
from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.heap import kmem_cache_alloc, kmem_cache_free, nums, ref
from rmapcheck.model.machine.state import folio_test_anon, ptep_to_address
from rmapcheck.model.schemes.anonmm import Anonmm, AnonmmFamily

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State
    from rmapcheck.model.machine.structs import RmapWalkControl

NRSLOT = 2
"""Slots of a chain; the first slot of the first chain has the count."""


@attrs.define(slots=True, eq=False)
class RmapChain:
    """struct rmap_chain, mm/rmap.c, anobjrmap 5 of 6; PG_rmaplock of the page."""

    next: int = ref("rmap_chain")


class AnonmmChains(AnonmmFamily):
    """First version: nothing is copied. As posted it had E31, which is fixed here."""

    name = "anonmm-2003-03"
    title = "anonmm with chains of addresses"
    era = attrs.evolve(AnonmmFamily.era, kernels="patches for 2.5.65, not merged")
    structs = (Anonmm, RmapChain)
    extra_fields: ClassVar[dict[str, dict[str, Any]]] = {
        "folio": {"mapping": ref("anonmm")},
        # User virtual addresses plus 1; 0 is NOADDR.
        "rmap_chain": {"slot": nums("pages", NRSLOT)},
    }
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "mm": ("anonmm", "rss"),
        "folio": ("mapcount", "index", "rmap_chain"),
    }
    invariants = (*AnonmmFamily.invariants, "addresses_chained")
    goals = ("an anonmm outlives its process", "a page is at two addresses")
    sizes: ClassVar[dict[str, tuple[int, int]]] = {"anonmm": (24, 40), "rmap_chain": (32, 64)}

    def rmap_get_cpu(self, st: "State") -> int:
        """Allocate one chain before page_table_lock is taken; rmap_get_cpu()."""
        st.spare = kmem_cache_alloc(st, st.rmap_chain)
        return 0 if st.spare else -ENOMEM

    def rmap_put_cpu(self, st: "State") -> None:
        if st.spare:
            kmem_cache_free(st, st.rmap_chain, self.get_rmap_chain(st))

    def get_rmap_chain(self, st: "State") -> int:
        """Return the chain that rmap_get_cpu() allocated; get_rmap_chain()."""
        chain = st.spare
        st.spare = 0
        return chain

    def add_rmap_address(self, st: "State", folio: int, address: int) -> None:
        """Store a further address in the first free slot, unless it is there; same name."""
        last = 0
        chain = st.folio[folio].rmap_chain
        i = 1
        while chain:
            while i < NRSLOT:
                slot = st.rmap_chain[chain].slot[i]
                if slot == address + 1:
                    return
                if slot == 0:
                    st.rmap_chain[chain].slot[i] = address + 1
                    return
                i += 1
            last = chain
            chain = st.rmap_chain[chain].next
            i = 0
        # All slots are used: take the chain that rmap_get_cpu() allocated.
        chain = self.get_rmap_chain(st)
        if last:
            st.rmap_chain[last].next = chain
            st.rmap_chain[chain].slot[0] = address + 1
        else:
            st.folio[folio].rmap_chain = chain
            st.rmap_chain[chain].slot[1] = address + 1
            passed(st, "a page is at two addresses")

    def clear_page_chained(self, st: "State", folio: int) -> None:
        """Free the chains, when no process maps the page any more; clear_page_chained()."""
        chain = st.folio[folio].rmap_chain
        st.folio[folio].rmap_chain = 0
        while chain:
            following = st.rmap_chain[chain].next
            kmem_cache_free(st, st.rmap_chain, chain)
            chain = following

    # Pages.

    def page_add_anon_rmap(self, st: "State", folio: int, mm: int, address: int) -> None:
        """Store the address too, if a swap-in maps the page at another address than its index."""
        if st.folio[folio].mapcount and address != st.folio[folio].index:
            self.add_rmap_address(st, folio, address)
        super().page_add_anon_rmap(st, folio, mm, address)

    def folio_remove_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        if st.folio[folio].mapcount == 1:
            self.clear_page_chained(st, folio)
        super().folio_remove_rmap(st, folio, vma, address, ptep)

    def folio_move_anon_rmap(self, st: "State", folio: int, vma: int) -> None:
        """Point the page to its only process, so that walks find it sooner; page_turn_rmap()."""
        self.turn_page(st, folio, st.vma[vma].vm_mm)

    def move_rmap(
        self, st: "State", folio: int, vma: int, new_vma: int, old_ptep: int, new_ptep: int
    ) -> None:
        """Store the new address; an existing chain is kept even for one entry; page_move_rmap().

        An address in the chain is not added again. Hugh Dickins explains why: try_to_unmap() would
        stop too early, since its walk ends when addresser->count is 0 (left out here).
        """
        if not folio_test_anon(st, folio):
            return
        address = ptep_to_address(st, new_ptep)
        f = st.folio[folio]
        if f.rmap_chain == 0 and f.mapcount == 1:
            f.index = address
        elif address != f.index:
            self.add_rmap_address(st, folio, address)

    def visit_addresses(self, st: "State", folio: int, mm: int, rwc: "RmapWalkControl") -> None:
        """Visit the address in the page, then those in its chain; next_rmap_address()."""
        self.visit(st, rwc, mm, st.folio[folio].index)
        chain = st.folio[folio].rmap_chain
        i = 1
        while chain:
            while i < NRSLOT and st.rmap_chain[chain].slot[i]:
                self.visit(st, rwc, mm, st.rmap_chain[chain].slot[i] - 1)
                i += 1
            chain = st.rmap_chain[chain].next
            i = 0
