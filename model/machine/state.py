"""The kernel structs of the model, and State, which owns a pool of each.

Fields keep their kernel names. Those marked *scheme* exist only where the scheme lists them in
`Scheme.fields`; elsewhere they stay 0 and are no part of the state. So do those declared with
`when`, in a scope without what they are for.

Sizes and addresses are in pages. A page-table entry has a number of its own, so that a scheme may
point at one as the pte_chain kernels did: entry (mm, address) is number
``(mm - 1) * scope.pages + address + 1`` (see `pte_offset`).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from rmapcheck.model.machine.heap import Pool, num, ref, refs
from rmapcheck.model.machine.layout import Layout, layout_of
from rmapcheck.model.machine.scope import LARGEST_FIELD

if TYPE_CHECKING:
    from rmapcheck.model.machine.locks import HeldLock
    from rmapcheck.model.machine.scope import Scope
    from rmapcheck.model.scheme import Scheme

# vm_flags, include/linux/mm.h (values are the model's own, one byte in all)
VM_READ = 1
VM_WRITE = 2
VM_EXEC = 4
VM_ACCOUNT = 8
VM_DONTCOPY = 16
VM_WIPEONFORK = 32
VM_SHARED = 64
VM_LOCKED = 128
VM_NONLINEAR = 256
"""Only in what `vma_flags` returns: a stored field has one byte."""
VM_ACCESS_FLAGS = VM_READ | VM_WRITE | VM_EXEC

# pte flags
PTE_WRITE = 1
PTE_ZERO = 2
"""The entry maps the shared zero page, which no rmap knows."""
PTE_EXCLUSIVE = 4
"""A swap entry that remembers PageAnonExclusive (pte_swp_exclusive(), since v5.19)."""
PTE_YOUNG = 8
PTE_FILE = 16
"""The entry holds the offset of a page in the VMA's file, `pgoff`; pte_file(), v2.5.66 … v3.19."""


@attrs.define(slots=True, eq=False)
class Mm:
    """struct mm_struct: an address space; its number is also the process's name in traces."""

    mmap: int = ref("vma")
    """First VMA in address order."""
    mmlist: int = ref("mm", scheme=True)
    """scheme: next process on mmlist, a ring (v2.4 … v2.5.26); mmlist_lock"""
    swap_mm: int = num(1, scheme=True)
    """scheme: the global swap_mm is this process; mmlist_lock"""
    swap_address: int = num("pages", scheme=True)
    """scheme: where swap_out() goes on here, `pages` (TASK_SIZE) at the end; page_table_lock"""
    anonmm: int = ref("anonmm", scheme=True)
    """scheme: what the pages of this process name (anobjrmap, 2003 … 2004)"""
    rss: int = num(LARGEST_FIELD, scheme=True)
    """scheme: pages mapped, where a walker looks at it; page_table_lock"""


@attrs.define(slots=True, eq=False)
class Vma:
    """struct vm_area_struct: pages vm_start … vm_end - 1 of vm_mm."""

    vm_mm: int = ref("mm")
    vm_start: int = num("pages")
    vm_end: int = num("pages")
    vm_pgoff: int = num("offsets")
    vm_flags: int = num(255)
    vm_next: int = ref("vma")
    vm_file: int = ref("address_space", when="files")
    """The file that is mapped (its f_mapping), or 0"""
    vm_nonlinear: int = num(1, when="nonlinear")
    """VM_NONLINEAR of vm_flags (v2.6.0 … v3.19), which has but one byte here"""
    shared: int = ref("vma", scheme=True)
    """scheme: next VMA of the same file, where i_mmap is a list; its lock"""
    shared_left: int = ref("vma", scheme=True)
    """scheme: prio_tree_node.left, or vm_set.list.next: one word for both; lock of i_mmap"""
    shared_right: int = ref("vma", scheme=True)
    """scheme: prio_tree_node.right, or vm_set.list.prev; lock of i_mmap"""
    shared_parent: int = ref("vma", scheme=True)
    """scheme: parent in the prio_tree; 0: no node of the tree; lock of i_mmap"""
    shared_head: int = ref("vma", scheme=True)
    """scheme: vm_set.head, from the node to the list of its equals and back; lock of i_mmap"""
    anon_vma: int = ref("anon_vma", scheme=True)
    """scheme: the anon_vma for pages that only this VMA maps; mmap_lock, page_table_lock"""
    anon_vma_chain: int = ref("anon_vma_chain", scheme=True)
    """scheme: first entry of the same_vma list"""
    anon_vma_node: int = ref("vma", scheme=True)
    """scheme: next VMA of the same anon_vma (v2.6.7 … v2.6.33); anon_vma->lock"""


