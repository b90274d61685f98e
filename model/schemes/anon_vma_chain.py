"""anon_vma_chain: every process has anon_vmas of its own (v2.6.34 … today).

Before, one anon_vma served a VMA and all its copies in all descendants, so that finding the one
mapper of a page meant looking at every process forked from the first. Rik van Riel gave each
process's VMA an anon_vma of its own (5beb49305251, 2010): a page that only the child maps is looked
for in the child alone. A page shared since before the fork is still in the parent's anon_vma, so the
child's VMA must be found from there as well. VMAs and anon_vmas thus form a graph, and an
anon_vma_chain (AVC) is one of its edges, in two lists at once::

        vma (parent) ──avc── anon_vma A          page written before fork:   mapping = A
                              │                  page written by the child:  mapping = B
        vma (child) ───avc────┘
             └─────────avc── anon_vma B (parent A, root A)

    vma->anon_vma_chain         list of the VMA's AVCs, newest anon_vma first (same_vma)
    anon_vma->head              list, since v3.7 interval tree by vm_pgoff (same_anon_vma)

What must hold is simple: whoever maps a page has an AVC to page->mapping. What went wrong was the
copying of these chains (B01 … B04, all in one April week of 2010), their growth over generations
of forks (B19), the reuse that bounds the growth (B23, CVE-2022-42703), and merges that join VMAs
with different chains (B28, B29). Each of these is one decision below.

Left out: KSM, migration and the pins they need (refcount counts the tree, and for a root its
family, which is what v2.6.39 and later do; v2.6.36 called it external_refcount), huge pages,
memory policies, and that v5.10 … v5.18 did not move a page to the writer's anon_vma on reuse.

Sources: mm/rmap.c and mm/mmap.c of v2.6.34-rc1, v2.6.34, v2.6.36, v3.0.8, v3.19.8, v5.10.7,
v6.4.6, v6.12, v6.17, v7.1.5, read for each era.
"""

from typing import TYPE_CHECKING, ClassVar

import attrs

from model.errors import ENOMEM
from model.heap import kmem_cache_alloc, kmem_cache_free, num, ref
from model.locks import ANON_VMA_LOCK, acquire, assert_held_write, release
from model.scheme import VMA_OP_FORK, VMA_OP_MERGE_UNFAULTED, Scheme
from model.scope import LARGEST_FIELD
from model.state import VM_ACCESS_FLAGS, linear_page_index, vma_address

if TYPE_CHECKING:
    from model.state import RmapWalkControl, State


@attrs.define(slots=True, eq=False)
class AnonVma:
    """struct anon_vma, linux/rmap.h."""

    head: int = ref("anon_vma_chain")
    """First AVC: list_head (v2.6.34 … v3.6), rb_root (since v3.7); lock of the root"""
    root: int = ref("anon_vma")
    """The family's oldest, whose lock all of them use (5c341ee1dfc8, v2.6.36)."""
    refcount: int = num(LARGEST_FIELD)
    parent: int = ref("anon_vma")
    """The anon_vma of the VMA it was forked from (7a3ef208e662, v3.19)."""
    degree: int = num(LARGEST_FIELD)
    """Children and VMAs whose anon_vma it is (v3.19 … v6.0-rc3)."""
    num_children: int = num(LARGEST_FIELD)
    """Children; a root counts itself (2555283eb40d, v6.0-rc4)."""
    num_active_vmas: int = num(LARGEST_FIELD)
    """VMAs whose `anon_vma` it is (2555283eb40d, v6.0-rc4)."""


@attrs.define(slots=True, eq=False)
class AnonVmaChain:
    """struct anon_vma_chain, linux/rmap.h: one VMA is in one anon_vma."""

    vma: int = ref("vma")
    anon_vma: int = ref("anon_vma")
    same_vma: int = ref("anon_vma_chain")
    """Next in vma->anon_vma_chain; mmap_lock, page_table_lock"""
    same_anon_vma: int = ref("anon_vma_chain")
    """Next in anon_vma->head; lock of the root"""


def chain_length(st: "State", vma: int) -> int:
    """Return the number of AVCs of `vma`."""
    length = 0
    avc = st.vma[vma].anon_vma_chain
    while avc:
        length += 1
        avc = st.anon_vma_chain[avc].same_vma
    return length


def chain_nth(st: "State", vma: int, n: int) -> int:
    """Return AVC number `n` of `vma`, counted from the head, from 0."""
    avc = st.vma[vma].anon_vma_chain
    while n:
        avc = st.anon_vma_chain[avc].same_vma
        n -= 1
    return avc


def chain_is_singular(st: "State", vma: int) -> bool:
    """Tell whether `vma` has exactly one AVC; list_is_singular(), linux/list.h."""
    avc = st.vma[vma].anon_vma_chain
    return avc != 0 and st.anon_vma_chain[avc].same_vma == 0


