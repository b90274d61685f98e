"""Scheme: the hooks through which the MM core tells an rmap scheme what happens.

A scheme is the bookkeeping of one kernel generation. The MM core (model/mm) calls its hooks at
the moments at which that kernel called the functions of mm/rmap.c, and under the names that these
functions have today; each hook does nothing unless the scheme overrides it. A scheme must not
read page tables: they are what its answers are checked against.

Hooks that can fail return 0 or -ENOMEM; the core unwinds as the kernel did. Each historical
*decision* of a scheme is a small method of its own, so that a historical bug is a subclass which
overrides one of them.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from rmapcheck.model.era import Era, Row
from rmapcheck.model.i_mmap.list import IMmap, IMmapList
from rmapcheck.model.machine.errors import SchemeError
from rmapcheck.model.machine.locks import I_MMAP_LOCK, acquire, release
from rmapcheck.model.machine.state import pte_offset, vma_address

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State
    from rmapcheck.model.machine.structs import RmapWalkControl

# enum vma_operation, mm/internal.h, v7.0: why anon_vma_clone() is called
VMA_OP_SPLIT = 1
VMA_OP_MERGE_UNFAULTED = 2
VMA_OP_REMAP = 3
VMA_OP_FORK = 4


@attrs.frozen(kw_only=True)
class Bug:
    """A historical bug, seeded by overriding one decision of the scheme that had it."""

    id: str
    """Number in the corpus: B01 …"""
    title: str
    """Subject of the commit that mended it."""
    introduced: str
    """Commit or version that brought it."""
    fixed: str
    """Commit that mended it; "recalled" in `evidence` where the hash was not seen in a source."""
    violates: str
    """Name of the invariant by which it must be caught."""
    cve: str = ""
    evidence: str = "verified"
    scope: dict[str, Any] = attrs.Factory(dict)
    """The scope in which a search finds it soonest."""
    steps: int = 0
    """Length of the shortest trace known, in operations, set-up included."""
    setup: int = 0
    """How many of these are set-up that the literature does not count."""


class Scheme:
    """Base of every rmap scheme; tells the core nothing and finds no anonymous page.

    Pages of files it finds by their file, if the scheme says that it `maps_files`.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    era: ClassVar[Era] = Era()
    """Which kernels these are, and what their MM core did."""
    rows: ClassVar[tuple[Row, ...]] = ()
    """Kernels that differ from this design in data alone."""
    i_mmap: ClassVar[IMmap] = IMmapList()
    """The container of a file's VMAs."""
    structs: ClassVar[tuple[type, ...]] = ()
    """The scheme's own structs; ``class AnonVma`` lives in the pool ``st.anon_vma``."""
    fields: ClassVar[dict[str, tuple[str, ...]]] = {}
    """By pool: which of the fields marked *scheme* in model/machine/structs.py (or which fields of
    the scheme's own structs) this scheme has."""
    extra_fields: ClassVar[dict[str, dict[str, Any]]] = {}
    """By pool: further fields, declared with num(), ref() or refs()."""
    invariants: ClassVar[tuple[str, ...]] = ()
    """Names of invariants beyond the universal ones."""
    goals: ClassVar[tuple[str, ...]] = ()
    """Names of `@sometimes` goals beyond the universal ones."""
    bug: ClassVar[Bug | None] = None
    never_held: ClassVar[bool] = False
    """The design was broken as posted, in whatever scope: it is listed, verified and found to be
    VIOLATED by its flaws, and no part of what is asked of all schemes."""
    sizes: ClassVar[dict[str, tuple[int, int]]] = {}
    """Bytes of each struct on (i386, 64-bit)."""

    def __init_subclass__(cls) -> None:
        """Refuse a fact of the era in the body of a class: the MM core would never ask for it."""
        for name in attrs.fields_dict(Era):
            if name in vars(cls):
                base = cls.__bases__[0].__name__
                raise SchemeError(
                    f"{cls.__name__}.{name} is a fact of the scheme's era: write "
                    f"`era = attrs.evolve({base}.era, {name}={vars(cls)[name]!r})`"
                )

    # What the design asks of the MM core; what differs by kernel alone is in `era`.

    walk_checks_pte: ClassVar[bool] = True
    """The walker tests that an entry maps the folio before it touches it (pfn check)."""
    virtual_scan: ClassVar[bool] = False
    """There is no rmap: swap_out() goes through page tables (until v2.5.26)."""
    scan_uses_i_mmap: ClassVar[bool] = False
    """The scan of page tables unmaps a page of a file in all its VMAs (v2.4.23aa2)."""
    fork_batch: ClassVar[int] = 1
    """How many entries fork copies before it lets go of page_table_lock: what is between makes no
    difference to one who is alone."""
    maps_files: ClassVar[bool] = False
    """The scheme has answers for pages of files, so that a scope may have some."""

    def joins_mmlist_first(self, st: "State") -> bool:
        """Tell whether fork puts the child on mmlist before it copies anything; dup_mmap()."""
        return True

    def swap_mm_moves_on(self, st: "State") -> bool:
        """Tell whether a dying process that is swap_mm hands that on; mmput(), v2.4.16."""
        return True

    def fork_copies(self, st: "State", pvma: int) -> bool:
        """Tell whether fork copies the entries of `pvma` or leaves them to faults.

        vma_needs_copy(), mm/memory.c: since d992895ba2b2 (v2.6.14) only where a fault could not
        fill them in again.
        """
        return True

    # VMAs.

    def anon_vma_prepare(self, st: "State", vma: int) -> int:
        """Make `vma` ready for its first anonymous page. Return 0 or -ENOMEM."""
        return 0

    def anon_vma_clone(self, st: "State", dst: int, src: int, operation: int) -> int:
        """Give `dst`, a copy of the struct `src`, its own place in the rmap.

        Called for VMA_OP_SPLIT and VMA_OP_REMAP (copy_vma); `dst` is in no list yet.
        Return 0 or -ENOMEM; then `dst` is thrown away.
        """
        return 0

    def anon_vma_fork(self, st: "State", vma: int, pvma: int) -> int:
        """Give the child's `vma`, a copy of the struct `pvma`, its place. Return 0 or -ENOMEM."""
        return 0

    def dup_anon_vma(self, st: "State", dst: int, src: int, adjusted: int) -> int:
        """Let `dst` take over pages of `src` in a merge. Return 0 or -ENOMEM.

        `adjusted` is the VMA that vma_adjust() of v2.6.7 … v6.1 was called for.
        """
        return 0

    def unlink_anon_vmas(self, st: "State", vma: int) -> None:
        """Forget `vma`, whose pages are all unmapped or now belong to another VMA."""

    def vma_prepare(self, st: "State", vma: int, adjust: int) -> None:
        """Range or pgoff of `vma` (and of `adjust`, if not 0) is about to change."""

    def vma_complete(self, st: "State", vma: int, adjust: int) -> None:
        """Range or pgoff of `vma` (and of `adjust`, if not 0) has changed."""

    def range_lock(self, st: "State", vma: int) -> int:
        """Return whose anon_vma lock must be held while the range of `vma` changes, or 0."""
        return 0

    def is_mergeable_anon_vma(
        self, st: "State", tgt: int, anon_vma: int, middle: int, copied_from: int
    ) -> bool:
        """Tell whether `tgt` may take over pages whose VMA has `anon_vma` (0: never faulted).

        `middle` is the VMA that the pages are in now (0 for a new range), `copied_from` the VMA
        that mremap copies (else 0).
        """
        return True

    def are_anon_vmas_compatible(self, st: "State", prev: int, next_: int) -> bool:
        """Tell whether `prev` and `next_`, both mergeable with what is between, may join."""
        return True

    def exit_mmap(self, st: "State", mm: int) -> None:
        """All VMAs of `mm` are gone."""

    # Address spaces.

    def exec_rmap(self, st: "State") -> int:
        """Set aside what a new image needs, at exec or for the first process.

        Return 0 or -ENOMEM. The old image is still there. mm_alloc(), kernel/fork.c.
        """
        return 0

    def exec_mmap(self, st: "State", mm: int) -> None:
        """`mm` starts anew, with that; its old image, if there was one, has been unmapped.

        exec_mmap(), fs/exec.c, which puts the old mm when the new one is there.
        """

    def dup_rmap(self, st: "State", mm: int, oldmm: int) -> int:
        """Fork makes `mm` of `oldmm`, and has copied no VMA yet. Return 0 or -ENOMEM."""
        return 0

    def exit_rmap(self, st: "State", mm: int) -> None:
        """The process has exited, after exit_mmap(); mmput(), kernel/fork.c."""

    # Pages.

    def pte_chain_alloc(self, st: "State") -> int:
        """Set aside what the next mapping of a page may need, before any spinlock is taken.

        Return 0 or -ENOMEM. pte_chain_alloc(), v2.5.55 … v2.6.6.
        """
        return 0

    def pte_chain_free(self, st: "State") -> None:
        """Give back what was set aside and not used; pte_chain_free(), v2.5.55 … v2.6.6."""

    def rmap_get_cpu(self, st: "State") -> int:
        """As pte_chain_alloc(), where a page may get a second address: swap-in and mremap."""
        return self.pte_chain_alloc(st)

    def rmap_put_cpu(self, st: "State") -> None:
        """Give back what rmap_get_cpu() set aside."""
        self.pte_chain_free(st)

    def folio_add_new_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        """A fresh page is mapped for the first time, by one entry."""

    def folio_add_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int, *, exclusive: bool
    ) -> None:
        """A page from the swap cache is mapped.

        `exclusive`: nobody else maps it or holds a swap entry of it.
        """

    def folio_dup_anon_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        """Fork maps the page a second time, in the child's `vma`, by entry `ptep`."""

    def dup_zero_page(self, st: "State") -> None:
        """Fork copies an entry of the zero page, which rmap does not keep."""

    def fork_batch_ends(self, st: "State") -> None:
        """Fork is about to let go of page_table_lock, after `fork_batch` entries at most."""

    def add_to_swap_cache(self, st: "State", folio: int) -> None:
        """The page has got a swap slot; add_to_swap_cache()."""

    def folio_add_file_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        """A fault (or remap_file_pages) maps a page of the page cache; folio lock, ptl."""

    def folio_dup_file_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        """Fork maps a page of a file in the child's `vma` as well, by entry `ptep`."""

    def page_convert_anon(self, st: "State", folio: int) -> int:
        """A file's page is about to be mapped off its linear place; folio lock.

        Return 0 or -ENOMEM. The function of this name, mm/rmap.c, 2003; see schemes/objrmap.py.
        """
        return 0

    def folio_remove_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        """An entry that mapped the page, anonymous or of a file, has been cleared."""

    def folio_move_anon_rmap(self, st: "State", folio: int, vma: int) -> None:
        """A write fault in `vma` reuses the page, which only this entry maps."""

    def move_rmap(
        self, st: "State", folio: int, vma: int, new_vma: int, old_ptep: int, new_ptep: int
    ) -> None:
        """Mremap has moved an entry of the page from `old_ptep` to `new_ptep`."""

    def mremap_must_copy(self, st: "State", folio: int, entry: int, *, writable: bool) -> bool:
        """Tell whether mremap must break COW before it can move a page-table entry.

        It holds page `folio`, mapped `writable`, or swap slot `entry` (the other is 0).
        """
        return False

    def mremap_moved_anon_rmap(self, st: "State", folio: int, address: int) -> bool:
        """Tell whether rmap cannot find a page, just swapped in, at `address`: it is copied."""
        return False

    def folio_found(self, st: "State", folio: int, ptep: int, count: int) -> None:
        """page_referenced() has found the page at `count` entries, first at `ptep`."""

    def page_over_rsslimit(self, st: "State", folio: int) -> bool:
        """Tell whether reclaim may take a page that is in use, by RLIMIT_RSS (rmap 15)."""
        return False

    def folio_free(self, st: "State", folio: int) -> None:
        """The page goes back to the page allocator."""

    def folio_mapped(self, st: "State", folio: int) -> bool:
        """Tell whether any entry maps the page, by the scheme's own books; folio_mapped()."""
        return st.folio[folio].mapcount > 0

    def walk_lock(self, st: "State", folio: int) -> int:
        """Return whose anon_vma lock must be held while the page's rmap is walked, or 0."""
        return 0

    def rmap_lock(self, st: "State", folio: int) -> int:
        """Take the lock under which the page's rmap may be walked; return what to unlock."""
        return 0

    def rmap_unlock(self, st: "State", lock: int) -> None:
        """Drop what `rmap_lock` took."""

    def rmap_walk(self, st: "State", folio: int, rwc: "RmapWalkControl") -> None:
        """Call `visit` for each page-table entry at which the page may be mapped, in order."""

    def walker_checks_pte(self, st: "State", folio: int) -> bool:
        """Tell whether the walker of this page tests an entry before it touches it."""
        return self.walk_checks_pte

    # Pages of files: `rmap_walk`, `rmap_lock` and `walk_lock` are asked about anonymous ones only.

    def rmap_lock_file(self, st: "State", folio: int) -> int:
        """Take the lock under which a file page's rmap may be walked; return what to unlock."""
        mapping = st.folio[folio].address_space
        if mapping:
            acquire(st, I_MMAP_LOCK, mapping, write=False)
        return mapping

    def rmap_unlock_file(self, st: "State", folio: int, lock: int) -> None:
        """Drop what `rmap_lock_file` took."""
        if lock:
            release(st, I_MMAP_LOCK, lock)

    def rmap_walk_file(self, st: "State", folio: int, rwc: "RmapWalkControl") -> None:
        """Visit the page's place in each VMA of its file; rmap_walk_file(), mm/rmap.c.

        page_referenced_file(), try_to_unmap_file() since v2.6.7.
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

        It took clusters of 32 pages in turn, and unmapped what else it met there.
        """
        for address in range(st.vma[vma].vm_start, st.vma[vma].vm_end):
            self.visit(st, rwc, st.vma[vma].vm_mm, address)

    @staticmethod
    def visit(st: "State", rwc: "RmapWalkControl", mm: int, address: int) -> None:
        """Visit page `address` of `mm`."""
        rwc.visited.append(pte_offset(st, mm, address))
