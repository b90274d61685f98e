"""anonmm: a page knows one process and the address at which it was mapped (2003 … 2004).

For pages of files no chain was needed: page->mapping and page->index lead to the VMAs. Anonymous
pages had neither, until Hugh Dickins saw that fork does not change addresses. A page that is
shared by fork is at the same address in all processes that share it, so one address is enough, if
only one knows all processes that can share it: those that descend from one exec. Each mm_struct
gets a small companion, anonmm, that may outlive it, and all of a family hang on the oldest, head::

    page: mapping ──> anonmm of the parent      index: user virtual address
                        │  count 5: the mm, itself as head, one child, two pages
                        │  mm ──> mm_struct, or NULL once it has exited
                        └─ list ──> anonmm of the child (head ──> parent's) ──┐
                             ↑────────────────────────────────────────────────┘

    exec  starts a family          fork  adds one anonmm, whatever the number of VMAs and pages
    exit  sets anonmm->mm to NULL; anonmm goes when its last page does, head goes last of all

The walker asks the process that the page names, then all the others of the family, at this one
address. No VMA comes into it, so that merging is free of rmap. The weak point is mremap, which
does change addresses. As long as nobody shares the page, its index is changed. What of a page that
is shared? The first version chained further addresses to the page (anonmm_chains.py). The second
followed Linus Torvalds: copy it early, and bring what is shared in swap back in, to copy it too.
The third left swap entries alone and made the copy at swap-in, when the address turned out to be
another than the one the page has. Each of the three was replaced before any release: anon_vma won,
since it moves shared pages at no cost, for the price of VMAs that cannot merge.

Found by this model: the third version maps the page first and copies it then. When there is no
memory for the copy, the page stays mapped where no walk looks, unless the fault that failed ends
the process (E33). That of get_user_pages() does not.

Left out: nonlinear VMAs; page_map_lock's word in each walk; the trylocks, and that the walk holds
the head's lock (it lets go of it first, since one operation runs at a time); that rss was raised
before page_add_anon_rmap() because of a race with dup_mmap(). VMAs are merged by linear pgoff, and
files listed as they were before rmap 20, though the third version went on for some hours more.
Also that rmap 11 lost data where mremap found no memory for a copy: head of model/mm/mremap.py.
And two processes inside one fault: do_wp_page() may find a moved page, which do_swap_page() has
just mapped, exclusive, since its last other mapper has gone, and leave its index as it was.

Sources: the patches anobjrmap 1–6 (2003-03-20), 1–7 of "6" (2004-03-18, 03-22) and rmap 10 and 11
(2004-04-15; 06e0ee4abf and 0c35710493 of 2004-05-22 in the mirror dmgerman/history-token), and
mm/rmap.c as it was between rmap 37 and 38: all verified. init_new_context() is recalled.
"""

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from rmapcheck.model.branches import passed
from rmapcheck.model.era import Era
from rmapcheck.model.i_mmap.list import IMmap, IMmapLists
from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.heap import kmem_cache_alloc, kmem_cache_free, num, ref
from rmapcheck.model.machine.locks import ANONMM_LOCK, PTL, acquire, assert_held_write, release
from rmapcheck.model.machine.scope import LARGEST_FIELD
from rmapcheck.model.machine.state import folio_test_anon, ptep_to_address, ptep_to_mm
from rmapcheck.model.scheme import Scheme

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State
    from rmapcheck.model.machine.structs import RmapWalkControl


@attrs.define(slots=True, eq=False)
class Anonmm:
    """struct anonmm, mm/rmap.c, rmap 10 (06e0ee4abf)."""

    count: int = num(LARGEST_FIELD)
    """One for the mm, one for each page; of a head, one for itself and each other member."""
    mm: int = ref("mm")
    """NULL when the process has gone; lock of the head"""
    head: int = ref("anonmm")
    list: int = ref("anonmm")
    """Next of the family, in a circle; lock of the head"""


