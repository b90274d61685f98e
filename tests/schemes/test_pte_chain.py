"""The eras of pte_chain: each rule has a fault that breaks it."""

import pytest

from rmapcheck.explore import explore
from rmapcheck.model.bugs.early import AllocatesUnderLocks, DupMmapTree
from rmapcheck.model.machine.locks import PTL, acquire, release
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Exit, FolioReferenced, Fork, Mmap, Write
from rmapcheck.model.schemes.pte_chain import (
    NRPTE,
    PteChainArray,
    PteChainChunks,
    PteChainList,
    PteChainSupplied,
    with_line,
)
from rmapcheck.model.schemes.pte_chain_list import PteChainMinimal
from rmapcheck.run import Run
from rmapcheck.verdict import Status
from tests import pins

AGED = {"mms": 3, "pages": 1, "young": True, "ops": ("mmap", "fault", "fork", "referenced")}


@pytest.mark.pinned
@pins.each("four processes, long chunks")
def test_a_longer_cache_line_changes_no_number_of_states(pin, pinned):
    found = explore(with_line(PteChainArray, 7), pin.scope)
    assert (found.verdict.status, found.verdict.how) == (Status.HOLDS, "exhaustive")
    pinned.check(pin, pins.numbers_of(found))


@pytest.mark.parametrize("scheme", [PteChainMinimal, PteChainList, PteChainChunks])
def test_until_2_5_55_a_failed_allocation_stops_the_kernel(scheme):
    assert scheme.era.flaws == ("E06",)
    found = explore(scheme, pins.scope_of("one page, memory fails"))
    assert [v.invariant for v in found.verdict.violations] == ["kernel_bug"]


@pytest.mark.parametrize("bug", [AllocatesUnderLocks, DupMmapTree])
@pytest.mark.parametrize("engine", ["python", "native"])
def test_bug_is_caught_by_the_invariant_it_names(bug, engine):
    scope = Scope(**bug.bug.scope | {"ops": tuple(bug.bug.scope["ops"])})
    found = explore(bug, scope, engine=engine)
    assert [v.invariant for v in found.verdict.violations] == [bug.bug.violates]
    assert len(found.verdict.trace) == bug.bug.steps


# Faults, each for one rule.

FAULTS = []
SMALL = {
    "mms": 2,
    "pages": 1,
    "protections": 1,
    "ops": ("mmap", "munmap", "fault", "fork", "exit"),
}


def breaks(invariant, **scope):
    """Register a mutant that `invariant` must catch in a scope."""

    def register(mutant):
        mutant.name = mutant.__name__
        FAULTS.append(
            (mutant, invariant, Scope(**{"mms": 3, "pages": 2, "protections": 1} | scope))
        )
        return mutant

    return register


@breaks("chain_equals_ptes")
class ForgetsTheFirst(PteChainMinimal):
    """A new entry replaces the chain (pte_chain#exact)."""

    def push(self, st, folio, node, ptep):
        st.folio[folio].pte_chain = 0
        super().push(st, folio, node, ptep)


@breaks("walk_sound")
class DeadProcessesStay(PteChainMinimal):
    """A chain keeps entries of a process that has exited (pte_chain#owner)."""

    def page_remove_rmap(self, st, folio, ptep):
        if st.folio[folio].refcount == 1:
            super().page_remove_rmap(st, folio, ptep)


@breaks("chain_equals_ptes", ops=("mmap", "munmap", "fault", "swap"))
class SwapKeepsTheChain(PteChainMinimal):
    """A page in swap keeps its chain when it is unmapped (pte_chain#empty-if-unmapped)."""

    def folio_remove_rmap(self, st, folio, vma, address, ptep):
        if not st.folio[folio].swap:
            super().folio_remove_rmap(st, folio, vma, address, ptep)


@breaks("lock_discipline", ops=("mmap", "fault", "fork"))
class LocksTheParent(PteChainMinimal):
    """Fork adds an entry to the chain while only another process's page_table_lock is held.

    Rule pte_chain#under-page-table-lock.
    """

    def folio_dup_anon_rmap(self, st, folio, vma, pvma, address, ptep):
        release(st, PTL, st.vma[vma].vm_mm)
        self.page_add_rmap(st, folio, ptep)
        acquire(st, PTL, st.vma[vma].vm_mm)


@breaks("lock_discipline")
class NoChainLock(PteChainArray):
    """A chain changes without PG_chainlock."""

    def chain_lock(self, st, folio):
        return folio

    def chain_unlock(self, st, lock):
        pass


@breaks("chain_packed", mms=3)
class IndexIsNotKept(PteChainArray):
    """idx is not the number of free slots (pte_chain#packed)."""

    def slot_used(self, st, chunk, first):
        st.pte_chain[chunk].idx = max(first, 1)


@breaks("chain_packed", mms=3)
class FillsFromTheLowEnd(PteChainChunks):
    """A chunk is filled from the low end, so free slots are at its high end (pte_chain#packed)."""

    def use_slot(self, st, chunk, ptep):
        st.pte_chain[chunk].ptes[0] = ptep


@breaks("chain_equals_ptes", **AGED)
class CollapsesTooEarly(PteChainSupplied):
    """PG_direct is set while a second entry maps the page (pte_chain#direct)."""

    def first_used(self, st, chunk):
        return super().first_used(st, chunk) + (st.pte_chain[chunk].ptes[self.nrpte - 2] != 0)