class AvcList(Scheme):
    """v2.6.34 and v2.6.35: a lock and a list in each anon_vma."""

    name = "avc-2.6.34"
    title = "anon_vma_chain as released"
    kernels = "v2.6.34 … v2.6.35"
    structs = (AnonVma, AnonVmaChain)
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "vma": ("anon_vma", "anon_vma_chain"),
        "folio": ("mapcount", "mapping", "index"),
        "anon_vma": ("head",),
    }
    invariants = (
        "mapcount",
        "chain_symmetry",
        "active_in_chain",
        "chain_order",
        "same_anon_vma_same_chain",
        "anon_vma_lifetime",
        "coverage",
        "mapping_alive",
    )
    goals = ("chain of three", "neighbour's anon_vma adopted")
    sizes: ClassVar[dict[str, tuple[int, int]]] = {"anon_vma": (12, 24), "anon_vma_chain": (28, 56)}
    lacks = ("wipeonfork", "dontunmap")

    # Decisions of this era.

    def lock_of(self, st: "State", anon_vma: int) -> int:
        """Return the anon_vma whose lock protects the list of `anon_vma`."""
        return anon_vma

    def reusable_anon_vma(self, st: "State", old: int, a: int, b: int) -> int:
        """Return the anon_vma of `old` (`a` or `b`, which adjoin) if the other may adopt it, or 0.

        reusable_anon_vma(), mm/mmap.c: what mprotect could make alike, linear, and with a chain of
        one only (d0e9fe1758f2, v2.6.34-rc4).
        """
        if not anon_vma_compatible(st, a, b):
            return 0
        anon_vma = st.vma[old].anon_vma
        if anon_vma and chain_is_singular(st, old):
            return anon_vma
        return 0

    def clone_nth(self, length: int, i: int) -> int:
        """Return which AVC of the source is copied in step `i` of `length`.

        From the tail, so that pushing each at the head keeps the order (646d87b481da).
        """
        return length - 1 - i

    def adjust_source(self, exporter: int, adjusted: int) -> int:
        """Return the VMA whose chain the importer copies (287d97ac0321)."""
        return exporter

    def shared_anon_vma(self, st: "State", vma: int) -> int:
        """Return the anon_vma for a page that may be shared already: the oldest (ea90002b0fa7)."""
        return st.anon_vma_chain[chain_nth(st, vma, chain_length(st, vma) - 1)].anon_vma

    def insert(self, st: "State", anon_vma: int, avc: int) -> None:
        """Put an AVC into the anon_vma's list, at the tail."""
        st.anon_vma_chain[avc].same_anon_vma = 0
        last = st.anon_vma[anon_vma].head
        if last == 0:
            st.anon_vma[anon_vma].head = avc
            return
        while st.anon_vma_chain[last].same_anon_vma:
            last = st.anon_vma_chain[last].same_anon_vma
        st.anon_vma_chain[last].same_anon_vma = avc

    # mm/rmap.c

    def anon_vma_alloc(self, st: "State") -> int:
        """Return a fresh anon_vma that is its own root and parent, or 0."""
        return kmem_cache_alloc(st, st.anon_vma)

    def remove(self, st: "State", avc: int) -> None:
        """Take an AVC out of its anon_vma's list; list_del(), anon_vma_interval_tree_remove()."""
        anon_vma = st.anon_vma_chain[avc].anon_vma
        following = st.anon_vma_chain[avc].same_anon_vma
        at = st.anon_vma[anon_vma].head
        if at == avc:
            st.anon_vma[anon_vma].head = following
            return
        while st.anon_vma_chain[at].same_anon_vma != avc:
            at = st.anon_vma_chain[at].same_anon_vma
        st.anon_vma_chain[at].same_anon_vma = following

    def anon_vma_chain_assign(self, st: "State", vma: int, avc: int, anon_vma: int) -> None:
        """Put an AVC at the head of the VMA's list."""
        c = st.anon_vma_chain[avc]
        c.vma = vma
        c.anon_vma = anon_vma
        c.same_vma = st.vma[vma].anon_vma_chain
        st.vma[vma].anon_vma_chain = avc

    def anon_vma_chain_link(self, st: "State", vma: int, avc: int, anon_vma: int) -> None:
        """Put an AVC into both lists; anon_vma_chain_link(), mm/rmap.c."""
        self.anon_vma_chain_assign(st, vma, avc, anon_vma)
        lock = self.lock_of(st, anon_vma)
        assert_held_write(st, ANON_VMA_LOCK, lock, "an AVC is linked")
        self.insert(st, anon_vma, avc)

    def find_mergeable_anon_vma(self, st: "State", vma: int) -> int:
        """Return a neighbour's anon_vma that `vma` may adopt, or 0; mm/mmap.c (mm/vma.c)."""
        v = st.vma[vma]
        near = v.vm_next
        if near:
            anon_vma = self.reusable_anon_vma(st, near, vma, near)
            if anon_vma:
                return anon_vma
        near = st.mm[v.vm_mm].mmap
        while near and st.vma[near].vm_next != vma:
            near = st.vma[near].vm_next
        if near:
            return self.reusable_anon_vma(st, near, near, vma)
        return 0

    def anon_vma_prepare(self, st: "State", vma: int) -> int:
        """Give `vma` its first anon_vma, a neighbour's if possible; anon_vma_prepare()."""
        if st.vma[vma].anon_vma:
            return 0
        avc = kmem_cache_alloc(st, st.anon_vma_chain)
        if avc == 0:
            return -ENOMEM
        anon_vma = self.find_mergeable_anon_vma(st, vma)
        if anon_vma:
            st.reached.append("neighbour's anon_vma adopted")
        else:
            anon_vma = self.anon_vma_alloc(st)
            if anon_vma == 0:
                kmem_cache_free(st, st.anon_vma_chain, avc)
                return -ENOMEM
            self.count_root(st, anon_vma)
        lock = self.lock_of(st, anon_vma)
        acquire(st, ANON_VMA_LOCK, lock)
        st.vma[vma].anon_vma = anon_vma
        self.anon_vma_chain_assign(st, vma, avc, anon_vma)
        self.insert_prepared(st, anon_vma, avc)
        self.count_active(st, anon_vma, 1)
        release(st, ANON_VMA_LOCK, lock)
        return 0

    def insert_prepared(self, st: "State", anon_vma: int, avc: int) -> None:
        """anon_vma_prepare() of v2.6.34 and v2.6.35 puts the AVC at the head of the list."""
        st.anon_vma_chain[avc].same_anon_vma = st.anon_vma[anon_vma].head
        st.anon_vma[anon_vma].head = avc

    def anon_vma_clone(self, st: "State", dst: int, src: int, operation: int) -> int:
        """Give `dst` an AVC for each of `src`; anon_vma_clone(). Return 0 or -ENOMEM."""
        length = chain_length(st, src)
        for i in range(length):
            pavc = chain_nth(st, src, self.clone_nth(length, i))
            anon_vma = st.anon_vma_chain[pavc].anon_vma
            avc = kmem_cache_alloc(st, st.anon_vma_chain)
            if avc == 0:
                self.undo_clone(st, dst)
                return -ENOMEM
            lock = self.lock_of(st, anon_vma)
            acquire(st, ANON_VMA_LOCK, lock)
            self.anon_vma_chain_link(st, dst, avc, anon_vma)
            release(st, ANON_VMA_LOCK, lock)
            if operation == VMA_OP_FORK:
                self.consider_reuse(st, dst, src, anon_vma)
        if st.vma[dst].anon_vma:
            self.count_active(st, st.vma[dst].anon_vma, 1)
        if length > 1:
            st.reached.append("chain of two cloned")
        return 0

    def undo_clone(self, st: "State", dst: int) -> None:
        """Take back a clone that ran out of memory."""
        self.unlink_anon_vmas(st, dst)

    def consider_reuse(self, st: "State", dst: int, src: int, anon_vma: int) -> None:
        """Fork may let the child have `anon_vma` for its own (since v3.19)."""

    def anon_vma_fork(self, st: "State", vma: int, pvma: int) -> int:
        """Give the child's VMA the parent's chain and an anon_vma of its own; anon_vma_fork()."""
        if st.vma[pvma].anon_vma == 0:
            return 0
        st.vma[vma].anon_vma = 0
        if self.anon_vma_clone(st, vma, pvma, VMA_OP_FORK):
            return -ENOMEM
        if st.vma[vma].anon_vma:
            st.reached.append("anon_vma reused at fork")
            return 0
        anon_vma = self.anon_vma_alloc(st)
        if anon_vma == 0:
            self.unlink_anon_vmas(st, vma)
            return -ENOMEM
        avc = kmem_cache_alloc(st, st.anon_vma_chain)
        if avc == 0:
            self.put_anon_vma(st, anon_vma)
            self.unlink_anon_vmas(st, vma)
            return -ENOMEM
        self.join_family(st, vma, pvma, anon_vma)
        lock = self.lock_of(st, anon_vma)
        acquire(st, ANON_VMA_LOCK, lock)
        self.anon_vma_chain_link(st, vma, avc, anon_vma)
        self.count_child(st, anon_vma)
        release(st, ANON_VMA_LOCK, lock)
        if chain_length(st, vma) > 2:
            st.reached.append("chain of three")
        return 0

    def join_family(self, st: "State", vma: int, pvma: int, anon_vma: int) -> None:
        """Make the child's fresh `anon_vma` a descendant of the parent's."""
        st.vma[vma].anon_vma = anon_vma

    def dup_anon_vma(self, st: "State", dst: int, src: int, adjusted: int) -> int:
        """A never-faulted `dst` takes over pages of `src`, and so its chain.

        The importer of vma_adjust(), mm/mmap.c; dup_anon_vma(), mm/vma.c since v6.3.
        """
        if st.vma[src].anon_vma == 0 or st.vma[dst].anon_vma:
            return 0
        st.vma[dst].anon_vma = st.vma[src].anon_vma
        source = self.adjust_source(src, adjusted)
        if self.anon_vma_clone(st, dst, source, VMA_OP_MERGE_UNFAULTED):
            st.vma[dst].anon_vma = 0
            return -ENOMEM
        st.reached.append("merge imports a chain")
        return 0

    def unlink_anon_vmas(self, st: "State", vma: int) -> None:
        """Drop all AVCs of `vma`, and each anon_vma that is left without any."""
        avc = st.vma[vma].anon_vma_chain
        while avc:
            following = st.anon_vma_chain[avc].same_vma
            anon_vma = st.anon_vma_chain[avc].anon_vma
            lock = self.lock_of(st, anon_vma)
            acquire(st, ANON_VMA_LOCK, lock)
            self.remove(st, avc)
            empty = st.anon_vma[anon_vma].head == 0
            release(st, ANON_VMA_LOCK, lock)
            if empty:
                self.put_anon_vma(st, anon_vma)
            kmem_cache_free(st, st.anon_vma_chain, avc)
            avc = following
        st.vma[vma].anon_vma_chain = 0
        st.vma[vma].anon_vma = 0

    def put_anon_vma(self, st: "State", anon_vma: int) -> None:
        """The anon_vma's list is empty (or never was filled): free it."""
        kmem_cache_free(st, st.anon_vma, anon_vma)

    # Counters that later eras keep.

    def count_root(self, st: "State", anon_vma: int) -> None:
        """A fresh anon_vma becomes a root."""

    def count_active(self, st: "State", anon_vma: int, by: int) -> None:
        """One VMA more (or less) has `anon_vma` for its own."""

    def count_child(self, st: "State", anon_vma: int) -> None:
        """A forked anon_vma has been linked below its parent."""

    # VMAs that merge.

    def is_mergeable_anon_vma(
        self, st: "State", tgt: int, anon_vma: int, middle: int, copied_from: int
    ) -> bool:
        """Equal, or one of them none; is_mergeable_anon_vma(), mm/mmap.c, v2.6.7 … v2.6.39."""
        other = st.vma[tgt].anon_vma
        return other == 0 or anon_vma == 0 or other == anon_vma

    def are_anon_vmas_compatible(self, st: "State", prev: int, next_: int) -> bool:
        a = st.vma[prev].anon_vma
        b = st.vma[next_].anon_vma
        return a == 0 or b == 0 or a == b

    # Pages.

    def set_anon(self, st: "State", folio: int, vma: int, address: int, *, exclusive: bool) -> None:
        """Point the page at an anon_vma; __page_set_anon_rmap(), __folio_set_anon()."""
        f = st.folio[folio]
        f.mapping = st.vma[vma].anon_vma if exclusive else self.shared_anon_vma(st, vma)
        f.index = linear_page_index(st, vma, address)

    def folio_add_new_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        st.folio[folio].mapcount = 1
        self.set_anon(st, folio, vma, address, exclusive=True)

    def folio_add_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int, *, exclusive: bool
    ) -> None:
        """The first mapping sets `mapping` anew, and never as exclusive; page_add_anon_rmap()."""
        st.folio[folio].mapcount += 1
        if st.folio[folio].mapcount == 1:
            self.set_anon(st, folio, vma, address, exclusive=False)

    def folio_dup_anon_rmap(
        self, st: "State", folio: int, vma: int, pvma: int, address: int, ptep: int
    ) -> None:
        st.folio[folio].mapcount += 1

    def folio_remove_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int
    ) -> None:
        st.folio[folio].mapcount -= 1

    def folio_move_anon_rmap(self, st: "State", folio: int, vma: int) -> None:
        """The writer is alone: move the page down to its own anon_vma (c44b674323f4)."""
        st.folio[folio].mapping = st.vma[vma].anon_vma

    def fork_copies(self, st: "State", pvma: int) -> bool:
        return st.vma[pvma].anon_vma != 0

    # The walk.

    def rmap_lock(self, st: "State", folio: int) -> int:
        """page_lock_anon_vma(), folio_lock_anon_vma_read(), mm/rmap.c."""
        lock = self.lock_of(st, st.folio[folio].mapping)
        acquire(st, ANON_VMA_LOCK, lock, write=False)
        return lock

    def rmap_unlock(self, st: "State", lock: int) -> None:
        release(st, ANON_VMA_LOCK, lock)

    def rmap_walk(self, st: "State", folio: int, rwc: "RmapWalkControl") -> None:
        """Visit the page's place in each VMA of its anon_vma; rmap_walk_anon()."""
        index = st.folio[folio].index
        avc = st.anon_vma[st.folio[folio].mapping].head
        while avc:
            rwc.nodes += 1
            vma = st.anon_vma_chain[avc].vma
            address = vma_address(st, vma, index)
            if address >= 0:
                self.visit(st, rwc, st.vma[vma].vm_mm, address)
            avc = st.anon_vma_chain[avc].same_anon_vma


