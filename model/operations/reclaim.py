"""Operations of the kernel on its own: reclaim of anonymous pages, scans, swapoff."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

import attrs

from rmapcheck.model.machine.state import folio_test_anon, pte_offset, ptep_to_address, ptep_to_mm
from rmapcheck.model.machine.structs import RmapWalkControl
from rmapcheck.model.mm.rmap import folio_referenced
from rmapcheck.model.mm.swapoff import unuse_pte
from rmapcheck.model.mm.virtual_scan import SWAP_CLUSTER_MAX, scan_page_tables
from rmapcheck.model.mm.vmscan import swap_out
from rmapcheck.model.operations.base import Operation
from rmapcheck.model.operations.syscall import Argument, Constant, Syscall

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel
    from rmapcheck.model.scheme import Scheme

MADV_PAGEOUT = 21
"""asm-generic/mman-common.h; it skips a page that another process maps too"""


def folio_of(st: "Kernel", ptep: int) -> int:
    """Return the page that an entry maps, or the swap-cache page of its slot, or 0."""
    p = st.pte[ptep]
    if p.folio:
        return p.folio
    return st.swap[p.swap].folio if p.swap else 0


def folio_named(st: "Kernel", mm: int, address: int) -> int:
    """Return the page at (mm, address), or 0."""
    return folio_of(st, pte_offset(st, mm, address))


def newly_named(st: "Kernel", ptep: int) -> int:
    """Return the page of entry `ptep` if no entry with a lower number has that page, or 0."""
    folio = folio_of(st, ptep)
    for before in range(1, ptep if folio else 1):
        if folio_of(st, before) == folio:
            return 0
    return folio


@attrs.frozen(kw_only=True)
class SwapOut(Operation):
    """Reclaim takes the page at (mm, address): unmaps it from all entries, writes it, frees it.

    Without rmap, swap_out() scans until no process maps the page, and also unmaps other pages on
    the way. A search does not use that: each of these scans is a SwapScan of its own.
    """

    name = "swap_out"
    group = "swap"
    syscall = Syscall(
        program="RECLAIM",  # of all pages, since no program can choose one
        ignored=("address",),
        puppet="MADVISE",
        puppet_arguments=(Argument("address"), Constant(1), Constant(MADV_PAGEOUT)),
    )
    address: int

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        for ptep in range(1, st.pte.size + 1):
            folio = newly_named(st, ptep)
            if folio and folio_test_anon(st, folio) and can_swap_out(st, folio):
                yield cls(mm=ptep_to_mm(st, ptep), address=ptep_to_address(st, ptep))

    def enabled(self, st: "Kernel") -> bool:
        folio = folio_named(st, self.mm, self.address) if st.mm.is_live(self.mm) else 0
        return folio != 0 and folio_test_anon(st, folio)

    def apply(self, st: "Kernel") -> int:
        folio = folio_named(st, self.mm, self.address)
        if st.scheme.virtual_scan:
            scan_for(st, folio)
        return swap_out(st, folio)


def scan_for(st: "Kernel", folio: int) -> None:
    """Scan until no process maps `folio`, at most as many times as there are entries."""
    for _ in range(st.pte.size + 1):
        if not st.scheme.folio_mapped(st, folio):
            return
        scan_page_tables(st, SWAP_CLUSTER_MAX, RmapWalkControl())


def can_swap_out(st: "Kernel", folio: int) -> bool:
    """Return whether reclaim can take the page.

    Without rmap it can only take a page that no process maps; shrink_cache(), mm/vmscan.c, v2.4.
    """
    if st.scheme.virtual_scan:
        return st.folio[folio].swap != 0 and st.folio[folio].refcount == 1
    return st.folio[folio].swap != 0 or st.swap.live < st.swap.size


@attrs.frozen(kw_only=True)
class SwapScan(Operation):
    """swap_out() continues, from process `mm`, until a page can be freed or all were visited."""

    name = "swap_scan"
    group = "swap"
    syscall = Syscall()

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        if st.scheme.virtual_scan:
            for mm in st.mm.indices():
                if st.mm[mm].swap_mm:
                    yield cls(mm=mm)

    def enabled(self, st: "Kernel") -> bool:
        return st.mm.is_live(self.mm) and st.mm[self.mm].swap_mm != 0

    def apply(self, st: "Kernel") -> int:
        scan_page_tables(st, SWAP_CLUSTER_MAX, RmapWalkControl())
        return 0

    def lacking(self, scheme: "Scheme") -> str:
        return "" if scheme.virtual_scan else "swap_out() (until v2.5.26)"


@attrs.frozen(kw_only=True)
class FolioReferenced(Operation):
    """Reclaim checks whether the page at (mm, address) was used, and clears its accessed bits."""

    name = "referenced"
    group = "referenced"
    syscall = Syscall(why_not="no program can make the kernel check the use of one given page")
    address: int

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        if st.scope.young and "page_referenced" not in st.scheme.era.lacks:
            for ptep in range(1, st.pte.size + 1):
                folio = newly_named(st, ptep)
                if folio and st.scheme.folio_mapped(st, folio):
                    yield cls(mm=ptep_to_mm(st, ptep), address=ptep_to_address(st, ptep))

    def enabled(self, st: "Kernel") -> bool:
        return st.mm.is_live(self.mm) and folio_named(st, self.mm, self.address) != 0

    def lacking(self, scheme: "Scheme") -> str:
        return "page_referenced() (v2.5.27)" if "page_referenced" in scheme.era.lacks else ""

    def apply(self, st: "Kernel") -> int:
        folio_referenced(st, folio_named(st, self.mm, self.address))
        return 0


@attrs.frozen(kw_only=True)
class Unuse(Operation):
    """swapoff reaches page `address` of `mm`, which is in swap, and maps it again."""

    name = "unuse"
    group = "swapoff"
    syscall = Syscall()
    address: int

    @classmethod
    def possible(cls, st: "Kernel") -> Iterator[Self]:
        for ptep in range(1, st.pte.size + 1):
            if st.pte[ptep].swap:
                yield cls(mm=ptep_to_mm(st, ptep), address=ptep_to_address(st, ptep))

    def enabled(self, st: "Kernel") -> bool:
        return st.mm.is_live(self.mm) and st.pte[pte_offset(st, self.mm, self.address)].swap != 0

    def apply(self, st: "Kernel") -> int:
        return unuse_pte(st, self.mm, self.address)
