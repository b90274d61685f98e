"""i_mmap as prio_tree and as interval tree: against brute force, whatever went before."""

from bisect import bisect_right
from random import Random

import pytest

from rmapcheck.invariants.registry import INVARIANTS
from rmapcheck.model.i_mmap.interval_tree import IMmapIntervalTree
from rmapcheck.model.i_mmap.prio_tree import IMmapPrioTree, IMmapPrioTreeAsReleased
from rmapcheck.model.i_mmap.radix import heap_index, init_node, max_index, top_mask
from rmapcheck.model.kernel import Kernel
from rmapcheck.model.machine.errors import KernelOops
from rmapcheck.model.machine.heap import kmem_cache_alloc, kmem_cache_free
from rmapcheck.model.machine.locks import I_MMAP_LOCK, acquire
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.structs import RmapWalkControl
from rmapcheck.model.scheme import Scheme

LARGE = Scope(mms=1, pages=32, vmas=14, files=1, file_pages=32)
CONTAINERS = (IMmapPrioTree, IMmapIntervalTree)


def scheme_with(container):
    body = {"name": f"boxed-{container.__name__}", "maps_files": True, "i_mmap": container()}
    return type("Boxed", (Scheme,), body)


class Box:
    """One file's i_mmap, and a history of VMAs that come and go."""

    def __init__(self, container, scope=LARGE):
        self.container = container
        self.scheme = scheme_with(container)()
        self.st = Kernel(scope, self.scheme)
        acquire(self.st, I_MMAP_LOCK, 1)
        self.order = []

    def insert(self, first, last, beside=0):
        st = self.st
        vma = kmem_cache_alloc(st, st.vma)
        v = st.vma[vma]
        v.vm_file = 1
        v.vm_pgoff = first
        v.vm_end = last - first + 1
        self.scheme.i_mmap.insert(st, 1, vma, beside)
        if beside:
            self.order.insert(self.order.index(beside) + 1, vma)
        else:
            self.order.insert(bisect_right(self.order, first, key=self.start), vma)
        return vma

    def start(self, vma):
        return self.st.vma[vma].vm_pgoff

    def remove(self, vma):
        self.order.remove(vma)
        self.scheme.i_mmap.remove(self.st, 1, vma)
        kmem_cache_free(self.st, self.st.vma, vma)
        self.st.freed.clear()

    def query(self, first, last):
        return self.scheme.i_mmap.foreach(self.st, 1, first, last, RmapWalkControl())

    def overlapping(self, first, last):
        """Return what a query must find, in order of start and arrival."""
        return [v for v in self.order if self.start(v) <= last and heap_index(self.st, v) >= first]

    def broken(self):
        """Return what the container's invariants say."""
        names = ("i_mmap_members", *self.scheme.i_mmap.invariants)
        found = ((name, next(INVARIANTS[name].state(self.st), None)) for name in names)
        return {name: str(violation) for name, violation in found if violation}


def queries_agree(box, rng):
    first = rng.randrange(32)
    last = rng.randrange(first, 32)
    found = box.query(first, last)
    if box.container is IMmapIntervalTree:
        assert found == box.overlapping(first, last)
    else:
        assert sorted(found) == sorted(box.overlapping(first, last))
        assert found == kernel_order(box.st, first, last)


# The iteration as mm/prio_tree.c has it: no recursion, but a mask and a value that go along.


class Iterator:
    def __init__(self, st, first, last):
        self.st, self.first, self.last = st, first, last
        self.cur = st.address_space[1].i_mmap_node
        self.mask, self.value, self.level = top_mask(st, 1), 0, 0

    def deeper(self):
        self.mask //= 2
        if self.mask:
            self.level += self.level > 0
        else:
            self.mask, self.level = (1 << 7, 1) if not self.level else (1 << 99, self.level + 1)

    def left(self):
        child = self.st.vma[self.cur].shared_left
        if child == self.cur or self.first > heap_index(self.st, child):
            return False
        self.cur = child
        self.deeper()
        return True

    def right(self):
        child = self.st.vma[self.cur].shared_right
        value = self.value if self.level else self.value | self.mask
        if child == self.cur or self.last < value or self.first > heap_index(self.st, child):
            return False
        self.cur, self.value = child, value
        self.deeper()
        return True

    def up(self):
        self.cur = self.st.vma[self.cur].shared_parent
        self.mask = 1 if self.mask == 1 << 99 or self.level == 1 else self.mask * 2
        self.level -= self.level > 0
        if not self.level and self.value & self.mask:
            self.value ^= self.mask

    def at_root(self):
        return self.st.vma[self.cur].shared_parent == self.cur

    def is_right(self):
        return self.st.vma[self.st.vma[self.cur].shared_parent].shared_right == self.cur

    def next_node(self):
        if self.left() or self.right():
            return True
        while True:
            while not self.at_root() and self.is_right():
                self.up()
            if self.at_root():
                return False
            self.up()
            if self.right():
                return True


