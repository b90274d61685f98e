"""Decisions of the MM core: a scheme overrides each in a line or two, and the machine follows.

The overrides are not correct; what matters is that each is small, and that its effect is seen.
"""

from inspect import isfunction
from pathlib import Path

import attrs
import pytest

from rmapcheck.model import decisions
from rmapcheck.model.machine.errors import ENOMEM
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.state import pte_offset
from rmapcheck.model.machine.structs import PTE_WRITE, PTE_ZERO
from rmapcheck.model.mm.vma import vma_lookup
from rmapcheck.model.operations import (
    Exit,
    Fork,
    Mmap,
    Mprotect,
    Mremap,
    Read,
    Write,
)
from rmapcheck.model.schemes.anon_vma_reuse import AvcCounters, AvcPublish
from rmapcheck.plugins.guard import guarded
from rmapcheck.run import Run
from rmapcheck.search.native.translate import translate

SCOPE = Scope(mms=3, pages=6, vmas=16, folios=12, objects=60, protections=4)
HERE = Path(__file__).read_text(encoding="utf-8")
ELSEWHERE = {"joins_mmlist_first", "swap_mm_moves_on", "fork_copies"}


class Machine(Run):
    """A run that violates what it may, with short names for what tests look at."""

    def __init__(self, scheme):
        super().__init__(scheme, SCOPE)

    def do(self, *ops):
        for op in ops:
            self.apply(op)
        return self.outcome.error

    def vma(self, address, mm=1):
        return self.st.vma[vma_lookup(self.st, mm, address)]

    def pte(self, address, mm=1):
        return self.st.pte[pte_offset(self.st, mm, address)]


def both(own, *ops):
    """Return a machine with the decision as it is, and one with the override, after `ops`.

    The override must be one that a plug-in may have, and must be translated to C.
    """
    assert translate(own, SCOPE).texts
    machines = Machine(own.__bases__[0]), Machine(guarded(own))
    for machine in machines:
        machine.do(*ops)
    return machines


def mapped(start, length=1, prot="rw"):
    return Mmap(mm=1, start=start, length=length, prot=prot)


def write(address, mm=1):
    return Write(mm=mm, address=address)


SHARED_AND_LEFT = (mapped(0), write(0), Fork(mm=1, child=2), Exit(mm=2))


def test_reuse_at_a_write_fault():
    class CopiesAlways(AvcPublish):
        name = "copies-always"

        def is_only_user(self, st, folio):
            return False

    usual, own = both(CopiesAlways, *SHARED_AND_LEFT)
    for machine, reused in ((usual, True), (own, False)):
        before = machine.pte(0).folio
        machine.do(write(0))
        assert (machine.pte(0).folio == before) is reused
        assert machine.pte(0).flags & PTE_WRITE


def test_reuse_of_an_exclusive_page():
    class LooksAlways(AvcPublish):
        name = "looks-always"

        def is_anon_exclusive(self, st, folio):
            return False

    protect = (Mprotect(mm=1, start=0, length=1, prot=prot) for prot in ("r", "rw"))
    usual, own = both(LooksAlways, mapped(0), write(0), *protect, write(0))
    assert "write fault reuses an exclusive page" in usual.outcome.passed
    assert "write fault reuses" in own.outcome.passed


def test_which_entries_fork_copies():
    class LeavesZeroPages(AvcPublish):
        name = "leaves-zero-pages"

        def fork_copies_pte(self, st, pvma, folio, entry):
            return folio != 0 or entry != 0

    usual, own = both(
        LeavesZeroPages, mapped(0, 2), write(0), Read(mm=1, address=1), Fork(mm=1, child=2)
    )
    assert usual.pte(1, mm=2).flags & PTE_ZERO
    assert own.pte(1, mm=2).flags == 0
    assert own.pte(0, mm=2).folio


def test_which_pages_fork_write_protects():
    class LeavesWritable(AvcPublish):
        name = "leaves-writable"

        def fork_write_protects(self, st, pvma, folio):
            return False

    usual, own = both(LeavesWritable, mapped(0), write(0), Fork(mm=1, child=2))
    assert not usual.pte(0, mm=2).flags & PTE_WRITE
    assert own.pte(0, mm=2).flags & PTE_WRITE


THREE = (
    mapped(0),
    mapped(1, prot="rwx"),
    mapped(2),
    write(2),
    Mprotect(mm=1, start=1, length=1, prot="rw"),
)


def test_the_source_of_a_merge():
    class TakesTheMiddle(AvcPublish):
        name = "takes-the-middle"

        def merge_source(self, st, middle, next_):
            return middle

    usual, own = both(TakesTheMiddle, *THREE)
    assert usual.vma(0).vm_end == own.vma(0).vm_end == 3
    assert usual.vma(0).anon_vma
    assert own.vma(0).anon_vma == 0


