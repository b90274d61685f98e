"""anonmm: a page has one process and the address at which it was mapped (2003 … 2004).

Pages of files needed no chain: page->mapping and page->index lead to the VMAs. Anonymous pages had
neither, until Hugh Dickins noticed that fork does not change addresses. A page that is shared by
fork is at the same address in all processes that share it. So one address is enough, if the kernel
can find all processes that may share the page: those that descend from one exec. Each mm_struct
gets a small companion, anonmm, which may outlive it. All anonmms of a family are in the list of
the oldest, the head::

    page: mapping ──> anonmm of the parent      index: user virtual address
                        │  count 5: the mm, itself as head, one child, two pages
                        │  mm ──> mm_struct, or NULL once it has exited
                        └─ list ──> anonmm of the child (head ──> parent's) ──┐
                             ↑────────────────────────────────────────────────┘

    exec  starts a family          fork  adds one anonmm, for any number of VMAs and pages
    exit  sets anonmm->mm to NULL; an anonmm is freed with its last page, the head last of all

The walker visits the process in page->mapping, then all others of the family, at this one address.
VMAs are not used, so merging does not depend on rmap. The weak point is mremap, which does change
addresses. While only one process maps a page, its index is simply changed. The three versions
differ in what they do with a shared page. The first chained further addresses to the page
(anonmm_chains.py). The second followed Linus Torvalds: it copies the page early, and first brings
a shared page back from swap to copy it too. The third leaves swap entries alone, and copies at
swap-in if the address differs from the page's index. Each of them was replaced before any release.
anon_vma won: it moves shared pages at no cost, although some VMAs then cannot merge.

Found by this model: the third version maps the page first and then copies it. Without memory for
the copy, the page stays mapped where no walk looks, unless the fault that failed ends the process
(E33). A fault in get_user_pages() does not.

Left out: nonlinear VMAs; page_map_lock; trylocks; that a walk holds the head's lock (here it is
released first, since one operation runs at a time); that rss was raised before
page_add_anon_rmap() because of a race with dup_mmap(). VMAs merge by linear pgoff, and files are
listed as before rmap 20, although the third version existed for some hours longer. Left out too:
rmap 11 lost data if mremap found no memory for a copy (head of model/mm/mremap.py). And two
processes in one fault: do_swap_page() has just mapped a moved page, its last other mapper exits,
so do_wp_page() finds it exclusive and does not correct its index.

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
    """One for the mm, one for each page. In a head also one for itself and for each other
    member."""
    mm: int = ref("mm")
    """NULL after the process has exited; lock of the head"""
    head: int = ref("anonmm")
    list: int = ref("anonmm")
    """Next anonmm of the family, in a ring; lock of the head"""


class AnonmmFamily(Scheme):
    """What all three versions have in common."""

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
        """Return whether exit_rmap() reads the head's count before it releases the lock."""
        return True

    def new_context(self, st: "State", mm: int) -> int:
        """Set up what the architecture needs; init_new_context(). Return 0 or -ENOMEM.

        In the kernel it can fail if there is an LDT to copy; the model has none.
        """
        return 0

    # Functions for creating and destroying struct anonmm, mm/rmap.c.

    def exec_rmap(self, st: "State") -> int:
        """Allocate the new mm's anonmm, while the old mm still has its own; exec_rmap()."""
        st.spare = kmem_cache_alloc(st, st.anonmm)
        return 0 if st.spare else -ENOMEM

    def exec_mmap(self, st: "State", mm: int) -> None:
        """Start a family of one, and drop the old mm's anonmm as at exit; mmput().

        exec_rmap() initialized the new anonmm. Here that is done now, since both mms have one
        number.
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
        """Insert the child into its parent's family, at the tail of the list; dup_rmap()."""
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
        """Insert `anonmm` in front of `head`, which is the end of the list."""
        assert_held_write(st, ANONMM_LOCK, head, "an anonmm joins the list")
        last = head
        while st.anonmm[last].list != head:
            last = st.anonmm[last].list
        st.anonmm[last].list = anonmm
        st.anonmm[anonmm].list = head

    def list_del(self, st: "State", anonmm: int) -> None:
        """Remove `anonmm` from the ring."""
        assert_held_write(st, ANONMM_LOCK, st.anonmm[anonmm].head, "an anonmm leaves the list")
        before = anonmm
        while st.anonmm[before].list != anonmm:
            before = st.anonmm[before].list
        st.anonmm[before].list = st.anonmm[anonmm].list

    def exit_rmap(self, st: "State", mm: int) -> None:
        """Detach the process; its anonmm stays while a page has a pointer to it; exit_rmap()."""
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
        """Return the head's count; a caller that gets 1 frees the head, so this needs the lock."""
        assert_held_write(st, ANONMM_LOCK, head, "whether the head is the last is asked")
        count: int = st.anonmm[head].count
        return count

    def free_anonmm(self, st: "State", anonmm: int) -> None:
        """Free the anonmm of an exited process that has no page left; free_anonmm()."""
        head = st.anonmm[anonmm].head
        acquire(st, ANONMM_LOCK, head)
        self.list_del(st, anonmm)
        st.anonmm[head].count -= 1
        release(st, ANONMM_LOCK, head)
        kmem_cache_free(st, st.anonmm, anonmm)

    # Pages.

    def set_page_anon(self, st: "State", folio: int, mm: int) -> None:
        """Set the page's pointer to the anonmm of `mm`, and count the page there."""
        anonmm = st.mm[mm].anonmm
        st.folio[folio].mapping = anonmm
        st.anonmm[anonmm].count += 1

    def clear_page_anon(self, st: "State", folio: int) -> None:
        """Clear the page's pointer to its anonmm; clear_page_anon()."""
        anonmm = st.folio[folio].mapping
        st.folio[folio].mapping = 0
        st.anonmm[anonmm].count -= 1
        if st.anonmm[anonmm].count == 0:
            self.free_anonmm(st, anonmm)

    def turn_page(self, st: "State", folio: int, mm: int) -> None:
        """Point a page that only `mm` maps to it; page_turn_rmap(), page_update_anon_rmap()."""
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
        """Count the entry; the first mapping sets process and address; page_add_anon_rmap()."""
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
        """Count the entry: the address is the same; page_dup_rmap(), include/linux/rmap.h."""
        self.folio_add_file_rmap(st, folio, vma, address, ptep)

    def folio_add_file_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        """Count the entry of a file's page; page_add_obj_rmap(), page_add_file_rmap()."""
        st.mm[st.vma[vma].vm_mm].rss += 1
        st.folio[folio].mapcount += 1

    def folio_dup_file_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        self.folio_add_file_rmap(st, folio, vma, address, ptep)

    def folio_remove_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        """Uncount the entry, and clear an unmapped page's pointer; page_remove_rmap()."""
        st.mm[ptep_to_mm(st, ptep)].rss -= 1
        f = st.folio[folio]
        f.mapcount -= 1
        if f.mapcount == 0 and folio_test_anon(st, folio):
            self.clear_page_anon(st, folio)

    # The walk.

    def rmap_walk(self, st: "State", folio: int, rwc: "RmapWalkControl") -> None:
        """Visit the page's own process, then the rest of its family; try_to_unmap_anon().

        The whole ring is visited, also what is before that process in the list: after swap, a page
        may have been mapped by a younger process first.
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
        """Visit the page's addresses in one process, unless it has exited or maps nothing."""
        rwc.nodes += 1
        mm = st.anonmm[anonmm].mm
        if mm and st.mm[mm].rss:
            self.visit_addresses(st, folio, mm, rwc)

    def visit_addresses(self, st: "State", folio: int, mm: int, rwc: "RmapWalkControl") -> None:
        """Visit the page's address in process `mm`."""
        self.visit(st, rwc, mm, st.folio[folio].index)


