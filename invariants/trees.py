"""i_mmap as a prio_tree (v2.6.7 … v3.6) or an interval tree (v3.7 …): is it well formed?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rmapcheck.invariants.registry import Violation, invariant
from rmapcheck.model.i_mmap.radix import heap_index, max_index, radix_index, top_mask
from rmapcheck.model.machine.structs import RmapWalkControl

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel


def nodes_of(st: "Kernel", mapping: int) -> list[int]:
    """Return the nodes of a prio_tree, each once, parents before children."""
    found: list[int] = []
    if st.address_space[mapping].i_mmap_node:
        found.append(st.address_space[mapping].i_mmap_node)
    at = 0
    while at < len(found):
        v = st.vma[found[at]]
        if v.shared_left and v.shared_left not in found:
            found.append(v.shared_left)
        if v.shared_right and v.shared_right not in found:
            found.append(v.shared_right)
        at += 1
    return found


def set_of(st: "Kernel", node: int) -> list[int]:
    """Return the VMAs in the set of a node, beginning with the head."""
    found: list[int] = []
    vma = st.vma[node].shared_head
    while vma and vma not in found:
        found.append(vma)
        vma = st.vma[vma].shared_left
    return found


def interval(st: "Kernel", vma: int) -> str:
    """Return the pages of the file that a VMA maps, as in "2 … 5"."""
    return f"{radix_index(st, vma)} … {heap_index(st, vma)}"


def depth_of(st: "Kernel", node: int) -> int:
    """Return how many nodes are above `node`."""
    depth = 0
    while st.vma[node].shared_parent != node and depth <= st.scope.vmas:
        node = st.vma[node].shared_parent
        depth += 1
    return depth


@invariant(
    "files#prio-heap",
    relies="prio_tree_next() skips a subtree whose root ends too early",
)
def prio_tree_heap(st: "Kernel") -> Iterator[Violation]:
    """A node of a prio_tree ends before its parent, or ends with it and starts later."""
    if not st.scope.files:
        return
    for mapping in st.address_space.indices():
        for node in nodes_of(st, mapping):
            parent = st.vma[node].shared_parent
            if parent == node:
                continue
            a = heap_index(st, node)
            b = heap_index(st, parent)
            if a > b or (a == b and radix_index(st, node) <= radix_index(st, parent)):
                yield Violation(
                    f"v be VMA {node} of pages {interval(st, node)}, child of VMA {parent}",
                    "v must end before its parent, or with it and start later",
                    f"the parent has pages {interval(st, parent)}",
                    (("vma", node), ("vma", parent)),
                )


@invariant(
    "files#prio-sides",
    relies=("prio_tree_insert() and prio_tree_next() choose the side by one bit of the start"),
)
def prio_tree_sides(st: "Kernel") -> Iterator[Violation]:
    """A node is to the right of a node above it if the bit for that depth is set, else left."""
    if not st.scope.files:
        return
    for mapping in st.address_space.indices():
        for node in nodes_of(st, mapping):
            depth = depth_of(st, node)
            below = node
            while depth:
                depth -= 1
                above = st.vma[below].shared_parent
                right = st.vma[above].shared_right == below
                if right != bit_at(st, mapping, node, depth):
                    yield Violation(
                        f"v be VMA {node} of pages {interval(st, node)}, below VMA {above}",
                        f"v must be {'left' if right else 'right'} of it, by a bit of its start "
                        "or size",
                        "it is on the other side",
                        (("vma", node), ("vma", above)),
                    )
                below = above


def bit_at(st: "Kernel", mapping: int, node: int, depth: int) -> bool:
    """Return the bit of a node's start or size that decides the side below depth `depth`."""
    mask = top_mask(st, mapping)
    index = radix_index(st, node)
    while depth:
        mask //= 2
        depth -= 1
        if mask == 0:
            mask = st.scheme.i_mmap.size_mask(st, mapping)
            index = heap_index(st, node) - radix_index(st, node)
    return index & mask != 0


@invariant(
    "files#prio-bits",
    relies="prio_tree_insert() expands the tree by index_bits when a VMA ends further",
)
def prio_tree_bits(st: "Kernel") -> Iterator[Violation]:
    """No node of a prio_tree ends beyond the last page that its index_bits can represent."""
    if not st.scope.files:
        return
    for mapping in st.address_space.indices():
        for node in nodes_of(st, mapping):
            if heap_index(st, node) > max_index(st, mapping):
                yield Violation(
                    f"v be VMA {node} of pages {interval(st, node)}, in a tree",
                    f"v must end at {max_index(st, mapping)} at most",
                    "it ends later",
                    (("vma", node),),
                )