class AnonmmFamily(Scheme):
    """What all three versions share."""

    structs: ClassVar[tuple[type, ...]] = (Anonmm,)
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "mm": ("anonmm", "rss"),
        "folio": ("mapcount", "index"),
    }
    extra_fields: ClassVar[dict[str, dict[str, Any]]] = {"folio": {"mapping": ref("anonmm")}}
    invariants: ClassVar[tuple[str, ...]] = (
        "mapcount",
        "address_known",
        "once_in_a_process",
        "anonmm_counts",
        "anonmm_family",
        "anonmm_lifetime",
    )
    goals: ClassVar[tuple[str, ...]] = ("an anonmm outlives its process",)
    sizes: ClassVar[dict[str, tuple[int, int]]] = {"anonmm": (24, 40)}
    maps_files = True
    era = Era(lacks=("exec_shift", "dontfork", "wipeonfork", "dontunmap", "punch_hole"))
    i_mmap: ClassVar[IMmap] = IMmapLists()

    # Decisions.

    def samples_under_lock(self) -> bool:
        """Tell whether exit_rmap() reads the head's count before it drops the lock."""
        return True

    def new_context(self, st: "State", mm: int) -> int:
        """Set up what the architecture needs; init_new_context(). Return 0 or -ENOMEM.

        It can fail where it has an LDT to copy, which the model has not.
        """
        return 0

    # Functions for creating and destroying struct anonmm, mm/rmap.c.

    def exec_rmap(self, st: "State") -> int:
        """Allocate the new mm's anonmm, while the old mm still has its own; exec_rmap()."""
        st.spare = kmem_cache_alloc(st, st.anonmm)
        return 0 if st.spare else -ENOMEM

    def exec_mmap(self, st: "State", mm: int) -> None:
        """A family of one. The old mm's anonmm is left, as by any exit; mmput().

        exec_rmap() filled the new one in; here that waits, since both mm have one number.
        """
        if st.mm[mm].anonmm:
            self.exit_rmap(st, mm)
        anonmm = st.spare
        st.spare = 0
        a = st.anonmm[anonmm]
        a.count = 2
        a.mm = mm
        a.head = anonmm
        a.list = anonmm
        st.mm[mm].anonmm = anonmm

    def dup_rmap(self, st: "State", mm: int, oldmm: int) -> int:
        """The child joins its parent's family, at the tail of the list; dup_rmap()."""
        anonmm = kmem_cache_alloc(st, st.anonmm)
        if anonmm == 0:
            return -ENOMEM
        head = st.anonmm[st.mm[oldmm].anonmm].head
        a = st.anonmm[anonmm]
        a.count = 1
        a.mm = mm
        a.head = head
        acquire(st, ANONMM_LOCK, head)
        st.anonmm[head].count += 1
        self.list_add_tail(st, anonmm, head)
        release(st, ANONMM_LOCK, head)
        st.mm[mm].anonmm = anonmm
        return self.new_context(st, mm)

    def list_add_tail(self, st: "State", anonmm: int, head: int) -> None:
        """Put `anonmm` in front of `head`, that is at the end."""
        assert_held_write(st, ANONMM_LOCK, head, "an anonmm joins the list")
        last = head
        while st.anonmm[last].list != head:
            last = st.anonmm[last].list
        st.anonmm[last].list = anonmm
        st.anonmm[anonmm].list = head

    def list_del(self, st: "State", anonmm: int) -> None:
        """Take `anonmm` out of the circle."""
        assert_held_write(st, ANONMM_LOCK, st.anonmm[anonmm].head, "an anonmm leaves the list")
        before = anonmm
        while st.anonmm[before].list != anonmm:
            before = st.anonmm[before].list
        st.anonmm[before].list = st.anonmm[anonmm].list

    def exit_rmap(self, st: "State", mm: int) -> None:
        """The process is gone; its anonmm stays while a page names it; exit_rmap()."""
        anonmm = st.mm[mm].anonmm
        head = st.anonmm[anonmm].head
        st.mm[mm].anonmm = 0
        acquire(st, ANONMM_LOCK, head)
        st.anonmm[anonmm].mm = 0
        st.anonmm[anonmm].count -= 1
        if st.anonmm[anonmm].count == 0:
            self.list_del(st, anonmm)
            kmem_cache_free(st, st.anonmm, anonmm)
            st.anonmm[head].count -= 1
        count = self.head_count(st, head) if self.samples_under_lock() else 0
        release(st, ANONMM_LOCK, head)
        if not self.samples_under_lock():
            count = self.head_count(st, head)
        if count == 1:
            kmem_cache_free(st, st.anonmm, head)

    def head_count(self, st: "State", head: int) -> int:
        """Return the head's count; who finds 1 frees it, so that nobody else may come between."""
        assert_held_write(st, ANONMM_LOCK, head, "whether the head is the last is asked")
        count: int = st.anonmm[head].count
        return count

    def free_anonmm(self, st: "State", anonmm: int) -> None:
        """The last page of a process that has gone is gone too; free_anonmm()."""
        head = st.anonmm[anonmm].head
        acquire(st, ANONMM_LOCK, head)
        self.list_del(st, anonmm)
        st.anonmm[head].count -= 1
        release(st, ANONMM_LOCK, head)
        kmem_cache_free(st, st.anonmm, anonmm)

    # Pages.

    def set_page_anon(self, st: "State", folio: int, mm: int) -> None:
        """The page names the anonmm of `mm`, and counts there."""
        anonmm = st.mm[mm].anonmm
        st.folio[folio].mapping = anonmm
        st.anonmm[anonmm].count += 1

    def clear_page_anon(self, st: "State", folio: int) -> None:
        """The page names nothing any more; clear_page_anon()."""
        anonmm = st.folio[folio].mapping
        st.folio[folio].mapping = 0
        st.anonmm[anonmm].count -= 1
        if st.anonmm[anonmm].count == 0:
            self.free_anonmm(st, anonmm)

    def turn_page(self, st: "State", folio: int, mm: int) -> None:
        """A page that only `mm` maps names it; page_turn_rmap(), page_update_anon_rmap()."""
        if st.folio[folio].mapping != st.mm[mm].anonmm:
            self.clear_page_anon(st, folio)
            self.set_page_anon(st, folio, mm)

    def folio_add_new_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        self.page_add_anon_rmap(st, folio, st.vma[vma].vm_mm, address)

    def folio_add_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int, *, exclusive: bool
    ) -> None:
        self.page_add_anon_rmap(st, folio, st.vma[vma].vm_mm, address)

    def page_add_anon_rmap(self, st: "State", folio: int, mm: int, address: int) -> None:
        """The first mapping says where the page is, a later one nothing; page_add_anon_rmap()."""
        assert_held_write(st, PTL, mm, "a mapping is added")
        st.mm[mm].rss += 1
        f = st.folio[folio]
        if f.mapcount == 0:
            f.index = address
            self.set_page_anon(st, folio, mm)
        f.mapcount += 1

    def folio_dup_anon_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        """page_dup_rmap(), include/linux/rmap.h: a count, since the address is the same."""
        self.folio_add_file_rmap(st, folio, vma, address, ptep)

    def folio_add_file_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        """page_add_obj_rmap(), page_add_file_rmap(): a page of a file is only counted."""
        st.mm[st.vma[vma].vm_mm].rss += 1
        st.folio[folio].mapcount += 1

    def folio_dup_file_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        self.folio_add_file_rmap(st, folio, vma, address, ptep)

    def folio_remove_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        """page_remove_rmap()."""
        st.mm[ptep_to_mm(st, ptep)].rss -= 1
        f = st.folio[folio]
        f.mapcount -= 1
        if f.mapcount == 0 and folio_test_anon(st, folio):
            self.clear_page_anon(st, folio)

    # The walk.

    def rmap_walk(self, st: "State", folio: int, rwc: "RmapWalkControl") -> None:
        """The process that the page names, then the rest of its family; try_to_unmap_anon().

        All of it, also what stands before that process in the list: once swapped, a page may have
        come back to a younger process first.
        """
        if not self.folio_mapped(st, folio):
            return
        first = st.folio[folio].mapping
        self.visit_anonmm(st, folio, first, rwc)
        anonmm = st.anonmm[first].list
        while anonmm != first and rwc.nodes < rwc.limit:
            self.visit_anonmm(st, folio, anonmm, rwc)
            anonmm = st.anonmm[anonmm].list

    def visit_anonmm(self, st: "State", folio: int, anonmm: int, rwc: "RmapWalkControl") -> None:
        """Look for the page in one process, unless it is gone or maps nothing."""
        rwc.nodes += 1
        mm = st.anonmm[anonmm].mm
        if mm and st.mm[mm].rss:
            self.visit_addresses(st, folio, mm, rwc)

    def visit_addresses(self, st: "State", folio: int, mm: int, rwc: "RmapWalkControl") -> None:
        """Look where the page says that it is."""
        self.visit(st, rwc, mm, st.folio[folio].index)