def anon_vma_compatible(st: "State", a: int, b: int) -> bool:
    """Tell whether mprotect could make `a` and the VMA `b` behind it one; mm/mmap.c."""
    va = st.vma[a]
    vb = st.vma[b]
    return (
        va.vm_end == vb.vm_start
        and (va.vm_flags ^ vb.vm_flags) & ~VM_ACCESS_FLAGS == 0
        and vb.vm_pgoff == va.vm_pgoff + va.vm_end - va.vm_start
    )


class AvcRoot(AvcList):
    """v2.6.36 … v2.6.39: one lock for the whole family, the root's; a page keeps its mapping."""

    name = "avc-2.6.36"
    title = "anon_vma_chain with the root lock"
    kernels = "v2.6.36 … v2.6.39"
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        **AvcList.fields,
        "anon_vma": ("head", "root", "refcount"),
    }
    invariants = (*AvcList.invariants, "one_root", "anon_vma_refcount")

    def lock_of(self, st: "State", anon_vma: int) -> int:
        """The root's (012f18004da3)."""
        return st.anon_vma[anon_vma].root

    def insert_prepared(self, st: "State", anon_vma: int, avc: int) -> None:
        """At the tail, as everybody else (v2.6.36)."""
        self.insert(st, anon_vma, avc)

    def shared_anon_vma(self, st: "State", vma: int) -> int:
        """The root's (288468c334e9)."""
        return st.anon_vma[st.vma[vma].anon_vma].root

    def anon_vma_alloc(self, st: "State") -> int:
        anon_vma = kmem_cache_alloc(st, st.anon_vma)
        if anon_vma:
            st.anon_vma[anon_vma].root = anon_vma
            st.anon_vma[anon_vma].refcount = 1
        return anon_vma

    def join_family(self, st: "State", vma: int, pvma: int, anon_vma: int) -> None:
        root = st.anon_vma[st.vma[pvma].anon_vma].root
        st.anon_vma[anon_vma].root = root
        st.anon_vma[root].refcount += 1
        st.vma[vma].anon_vma = anon_vma

    def put_anon_vma(self, st: "State", anon_vma: int) -> None:
        """Drop a reference; the last frees it, and perhaps its root (76545066c852)."""
        st.anon_vma[anon_vma].refcount -= 1
        if st.anon_vma[anon_vma].refcount:
            return
        root = st.anon_vma[anon_vma].root
        kmem_cache_free(st, st.anon_vma, anon_vma)
        if root != anon_vma:
            self.put_anon_vma(st, root)

    def unlink_anon_vmas(self, st: "State", vma: int) -> None:
        """First take all AVCs out of the lists, then drop the anon_vmas left empty (v3.0)."""
        root = self.family_of(st, vma)
        if root == 0:
            return
        acquire(st, ANON_VMA_LOCK, root)
        avc = st.vma[vma].anon_vma_chain
        while avc:
            anon_vma = st.anon_vma_chain[avc].anon_vma
            assert_held_write(st, ANON_VMA_LOCK, self.lock_of(st, anon_vma), "an AVC is unlinked")
            self.remove(st, avc)
            if st.anon_vma[anon_vma].head == 0:
                self.uncount_child(st, anon_vma)
            avc = st.anon_vma_chain[avc].same_vma
        if st.vma[vma].anon_vma:
            self.count_active(st, st.vma[vma].anon_vma, -1)
        release(st, ANON_VMA_LOCK, root)
        avc = st.vma[vma].anon_vma_chain
        while avc:
            following = st.anon_vma_chain[avc].same_vma
            anon_vma = st.anon_vma_chain[avc].anon_vma
            kmem_cache_free(st, st.anon_vma_chain, avc)
            if st.anon_vma[anon_vma].head == 0:
                self.put_anon_vma(st, anon_vma)
            avc = following
        st.vma[vma].anon_vma_chain = 0
        st.vma[vma].anon_vma = 0

    def family_of(self, st: "State", vma: int) -> int:
        """Return the root of the VMA's anon_vmas, or 0 if it has none."""
        avc = st.vma[vma].anon_vma_chain
        anon_vma = st.anon_vma_chain[avc].anon_vma if avc else st.vma[vma].anon_vma
        return self.lock_of(st, anon_vma) if anon_vma else 0

    def uncount_child(self, st: "State", anon_vma: int) -> None:
        """The list of `anon_vma` has become empty."""

    def adjust_lock(self, st: "State", vma: int, adjust: int) -> int:
        """Return the anon_vma to lock while the ranges of `vma` and `adjust` change, or 0."""
        if st.vma[vma].anon_vma:
            return st.vma[vma].anon_vma
        return st.vma[adjust].anon_vma if adjust else 0

    def vma_prepare(self, st: "State", vma: int, adjust: int) -> None:
        """Lock the family (vma_adjust() since v2.6.36, vma_prepare() since v6.3)."""
        anon_vma = self.adjust_lock(st, vma, adjust)
        if anon_vma:
            acquire(st, ANON_VMA_LOCK, self.lock_of(st, anon_vma))

    def vma_complete(self, st: "State", vma: int, adjust: int) -> None:
        anon_vma = st.vma[vma].anon_vma or (st.vma[adjust].anon_vma if adjust else 0)
        if anon_vma:
            root = self.lock_of(st, anon_vma)
            assert_held_write(st, ANON_VMA_LOCK, root, "the range of a VMA changes")
            if self.adjust_lock(st, vma, adjust):
                release(st, ANON_VMA_LOCK, root)

    def folio_add_anon_rmap(
        self, st: "State", folio: int, vma: int, address: int, ptep: int, *, exclusive: bool
    ) -> None:
        """PageAnon already: keep the mapping; do_page_add_anon_rmap(), v2.6.36."""
        st.folio[folio].mapcount += 1
        if st.folio[folio].mapping == 0:
            self.set_anon(st, folio, vma, address, exclusive=exclusive)


