"""Faults in i_mmap, each of which is found by one of its invariants."""

from random import Random

import pytest

from rmapcheck.model.i_mmap.interval_tree import IMmapIntervalTree
from rmapcheck.model.i_mmap.prio_tree import IMmapPrioTree, IMmapPrioTreeAsReleased
from rmapcheck.model.i_mmap.radix import heap_index, init_node
from rmapcheck.model.machine.errors import KernelOops
from tests.model.boxes import CONTAINERS, Box


class Faulty(IMmapPrioTree):
    """Base class of the faults."""


class KeepsBits(Faulty):
    """index_bits never grows, even if a VMA ends beyond it."""

    breaks = "prio_tree_bits"

    def prio_tree_expand(self, st, mapping, node):
        if st.address_space[mapping].i_mmap_node == 0:
            super().prio_tree_expand(st, mapping, node)
            return
        bits = st.address_space[mapping].index_bits
        super().prio_tree_expand(st, mapping, node)
        st.address_space[mapping].index_bits = bits


class HeapBroken(Faulty):
    """A new node never takes the place of another one, also if it ends later."""

    breaks = "prio_tree_heap"

    def prio_tree_before(self, st, node, cur):
        return False


class WrongSide(IMmapPrioTreeAsReleased, Faulty):
    """As released: when the tree grows, nodes are on the wrong side by the bits of their size."""

    breaks = "prio_tree_sides"


class TwoNodes(Faulty):
    """A VMA with the interval of another one becomes a second node, at the far left."""

    breaks = "prio_tree_unique"

    def vma_prio_tree_add(self, st, vma, old):
        at = st.address_space[1].i_mmap_node
        while st.vma[at].shared_left != at:
            at = st.vma[at].shared_left
        init_node(st, vma)
        st.vma[at].shared_left = vma
        st.vma[vma].shared_parent = at


class HeadKept(Faulty):
    """When the head of a set is removed, the node still points to it."""

    breaks = "vm_set_linked"

    def take_head(self, st, head):
        following = super().take_head(st, head)
        return head if following else 0


class RightPruned(Faulty):
    """The prefix of the iterator has a wrong bit set, as in a bug of 2004-04-04."""

    breaks = "i_mmap_query"

    def prio_tree_visit(self, st, node, mask, value, first, last, rwc, found):
        super().prio_tree_visit(st, node, mask, value | mask, first, last, rwc, found)


class NotRemoved(Faulty):
    """When the node of a set is removed, the head does not take its place."""

    breaks = "i_mmap_members"

    def prio_tree_replace(self, st, mapping, old, node):
        if st.vma[old].shared_head == node:
            self.prio_tree_remove(st, mapping, old)
        else:
            super().prio_tree_replace(st, mapping, old, node)


class NewestFirst(IMmapIntervalTree):
    """An insertion compares the ends of VMAs, not their starts."""

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


def violations_of(container, seed):
    """Return the first violations in 100 random histories; nothing if there are none."""
    rng = Random(seed)
    for _ in range(100):
        box = Box(container)
        for _step in range(14):
            try:
                random_step(box, rng)
                found = box.broken()
            except KernelOops as oops:
                found = {oops.kind: str(oops)}
            if found:
                return found
    return {}


def random_step(box, rng):
    """Take a random step with many VMAs of the same start: then sizes decide the sides."""
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
        found |= violations_of(fault, seed)
        if fault.breaks in found:
            return
    pytest.fail(f"{fault.breaks} is silent, {found}")


def test_no_fault_is_found_where_there_is_none():
    for container in CONTAINERS:
        assert violations_of(container, 0) == {}


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