@attrs.define(slots=True, eq=False)
class Pte:
    """One page-table entry: none, zero page, present (`folio`) or swapped out (`swap`); ptl."""

    folio: int = ref("folio")
    swap: int = ref("swap")
    flags: int = num(31)
    pgoff: int = num("offsets", when="nonlinear")
    """pte_to_pgoff() of an entry with PTE_FILE"""


@attrs.define(slots=True, eq=False)
class Folio:
    """struct folio (struct page before v5.16) of one page, anonymous or of the page cache."""

    refcount: int = num(LARGEST_FIELD)
    """References: one for each PTE, one for the swap cache or the page cache."""
    swap: int = ref("swap")
    """The slot whose swap-cache folio this is; folio lock"""
    mapcount: int = num(LARGEST_FIELD, scheme=True)
    """scheme: how many PTEs map the folio, as rmap counts them"""
    mapping: int = ref("anon_vma", weak=True, scheme=True)
    """scheme: the rmap object; not cleared when the last PTE goes (since v2.6.9)"""
    index: int = num("offsets", scheme=True, when="files")
    """scheme: linear page offset, set with `mapping`. Of a page-cache page: offset in the file."""
    anon: int = num(1, when="files")
    """PageAnon(): it was made by an anonymous fault. All pages are where there are no files."""
    address_space: int = ref("address_space", when="files")
    """`mapping` of a page-cache page, 0 once it has left the cache; folio lock, i_pages lock"""
    exclusive: int = num(1, scheme=True)
    """scheme: PageAnonExclusive (since v5.19)"""
    pg_anon: int = num(1, scheme=True)
    """scheme: PG_anon, by which a scheme tells what it keeps for the page (v2.5.62 …)"""
    direct: int = ref("pte", scheme=True)
    """scheme: the one PTE, while PG_direct is set (v2.5.27 … v2.6.6); PG_chainlock"""
    as_vma: int = ref("vma", scheme=True)
    """scheme: the one VMA that may map it, while PG_direct is set (RFC2 of anon_vma, 2004)"""
    rmap_chain: int = ref("rmap_chain", scheme=True)
    """scheme: further addresses, while PG_chained is set (anobjrmap, 2003); PG_rmaplock"""
    pte_chain: int = ref("pte_chain", scheme=True)
    """scheme: first element of the chain (v2.5.27 … v2.6.6); PG_chainlock"""


@attrs.define(slots=True, eq=False)
class Swap:
    """One swap slot in use."""

    count: int = num(LARGEST_FIELD)
    """swap_map[]: swap PTEs that name the slot."""
    folio: int = ref("folio")
    """The swap-cache folio; SWAP_HAS_CACHE of swap_map[] is `folio != 0`."""