@breaks("kernel_bug")
class LeavesTheLastEntry(PteChainSupplied):
    """A chunk is freed while it contains an entry, which the next user of the chunk finds.

    Rule pte_chain#spare-empty.
    """

    def empty_slot(self, st, chunk, i):
        if i < self.nrpte - 1:
            super().empty_slot(st, chunk, i)


@breaks("lock_discipline")
class AsksUnderTheLock(PteChainSupplied):
    """A chunk is allocated under page_table_lock, although the allocation may sleep."""

    def page_add_rmap(self, st, folio, ptep):
        self.pte_chain_free(st)
        self.pte_chain_alloc(st)
        super().page_add_rmap(st, folio, ptep)


@breaks("no_leak")
class KeepsTheSpare(PteChainSupplied):
    """The chunk that was not needed is not freed."""

    def pte_chain_free(self, st):
        st.spare = 0


@breaks("kernel_bug")
class TakesTheSpareTwice(PteChainSupplied):
    """A chunk that is in use is also freed as not needed."""

    def chain_node(self, st):
        return st.spare


@pytest.mark.parametrize(("mutant", "invariant", "scope"), FAULTS)
def test_the_fault_is_caught_by_its_invariant(mutant, invariant, scope):
    found = explore(mutant, scope, target=invariant, max_states=20_000)
    assert found.verdict.status is Status.VIOLATED, found.verdict
    assert invariant in [v.invariant for v in found.verdict.violations]


@pytest.mark.parametrize(
    "scheme", [PteChainMinimal, PteChainList, PteChainChunks, PteChainSupplied, PteChainArray]
)
def test_the_schemes_without_the_faults_hold_in_the_same_scopes(scheme):
    for scope in {scope for mutant, _, scope in FAULTS if mutant.__mro__[1] is scheme}:
        found = explore(scheme, scope, max_states=600)
        assert found.verdict.status is not Status.VIOLATED, found.verdict.violations


# The shape of a chain.


def shared_by(scheme, mms, **scope):
    machine = Run(scheme, Scope(mms=mms, pages=1, **scope))
    for op in (Mmap(mm=1, start=0, length=1), Write(mm=1, address=0)):
        assert not machine.apply(op)
    for child in range(2, mms + 1):
        assert not machine.apply(Fork(mm=1, child=child))
    return machine


def test_the_first_commit_has_a_node_even_for_one_entry():
    st = shared_by(PteChainMinimal, 1).st
    assert st.pte_chain[st.folio[1].pte_chain].ptep == 1
    assert st.pte_chain.live == 1
    assert shared_by(PteChainList, 1).st.pte_chain.live == 0


@pytest.mark.parametrize("scheme", [PteChainChunks, PteChainSupplied, PteChainArray])
def test_an_entry_from_the_first_chunk_fills_the_place_of_a_removed_one(scheme):
    machine = shared_by(scheme, 4)
    st = machine.st
    assert not machine.apply(Exit(mm=2))
    chunk = st.folio[1].pte_chain
    assert st.pte_chain[chunk].ptes == [3, 4, 1]
    assert st.pte_chain[chunk].next == 0


@pytest.mark.parametrize(("nrpte", "chunks"), [(3, 4), (7, 2), (15, 1), (31, 1)])
def test_a_longer_cache_line_makes_a_shorter_chain(nrpte, chunks):
    scheme = with_line(PteChainArray, nrpte)
    st = shared_by(scheme, 8, folios=1, vmas=8, objects=20).st
    assert st.pte_chain.live == -(-8 // nrpte) <= chunks
    assert scheme.sizes["pte_chain"][0] == 4 * (nrpte + 1)
    assert issubclass(scheme, PteChainArray)
    assert PteChainArray.nrpte == NRPTE


def test_page_referenced_makes_a_chain_of_one_direct():
    machine = shared_by(PteChainArray, 2, young=True)
    assert not machine.apply(Exit(mm=2))
    assert machine.st.folio[1].direct == 0
    assert not machine.apply(FolioReferenced(mm=1, address=0))
    assert machine.st.folio[1].direct == 1
    assert machine.st.pte_chain.live == 0


# What a step costs.


def test_fork_costs_a_lock_and_an_allocation_for_each_page():
    costs = {}
    for scheme in (PteChainMinimal, PteChainList, PteChainSupplied):
        machine = Run(scheme, Scope(mms=3, pages=4, folios=8, objects=40))
        machine.apply(Mmap(mm=1, start=0, length=4))
        for address in range(4):
            machine.apply(Write(mm=1, address=address))
        machine.apply(Fork(mm=1, child=2))
        st = machine.st
        costs[scheme] = (st.nr_allocs, st.nr_locks)
    locks = 2 + 3 * 4
    assert costs[PteChainMinimal] == (1 + 4, locks)
    assert costs[PteChainList] == (1 + 8, locks)
    assert costs[PteChainSupplied] == (1 + 4, locks)


def test_removal_visits_nodes_in_proportion_to_the_sharers():
    visited = []
    for mms in (2, 4, 8):
        machine = shared_by(PteChainMinimal, mms, folios=1, vmas=8, objects=20)
        machine.apply(Exit(mm=1))
        visited.append(machine.st.nr_nodes)
    assert visited == [2, 4, 8]


def test_a_new_step_starts_with_a_cost_of_zero():
    machine = shared_by(PteChainMinimal, 2)
    assert machine.st.nr_locks
    machine.st.begin()
    assert (machine.st.nr_locks, machine.st.nr_nodes, machine.st.nr_entries) == (0, 0, 0)
