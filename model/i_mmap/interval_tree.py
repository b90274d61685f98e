"""i_mmap as an interval tree: VMAs sorted by the start of their interval (v3.7 …).

Michel Lespinasse replaced the prio_tree by an augmented red-black tree. It is sorted by vm_pgoff,
and each node has the largest end of its subtree. VMAs with equal starts stay in the order of their
insertion, and fork inserts the child's VMA right behind the parent's. A query starts at the
leftmost VMA that reaches its first offset, and ends at the first VMA that starts after its last
offset::

    in order        [0,4]  [1,6]  [2,5]  [2,5]  [4,7]        by start, then by arrival
    query 5 … 5            [1,6]  [2,5]  [2,5]  [4,7]

The model keeps the order in a list, because rotations do not change the order. It does not keep
colours and heights: states that differ only in these behave alike. To give the tree's cost, a
query counts the VMAs that it finds and one path down from the root.

Left out: the largest ends. A query reads the present end of each VMA. If a kernel moved an end
without removing the VMA from its tree (as 252c5f94d94 did, before v3.7), a largest end would be
out of date, and walks would miss the VMA. No check here can detect that, neither in i_mmap nor in
the tree of an anon_vma.

Sources: mm/interval_tree.c, lib/interval_tree.c, include/linux/interval_tree_generic.h of v3.7
(6b2dbba8b6ac): recalled.
"""

from typing import Any, ClassVar

from rmapcheck.model.i_mmap.list import IMmap
from rmapcheck.model.machine.heap import ref
from rmapcheck.model.machine.locks import I_MMAP_LOCK, assert_held_write
from rmapcheck.model.machine.state import State
from rmapcheck.model.machine.structs import RmapWalkControl


class IMmapIntervalTree(IMmap):
    """struct rb_root of address_space, and the list of nonlinear VMAs (v3.7 … v3.19)."""

    fields: ClassVar[dict[str, dict[str, Any]]] = {
        "address_space": {"i_mmap_node": ref("vma"), "i_mmap_list": ref("vma")},
        "vma": {"shared": ref("vma")},
    }
    keyed = True
    invariants: ClassVar[tuple[str, ...]] = (
        "interval_tree_order",
        "i_mmap_query",
    )

    def insert(self, st: State, mapping: int, vma: int, beside: int) -> None:
        """Insert `vma`.

        vma_interval_tree_insert(), vma_interval_tree_insert_after(), mm/interval_tree.c.
        """
        assert_held_write(st, I_MMAP_LOCK, mapping, "a VMA enters i_mmap")
        before = beside or self.last_before(st, mapping, vma)
        if before:
            st.vma[vma].shared = st.vma[before].shared
            st.vma[before].shared = vma
        elif st.vma[vma].vm_nonlinear:
            st.vma[vma].shared = st.address_space[mapping].i_mmap_list
            st.address_space[mapping].i_mmap_list = vma
        else:
            st.vma[vma].shared = st.address_space[mapping].i_mmap_node
            st.address_space[mapping].i_mmap_node = vma

    def first_of(self, st: State, mapping: int, vma: int) -> int:
        """Return the first VMA of the tree, or of the list if `vma` is nonlinear."""
        if st.vma[vma].vm_nonlinear:
            return st.address_space[mapping].i_mmap_list
        return st.address_space[mapping].i_mmap_node

    def last_before(self, st: State, mapping: int, vma: int) -> int:
        """Return the VMA behind which `vma` must be inserted, or 0."""
        before = 0
        at = self.first_of(st, mapping, vma)
        while at and (st.vma[vma].vm_nonlinear or self.starts_by(st, at, vma)):
            before = at
            at = st.vma[at].shared
        return before

    def starts_by(self, st: State, at: int, vma: int) -> bool:
        """Return whether `at` comes before `vma`; VMAs with equal starts keep their order."""
        return st.vma[at].vm_pgoff <= st.vma[vma].vm_pgoff

    def remove(self, st: State, mapping: int, vma: int) -> None:
        """Remove `vma`; vma_interval_tree_remove(), mm/interval_tree.c."""
        assert_held_write(st, I_MMAP_LOCK, mapping, "a VMA leaves i_mmap")
        at = self.first_of(st, mapping, vma)
        following = st.vma[vma].shared
        if at == vma and st.vma[vma].vm_nonlinear:
            st.address_space[mapping].i_mmap_list = following
        elif at == vma:
            st.address_space[mapping].i_mmap_node = following
        else:
            while st.vma[at].shared != vma:
                at = st.vma[at].shared
            st.vma[at].shared = following
        st.vma[vma].shared = 0

    def foreach(
        self, st: State, mapping: int, first: int, last: int, rwc: RmapWalkControl
    ) -> list[int]:
        """Return the VMAs that overlap `first` … `last`; vma_interval_tree_foreach()."""
        found: list[int] = []
        vma = st.address_space[mapping].i_mmap_node
        height = 1
        passed = 0
        while vma and passed < rwc.limit:
            passed += 1
            if passed == height * 2:
                height = passed
                rwc.nodes += 1
            v = st.vma[vma]
            if v.vm_pgoff <= last and first < v.vm_pgoff + v.vm_end - v.vm_start:
                rwc.nodes += 1
                found.append(vma)
            vma = v.shared
        return found

    def nonlinear(self, st: State, mapping: int, rwc: RmapWalkControl) -> list[int]:
        """Return the list of nonlinear VMAs."""
        found: list[int] = []
        vma = st.address_space[mapping].i_mmap_list
        while vma and rwc.nodes < rwc.limit:
            rwc.nodes += 1
            found.append(vma)
            vma = st.vma[vma].shared
        return found

    def members(self, st: State, mapping: int) -> list[int]:
        """Return all VMAs, each as often as it is contained; stop at a circle in a list."""
        found: list[int] = []
        vma = st.address_space[mapping].i_mmap_node
        while vma and found.count(vma) < 2:
            found.append(vma)
            vma = st.vma[vma].shared if st.vma.is_live(vma) else 0
        vma = st.address_space[mapping].i_mmap_list
        while vma and found.count(vma) < 2:
            found.append(vma)
            vma = st.vma[vma].shared if st.vma.is_live(vma) else 0
        return found