def test_the_pgoff_of_a_merge():
    class ForgetsToShift(AvcPublish):
        name = "forgets-to-shift"

        def merge_pgoff(self, st, vma, start):
            return st.vma[vma].vm_pgoff

    usual, own = both(ForgetsToShift, mapped(2), write(2), mapped(1))
    assert (usual.vma(1).vm_start, usual.vma(1).vm_pgoff) == (1, 1)
    assert (own.vma(1).vm_start, own.vma(1).vm_pgoff) == (1, 2)


def test_what_a_failing_preallocation_undoes():
    class FindsNoMemory(AvcPublish):
        name = "finds-no-memory"

        def vma_iter_prealloc(self, st):
            return -ENOMEM

    class UndoesNothing(FindsNoMemory):
        name = "undoes-nothing"

        def undo_dup_anon_vma(self, st, dst):
            """Leave the chain to `dst`."""

    usual, own = both(FindsNoMemory, *THREE)
    assert usual.outcome.error == 0
    assert own.outcome.error == -ENOMEM
    assert own.vma(0).vm_end == 1
    assert own.vma(0).anon_vma == 0
    _, keeps = both(UndoesNothing, *THREE)
    assert keeps.vma(0).anon_vma == keeps.vma(2).anon_vma


def test_growth_in_place():
    class GrowsAlone(AvcPublish):
        name = "grows-alone"

        def growth_may_join(self, st, vma):
            return False

    grown = Mremap(mm=1, start=0, length=1, new_length=2)
    usual, own = both(GrowsAlone, mapped(0), mapped(2), grown)
    assert usual.vma(0).vm_end == 3
    assert own.vma(0).vm_end == 2


def test_what_dontunmap_unlinks():
    class KeepsTheChain(AvcPublish):
        name = "keeps-the-chain"

        def dontunmap_unlinks(self, st, vma, start, length):
            return False

    moved = Mremap(mm=1, start=0, length=1, new_length=1, to=3, dontunmap=True)
    usual, own = both(KeepsTheChain, mapped(0), write(0), moved)
    assert usual.vma(0).anon_vma == 0
    assert own.vma(0).anon_vma


def test_where_mprotect_continues():
    class LeavesOneOut(AvcPublish):
        name = "leaves-one-out"

        def mprotect_continues(self, st, mm, stop):
            return stop + 1

    usual, own = both(
        LeavesOneOut,
        mapped(0),
        mapped(1, prot="rwx"),
        Mprotect(mm=1, start=0, length=2, prot="r"),
    )
    assert usual.vma(0).vm_end == 2
    assert own.vma(0).vm_end == 1


# The parts of anon_vma_fork(), of which nobody must copy the whole.


def test_which_anon_vma_a_child_starts_with():
    class KeepsTheParents(AvcPublish):
        name = "keeps-the-parents"

        def fork_shares(self, st, vma, pvma):
            return st.vma[pvma].anon_vma != 0

    usual, own = both(KeepsTheParents, mapped(0), write(0), Fork(mm=1, child=2))
    assert usual.vma(0, mm=2).anon_vma != usual.vma(0).anon_vma
    assert own.vma(0, mm=2).anon_vma == own.vma(0).anon_vma


def test_what_a_fork_without_memory_undoes():
    class UndoesNothing(AvcCounters):
        name = "forks-and-undoes-nothing"

        def undo_fork(self, st, vma):
            """Leave the AVCs behind."""

    fork = Fork(mm=1, child=2)
    usual, _ = both(UndoesNothing, mapped(0), write(0), fork)
    last = attrs.evolve(fork, fail=usual.outcome.allocations)
    for scheme, left in ((AvcCounters, 1), (UndoesNothing, 2)):
        machine = Machine(scheme)
        assert machine.do(mapped(0), write(0), last) == -ENOMEM
        assert machine.st.anon_vma_chain.live == left


def test_how_fork_links_the_anon_vma_of_the_child():
    class CountsNothing(AvcPublish):
        name = "counts-nothing"

        def count_child(self, st, anon_vma):
            """Leave num_children as it is."""

    usual, own = both(CountsNothing, mapped(0), write(0), Fork(mm=1, child=2))
    parent = usual.vma(0).anon_vma
    assert usual.st.anon_vma[parent].num_children == 2
    assert own.st.anon_vma[parent].num_children == 1


@pytest.mark.parametrize("name", [n for n, value in vars(decisions).items() if isfunction(value)])
def test_every_decision_is_overridden_by_a_test(name):
    assert name in ELSEWHERE or f"def {name}(self, st" in HERE