def kernel_order(st, first, last):
    it = Iterator(st, first, last)
    if it.cur == 0 or first > heap_index(st, it.cur):
        return []
    found = []
    more = True
    while more:
        v = st.vma[it.cur]
        if v.vm_pgoff <= last:
            found.append(it.cur)
            vma = v.shared_head
            while vma and vma not in found:
                found.append(vma)
                vma = st.vma[vma].shared_left
        more = it.next_node()
    return found


# Histories.


def live(box, rng, limit=12):
    """Take one random step: a VMA comes, comes beside its parent's, or goes."""
    if box.order and (rng.random() < 0.4 or len(box.order) >= limit):
        box.remove(rng.choice(box.order))
    elif box.order and rng.random() < 0.3:
        old = rng.choice(box.order)
        box.insert(box.start(old), heap_index(box.st, old), beside=old)
    else:
        first = rng.choice((rng.randrange(4), rng.randrange(32)))
        box.insert(first, rng.randrange(first, min(32, first + rng.choice((2, 8, 32)))))


def random_histories(container, number, steps=24, seed=0):
    rng = Random(seed)
    for _ in range(number):
        box = Box(container)
        for _ in range(steps):
            live(box, rng)
            queries_agree(box, rng)
        assert box.broken() == {}


@pytest.mark.parametrize("container", CONTAINERS)
def test_random_histories_agree_with_brute_force(container):
    random_histories(container, 300, steps=12)


@pytest.mark.nightly
@pytest.mark.parametrize("container", CONTAINERS)
def test_20000_random_histories_agree_with_brute_force(container):
    random_histories(container, 20_000, steps=12, seed=1)


def shape(box):
    """Return what the container looks like, whatever the numbers of the VMAs."""
    st = box.st
    if box.container is IMmapIntervalTree:
        return tuple((box.start(v), heap_index(st, v)) for v in box.order)

    def below(node):
        v = st.vma[node]
        left = below(v.shared_left) if v.shared_left != node else None
        right = below(v.shared_right) if v.shared_right != node else None
        equal = sum(heap_index(st, o) == heap_index(st, node) and box.start(o) == v.vm_pgoff
                    for o in box.order)  # fmt: skip
        return (v.vm_pgoff, heap_index(st, node), equal, left, right)

    root = st.address_space[1].i_mmap_node
    return (st.address_space[1].index_bits, below(root) if root else None)


def every_history(container, pages, length):
    """Search all histories of `length` inserts and removes of intervals in `pages` pages."""
    box = Box(container, Scope(mms=1, pages=8, vmas=length, files=1, file_pages=pages))
    raw = box.st.layout.encode_raw(box.st)
    seen = {shape(box)}
    level = [(raw, ())]
    steps = [(a, b) for a in range(pages) for b in range(a, pages)]
    for _ in range(length):
        following = []
        for raw, order in level:
            for step in (*steps, *order):
                box.st.layout.load_raw(box.st, raw)
                box.order = list(order)
                if isinstance(step, tuple):
                    box.insert(*step)
                else:
                    box.remove(step)
                form = shape(box)
                if form not in seen:
                    seen.add(form)
                    assert box.broken() == {}
                    following.append((box.st.layout.encode_raw(box.st), tuple(box.order)))
        level = following
    return len(seen)


@pytest.mark.parametrize(
    ("container", "shapes"), [(IMmapPrioTree, 1771), (IMmapIntervalTree, 13744)]
)
def test_every_history_of_seven_steps(container, shapes):
    assert every_history(container, 3, 7) == shapes


@pytest.mark.nightly
@pytest.mark.parametrize("container", CONTAINERS)
def test_every_history_over_four_pages(container):
    assert every_history(container, 4, 7) > 1_000


# Faults: each is found by the invariant that it is for.


class Faulty(IMmapPrioTree):
    """Base of the faults, for `type`."""


class KeepsBits(Faulty):
    """index_bits stays, however far a VMA reaches."""

    breaks = "prio_tree_bits"

    def prio_tree_expand(self, st, mapping, node):
        if st.address_space[mapping].i_mmap_node == 0:
            super().prio_tree_expand(st, mapping, node)
            return
        bits = st.address_space[mapping].index_bits
        super().prio_tree_expand(st, mapping, node)
        st.address_space[mapping].index_bits = bits


