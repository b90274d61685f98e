"""anon_vma: all VMAs that may hold a page, in one list (v2.6.7 … v2.6.33).

A pte_chain costs memory and a lock for each mapping of each page. With files mapped into hundreds
of processes, the chains alone filled low memory. For files there was another way: a page has its
inode and offset, and the inode has its VMAs. Andrea Arcangeli gave anonymous memory the same
structure. The first write fault of a VMA creates an anon_vma, each fork adds the child's VMA to
its list, and a page has a pointer to the anon_vma and its linear offset::

    page: mapping ──> anon_vma A          index 5
                        │ head
                        └──> VMA of the parent ──> VMA of its child ──> a part split off …
                             pgoff 4, 4 pages      pgoff 4, 4 pages     pgoff 6, 2 pages
                             page at start + 1     page at start + 1    index 5: not here

    vma->anon_vma           A, or NULL before the first write
    vma->anon_vma_node      place in A's list

A mapping costs one count, and fork one list entry for each VMA. mremap needs no hook, because a
moved VMA keeps its vm_pgoff. Three things must hold. A VMA that maps an anonymous page, or has a
swap entry of one, has an anon_vma. It is the page's anon_vma. And VMAs with different anon_vmas
never merge. The walker checks each entry before it touches it, so a VMA too many in the list does
no harm. The price: the walk for a page that only one child maps visits all relatives of the child.
anon_vma_chain fixed that in 2010.

All these kernels, and those until v2.6.39, have a hole (E04). When mremap moves a faulted VMA
beside a VMA that was never faulted, vma_merge() lets the never-faulted VMA grow over the new
place. vma_adjust() passes an anon_vma on only if one VMA gives pages to another. Here a VMA grows
over free pages, and stays without an anon_vma. Then no walk finds its new pages, and their
anon_vma may be freed. The bug needs three pages: the old place, the neighbour, and one page
between.

Left out: the checks of page_add_anon_rmap() that stop the kernel with BUG; page_map_lock and
trylocks (until v2.6.8); v2.6.8 nested the lock of an adopted anon_vma inside page_table_lock (here
outside, as since v2.6.9); RCU; v2.6.24 … v2.6.31 had no zero page. The kernels since v2.6.14 are
in anon_vma_eras.py.

Sources: mm/rmap.c, mm/mmap.c, mm/mremap.c, mm/memory.c of v2.6.7, v2.6.8, v2.6.9, v2.6.13,
v2.6.16, v2.6.20, v2.6.28, v2.6.32, read for each era. Hashes before v2.6.12 are those of the
mirror dmgerman/history-token.
"""

from typing import TYPE_CHECKING, ClassVar

import attrs

from rmapcheck.model.branches import passed
from rmapcheck.model.era import Era
from rmapcheck.model.i_mmap.list import IMmap
from rmapcheck.model.i_mmap.prio_tree import IMmapPrioTreeAsReleased
from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.heap import kmem_cache_alloc, kmem_cache_free, ref
from rmapcheck.model.machine.locks import ANON_VMA_LOCK, PTL, acquire, assert_held_write, release
from rmapcheck.model.machine.state import anon_vma_compatible, linear_page_index, vma_address
from rmapcheck.model.scheme import Scheme

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State
    from rmapcheck.model.machine.structs import RmapWalkControl


@attrs.define(slots=True, eq=False)
class AnonVma:
    """struct anon_vma, include/linux/rmap.h, v2.6.7."""

    head: int = ref("vma")
    """First VMA of the list through vma->anon_vma_node; anon_vma->lock"""