class AnonmmSwapIn(AnonmmFamily):
    """Second version, 2004-03-22: mremap copies shared pages, in memory and in swap.

    As posted, it read the head's count after the lock was released, like the first version (E31).
    Here it is read before, as in the third.
    """

    name = "anonmm-2004-03"
    title = "anonmm; mremap copies, from swap too"
    era = attrs.evolve(AnonmmFamily.era, kernels="patches for 2.6.5-rc1, not merged")
    goals = ("an anonmm outlives its process", "mremap copies a shared page")

    def mremap_must_copy(self, st: "State", folio: int, entry: int, *, writable: bool) -> bool:
        """Return whether several entries map the page or its slot; rmap_needs_broken_cow()."""
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
        """Set the page's new address and process; page_update_anon_rmap(), mm/rmap.c."""
        if folio_test_anon(st, folio):
            st.folio[folio].index = ptep_to_address(st, new_ptep)
            self.turn_page(st, folio, ptep_to_mm(st, new_ptep))

    def folio_move_anon_rmap(self, st: "State", folio: int, vma: int) -> None:
        """Point the page to its only process, so that walks find it sooner; do_wp_page()."""
        self.turn_page(st, folio, st.vma[vma].vm_mm)


class AnonmmCopies(AnonmmFamily):
    """Third version, rmap 10 and 11, in the tree for some hours of 2004-05-22.

    It has a bug when a swap-in that should copy finds no memory (E33). If a page's process has
    exited, page_referenced() points the page to a process that maps it.
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
        """Return whether several entries map the page (0c35710493).

        can_move_one_pte(), mm/mremap.c; mremap_move_anon_rmap(), mm/rmap.c.
        """
        return folio != 0 and folio_test_anon(st, folio) and st.folio[folio].mapcount > 1

    def mremap_moved_anon_rmap(self, st: "State", folio: int, address: int) -> bool:
        """Return whether do_swap_page() must copy the page; same name, include/linux/rmap.h."""
        moved = st.folio[folio].index != address
        if moved:
            passed(st, "swap-in copies a moved page")
        return moved

    def move_rmap(
        self, st: "State", folio: int, vma: int, new_vma: int, old_ptep: int, new_ptep: int
    ) -> None:
        """Set the new address of a page that is not shared; mremap_move_anon_rmap(), mm/rmap.c."""
        if folio_test_anon(st, folio):
            st.folio[folio].index = ptep_to_address(st, new_ptep)

    def folio_found(self, st: "State", folio: int, ptep: int, count: int) -> None:
        """Point the page to a process that has not exited; page_referenced_anon(), label migrate.

        Nothing changes if the walk missed an entry; then the kernel warns (WARN_ON(!failed)).
        """
        if not folio_test_anon(st, folio) or count < st.folio[folio].mapcount:
            return
        if st.anonmm[st.folio[folio].mapping].mm == 0:
            self.turn_page(st, folio, ptep_to_mm(st, ptep))
            passed(st, "a page leaves an extinct process")