class AvcTree(AvcRoot):
    """v3.0 … v3.18: no merging of VMAs with inherited chains; interval trees (v3.7)."""

    name = "avc-3.0"
    title = "anon_vma_chain with interval trees"
    kernels = "v3.0 … v3.18"
    invariants = (*AvcRoot.invariants, "interval_tree_keys")

    def insert(self, st: "State", anon_vma: int, avc: int) -> None:
        """By vm_pgoff, behind equals; anon_vma_interval_tree_insert() (bf181b9f9d8d, v3.7)."""
        pgoff = st.vma[st.anon_vma_chain[avc].vma].vm_pgoff
        prev = 0
        at = st.anon_vma[anon_vma].head
        while at and st.vma[st.anon_vma_chain[at].vma].vm_pgoff <= pgoff:
            prev = at
            at = st.anon_vma_chain[at].same_anon_vma
        st.anon_vma_chain[avc].same_anon_vma = at
        if prev:
            st.anon_vma_chain[prev].same_anon_vma = avc
        else:
            st.anon_vma[anon_vma].head = avc

    def vma_prepare(self, st: "State", vma: int, adjust: int) -> None:
        super().vma_prepare(st, vma, adjust)
        self.remove_all(st, vma)
        if adjust:
            self.remove_all(st, adjust)

    def vma_complete(self, st: "State", vma: int, adjust: int) -> None:
        self.insert_all(st, vma)
        if adjust:
            self.insert_all(st, adjust)
        super().vma_complete(st, vma, adjust)

    def remove_all(self, st: "State", vma: int) -> None:
        """anon_vma_interval_tree_pre_update_vma(), mm/mmap.c."""
        avc = st.vma[vma].anon_vma_chain
        while avc:
            self.remove(st, avc)
            avc = st.anon_vma_chain[avc].same_vma

    def insert_all(self, st: "State", vma: int) -> None:
        """anon_vma_interval_tree_post_update_vma(), mm/mmap.c."""
        avc = st.vma[vma].anon_vma_chain
        while avc:
            self.insert(st, st.anon_vma_chain[avc].anon_vma, avc)
            avc = st.anon_vma_chain[avc].same_vma

    def is_mergeable_anon_vma(
        self, st: "State", tgt: int, anon_vma: int, middle: int, copied_from: int
    ) -> bool:
        """Equal, or one of them none and the neighbour's chain of one (965f55dea0e3, v3.0).

        A never-faulted neighbour has a chain of none, so it never takes over faulted pages.
        """
        other = st.vma[tgt].anon_vma
        if (other == 0 or anon_vma == 0) and chain_is_singular(st, tgt):
            return True
        return other == anon_vma


