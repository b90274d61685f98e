"""prio_tree: the VMAs of a file in a radix priority search tree (v2.6.7 … v3.6).

With a plain list, the search for a page of a file visits every VMA of the file. Oracle mapped one
shared segment through 16,000 windows, and reclaim came to a standstill. Rajesh Venkatasubramanian
used Edward McCreight's tree to find the VMAs that cover one offset. It stores intervals [radix,
heap], here vm_pgoff and the last page. It is in heap order by their end, and a radix tree by their
start::

    index_bits 3                 [0,7]                      no child ends later than its parent
                       0·· ┌──────┴──────┐ 1··              level by level one bit of the start,
                         [1,6]         [4,7]                from the highest of index_bits
                    00· ┌──┴──┐ 01·
                      [0,4]  [2,5] ── vm_set ── [2,5] [2,5] equal intervals in a list beside

After the last bit of the start, the bits of the size, heap - radix, decide. A query enters a
subtree only if some end in it can reach the first offset (heap order) and some start can be at or
before the last offset (radix prefix). If a VMA ends at an offset that needs more bits than
index_bits, the tree grows by one level for each bit.

The fields are a union, as in the kernel: left and right of a tree node are next and prev in a
list. parent and head tell which of the four kinds a VMA is::

    parent  head
    set     0       a node, alone with its interval       left, right, parent of a node without
    set     set     a node; head is first of its equals   are the node itself (INIT_PRIO_TREE_NODE)
    0       set     that first one; head leads back
    0       0       any other in the list, or nonlinear

As released, the levels by size started with bit index_bits - 1, a bug. Since v2.6.10 they start
with the highest bit of a long, which has eight bits here. Left out: i_mmap_writable; trees of
other users (raw prio_tree).

Sources: mm/prio_tree.c of v2.6.7, read whole: verified; lib/prio_tree.c since v2.6.11: recalled.
"""

from typing import TYPE_CHECKING

from rmapcheck.model.i_mmap.list import IMmap

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State

HIGHEST = 128
"""The highest bit of a size: BITS_PER_LONG of the model is 8."""


def radix_index(st: "State", vma: int) -> int:
    """Return the first page of the file that `vma` maps; RADIX_INDEX()."""
    return st.vma[vma].vm_pgoff


def heap_index(st: "State", vma: int) -> int:
    """Return the last page of the file that `vma` maps; HEAP_INDEX()."""
    v = st.vma[vma]
    return v.vm_pgoff + v.vm_end - v.vm_start - 1


def left_empty(st: "State", node: int) -> bool:
    """Return whether a node has no left child; prio_tree_left_empty(), linux/prio_tree.h."""
    return st.vma[node].shared_left == node


def right_empty(st: "State", node: int) -> bool:
    """Return whether a node has no right child; prio_tree_right_empty(), linux/prio_tree.h."""
    return st.vma[node].shared_right == node


def init_node(st: "State", node: int) -> None:
    """Make a node without parent and children; INIT_PRIO_TREE_NODE(), linux/prio_tree.h."""
    v = st.vma[node]
    v.shared_left = node
    v.shared_right = node
    v.shared_parent = node


def top_mask(st: "State", mapping: int) -> int:
    """Return 1 << (index_bits - 1)."""
    mask = 1
    for _ in range(st.address_space[mapping].index_bits):
        mask *= 2
    return mask


def max_index(st: "State", mapping: int) -> int:
    """Return the last page for which the tree has enough bits; prio_tree_maxindex()."""
    return top_mask(st, mapping) * 2 - 1


