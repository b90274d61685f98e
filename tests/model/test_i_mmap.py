"""i_mmap as prio_tree and as interval tree agrees with brute force, after any history."""

from random import Random

import pytest

from rmapcheck.model.i_mmap.interval_tree import IMmapIntervalTree
from rmapcheck.model.i_mmap.prio_tree import IMmapPrioTree
from rmapcheck.model.i_mmap.radix import heap_index, max_index, top_mask
from rmapcheck.model.machine.errors import KernelOops
from rmapcheck.model.machine.scope import Scope
from tests.model.boxes import CONTAINERS, Box


def queries_agree(box, rng):
    first = rng.randrange(32)
    last = rng.randrange(first, 32)
    found = box.query(first, last)
    if box.container is IMmapIntervalTree:
        assert found == box.overlapping(first, last)
    else:
        assert sorted(found) == sorted(box.overlapping(first, last))
        assert found == kernel_order(box.st, first, last)


# The iteration as in mm/prio_tree.c: without recursion, but with a mask and a value.


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


def random_step(box, rng, limit=12):
    """Take a random step: add a VMA, add one beside an equal one (as fork does), or remove one."""
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
            random_step(box, rng)
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
    """Return the shape of the container, without the numbers of its VMAs."""
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


def test_an_end_before_the_start_is_a_bug_of_the_kernel():
    """mremap() that wraps vm_pgoff (982134ba6261): the BUG_ONs of fork find it, if not before."""
    box = Box(IMmapPrioTree)
    vma = box.insert(4, 6)
    box.st.vma[vma].vm_end = 0
    assert heap_index(box.st, vma) < box.start(vma)
    with pytest.raises(KernelOops, match="kernel_bug"):
        box.insert(4, 6, beside=vma)


def test_the_tree_never_shrinks_unless_it_is_empty():
    box = Box(IMmapPrioTree)
    small, large = box.insert(0, 0), box.insert(0, 31)
    assert max_index(box.st, 1) == 31
    box.remove(large)
    assert max_index(box.st, 1) == 31
    box.remove(small)
    assert max_index(box.st, 1) == 1
