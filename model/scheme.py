"""Scheme: the hooks by which an rmap scheme learns what the MM core does.

A scheme is the bookkeeping of one kernel generation. The MM core (model/mm) calls its hooks where
that kernel called the functions of mm/rmap.c, and under the names that these functions have today.
A hook does nothing unless the scheme overrides it. A scheme must not read page tables, because its
answers are checked against them.

Hooks that can fail return 0 or -ENOMEM. After -ENOMEM the core unwinds as the kernel did. Each
historical *decision* of a scheme is a small method of its own, so that a historical bug is a
subclass that overrides one of them.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from rmapcheck.model import decisions
from rmapcheck.model.era import Era, Row
from rmapcheck.model.i_mmap.list import IMmap, IMmapList
from rmapcheck.model.machine.errors import SchemeError
from rmapcheck.model.machine.locks import I_MMAP_LOCK, acquire, release
from rmapcheck.model.machine.state import pte_offset, vma_address

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State
    from rmapcheck.model.machine.structs import RmapWalkControl

# enum vma_operation, mm/internal.h, v7.0: the reason for a call of anon_vma_clone()
VMA_OP_SPLIT = 1
VMA_OP_MERGE_UNFAULTED = 2
VMA_OP_REMAP = 3
VMA_OP_FORK = 4


@attrs.frozen(kw_only=True)
class Bug:
    """A historical bug, seeded by overriding one decision of the scheme that had it."""

    id: str
    """Number in the corpus: B01, B02, …"""
    title: str
    """Subject of the commit that fixed it."""
    introduced: str
    """Commit or version that introduced it."""
    fixed: str
    """Commit that fixed it; `evidence` is "recalled" if the hash was not seen in a source."""
    violates: str
    """Name of the invariant that must catch it."""
    cve: str = ""
    evidence: str = "verified"
    scope: dict[str, Any] = attrs.Factory(dict)
    """The scope in which a search finds it soonest."""
    steps: int = 0
    """Number of operations in the shortest known trace, including set-up."""
    setup: int = 0
    """How many of these operations are set-up that the literature does not count."""


class Scheme:
    """Base of every rmap scheme: keeps no bookkeeping and finds no anonymous page.

    It finds pages of files by their file, if the scheme sets `maps_files`.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    era: ClassVar[Era] = Era()
    """Which kernels the scheme models, and how their MM core behaved."""
    rows: ClassVar[tuple[Row, ...]] = ()
    """Kernels that differ from this design only in data."""
    i_mmap: ClassVar[IMmap] = IMmapList()
    """The container of a file's VMAs."""
    structs: ClassVar[tuple[type, ...]] = ()
    """The scheme's own structs. The pool of ``class AnonVma`` is ``st.anon_vma``."""
    fields: ClassVar[dict[str, tuple[str, ...]]] = {}
    """The optional fields that this scheme has, by pool: fields marked *scheme* in
    model/machine/structs.py, or fields of the scheme's own structs."""
    extra_fields: ClassVar[dict[str, dict[str, Any]]] = {}
    """Further fields, by pool, declared with num(), ref() or refs()."""
    invariants: ClassVar[tuple[str, ...]] = ()
    """Names of the invariants that it must keep beyond the universal ones."""
    goals: ClassVar[tuple[str, ...]] = ()
    """Names of its `@sometimes` goals beyond the universal ones."""
    unreachable: ClassVar[tuple[str, ...]] = ()
    """Names of goals that this design excludes, inherited or universal: `verify` does not expect
    them, and says so."""
    bug: ClassVar[Bug | None] = None
    never_held: ClassVar[bool] = False
    """The design was broken as posted, in every scope. It is listed and verified, and is expected
    to be VIOLATED by its flaws. Checks that all schemes must pass leave it out."""
    sizes: ClassVar[dict[str, tuple[int, int]]] = {}
    """Bytes of each struct on (i386, 64-bit)."""

    def __init_subclass__(cls) -> None:
        """Raise SchemeError if the class body sets a fact of the era, which belongs in `era`."""
        for name in attrs.fields_dict(Era):
            if name in vars(cls):
                base = cls.__bases__[0].__name__
                raise SchemeError(
                    f"{cls.__name__}.{name} is a fact of the scheme's era: write "
                    f"`era = attrs.evolve({base}.era, {name}={vars(cls)[name]!r})`"
                )

    # How the MM core must behave for this design. What differs only by kernel is in `era`.

    walk_checks_pte: ClassVar[bool] = True
    """The walker checks that an entry maps the folio before it touches the entry (pfn check)."""
    virtual_scan: ClassVar[bool] = False
    """There is no rmap: swap_out() scans page tables (until v2.5.26)."""
    scan_uses_i_mmap: ClassVar[bool] = False
    """The scan of page tables unmaps a file's page in all its VMAs (v2.4.23aa2)."""
    fork_batch: ClassVar[int] = 1
    """How many entries fork copies before it releases page_table_lock. Since operations run one
    after another, the value makes no difference except to `fork_batch_ends`."""
    maps_files: ClassVar[bool] = False
    """The scheme can find pages of files, so that a scope may have files."""

    # Decisions of the MM core: decisions.py.

    is_anon_exclusive = decisions.is_anon_exclusive
    is_only_user = decisions.is_only_user
    fork_copies = decisions.fork_copies
    fork_copies_pte = decisions.fork_copies_pte
    fork_write_protects = decisions.fork_write_protects
    merge_source = decisions.merge_source
    merge_pgoff = decisions.merge_pgoff
    vma_iter_prealloc = decisions.vma_iter_prealloc
    growth_may_join = decisions.growth_may_join
    dontunmap_unlinks = decisions.dontunmap_unlinks
    mprotect_continues = decisions.mprotect_continues
    joins_mmlist_first = decisions.joins_mmlist_first
    swap_mm_moves_on = decisions.swap_mm_moves_on

    # VMAs.

    def anon_vma_prepare(self, st: "State", vma: int) -> int:
        """Make `vma` ready for its first anonymous page. Return 0 or -ENOMEM."""
        return 0

    def anon_vma_clone(self, st: "State", dst: int, src: int, operation: int) -> int:
        """Enter `dst`, a copy of the struct `src`, into the rmap. Return 0 or -ENOMEM.

        Called for VMA_OP_SPLIT and VMA_OP_REMAP (copy_vma); `dst` is in no list yet. After -ENOMEM
        the core throws `dst` away.
        """
        return 0

    def anon_vma_fork(self, st: "State", vma: int, pvma: int) -> int:
        """Enter the child's `vma`, a copy of the struct `pvma`, into the rmap.

        Return 0 or -ENOMEM.
        """
        return 0

    def dup_anon_vma(self, st: "State", dst: int, src: int, adjusted: int) -> int:
        """Prepare `dst` to take over pages of `src` in a merge. Return 0 or -ENOMEM.

        `adjusted` is the VMA for which vma_adjust() of v2.6.7 … v6.1 was called.
        """
        return 0

    def undo_dup_anon_vma(self, st: "State", dst: int) -> None:
        """Take from `dst` what dup_anon_vma() gave it: the merge has no memory for its tree.

        Since v6.6; before, `dst` kept it (recalled).
        """
        self.unlink_anon_vmas(st, dst)

    def unlink_anon_vmas(self, st: "State", vma: int) -> None:
        """Remove `vma` from the rmap: its pages are unmapped, or belong to another VMA now."""

    def vma_prepare(self, st: "State", vma: int, adjust: int) -> None:
        """Prepare for a change of range or vm_pgoff of `vma`, and of `adjust` if it is not 0."""

    def vma_complete(self, st: "State", vma: int, adjust: int) -> None:
        """Finish a change of range or vm_pgoff of `vma`, and of `adjust` if it is not 0."""

    def range_lock(self, st: "State", vma: int) -> int:
        """Return the anon_vma whose lock must be held while the range of `vma` changes, or 0."""
        return 0

    def is_mergeable_anon_vma(
        self, st: "State", tgt: int, anon_vma: int, middle: int, copied_from: int
    ) -> bool:
        """Return whether `tgt` may take over pages whose VMA has `anon_vma` (0: never faulted).

        `middle` is the VMA that has the pages now (0 for a new range). `copied_from` is the VMA
        that mremap copies (0 outside mremap).
        """
        return True

    def are_anon_vmas_compatible(self, st: "State", prev: int, next_: int) -> bool:
        """Return whether `prev` and `next_` may join, if each may join the range between them."""
        return True

    def exit_mmap(self, st: "State", mm: int) -> None:
        """Release what is kept for `mm`, after its last VMA has been freed."""

    # Address spaces.

    def exec_rmap(self, st: "State") -> int:
        """Allocate what a new image needs, for exec or for the first process. Return 0 or -ENOMEM.

        The old image still exists; mm_alloc(), kernel/fork.c.
        """
        return 0

    def exec_mmap(self, st: "State", mm: int) -> None:
        """Start the new image of `mm` with what exec_rmap() allocated; exec_mmap(), fs/exec.c.

        The old image, if there was one, has been unmapped. The kernel drops the old mm only after
        the new one is in place.
        """

    def dup_rmap(self, st: "State", mm: int, oldmm: int) -> int:
        """Prepare the fork of `mm` from `oldmm`, before any VMA is copied. Return 0 or -ENOMEM."""
        return 0

    def exit_rmap(self, st: "State", mm: int) -> None:
        """Release what is kept for a dead process, after exit_mmap(); mmput(), kernel/fork.c."""

    # Pages.

    def pte_chain_alloc(self, st: "State") -> int:
        """Allocate what the next mapping of a page may need, before any spinlock is taken.

        Return 0 or -ENOMEM. pte_chain_alloc(), v2.5.55 … v2.6.6.
        """
        return 0

    def pte_chain_free(self, st: "State") -> None:
        """Free what was allocated and not used; pte_chain_free(), v2.5.55 … v2.6.6."""

    def rmap_get_cpu(self, st: "State") -> int:
        """Do as pte_chain_alloc(), where a page may get a second address: swap-in and mremap."""
        return self.pte_chain_alloc(st)

    def rmap_put_cpu(self, st: "State") -> None:
        """Free what rmap_get_cpu() allocated and nobody used."""
        self.pte_chain_free(st)

    def folio_add_new_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        """Record that entry `ptep` maps a new page, which nothing else maps."""

    def folio_add_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int, *, exclusive: bool
    ) -> None:
        """Record that entry `ptep` maps a page of the swap cache.

        `exclusive`: no other process maps the page or holds a swap entry for it.
        """

    def folio_dup_anon_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        """Record that fork maps the page in the child's `vma` as well, by entry `ptep`."""

    def dup_zero_page(self, st: "State") -> None:
        """Note that fork copies an entry of the zero page, which rmap does not track."""

    def fork_batch_ends(self, st: "State") -> None:
        """Prepare for fork to release page_table_lock, after at most `fork_batch` entries."""

    def add_to_swap_cache(self, st: "State", folio: int) -> None:
        """Record that the page now has a swap slot; add_to_swap_cache()."""

    def folio_add_file_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        """Record that a fault maps a page of the page cache; folio lock, ptl.

        remap_file_pages() calls this too.
        """

    def folio_dup_file_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        """Record that fork maps a file's page in the child's `vma` as well, by entry `ptep`."""

    def page_convert_anon(self, st: "State", folio: int) -> int:
        """Prepare a file's page to be mapped away from its linear place. Return 0 or -ENOMEM.

        The caller holds the folio lock. After the function of this name in mm/rmap.c, 2003; see
        schemes/objrmap.py.
        """
        return 0

    def folio_remove_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        """Record that entry `ptep`, which mapped the page (anonymous or a file's), was cleared."""

    def folio_move_anon_rmap(self, st: "State", folio: int, vma: int) -> None:
        """Record that a write fault in `vma` reuses the page, which only this entry maps."""

    def move_rmap(
        self, st: "State", folio: int, vma: int, new_vma: int, old_ptep: int, new_ptep: int
    ) -> None:
        """Record that mremap moved an entry of the page from `old_ptep` to `new_ptep`."""

    def mremap_must_copy(self, st: "State", folio: int, entry: int, *, writable: bool) -> bool:
        """Return whether mremap must break COW before it can move a page-table entry.

        The entry holds page `folio`, mapped `writable` or not, or swap slot `entry` (the other is
        0).
        """
        return False

    def mremap_moved_anon_rmap(self, st: "State", folio: int, address: int) -> bool:
        """Return whether a page just swapped in must be copied: rmap misses it at `address`."""
        return False

    def folio_found(self, st: "State", folio: int, ptep: int, count: int) -> None:
        """Note that page_referenced() found `count` entries of the page, first of them `ptep`."""

    def page_over_rsslimit(self, st: "State", folio: int) -> bool:
        """Return whether reclaim may take a page in use because of RLIMIT_RSS (rmap 15)."""
        return False

    def folio_free(self, st: "State", folio: int) -> None:
        """Free the scheme's own data of a page that is being freed, and check it."""

    def folio_mapped(self, st: "State", folio: int) -> bool:
        """Return whether an entry maps the page, by the scheme's bookkeeping; folio_mapped()."""
        return st.folio[folio].mapcount > 0

    def walk_lock(self, st: "State", folio: int) -> int:
        """Return the anon_vma whose lock must be held during a walk of the page's rmap, or 0."""
        return 0

    def rmap_lock(self, st: "State", folio: int) -> int:
        """Take the lock that a walk of the page's rmap needs; return what to unlock."""
        return 0

    def rmap_unlock(self, st: "State", lock: int) -> None:
        """Release the lock that `rmap_lock` took."""

    def rmap_walk(self, st: "State", folio: int, rwc: "RmapWalkControl") -> None:
        """Call `visit` for each page-table entry that may map the page, in order."""

    def walker_checks_pte(self, st: "State", folio: int) -> bool:
        """Return whether the walker of this page checks an entry before it touches it."""
        return self.walk_checks_pte

    # Pages of files. `rmap_walk`, `rmap_lock` and `walk_lock` are called for anonymous pages only.

    def rmap_lock_file(self, st: "State", folio: int) -> int:
        """Take the lock that a walk of a file page's rmap needs; return what to unlock."""
        mapping = st.folio[folio].address_space
        if mapping:
            acquire(st, I_MMAP_LOCK, mapping, write=False)
        return mapping

    def rmap_unlock_file(self, st: "State", folio: int, lock: int) -> None:
        """Release the lock that `rmap_lock_file` took."""
        if lock:
            release(st, I_MMAP_LOCK, lock)

    def rmap_walk_file(self, st: "State", folio: int, rwc: "RmapWalkControl") -> None:
        """Visit the page's place in each VMA of its file; rmap_walk_file(), mm/rmap.c.

        page_referenced_file() and try_to_unmap_file() since v2.6.7.
        """
        mapping = st.folio[folio].address_space
        if mapping == 0:
            return
        index = st.folio[folio].index
        for vma in self.i_mmap.foreach(st, mapping, index, index, rwc):
            address = vma_address(st, vma, index)
            if address >= 0 and not st.vma[vma].vm_nonlinear:
                self.visit(st, rwc, st.vma[vma].vm_mm, address)
        if st.scope.nonlinear:
            for vma in self.i_mmap.nonlinear(st, mapping, rwc):
                self.visit_all(st, vma, rwc)

    def visit_all(self, st: "State", vma: int, rwc: "RmapWalkControl") -> None:
        """Visit every page of a nonlinear VMA; try_to_unmap_cluster(), mm/rmap.c, until v3.19.

        The kernel went through clusters of 32 pages, and unmapped every other page that it met
        there.
        """
        for address in range(st.vma[vma].vm_start, st.vma[vma].vm_end):
            self.visit(st, rwc, st.vma[vma].vm_mm, address)

    @staticmethod
    def visit(st: "State", rwc: "RmapWalkControl", mm: int, address: int) -> None:
        """Visit page `address` of `mm`."""
        rwc.visited.append(pte_offset(st, mm, address))