@invariant(
    "files#prio-unique",
    relies=("vma_prio_tree_insert() puts a VMA with an equal interval into the set of the node"),
)
def prio_tree_unique(st: "Kernel") -> Iterator[Violation]:
    """No two nodes of a prio_tree have the same interval."""
    if not st.scope.files:
        return
    for mapping in st.address_space.indices():
        nodes = nodes_of(st, mapping)
        for i, node in enumerate(nodes):
            for other in nodes[:i]:
                if radix_index(st, node) == radix_index(st, other) and heap_index(
                    st, node
                ) == heap_index(st, other):
                    yield Violation(
                        f"v and w be the nodes {other} and {node}, of pages {interval(st, node)}",
                        "one must be in the set of the other",
                        "both are nodes",
                        (("vma", other), ("vma", node)),
                    )


@invariant(
    "files#vm-set",
    relies="vma_prio_tree_remove() replaces a node by the head of its set",
)
def vm_set_linked(st: "Kernel") -> Iterator[Violation]:
    """A node and the head of its set point to each other; all VMAs of a set have one interval."""
    if not st.scope.files:
        return
    for mapping in st.address_space.indices():
        for node in nodes_of(st, mapping):
            head = st.vma[node].shared_head
            for vma in set_of(st, node):
                v = st.vma[vma]
                same = radix_index(st, vma) == radix_index(st, node)
                same = same and heap_index(st, vma) == heap_index(st, node)
                back = v.shared_head == (node if vma == head else 0)
                if not same or not back or v.shared_parent:
                    yield Violation(
                        f"v be VMA {vma} in the set of VMA {node}, of pages {interval(st, node)}",
                        "v must have these pages, no parent, and as head point to the node",
                        f"it has pages {interval(st, vma)}, parent {v.shared_parent} and points "
                        f"to {v.shared_head}",
                        (("vma", node), ("vma", vma)),
                    )


@invariant(
    "files#query",
    relies="try_to_unmap_file() and unmap_mapping_range() visit what the query finds",
)
def i_mmap_query(st: "Kernel") -> Iterator[Violation]:
    """A query for one offset finds each linear VMA that covers it, once, and no other."""
    if not st.scope.files:
        return
    for mapping in st.address_space.indices():
        for index in range(st.scope.offsets):
            rwc = RmapWalkControl()
            found = st.scheme.i_mmap.foreach(st, mapping, index, index, rwc)
            wanted = [v for v in st.vma.indices() if covers(st, mapping, v, index)]
            linear = [v for v in found if not st.vma[v].vm_nonlinear]
            if sorted(linear) != wanted:
                yield Violation(
                    f"q be a query of file {mapping} for page {index}, which VMAs {wanted} cover",
                    "q must find exactly these, each once",
                    f"it finds {linear}",
                    (("address_space", mapping),),
                )


def covers(st: "Kernel", mapping: int, vma: int, index: int) -> bool:
    """Return whether `vma` is a linear VMA of the file and maps its page `index`."""
    v = st.vma[vma]
    linear = v.vm_file == mapping and not v.vm_nonlinear
    return linear and radix_index(st, vma) <= index <= heap_index(st, vma)


@invariant(
    "files#interval-order, mm/interval_tree.c, v3.7",
    relies="the interval tree is searched by the start of each VMA",
)
def interval_tree_order(st: "Kernel") -> Iterator[Violation]:
    """The VMAs of an interval tree are ordered by their start."""
    if not st.scope.files:
        return
    for mapping in st.address_space.indices():
        vma = st.address_space[mapping].i_mmap_node
        seen = 0
        while vma and seen < st.scope.vmas:
            following = st.vma[vma].shared
            seen += 1
            if following and radix_index(st, following) < radix_index(st, vma):
                yield Violation(
                    f"v be VMA {vma} of pages {interval(st, vma)}, before VMA {following}",
                    f"v must not start later than VMA {following}",
                    f"VMA {following} has pages {interval(st, following)}",
                    (("vma", vma), ("vma", following)),
                )
            vma = following