class PrioTree(IMmap):
    """struct prio_tree_root and its nodes."""

    def size_mask(self, st: "State", mapping: int) -> int:
        """Return the first bit of the size that decides, after all bits of the start."""
        return HIGHEST

    def prio_tree_expand(self, st: "State", mapping: int, node: int) -> None:
        """Make the tree higher, with `node`, which ends after all others, as its root.

        For each new bit the root of the old tree is moved into a chain of left children below
        `node`. So the rest of the old tree comes to the level of its bits; prio_tree_expand().
        """
        root = st.address_space[mapping]
        first = 0
        last = node
        if heap_index(st, node) > max_index(st, mapping):
            root.index_bits += 1
        while heap_index(st, node) > max_index(st, mapping):
            root.index_bits += 1
            if root.i_mmap_node == 0:
                continue
            moved = root.i_mmap_node
            self.prio_tree_remove(st, mapping, moved)
            init_node(st, moved)
            # The removed roots form a chain of left children below `node`.
            if first == 0:
                first = moved
            else:
                st.vma[last].shared_left = moved
                st.vma[moved].shared_parent = last
            last = moved
        init_node(st, node)
        if first:
            st.vma[node].shared_left = first
            st.vma[first].shared_parent = node
        # The rest of the old tree follows at the end of that chain.
        if root.i_mmap_node:
            st.vma[last].shared_left = root.i_mmap_node
            st.vma[root.i_mmap_node].shared_parent = last
        root.i_mmap_node = node

    def prio_tree_replace(self, st: "State", mapping: int, old: int, node: int) -> None:
        """Put `node` in the place of `old` in the tree; prio_tree_replace()."""
        init_node(st, node)
        o = st.vma[old]
        n = st.vma[node]
        if o.shared_parent == old:
            st.address_space[mapping].i_mmap_node = node
        else:
            n.shared_parent = o.shared_parent
            if st.vma[o.shared_parent].shared_left == old:
                st.vma[o.shared_parent].shared_left = node
            else:
                st.vma[o.shared_parent].shared_right = node
        if o.shared_left != old:
            n.shared_left = o.shared_left
            st.vma[o.shared_left].shared_parent = node
        if o.shared_right != old:
            n.shared_right = o.shared_right
            st.vma[o.shared_right].shared_parent = node

    def prio_tree_before(self, st: "State", node: int, cur: int) -> bool:
        """Return whether `node` is above `cur` in heap order: it ends later, or starts first."""
        a = heap_index(st, node)
        b = heap_index(st, cur)
        return b < a or (b == a and radix_index(st, cur) > radix_index(st, node))

    def prio_tree_insert(self, st: "State", mapping: int, node: int) -> int:
        """Insert `node`, or return the node that has its interval; prio_tree_insert().

        On the way down, a node over which the inserted node takes precedence is replaced by it,
        and is then inserted further down.
        """
        inserted = node
        cur = st.address_space[mapping].i_mmap_node
        # `node` ends at an offset that needs more bits than the tree has.
        if cur == 0 or heap_index(st, node) > max_index(st, mapping):
            self.prio_tree_expand(st, mapping, node)
            return node
        mask = top_mask(st, mapping)
        by_size = False
        while True:
            if radix_index(st, cur) == radix_index(st, node):
                if heap_index(st, cur) == heap_index(st, node):
                    return cur
            # Heap order by the end: `node` takes this place, and `cur` is inserted further down.
            if self.prio_tree_before(st, node, cur):
                self.prio_tree_replace(st, mapping, cur, node)
                displaced = cur
                cur = node
                node = displaced
            index = radix_index(st, node)
            if by_size:
                index = heap_index(st, node) - index
            # Radix tree by the start: the bit of this level decides.
            if index & mask:
                if right_empty(st, cur):
                    init_node(st, node)
                    st.vma[cur].shared_right = node
                    st.vma[node].shared_parent = cur
                    return inserted
                cur = st.vma[cur].shared_right
            else:
                if left_empty(st, cur):
                    init_node(st, node)
                    st.vma[cur].shared_left = node
                    st.vma[node].shared_parent = cur
                    return inserted
                cur = st.vma[cur].shared_left
            # After the last bit of the start, continue with the bits of the size.
            mask //= 2
            if mask == 0:
                mask = self.size_mask(st, mapping)
                by_size = True

    def larger_child(self, st: "State", cur: int) -> int:
        """Return the child that ends later (the left one if both end alike), or 0."""
        if left_empty(st, cur):
            return 0 if right_empty(st, cur) else st.vma[cur].shared_right
        left = st.vma[cur].shared_left
        if right_empty(st, cur):
            return left
        right = st.vma[cur].shared_right
        return left if heap_index(st, left) >= heap_index(st, right) else right

    def prio_tree_remove(self, st: "State", mapping: int, node: int) -> None:
        """Remove `node`: a path of nodes below it moves up by one; prio_tree_remove()."""
        cur = node
        while self.larger_child(st, cur):
            cur = self.larger_child(st, cur)
        parent = st.vma[cur].shared_parent
        if parent == cur:
            st.address_space[mapping].i_mmap_node = 0
            st.address_space[mapping].index_bits = 0
            return
        if st.vma[parent].shared_right == cur:
            st.vma[parent].shared_right = parent
        else:
            st.vma[parent].shared_left = parent
        while cur != node:
            above = st.vma[cur].shared_parent
            self.prio_tree_replace(st, mapping, above, cur)
            cur = above