class AnonmmSwapIn(AnonmmFamily):
    """Second version, 2004-03-22: mremap copies what is shared, be it in memory or in swap.

    Like the first, as posted it read the head's count after the lock was dropped (E31); here it
    is read before, as in the third.
    """

    name = "anonmm-2004-03"
    title = "anonmm; mremap copies, from swap too"
    era = attrs.evolve(AnonmmFamily.era, kernels="patches for 2.6.5-rc1, not merged")
    goals = ("an anonmm outlives its process", "mremap copies a shared page")

    def mremap_must_copy(self, st: "State", folio: int, entry: int, *, writable: bool) -> bool:
        """Count all who have it, mapped or swapped; rmap_needs_broken_cow(), mm/mremap.c."""
        if folio:
            if writable or not folio_test_anon(st, folio):
                return False
            entry = st.folio[folio].swap
            return st.folio[folio].mapcount + (st.swap[entry].count if entry else 0) > 1
        if entry:
            cached = st.swap[entry].folio
            mapped = st.folio[cached].mapcount if cached else 0
            return st.swap[entry].count + mapped > 1
        return False

    def move_rmap(
        self, st: "State", folio: int, vma: int, new_vma: int, old_ptep: int, new_ptep: int
    ) -> None:
        """page_update_anon_rmap(), mm/rmap.c."""
        if folio_test_anon(st, folio):
            st.folio[folio].index = ptep_to_address(st, new_ptep)
            self.turn_page(st, folio, ptep_to_mm(st, new_ptep))

    def folio_move_anon_rmap(self, st: "State", folio: int, vma: int) -> None:
        """do_wp_page(), mm/memory.c: who owns the page alone is found sooner."""
        self.turn_page(st, folio, st.vma[vma].vm_mm)