@attrs.define(slots=True, eq=False)
class AddressSpace:
    """struct address_space with its inode: a file; its number is also its name in traces.

    What lists its VMAs, i_mmap, is the scheme's: see `Scheme.i_mmap_fields`.
    """

    i_size: int = num("file_pages")
    """Length of the file; inode lock"""
    i_pages: list[int] = refs("folio", "file_pages")  # noqa: RUF009 - declares, as attrs.field
    """The page cache, by offset: page_tree before v4.17; i_pages lock"""
    i_mmap_node: int = ref("vma", scheme=True)
    """scheme: root of the tree, where i_mmap is one; its lock"""
    index_bits: int = num(32, scheme=True)
    """scheme: index_bits of prio_tree_root, less 1; lock of i_mmap"""
    i_mmap_list: int = ref("vma", scheme=True)
    """scheme: i_mmap_nonlinear, where i_mmap is a tree; its lock"""
    i_mmap: list[int] = refs("vma", 2, scheme=True)  # noqa: RUF009 - declares, as attrs.field
    """scheme: first VMAs, where i_mmap is a list; its lock"""


@attrs.define(slots=True, eq=False)
class RmapWalkControl:
    """struct rmap_walk_control: what a walk visits, in its order, and what that costs."""

    visited: list[int] = attrs.field(factory=list)
    """Numbers of the page-table entries visited."""
    nodes: int = 0
    """List or tree nodes looked at."""
    limit: int = 10_000
    """A walk longer than this never ends."""


class State:
    """One state of the machine: a pool of each struct, and the bookkeeping of a running operation.

    `checked` makes every write to a field test its declared range (slower; for interpreted runs
    of somebody's new code). `named`: pools whose objects keep their numbers when the state is
    stored; see model/machine/layout.py.
    """

    mm: Pool[Mm]
    vma: Pool[Vma]
    pte: Pool[Pte]
    folio: Pool[Folio]
    swap: Pool[Swap]
    address_space: Pool[AddressSpace]
    """Only where the scope has files; all of them exist from boot to the end."""

    def __init__(
        self,
        scope: "Scope",
        scheme: "Scheme",
        *,
        checked: bool = False,
        named: tuple[str, ...] = (),
    ) -> None:
        self.scope = scope
        self.scheme = scheme
        self.pages = scope.pages
        self.layout: Layout = layout_of(scope, type(scheme), named)  # type: ignore[arg-type]
        for name, pool in self.layout.make_pools(checked=checked).items():
            setattr(self, name, pool)
        for m in range(1, scope.mms * scope.pages + 1):
            self.pte[m] = self.pte.objects[m]
        for f in range(1, scope.files + 1):
            self.address_space[f] = self.address_space.objects[f]
        self.held: list[HeldLock] = []
        self.spare = 0
        """What pte_chain_alloc() or exec_rmap() set aside; between operations always 0."""
        self.splats: list[str] = []
        self.observer: Callable[..., None] | None = None
        """Who is told of events (rmapcheck.model.machine.events.tell)."""
        self.every_name = False
        """Fork offers each free process as the child, not only one (search without symmetry)."""
        self.begin()

    def begin(self, fail_at: int = 0) -> None:
        """Start an operation, whose allocation number `fail_at` (from 1) is to fail."""
        self.fail_at = fail_at
        self.nr_allocs = 0
        self.nr_locks = self.nr_nodes = self.nr_entries = 0
        self.spare = 0
        self.exhausted = ""
        self.freed: list[tuple[str, int]] = []
        self.reached: list[str] = []
        self.rules: list[str] = []
        """Branches that the running operation took, by name; compiled searches have none."""
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
    """Return all flags of a VMA, VM_NONLINEAR among them."""
    v = st.vma[vma]
    return v.vm_flags | (VM_NONLINEAR if v.vm_nonlinear else 0)


def folio_test_anon(st: State, folio: int) -> bool:
    """Tell whether the page is anonymous, not of the page cache; PageAnon(), linux/mm.h."""
    return not st.scope.files or st.folio[folio].anon != 0


def vma_address(st: State, vma: int, index: int) -> int:
    """Return where page offset `index` lies in `vma`, or -EFAULT; vma_address(), mm/rmap.c."""
    v = st.vma[vma]
    address = v.vm_start + index - v.vm_pgoff
    if address < v.vm_start or address >= v.vm_end:
        return -14
    return address