class AvcDegree(AvcTree):
    """v3.19 … v6.0-rc3: fork reuses an idle anon_vma, so that chains stop growing."""

    name = "avc-3.19"
    title = "anon_vma_chain with reuse by degree"
    kernels = "v3.19 … v6.0-rc3"
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        **AvcTree.fields,
        "anon_vma": ("head", "root", "refcount", "parent", "degree"),
    }
    invariants = (*AvcTree.invariants, "anon_vma_counts", "bounded_chain", "chain_ancestors")
    goals = (*AvcTree.goals, "anon_vma reused at fork")
    lacks = ()

    def may_reuse(self, st: "State", anon_vma: int, own: int) -> bool:
        """Tell whether a forked VMA may take `anon_vma`; `own` is its parent VMA's.

        At most one user is left, child or VMA (7a3ef208e662).
        """
        return anon_vma != own and st.anon_vma[anon_vma].degree < 2

    def consider_reuse(self, st: "State", dst: int, src: int, anon_vma: int) -> None:
        if st.vma[dst].anon_vma == 0 and self.may_reuse(st, anon_vma, st.vma[src].anon_vma):
            st.vma[dst].anon_vma = anon_vma

    def undo_clone(self, st: "State", dst: int) -> None:
        """The VMA was not counted yet, so it must not be uncounted (3fe89b3e2a7b)."""
        st.vma[dst].anon_vma = 0
        self.unlink_anon_vmas(st, dst)

    def anon_vma_alloc(self, st: "State") -> int:
        anon_vma = super().anon_vma_alloc(st)
        if anon_vma:
            st.anon_vma[anon_vma].parent = anon_vma
            self.count_alloc(st, anon_vma)
        return anon_vma

    def join_family(self, st: "State", vma: int, pvma: int, anon_vma: int) -> None:
        super().join_family(st, vma, pvma, anon_vma)
        st.anon_vma[anon_vma].parent = st.vma[pvma].anon_vma

    def count_alloc(self, st: "State", anon_vma: int) -> None:
        """A fresh anon_vma counts its first VMA at once."""
        st.anon_vma[anon_vma].degree = 1

    def count_active(self, st: "State", anon_vma: int, by: int) -> None:
        st.anon_vma[anon_vma].degree += by

    def count_child(self, st: "State", anon_vma: int) -> None:
        st.anon_vma[st.anon_vma[anon_vma].parent].degree += 1

    def uncount_child(self, st: "State", anon_vma: int) -> None:
        st.anon_vma[st.anon_vma[anon_vma].parent].degree -= 1