class AnonVma267(Scheme):
    """v2.6.7: mprotect does not pass an anon_vma on (E02), and a VMA adopts one unlocked (E05)."""

    name = "anon_vma-2.6.7"
    title = "anon_vma as first released"
    era = Era(
        kernels="v2.6.7",
        flaws=("E02", "E04", "E05"),
        lacks=("exec_shift", "dontfork", "wipeonfork", "dontunmap", "punch_hole"),
    )
    i_mmap: ClassVar[IMmap] = IMmapPrioTreeAsReleased()
    structs = (AnonVma,)
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "vma": ("anon_vma", "anon_vma_node"),
        "folio": ("mapcount", "mapping", "index"),
    }
    invariants: ClassVar[tuple[str, ...]] = (
        "mapcount",
        "anon_vma_list",
        "anon_vma_lifetime",
        "faulted_has_anon_vma",
        "swap_relatives_agree",
        "merge_same_anon_vma",
        "coverage",
        "mapping_alive",
    )
    goals: ClassVar[tuple[str, ...]] = (
        "neighbour's anon_vma adopted",
        "a merge hands its anon_vma on",
    )
    maps_files = True
    sizes: ClassVar[dict[str, tuple[int, int]]] = {"anon_vma": (12, 24)}

    # Decisions of this era.

    def locks_adopted(self) -> bool:
        """Return whether anon_vma_prepare() locks an anon_vma that it takes from a neighbour."""
        return False

    def locks_fresh(self) -> bool:
        """Return whether anon_vma_prepare() locks an anon_vma that it has just allocated."""
        return False

    def importer(self, dst: int) -> int:
        """Return the VMA that gets an anon_vma when it takes over a part of another VMA, or 0."""
        return 0

    def clears_mapping(self) -> bool:
        """Return whether the last unmapping clears page->mapping; clear_page_anon(), v2.6.7."""
        return True

    def list_add(self, st: "State", anon_vma: int, vma: int) -> None:
        """Insert `vma` at the head of the list."""
        st.vma[vma].anon_vma_node = st.anon_vma[anon_vma].head
        st.anon_vma[anon_vma].head = vma

    # mm/rmap.c

    def list_del(self, st: "State", anon_vma: int, vma: int) -> None:
        """Remove `vma` from the list."""
        following = st.vma[vma].anon_vma_node
        at = st.anon_vma[anon_vma].head
        if at == vma:
            st.anon_vma[anon_vma].head = following
        else:
            while st.vma[at].anon_vma_node != vma:
                at = st.vma[at].anon_vma_node
            st.vma[at].anon_vma_node = following
        st.vma[vma].anon_vma_node = 0

    def anon_vma_link(self, st: "State", vma: int) -> None:
        """Insert a copied VMA into the list of the anon_vma that was copied with it."""
        anon_vma = st.vma[vma].anon_vma
        if anon_vma:
            acquire(st, ANON_VMA_LOCK, anon_vma)
            self.list_add(st, anon_vma, vma)
            release(st, ANON_VMA_LOCK, anon_vma)

    def find_mergeable_anon_vma(self, st: "State", vma: int) -> int:
        """Return a neighbour's anon_vma that `vma` may adopt, or 0; mm/mmap.c.

        It may, if mprotect could make the two VMAs one. The next VMA is checked first.
        """
        near = st.vma[vma].vm_next
        if near and st.vma[near].anon_vma and anon_vma_compatible(st, vma, near):
            return st.vma[near].anon_vma
        near = st.mm[st.vma[vma].vm_mm].mmap
        while near and st.vma[near].vm_next != vma:
            near = st.vma[near].vm_next
        if near and st.vma[near].anon_vma and anon_vma_compatible(st, near, vma):
            return st.vma[near].anon_vma
        return 0

    def anon_vma_prepare(self, st: "State", vma: int) -> int:
        """Give `vma` its anon_vma, a neighbour's if possible; anon_vma_prepare().

        Return 0 or -ENOMEM.
        """
        if st.vma[vma].anon_vma:
            return 0
        anon_vma = self.find_mergeable_anon_vma(st, vma)
        if anon_vma:
            passed(st, "neighbour's anon_vma adopted")
            self.adopt(st, vma, anon_vma)
            return 0
        anon_vma = kmem_cache_alloc(st, st.anon_vma)
        if anon_vma == 0:
            return -ENOMEM
        locked = self.locks_fresh()
        if locked:
            acquire(st, ANON_VMA_LOCK, anon_vma)
        self.assign(st, vma, anon_vma)
        if locked:
            release(st, ANON_VMA_LOCK, anon_vma)
        return 0

    def adopt(self, st: "State", vma: int, anon_vma: int) -> None:
        """Insert `vma` into the list of an anon_vma that other processes may use."""
        locked = self.locks_adopted()
        if locked:
            acquire(st, ANON_VMA_LOCK, anon_vma)
        assert_held_write(st, ANON_VMA_LOCK, anon_vma, "a VMA joins the list")
        self.assign(st, vma, anon_vma)
        if locked:
            release(st, ANON_VMA_LOCK, anon_vma)

    def assign(self, st: "State", vma: int, anon_vma: int) -> None:
        """Set vma->anon_vma and insert `vma` into the list, under page_table_lock."""
        acquire(st, PTL, st.vma[vma].vm_mm)
        st.vma[vma].anon_vma = anon_vma
        self.list_add(st, anon_vma, vma)
        release(st, PTL, st.vma[vma].vm_mm)

    def anon_vma_clone(self, st: "State", dst: int, src: int, operation: int) -> int:
        """Insert a part split off, or the copy of mremap, into the list; this cannot fail."""
        self.anon_vma_link(st, dst)
        return 0

    def anon_vma_fork(self, st: "State", vma: int, pvma: int) -> int:
        """Insert the child's VMA into the same list; dup_mmap(), kernel/fork.c."""
        self.anon_vma_link(st, vma)
        return 0

    def unlink_anon_vmas(self, st: "State", vma: int) -> None:
        """Remove `vma` from the list; free the anon_vma if that is empty; anon_vma_unlink()."""
        anon_vma = st.vma[vma].anon_vma
        if anon_vma == 0:
            return
        acquire(st, ANON_VMA_LOCK, anon_vma)
        self.list_del(st, anon_vma, vma)
        empty = st.anon_vma[anon_vma].head == 0
        release(st, ANON_VMA_LOCK, anon_vma)
        st.vma[vma].anon_vma = 0
        if empty:
            kmem_cache_free(st, st.anon_vma, anon_vma)

    # VMAs that merge: vma_adjust(), mm/mmap.c.

    def dup_anon_vma(self, st: "State", dst: int, src: int, adjusted: int) -> int:
        """Pass the anon_vma on if mprotect moves the border of `src` and `dst` (cases 4 and 5).

        This cannot fail.
        """
        importer = self.importer(dst)
        anon_vma = st.vma[src].anon_vma
        if importer and anon_vma and st.vma[importer].anon_vma == 0:
            acquire(st, ANON_VMA_LOCK, anon_vma)
            st.vma[importer].anon_vma = anon_vma
            self.list_add(st, anon_vma, importer)
            release(st, ANON_VMA_LOCK, anon_vma)
            passed(st, "a merge hands its anon_vma on")
        return 0

    def adjust_lock(self, st: "State", vma: int, adjust: int) -> int:
        """Return the anon_vma to lock while the ranges of `vma` and `adjust` change, or 0."""
        if st.vma[vma].anon_vma:
            return st.vma[vma].anon_vma
        return st.vma[adjust].anon_vma if adjust else 0

    def vma_prepare(self, st: "State", vma: int, adjust: int) -> None:
        anon_vma = self.adjust_lock(st, vma, adjust)
        if anon_vma:
            acquire(st, ANON_VMA_LOCK, anon_vma)

    def vma_complete(self, st: "State", vma: int, adjust: int) -> None:
        anon_vma = self.adjust_lock(st, vma, adjust)
        if anon_vma:
            assert_held_write(st, ANON_VMA_LOCK, anon_vma, "the range of a VMA changes")
            if adjust and self.swallowed(st, vma, adjust):
                self.anon_vma_merge(st, vma, adjust)
            release(st, ANON_VMA_LOCK, anon_vma)

    def swallowed(self, st: "State", vma: int, adjust: int) -> bool:
        """Return whether `vma` has grown over all of `adjust`, which is freed (remove_next)."""
        v = st.vma[vma]
        return v.vm_start <= st.vma[adjust].vm_start and st.vma[adjust].vm_end <= v.vm_end

    def anon_vma_merge(self, st: "State", vma: int, next_: int) -> None:
        """Pass the anon_vma of a VMA that is freed to `vma`; __anon_vma_merge(), mm/rmap.c."""
        anon_vma = st.vma[next_].anon_vma
        if anon_vma and st.vma[vma].anon_vma == 0:
            st.vma[vma].anon_vma = anon_vma
            st.vma[vma].anon_vma_node = st.vma[next_].anon_vma_node
            st.vma[next_].anon_vma_node = vma
            passed(st, "a merge hands its anon_vma on")

    def is_mergeable_anon_vma(
        self, st: "State", tgt: int, anon_vma: int, middle: int, copied_from: int
    ) -> bool:
        """Return whether they are equal or one is 0; is_mergeable_anon_vma(), mm/mmap.c."""
        other = st.vma[tgt].anon_vma
        return other == 0 or anon_vma == 0 or other == anon_vma

    def are_anon_vmas_compatible(self, st: "State", prev: int, next_: int) -> bool:
        a = st.vma[prev].anon_vma
        b = st.vma[next_].anon_vma
        return a == 0 or b == 0 or a == b

    # Pages.

    def set_anon(self, st: "State", folio: int, vma: int, address: int) -> None:
        """Set anon_vma and index of a page at its first mapping; page_add_anon_rmap()."""
        st.folio[folio].mapping = st.vma[vma].anon_vma
        st.folio[folio].index = linear_page_index(st, vma, address)

    def folio_add_new_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        st.folio[folio].mapcount = 1
        self.set_anon(st, folio, vma, address)

    def folio_add_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int, *, exclusive: bool
    ) -> None:
        """Count the entry; the first mapping sets anon_vma and index.

        They are the same for every relative that may map the page first.
        """
        st.folio[folio].mapcount += 1
        if st.folio[folio].mapcount == 1:
            self.set_anon(st, folio, vma, address)

    def folio_dup_anon_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        st.folio[folio].mapcount += 1

    def folio_add_file_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        """Count the entry; the page is found by its file."""
        st.folio[folio].mapcount += 1

    def folio_dup_file_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        st.folio[folio].mapcount += 1

    def folio_remove_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        st.folio[folio].mapcount -= 1
        if st.folio[folio].mapcount == 0 and self.clears_mapping():
            st.folio[folio].mapping = 0

    # The walk.

    def rmap_lock(self, st: "State", folio: int) -> int:
        """Lock the page's anon_vma if an entry maps the page; page_lock_anon_vma(), v2.6.9."""
        if not self.folio_mapped(st, folio):
            return 0
        anon_vma = st.folio[folio].mapping
        acquire(st, ANON_VMA_LOCK, anon_vma)
        return anon_vma

    def rmap_unlock(self, st: "State", lock: int) -> None:
        if lock:
            release(st, ANON_VMA_LOCK, lock)

    def rmap_walk(self, st: "State", folio: int, rwc: "RmapWalkControl") -> None:
        """Visit the page's place in each VMA; page_referenced_anon(), try_to_unmap_anon()."""
        if not self.folio_mapped(st, folio):
            return
        vma = st.anon_vma[st.folio[folio].mapping].head
        while vma and rwc.nodes < rwc.limit:
            rwc.nodes += 1
            address = vma_address(st, vma, st.folio[folio].index)
            if address >= 0:
                self.visit(st, rwc, st.vma[vma].vm_mm, address)
            vma = st.vma[vma].anon_vma_node


class AnonVma268(AnonVma267):
    """v2.6.8: both are fixed. With three pages or more, mremap still merges wrongly (E04)."""

    name = "anon_vma-2.6.8"
    title = "anon_vma, corrected"
    era = attrs.evolve(AnonVma267.era, kernels="v2.6.8", flaws=("E04",))

    def locks_adopted(self) -> bool:
        """Return True: others fork the neighbour and insert into the same list (b6815589d6aa)."""
        return True

    def importer(self, dst: int) -> int:
        """Return the VMA that grows (d84672c45e)."""
        return dst


class AnonVma269(AnonVma268):
    """v2.6.9 … v2.6.13: an unmapped page keeps its mapping, but no walk follows an old one.

    Without page_map_lock, one process could clear the mapping that another had just set. So the
    mapping stays until the page is freed, and the walker first checks page_mapped(). With three
    pages or more, mremap still merges wrongly (E04).
    """

    name = "anon_vma-2.6.9"
    title = "anon_vma without page_map_lock"
    era = attrs.evolve(AnonVma268.era, kernels="v2.6.9 … v2.6.13")

    def clears_mapping(self) -> bool:
        """Return False: the mapping stays until the page is freed (f7f5e03df0, 2004-08-23)."""
        return False