class AnonmmCopies(AnonmmFamily):
    """Third version, rmap 10 and 11, in the tree for some hours of 2004-05-22.

    It is wrong where a swap-in that should copy finds no memory (E33). A page that names a
    process which has gone goes on to one that has not, when page_referenced() finds it.
    """

    name = "anonmm-2.6.7-rc1"
    title = "anonmm; swap-in copies what was moved"
    era = attrs.evolve(
        AnonmmFamily.era,
        kernels="v2.6.6 … v2.6.7-rc1, between rmap 10 and rmap 38",
        flaws=("E33",),
    )
    goals = (
        "an anonmm outlives its process",
        "mremap copies a shared page",
        "a page leaves an extinct process",
        "swap-in copies a moved page",
    )

    def mremap_must_copy(self, st: "State", folio: int, entry: int, *, writable: bool) -> bool:
        """can_move_one_pte(), mm/mremap.c, mremap_move_anon_rmap(), mm/rmap.c (0c35710493)."""
        return folio != 0 and folio_test_anon(st, folio) and st.folio[folio].mapcount > 1

    def mremap_moved_anon_rmap(self, st: "State", folio: int, address: int) -> bool:
        """mremap_moved_anon_rmap(), include/linux/rmap.h: do_swap_page() must copy the page."""
        moved = st.folio[folio].index != address
        if moved:
            passed(st, "swap-in copies a moved page")
        return moved

    def move_rmap(
        self, st: "State", folio: int, vma: int, new_vma: int, old_ptep: int, new_ptep: int
    ) -> None:
        """mremap_move_anon_rmap(), mm/rmap.c: the page is not shared."""
        if folio_test_anon(st, folio):
            st.folio[folio].index = ptep_to_address(st, new_ptep)

    def folio_found(self, st: "State", folio: int, ptep: int, count: int) -> None:
        """Let extinct processes drain; page_referenced_anon(), mm/rmap.c, label migrate.

        A page of which the walk has missed an entry stays; the kernel warns (WARN_ON(!failed)).
        """
        if not folio_test_anon(st, folio) or count < st.folio[folio].mapcount:
            return
        if st.anonmm[st.folio[folio].mapping].mm == 0:
            self.turn_page(st, folio, ptep_to_mm(st, ptep))
            passed(st, "a page leaves an extinct process")