class AvcCounters(AvcDegree):
    """v6.0-rc4 … v6.15: children and active VMAs are counted apart (CVE-2022-42703 mended)."""

    name = "avc-6.0"
    title = "anon_vma_chain with two counters"
    kernels = "v6.0-rc4 … v6.15"
    fields: ClassVar[dict[str, tuple[str, ...]]] = {
        "vma": ("anon_vma", "anon_vma_chain"),
        "folio": ("mapcount", "mapping", "index", "exclusive"),
        "anon_vma": ("head", "root", "refcount", "parent", "num_children", "num_active_vmas"),
    }
    invariants = (*AvcDegree.invariants, "exclusive_once")
    anon_exclusive = True
    mprotect_unaccounts = True

    def may_reuse(self, st: "State", anon_vma: int, own: int) -> bool:
        """No VMA has it for its own, and it has at most one child (2555283eb40d)."""
        a = st.anon_vma[anon_vma]
        return a.num_children < 2 and a.num_active_vmas == 0

    def count_alloc(self, st: "State", anon_vma: int) -> None:
        """Nobody uses a fresh anon_vma yet."""

    def count_root(self, st: "State", anon_vma: int) -> None:
        st.anon_vma[anon_vma].num_children += 1

    def join_family(self, st: "State", vma: int, pvma: int, anon_vma: int) -> None:
        super().join_family(st, vma, pvma, anon_vma)
        st.anon_vma[anon_vma].num_active_vmas = 1

    def count_active(self, st: "State", anon_vma: int, by: int) -> None:
        st.anon_vma[anon_vma].num_active_vmas += by

    def count_child(self, st: "State", anon_vma: int) -> None:
        st.anon_vma[st.anon_vma[anon_vma].parent].num_children += 1

    def uncount_child(self, st: "State", anon_vma: int) -> None:
        st.anon_vma[st.anon_vma[anon_vma].parent].num_children -= 1


