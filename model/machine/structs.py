"""The kernel structs of the model, their flags, and the record of an rmap walk.

Fields have their kernel names. A field marked *scheme* exists only if the scheme lists it in
`Scheme.fields`; otherwise it stays 0 and is not part of the state. The same holds for a field
declared with `when`, in a scope that does not have what `when` names.

Sizes and addresses are in pages. A page-table entry has a number of its own, so that a scheme can
point to one as the pte_chain kernels did; see `pte_offset`.
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
VM_GROWSDOWN = 512
VM_SEPARATE = VM_NONLINEAR | VM_GROWSDOWN
"""Flags that are stored in fields of their own, because a stored field has one byte. They are only
in the result of `vma_flags`."""
VM_ACCESS_FLAGS = VM_READ | VM_WRITE | VM_EXEC

# pte flags
PTE_WRITE = 1
PTE_ZERO = 2
"""The entry maps the shared zero page, which no rmap tracks."""
PTE_EXCLUSIVE = 4
"""On a swap entry: the page was PageAnonExclusive (pte_swp_exclusive(), since v5.19)."""
PTE_YOUNG = 8
PTE_FILE = 16
"""The entry holds the offset of a page in the VMA's file, `pgoff`; pte_file(), v2.5.66 … v3.19."""


@attrs.define(slots=True, eq=False)
class Mm:
    """struct mm_struct: the address space of a process.

    Its number is the process's name in traces.
    """

    mmap: int = ref("vma")
    """First VMA in address order."""
    mmlist: int = ref("mm", scheme=True)
    """scheme: next process on mmlist, a ring (v2.4 … v2.5.26); mmlist_lock"""
    swap_mm: int = num(1, scheme=True)
    """scheme: 1 if the global swap_mm is this process; mmlist_lock"""
    swap_address: int = num("pages", scheme=True)
    """scheme: where swap_out() continues in this process, `pages` (TASK_SIZE) at the end;
    page_table_lock"""
    anonmm: int = ref("anonmm", scheme=True)
    """scheme: the anonmm to which the pages of this process point (anobjrmap, 2003 … 2004)"""
    rss: int = num(LARGEST_FIELD, scheme=True)
    """scheme: number of pages mapped, if the scheme's walker reads it; page_table_lock"""


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
    """VM_NONLINEAR of vm_flags (v2.6.0 … v3.19)"""
    vm_growsdown: int = num(1, when="grows_down")
    """VM_GROWSDOWN of vm_flags: a stack, which merges with no other VMA"""
    shared: int = ref("vma", scheme=True)
    """scheme: next VMA of the same file, if i_mmap is a list; lock of i_mmap"""
    shared_left: int = ref("vma", scheme=True)
    """scheme: prio_tree_node.left or vm_set.list.next, which share one word; lock of i_mmap"""
    shared_right: int = ref("vma", scheme=True)
    """scheme: prio_tree_node.right, or vm_set.list.prev; lock of i_mmap"""
    shared_parent: int = ref("vma", scheme=True)
    """scheme: parent in the prio_tree, 0 if this VMA is not a node of the tree; lock of i_mmap"""
    shared_head: int = ref("vma", scheme=True)
    """scheme: vm_set.head, which links a node and the list of VMAs with its range, both ways; lock
    of i_mmap"""
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
    """The slot whose swap-cache page this is; folio lock"""
    mapcount: int = num(LARGEST_FIELD, scheme=True)
    """scheme: how many PTEs map the folio, as rmap counts them"""
    mapping: int = ref("anon_vma", weak=True, scheme=True)
    """scheme: the rmap object; not cleared when the last PTE is cleared (since v2.6.9)"""
    index: int = num("offsets", scheme=True, when="files")
    """scheme: linear page offset, set with `mapping`. For a page-cache page: offset in the
    file."""
    anon: int = num(1, when="files")
    """PageAnon(): an anonymous fault allocated the page. In a scope without files all pages
    are."""
    address_space: int = ref("address_space", when="files")
    """`mapping` of a page-cache page, 0 once it has left the cache; folio lock, i_pages lock"""
    exclusive: int = num(1, scheme=True)
    """scheme: PageAnonExclusive (since v5.19)"""
    pg_anon: int = num(1, scheme=True)
    """scheme: PG_anon; by it the scheme distinguishes two kinds of records of a page
    (v2.5.62 …)"""
    direct: int = ref("pte", scheme=True)
    """scheme: the only PTE, while PG_direct is set (v2.5.27 … v2.6.6); PG_chainlock"""
    as_vma: int = ref("vma", scheme=True)
    """scheme: the only VMA that may map it, while PG_direct is set (RFC2 of anon_vma, 2004)"""
    rmap_chain: int = ref("rmap_chain", scheme=True)
    """scheme: further addresses, while PG_chained is set (anobjrmap, 2003); PG_rmaplock"""
    pte_chain: int = ref("pte_chain", scheme=True)
    """scheme: first element of the chain (v2.5.27 … v2.6.6); PG_chainlock"""


@attrs.define(slots=True, eq=False)
class Swap:
    """One swap slot in use."""

    count: int = num(LARGEST_FIELD)
    """swap_map[]: number of swap PTEs that name the slot."""
    folio: int = ref("folio")
    """The swap-cache folio; SWAP_HAS_CACHE of swap_map[] is `folio != 0`."""


@attrs.define(slots=True, eq=False)
class AddressSpace:
    """struct address_space with its inode: a file. Its number is also its name in traces.

    The fields that list its VMAs (i_mmap) belong to the scheme's container: see `IMmap.fields`.
    """

    i_size: int = num("file_pages")
    """Length of the file; inode lock"""
    i_pages: list[int] = refs("folio", "file_pages")  # noqa: RUF009 - declares, as attrs.field
    """The page cache, by offset: page_tree before v4.17; i_pages lock"""
    i_mmap_node: int = ref("vma", scheme=True)
    """scheme: root of the tree, if i_mmap is a tree; lock of i_mmap"""
    index_bits: int = num(32, scheme=True)
    """scheme: index_bits of prio_tree_root, minus 1; lock of i_mmap"""
    i_mmap_list: int = ref("vma", scheme=True)
    """scheme: i_mmap_nonlinear, if i_mmap is a tree; lock of i_mmap"""
    i_mmap: list[int] = refs("vma", 2, scheme=True)  # noqa: RUF009 - declares, as attrs.field
    """scheme: first VMAs, if i_mmap is a list; lock of i_mmap"""


CORE: dict[str, type] = {
    "mm": Mm,
    "vma": Vma,
    "pte": Pte,
    "folio": Folio,
    "swap": Swap,
    "address_space": AddressSpace,
}
"""The structs that the machine has under every scheme, by name of their pool."""


@attrs.define(slots=True, eq=False)
class RmapWalkControl:
    """struct rmap_walk_control: what a walk has visited, in order, and what it cost."""

    visited: list[int] = attrs.field(factory=list)
    """Numbers of the page-table entries visited."""
    nodes: int = 0
    """Number of list or tree nodes visited."""
    limit: int = 10_000
    """A walk that visits this many nodes is taken to be endless, and stops."""
