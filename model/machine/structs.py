"""The kernel structs of the model, their flags, and what a walk of the rmap is given.

Fields keep their kernel names. Those marked *scheme* exist only where the scheme lists them in
`Scheme.fields`; elsewhere they stay 0 and are no part of the state. So do those declared with
`when`, in a scope without what they are for.

Sizes and addresses are in pages. A page-table entry has a number of its own, so that a scheme may
point at one as the pte_chain kernels did; see `pte_offset`.
"""

import attrs

from rmapcheck.model.machine.heap import num, ref, refs
from rmapcheck.model.machine.scope import LARGEST_FIELD

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

    What lists its VMAs, i_mmap, is the scheme's: see `IMmap.fields`.
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


CORE: dict[str, type] = {
    "mm": Mm,
    "vma": Vma,
    "pte": Pte,
    "folio": Folio,
    "swap": Swap,
    "address_space": AddressSpace,
}
"""The structs that the machine has under any scheme, by the names of their pools."""


@attrs.define(slots=True, eq=False)
class RmapWalkControl:
    """struct rmap_walk_control: what a walk visits, in its order, and what that costs."""

    visited: list[int] = attrs.field(factory=list)
    """Numbers of the page-table entries visited."""
    nodes: int = 0
    """List or tree nodes looked at."""
    limit: int = 10_000
    """A walk longer than this never ends."""