class AvcMerge(AvcCounters):
    """v6.16 … v6.19: a never-faulted VMA may take over faulted neighbours.

    With 61f67c230a5e (v6.19, v6.18.8); v6.16 … v6.18.7 had CVE-2026-23077 (B29). mremap moves
    ranges over several VMAs since v6.17.
    """

    name = "avc-6.16"
    title = "anon_vma_chain with symmetric merging"
    kernels = "v6.16 … v6.19"
    invariants = (*AvcCounters.invariants, "merge_symmetric")
    inherits_copied_from = True
    mremap_many = True

    def is_fork_child(self, st: "State", vma: int) -> bool:
        """Tell whether the VMA has inherited anon_vmas; vma_is_fork_child(), mm/vma.c."""
        return vma != 0 and st.vma[vma].anon_vma != 0 and not chain_is_singular(st, vma)

    def is_mergeable_anon_vma(
        self, st: "State", tgt: int, anon_vma: int, middle: int, copied_from: int
    ) -> bool:
        """Whichever side is faulted must not be a fork child (879bca0a2c4f, v6.16)."""
        other = st.vma[tgt].anon_vma
        if other == 0 and anon_vma:
            return not self.is_fork_child(st, middle) and not self.is_fork_child(st, copied_from)
        if other and anon_vma == 0:
            return not self.is_fork_child(st, tgt)
        return other == anon_vma