class HeapBroken(Faulty):
    """A node goes below whatever is there."""

    breaks = "prio_tree_heap"

    def prio_tree_before(self, st, node, cur):
        return False


class WrongSide(IMmapPrioTreeAsReleased, Faulty):
    """The tree grows, and the bits of the size change places."""

    breaks = "prio_tree_sides"


class TwoNodes(Faulty):
    """An interval that is there already gets a node of its own, at the far left."""

    breaks = "prio_tree_unique"

    def vma_prio_tree_add(self, st, vma, old):
        at = st.address_space[1].i_mmap_node
        while st.vma[at].shared_left != at:
            at = st.vma[at].shared_left
        init_node(st, vma)
        st.vma[at].shared_left = vma
        st.vma[vma].shared_parent = at


class HeadKept(Faulty):
    """The head of a set goes, and the node still names it."""

    breaks = "vm_set_linked"

    def take_head(self, st, head):
        following = super().take_head(st, head)
        return head if following else 0


class RightPruned(Faulty):
    """The iterator's prefix has a bit too many, as one whose mask went wrong (2004-04-04)."""

    breaks = "i_mmap_query"

    def prio_tree_visit(self, st, node, mask, value, first, last, rwc, found):
        super().prio_tree_visit(st, node, mask, value | mask, first, last, rwc, found)


class NotRemoved(Faulty):
    """The node of a set goes, and its head does not take its place."""

    breaks = "i_mmap_members"

    def prio_tree_replace(self, st, mapping, old, node):
        if st.vma[old].shared_head == node:
            self.prio_tree_remove(st, mapping, old)
        else:
            super().prio_tree_replace(st, mapping, old, node)


class NewestFirst(IMmapIntervalTree):
    """An insertion that looks at the ends."""

    breaks = "interval_tree_order"

    def starts_by(self, st, at, vma):
        return heap_index(st, at) <= heap_index(st, vma)


FAULTS = (
    KeepsBits,
    HeapBroken,
    TwoNodes,
    HeadKept,
    RightPruned,
    NotRemoved,
    NewestFirst,
)


def comes_to_light(container, seed):
    """Return what the invariants say of the first history in which they say anything."""
    rng = Random(seed)
    for _ in range(100):
        box = Box(container)
        for _step in range(14):
            try:
                live_from_zero(box, rng)
                found = box.broken()
            except KernelOops as oops:
                found = {oops.kind: str(oops)}
            if found:
                return found
    return {}


def live_from_zero(box, rng):
    """As `live`, with many VMAs that start at the same page, to get at the levels of the size."""
    if len(box.order) >= 12 or (box.order and rng.random() < 0.15):
        box.remove(rng.choice(box.order))
    elif box.order and rng.random() < 0.3:
        old = rng.choice(box.order)
        box.insert(box.start(old), heap_index(box.st, old), beside=old)
    else:
        first = rng.choice((0, 0, 0, 1, 6))
        box.insert(
            first, rng.choice((first, 7, rng.randrange(first, 8), rng.randrange(first, 32)))
        )


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault):
    found = {}
    for seed in range(3):
        found |= comes_to_light(fault, seed)
        if fault.breaks in found:
            return
    pytest.fail(f"{fault.breaks} is silent, {found}")


def test_no_fault_is_found_where_there_is_none():
    for container in CONTAINERS:
        assert comes_to_light(container, 0) == {}


def test_the_tree_as_released_loses_its_order_when_it_grows():
    box = Box(WrongSide)
    for last in (7, 6, 5, 4, 3, 2):
        box.insert(0, last)
    assert box.broken() == {}
    box.insert(0, 15)
    assert set(box.broken()) == {"prio_tree_sides"}
    sound = Box(IMmapPrioTree)
    for last in (7, 6, 5, 4, 3, 2, 15):
        sound.insert(0, last)
    assert sound.broken() == {}


def test_an_end_before_the_start_is_a_bug_of_the_kernel():
    """mremap() that wraps vm_pgoff (982134ba6261): the BUG_ONs of fork find it, if not before."""
    box = Box(IMmapPrioTree)
    vma = box.insert(4, 6)
    box.st.vma[vma].vm_end = 0
    assert heap_index(box.st, vma) < box.start(vma)
    with pytest.raises(KernelOops, match="kernel_bug"):
        box.insert(4, 6, beside=vma)


def test_the_tree_never_shrinks_but_when_it_is_empty():
    box = Box(IMmapPrioTree)
    small, large = box.insert(0, 0), box.insert(0, 31)
    assert max_index(box.st, 1) == 31
    box.remove(large)
    assert max_index(box.st, 1) == 31
    box.remove(small)
    assert max_index(box.st, 1) == 1
