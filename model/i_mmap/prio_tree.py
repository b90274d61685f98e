"""i_mmap as a prio_tree of VMAs, with sets of equals and a list of nonlinear VMAs.

The head of radix.py explains the tree itself and the union of fields. A VMA that maps the same
pages as a VMA in the tree does not become a node, but joins the set of that VMA. When the node of
a set is removed, the head of the set takes its place in the tree.

Sources: mm/prio_tree.c of v2.6.7, read whole: verified; mm/mmap.c and kernel/fork.c recalled.
"""

from typing import Any, ClassVar

from rmapcheck.model.i_mmap.radix import HIGHEST, PrioTree, heap_index, radix_index, top_mask
from rmapcheck.model.machine.heap import bug, num, ref
from rmapcheck.model.machine.locks import I_MMAP_LOCK, assert_held_write
from rmapcheck.model.machine.state import State
from rmapcheck.model.machine.structs import RmapWalkControl


class IMmapPrioTree(PrioTree):
    """i_mmap as a prio_tree of VMAs, and the list of nonlinear ones (v2.6.10 … v3.6)."""

    fields: ClassVar[dict[str, dict[str, Any]]] = {
        "address_space": {
            "i_mmap_node": ref("vma"),
            "index_bits": num(32),
            "i_mmap_list": ref("vma"),
        },
        "vma": {
            "shared_left": ref("vma"),
            "shared_right": ref("vma"),
            "shared_parent": ref("vma"),
            "shared_head": ref("vma"),
        },
    }
    keyed = True
    invariants: ClassVar[tuple[str, ...]] = (
        "prio_tree_heap",
        "prio_tree_sides",
        "prio_tree_bits",
        "prio_tree_unique",
        "vm_set_linked",
        "i_mmap_query",
    )

    def insert(self, st: State, mapping: int, vma: int, beside: int) -> None:
        """Insert `vma` into the tree, the set of the parent's VMA, or the list of nonlinear VMAs.

        __vma_link_file(), mm/mmap.c; dup_mmap(), kernel/fork.c.
        """
        assert_held_write(st, I_MMAP_LOCK, mapping, "a VMA enters i_mmap")
        if beside:
            self.vma_prio_tree_add(st, vma, beside)
        elif st.vma[vma].vm_nonlinear:
            self.nonlinear_add(st, mapping, vma)
        else:
            self.vma_prio_tree_insert(st, mapping, vma)

    def remove(self, st: State, mapping: int, vma: int) -> None:
        """Remove `vma`; __remove_shared_vm_struct(), mm/mmap.c."""
        assert_held_write(st, I_MMAP_LOCK, mapping, "a VMA leaves i_mmap")
        if st.vma[vma].vm_nonlinear:
            if st.address_space[mapping].i_mmap_list == vma:
                st.address_space[mapping].i_mmap_list = st.vma[vma].shared_left
            self.vm_set_del(st, vma)
        else:
            self.vma_prio_tree_remove(st, mapping, vma)
        v = st.vma[vma]
        v.shared_left = 0
        v.shared_right = 0
        v.shared_parent = 0
        v.shared_head = 0

    # The sets of equal intervals, mm/prio_tree.c. Each list is a circle without a head. The list
    # of nonlinear VMAs has its head in the address_space, and ends in 0 at both ends.

    def vm_set_add(self, st: State, new: int, before: int) -> None:
        """Insert `new` behind `before`; list_add(), linux/list.h."""
        following = st.vma[before].shared_left
        st.vma[new].shared_left = following
        st.vma[new].shared_right = before
        st.vma[before].shared_left = new
        if following:
            st.vma[following].shared_right = new

    def vm_set_del(self, st: State, vma: int) -> None:
        """Remove `vma` from its list; list_del_init(), linux/list.h."""
        following = st.vma[vma].shared_left
        before = st.vma[vma].shared_right
        if before:
            st.vma[before].shared_left = following
        if following:
            st.vma[following].shared_right = before

    def nonlinear_add(self, st: State, mapping: int, vma: int) -> None:
        """Append `vma` to the list of nonlinear VMAs."""
        last = st.address_space[mapping].i_mmap_list
        if last == 0:
            st.address_space[mapping].i_mmap_list = vma
            return
        while st.vma[last].shared_left:
            last = st.vma[last].shared_left
        self.vm_set_add(st, vma, last)

    def vma_prio_tree_add(self, st: State, vma: int, old: int) -> None:
        """Insert `vma` into the set of `old`, which maps the same pages; vma_prio_tree_add()."""
        if radix_index(st, vma) != radix_index(st, old):
            bug(st, "BUG_ON(RADIX_INDEX(vma) != RADIX_INDEX(old)) in vma_prio_tree_add()")
        if heap_index(st, vma) != heap_index(st, old):
            bug(st, "BUG_ON(HEAP_INDEX(vma) != HEAP_INDEX(old)) in vma_prio_tree_add()")
        v = st.vma[vma]
        o = st.vma[old]
        v.shared_head = 0
        v.shared_parent = 0
        if o.shared_parent == 0:
            self.vm_set_add(st, vma, old)
        elif o.shared_head:
            self.vm_set_add(st, vma, st.vma[o.shared_head].shared_right)
        else:
            v.shared_left = vma
            v.shared_right = vma
            v.shared_head = old
            o.shared_head = vma

    def vma_prio_tree_insert(self, st: State, mapping: int, vma: int) -> None:
        """Insert `vma` as a node, or into the set of its equals; vma_prio_tree_insert()."""
        st.vma[vma].shared_head = 0
        node = self.prio_tree_insert(st, mapping, vma)
        if node != vma:
            self.vma_prio_tree_add(st, vma, node)

    def vma_prio_tree_remove(self, st: State, mapping: int, vma: int) -> None:
        """Remove `vma` from the tree or from its set; vma_prio_tree_remove().

        If it is a node with a set, the head of the set takes its place in the tree.
        """
        v = st.vma[vma]
        if v.shared_head == 0:
            if v.shared_parent:
                self.prio_tree_remove(st, mapping, vma)
            else:
                self.vm_set_del(st, vma)
        elif v.shared_parent:
            head = v.shared_head
            new_head = self.take_head(st, head)
            self.prio_tree_replace(st, mapping, vma, head)
            st.vma[head].shared_head = new_head
            if new_head:
                st.vma[new_head].shared_head = head
        else:
            node = v.shared_head
            new_head = self.take_head(st, vma)
            st.vma[node].shared_head = new_head
            if new_head:
                st.vma[new_head].shared_head = node

    def take_head(self, st: State, head: int) -> int:
        """Remove the head from its set, and return the next member of the set, or 0."""
        following = st.vma[head].shared_left
        if following == head:
            return 0
        self.vm_set_del(st, head)
        return following

    # Queries.

    def foreach(
        self, st: State, mapping: int, first: int, last: int, rwc: RmapWalkControl
    ) -> list[int]:
        """Return the VMAs that overlap `first` … `last`, in the order of vma_prio_tree_next()."""
        found: list[int] = []
        node = st.address_space[mapping].i_mmap_node
        if node and heap_index(st, node) >= first:
            self.prio_tree_visit(st, node, top_mask(st, mapping), 0, first, last, rwc, found)
        return found

    def prio_tree_visit(
        self,
        st: State,
        node: int,
        mask: int,
        value: int,
        first: int,
        last: int,
        rwc: RmapWalkControl,
        found: list[int],
    ) -> None:
        """Visit a node and its set, then its left, then its right subtree.

        prio_tree_first(), prio_tree_next(). `value` has the bits of the start that are the same in
        this whole subtree. `mask` is the bit that decides at this level; 0 at the levels that
        compare sizes.
        """
        rwc.nodes += 1
        if rwc.nodes > 2 * st.scope.vmas:
            return
        if radix_index(st, node) <= last:
            self.prio_tree_report(st, node, rwc, found)
        # No child ends later than its parent. If a child ends before `first`, skip its subtree.
        child = st.vma[node].shared_left
        if child != node and heap_index(st, child) >= first:
            self.prio_tree_visit(st, child, mask // 2, value, first, last, rwc, found)
        child = st.vma[node].shared_right
        # All intervals in the right subtree start at `value + mask` or later.
        if child != node and last >= value + mask and heap_index(st, child) >= first:
            self.prio_tree_visit(st, child, mask // 2, value + mask, first, last, rwc, found)

    def prio_tree_report(
        self, st: State, node: int, rwc: RmapWalkControl, found: list[int]
    ) -> None:
        """Add a node and all of its set to `found`; vma_prio_tree_next()."""
        found.append(node)
        head = st.vma[node].shared_head
        if head:
            found.append(head)
            vma = st.vma[head].shared_left
            while vma != head and rwc.nodes < rwc.limit:
                rwc.nodes += 1
                found.append(vma)
                vma = st.vma[vma].shared_left

    def nonlinear(self, st: State, mapping: int, rwc: RmapWalkControl) -> list[int]:
        """Return the list of nonlinear VMAs."""
        found: list[int] = []
        vma = st.address_space[mapping].i_mmap_list
        while vma and rwc.nodes < rwc.limit:
            rwc.nodes += 1
            found.append(vma)
            vma = st.vma[vma].shared_left
        return found

    def members(self, st: State, mapping: int) -> list[int]:
        """Return all VMAs of tree and list, each as often as it is contained."""
        rwc = RmapWalkControl()
        found = self.foreach(st, mapping, 0, 2 * HIGHEST, rwc)
        for vma in self.nonlinear(st, mapping, rwc):
            found.append(vma)
        return found


class IMmapPrioTreeAsReleased(IMmapPrioTree):
    """The first form: levels by size start at the highest bit of the start (v2.6.7).

    That bit is index_bits - 1, which changes when the tree grows.
    """

    def size_mask(self, st: State, mapping: int) -> int:
        return top_mask(st, mapping)