class AvcPublish(AvcMerge):
    """v7.0 …: a clone is assembled unseen, then published under the lock.

    As read in v7.1.5. The order of a clone is the reverse of its source; which anon_vma is the
    oldest no longer depends on it.
    """

    name = "avc-7.0"
    title = "anon_vma_chain, assign then publish"
    kernels = "v7.0 …"
    invariants = tuple(n for n in AvcMerge.invariants if n != "chain_order")

    def anon_vma_clone(self, st: "State", dst: int, src: int, operation: int) -> int:
        if st.vma[src].anon_vma == 0:
            return 0
        pavc = st.vma[src].anon_vma_chain
        while pavc:
            avc = kmem_cache_alloc(st, st.anon_vma_chain)
            if avc == 0:
                self.cleanup_partial_anon_vmas(st, dst)
                return -ENOMEM
            self.anon_vma_chain_assign(st, dst, avc, st.anon_vma_chain[pavc].anon_vma)
            pavc = st.anon_vma_chain[pavc].same_vma
        self.publish(st, dst, src, operation)
        return 0

    def publish(self, st: "State", dst: int, src: int, operation: int) -> None:
        """Make the assembled chain visible to walkers, from its tail on."""
        root = self.lock_of(st, st.vma[src].anon_vma)
        acquire(st, ANON_VMA_LOCK, root)
        length = chain_length(st, dst)
        for i in range(length):
            avc = chain_nth(st, dst, length - 1 - i)
            anon_vma = st.anon_vma_chain[avc].anon_vma
            assert_held_write(st, ANON_VMA_LOCK, self.lock_of(st, anon_vma), "an AVC is linked")
            self.insert(st, anon_vma, avc)
            if operation == VMA_OP_FORK:
                self.consider_reuse(st, dst, src, anon_vma)
        if st.vma[dst].anon_vma:
            self.count_active(st, st.vma[dst].anon_vma, 1)
        release(st, ANON_VMA_LOCK, root)
        if length > 1:
            st.reached.append("chain of two cloned")

    def cleanup_partial_anon_vmas(self, st: "State", dst: int) -> None:
        """Free AVCs that no walker has seen; cleanup_partial_anon_vmas(), mm/rmap.c."""
        avc = st.vma[dst].anon_vma_chain
        while avc:
            following = st.anon_vma_chain[avc].same_vma
            kmem_cache_free(st, st.anon_vma_chain, avc)
            avc = following
        st.vma[dst].anon_vma_chain = 0
        st.vma[dst].anon_vma = 0

    def anon_vma_fork(self, st: "State", vma: int, pvma: int) -> int:
        """Both allocations come before the clone, so that nothing need be torn down after it."""
        if st.vma[pvma].anon_vma == 0:
            return 0
        st.vma[vma].anon_vma = 0
        anon_vma = self.anon_vma_alloc(st)
        if anon_vma == 0:
            return -ENOMEM
        avc = kmem_cache_alloc(st, st.anon_vma_chain)
        if avc == 0:
            self.put_anon_vma(st, anon_vma)
            return -ENOMEM
        error = self.anon_vma_clone(st, vma, pvma, VMA_OP_FORK)
        if error or st.vma[vma].anon_vma:
            self.put_anon_vma(st, anon_vma)
            kmem_cache_free(st, st.anon_vma_chain, avc)
            if error == 0:
                st.reached.append("anon_vma reused at fork")
            return error
        self.join_family(st, vma, pvma, anon_vma)
        lock = self.lock_of(st, anon_vma)
        acquire(st, ANON_VMA_LOCK, lock)
        self.anon_vma_chain_link(st, vma, avc, anon_vma)
        self.count_child(st, anon_vma)
        release(st, ANON_VMA_LOCK, lock)
        if chain_length(st, vma) > 2:
            st.reached.append("chain of three")
        return 0
