"""The graph of VMAs and anon_vmas: its two structs, and functions that read the chain of a VMA.

A drawing and an explanation are at the head of anon_vma_chain.py.
"""

from typing import TYPE_CHECKING

import attrs

from rmapcheck.model.machine.heap import num, ref
from rmapcheck.model.machine.scope import LARGEST_FIELD

if TYPE_CHECKING:
    from rmapcheck.model.machine.state import State


@attrs.define(slots=True, eq=False)
class AnonVma:
    """struct anon_vma, linux/rmap.h."""

    head: int = ref("anon_vma_chain")
    """First AVC: list_head (v2.6.34 … v3.6), rb_root (since v3.7); lock of the root"""
    root: int = ref("anon_vma")
    """The oldest anon_vma of the family, whose lock the whole family uses (5c341ee1dfc8,
    v2.6.36)"""
    refcount: int = num(LARGEST_FIELD)
    parent: int = ref("anon_vma")
    """The anon_vma of the VMA from which it was forked (7a3ef208e662, v3.19)"""
    degree: int = num(LARGEST_FIELD)
    """Number of its children, and of VMAs whose own anon_vma it is (v3.19 … v6.0-rc3)"""
    num_children: int = num(LARGEST_FIELD)
    """Number of its children; a root counts itself (2555283eb40d, v6.0-rc4)"""
    num_active_vmas: int = num(LARGEST_FIELD)
    """Number of VMAs whose own anon_vma it is: vma->anon_vma (2555283eb40d, v6.0-rc4)"""


@attrs.define(slots=True, eq=False)
class AnonVmaChain:
    """struct anon_vma_chain, linux/rmap.h: an edge of the graph, one VMA to one anon_vma."""

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
    """Return AVC number `n` of `vma`, counted from the head; the head is number 0."""
    avc = st.vma[vma].anon_vma_chain
    while n:
        avc = st.anon_vma_chain[avc].same_vma
        n -= 1
    return avc


def chain_is_singular(st: "State", vma: int) -> bool:
    """Return whether `vma` has exactly one AVC; list_is_singular(), linux/list.h."""
    avc = st.vma[vma].anon_vma_chain
    return avc != 0 and st.anon_vma_chain[avc].same_vma == 0


def anon_vma_chain_assign(st: "State", vma: int, avc: int, anon_vma: int) -> None:
    """Set VMA and anon_vma of an AVC, and insert it at the head of the VMA's list."""
    c = st.anon_vma_chain[avc]
    c.vma = vma
    c.anon_vma = anon_vma
    c.same_vma = st.vma[vma].anon_vma_chain
    st.vma[vma].anon_vma_chain = avc
