"""State: a pool of each kernel struct, and functions that read facts from it.

Sizes and addresses are in pages. The number of the page-table entry (mm, address) is ``(mm - 1) *
pages + address + 1``, counted from 1; see `pte_offset`.
"""

from collections.abc import Callable
from typing import Any

from rmapcheck.model.machine.fields import Declares
from rmapcheck.model.machine.heap import Pool
from rmapcheck.model.machine.layout import Layout, layout_of
from rmapcheck.model.machine.locks import HeldLock
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.structs import (
    VM_ACCESS_FLAGS,
    VM_GROWSDOWN,
    VM_NONLINEAR,
    AddressSpace,
    Folio,
    Mm,
    Pte,
    Swap,
    Vma,
)


class State:
    """One state of the machine: a pool of each struct, and the records of the running operation.

    With `checked`, every write to a field checks the declared range (slower; for interpreted runs
    of a user's new code). The objects of the pools in `named` keep their numbers when the state is
    stored; see model/machine/layout.py.
    """

    mm: Pool[Mm]
    vma: Pool[Vma]
    pte: Pool[Pte]
    folio: Pool[Folio]
    swap: Pool[Swap]
    address_space: Pool[AddressSpace]
    """Only in scopes with files. All files exist from boot to the end."""

    def __init__(
        self,
        scope: Scope,
        scheme: Declares,
        *,
        checked: bool = False,
        named: tuple[str, ...] = (),
    ) -> None:
        self.scope = scope
        self.scheme = scheme
        self.pages = scope.pages
        self.layout: Layout = layout_of(scope, type(scheme), named)
        for name, pool in self.layout.make_pools(checked=checked).items():
            setattr(self, name, pool)
        for m in range(1, scope.mms * scope.pages + 1):
            self.pte[m] = self.pte.objects[m]
        for f in range(1, scope.files + 1):
            self.address_space[f] = self.address_space.objects[f]
        self.held: list[HeldLock] = []
        self.spare = 0
        """What pte_chain_alloc() or exec_rmap() allocated in advance; 0 between operations."""
        self.splats: list[str] = []
        self.observer: Callable[..., None] | None = None
        """Called at events (rmapcheck.model.machine.events.tell)."""
        self.every_name = False
        """The child of fork may be any free process, not only the first (for searches without
        symmetry)."""
        self.begin()

    def begin(self, fail_at: int = 0) -> None:
        """Start an operation. Its allocation number `fail_at` (from 1; 0: none) will fail."""
        self.fail_at = fail_at
        self.nr_allocs = 0
        self.nr_locks = self.nr_nodes = self.nr_entries = 0
        self.spare = 0
        self.exhausted = ""
        self.freed: list[tuple[str, int]] = []
        self.passed: list[str] = []
        """Branches that the running operation took (rmapcheck.model.branches)."""
        if self.held:
            self.held.clear()
        if self.splats:
            self.splats.clear()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a pool the scheme declared
        msg = f"the state has no {name!r}: does the scheme list that struct in `structs`?"
        raise AttributeError(msg)


def pte_offset(st: State, mm: int, address: int) -> int:
    """Return the number of the page-table entry of page `address` in `mm`; pte_offset_map()."""
    return (mm - 1) * st.pages + address + 1


def ptep_to_mm(st: State, ptep: int) -> int:
    """Return the mm of a page-table entry; ptep_to_mm(), include/asm-generic/rmap.h, v2.5.27."""
    return (ptep - 1) // st.pages + 1


def ptep_to_address(st: State, ptep: int) -> int:
    """Return the page address of an entry; ptep_to_address(), asm-generic/rmap.h, v2.5.27."""
    return (ptep - 1) % st.pages


def linear_page_index(st: State, vma: int, address: int) -> int:
    """Return the page offset of `address` in `vma`; linear_page_index(), linux/pagemap.h."""
    v = st.vma[vma]
    return v.vm_pgoff + address - v.vm_start


def vma_flags(st: State, vma: int) -> int:
    """Return all flags of a VMA, including those that are fields of their own."""
    v = st.vma[vma]
    nonlinear = VM_NONLINEAR if v.vm_nonlinear else 0
    return v.vm_flags | nonlinear | (VM_GROWSDOWN if v.vm_growsdown else 0)


def folio_test_anon(st: State, folio: int) -> bool:
    """Return whether the page is anonymous, not of the page cache; PageAnon(), linux/mm.h."""
    return not st.scope.files or st.folio[folio].anon != 0


def vma_address(st: State, vma: int, index: int) -> int:
    """Return the address of page offset `index` in `vma`, or -EFAULT; vma_address(), mm/rmap.c."""
    v = st.vma[vma]
    address = v.vm_start + index - v.vm_pgoff
    if address < v.vm_start or address >= v.vm_end:
        return -14
    return address


def anon_vma_compatible(st: State, a: int, b: int) -> bool:
    """Return whether mprotect could make VMA `a` and the VMA `b` behind it one; mm/mmap.c.

    They adjoin, have the same file and linear offsets, and differ at most in their protection.
    """
    va = st.vma[a]
    vb = st.vma[b]
    return (
        va.vm_end == vb.vm_start
        and va.vm_file == vb.vm_file
        and (vma_flags(st, a) ^ vma_flags(st, b)) & ~VM_ACCESS_FLAGS == 0
        and vb.vm_pgoff == va.vm_pgoff + va.vm_end - va.vm_start
    )
