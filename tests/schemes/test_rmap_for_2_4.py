"""Patches for v2.4: Phillips' hashed locks, and rmap 15 with its rss limits."""

import pytest

from rmapcheck.explore import explore
from rmapcheck.model.bugs.early import LosesNodes
from rmapcheck.model.machine.locks import RMAP_LOCK, acquire, held_index, release
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.state import ptep_to_mm
from rmapcheck.model.machine.structs import RmapWalkControl
from rmapcheck.model.operations import Fork, Mmap, Munmap, Read, SwapOut, Write
from rmapcheck.model.schemes.rmap15 import Rmap15
from rmapcheck.model.schemes.rmap_speedup import RmapSpeedup
from rmapcheck.run import Run
from tests.pins import scope_of

SWAPS = scope_of("two pages in swap")
THREE_PAGES = scope_of("three pages")
LIMITED = scope_of("two pages of rss")

# Faults.


class KeepsTheWrongLock(RmapSpeedup):
    """Fork keeps the lock of the first page for all pages."""

    breaks = "lock_discipline"

    def change_lock(self, st, folio):
        if held_index(st, RMAP_LOCK) == 0:
            self.chain_lock(st, folio)


class SetsTheIndexUnlocked(RmapSpeedup):
    """The page gets a swap index, which selects its lock, while another CPU may hold its lock."""

    breaks = "lock_discipline"

    def set_page_index(self, st, folio, index):
        self.write_index(st, folio, index)


class ChangesTheIndexOfALockedPage(RmapSpeedup):
    """The index changes while the lock is held, so the lock is no longer that of the page."""

    breaks = "lock_discipline"

    def page_remove_rmap(self, st, folio, ptep):
        lock = self.chain_lock(st, folio)
        self.write_index(st, folio, 2)
        self.chain_remove(st, folio, ptep)
        self.chain_unlock(st, lock)


class AllocatesUnderTheLock(RmapSpeedup):
    """The next nodes are allocated while the lock is held."""

    breaks = "lock_discipline"

    def drop_lock(self, st):
        if not st.spare:
            return
        super().drop_lock(st)

    def fork_batch_ends(self, st):
        super().drop_lock(st)


class NeverUnlocks(RmapSpeedup):
    """Fork ends with the lock held."""

    breaks = "lock_discipline"

    def fork_batch_ends(self, st):
        pass


class KeepsTheRest(RmapSpeedup):
    """Nodes that were allocated and not needed are not freed."""

    breaks = "no_leak"

    def pte_chain_free(self, st):
        st.spare = 0


class AsksTheFirst(Rmap15):
    """Only the process of the first entry is checked."""

    breaks = "rsslimit"

    def page_over_rsslimit(self, st, folio):
        rwc = RmapWalkControl()
        self.rmap_walk(st, folio, rwc)
        return not self.under_rsslimit(st, ptep_to_mm(st, rwc.visited[0]))


class MayReachTheLimit(Rmap15):
    """A process that is exactly at its limit counts as under it."""

    breaks = "rsslimit"

    def under_rsslimit(self, st, mm):
        return st.mm[mm].rss <= st.scope.rss_limit


class ForkForgetsTheRss(Rmap15):
    """Fork does not count the child's pages in its rss."""

    breaks = "rss_counts"

    def folio_dup_anon_rmap(self, st, folio, vma, pvma, address, ptep):
        super().folio_dup_anon_rmap(st, folio, vma, pvma, address, ptep)
        st.mm[st.vma[vma].vm_mm].rss -= 1


MUTANTS = [
    (KeepsTheWrongLock, THREE_PAGES),
    (SetsTheIndexUnlocked, SWAPS),
    (ChangesTheIndexOfALockedPage, SWAPS),
    (AllocatesUnderTheLock, THREE_PAGES),
    (NeverUnlocks, SWAPS),
    (KeepsTheRest, SWAPS),
    (LosesNodes, SWAPS),
    (AsksTheFirst, LIMITED),
    (MayReachTheLimit, LIMITED),
    (ForkForgetsTheRss, LIMITED),
]


@pytest.mark.parametrize(("mutant", "scope"), MUTANTS)
def test_the_fault_is_caught_by_its_invariant(mutant, scope, monkeypatch):
    target = mutant.bug.violates if mutant.bug else mutant.breaks
    monkeypatch.setattr(mutant, "name", mutant.__name__)  # one of them is a seeded bug
    found = explore(mutant, scope, target=target, max_states=20_000)
    assert target in [v.invariant for v in found.verdict.violations], found.verdict


# Phillips.


def forked(pages, *swapped):
    machine = Run(RmapSpeedup, Scope(mms=3, pages=pages, folios=8, swaps=2, objects=40))
    machine.apply(Mmap(mm=1, start=0, length=pages))
    for address in range(pages):
        machine.apply(Write(mm=1, address=address))
    for address in swapped:
        machine.apply(SwapOut(mm=1, address=address))
        machine.apply(Read(mm=1, address=address))
    assert not machine.apply(Fork(mm=1, child=2))
    return machine


@pytest.mark.parametrize(("pages", "locks"), [(1, 2), (2, 2), (4, 3), (8, 5)])
def test_fork_takes_a_lock_for_each_pair_of_neighbours_and_again_after_new_nodes(pages, locks):
    """Four more locks: two mmap_locks, two page_table_locks. Nodes are allocated in pairs."""
    machine = forked(pages)
    assert machine.st.nr_locks == 4 + locks - 1
    assert machine.st.nr_allocs == 1 + pages + pages % 2


def test_a_page_with_a_swap_slot_has_another_lock():
    machine = forked(2, 0)
    st = machine.st
    page = next(st.pte[p].folio for p in (1, 2) if st.folio[st.pte[p].folio].swap)
    assert st.folio[page].index == 2
    assert machine.scheme().rmap_locknum(2) != machine.scheme().rmap_locknum(0)


def test_a_lock_of_rmap_locks_is_named():
    machine = Run(RmapSpeedup, Scope(mms=2, pages=1))
    acquire(machine.st, RMAP_LOCK, 1)
    machine.scheme().chain_node(machine.st)
    release(machine.st, RMAP_LOCK, 1)
    assert machine.st.splats == ["a pte_chain is allocated while one of rmap_locks is held"]


# rmap 15.


def test_one_process_under_its_limit_spares_the_page():
    machine = Run(Rmap15, Scope(mms=2, pages=2, rss_limit=2))
    st, scheme = machine.st, machine.st.scheme
    machine.apply(Mmap(mm=1, start=0, length=2))
    machine.apply(Write(mm=1, address=0))
    assert not scheme.page_over_rsslimit(st, st.pte[1].folio)
    machine.apply(Write(mm=1, address=1))
    assert scheme.page_over_rsslimit(st, st.pte[1].folio)
    machine.apply(Fork(mm=1, child=2))
    assert scheme.page_over_rsslimit(st, st.pte[1].folio)
    machine.apply(Munmap(mm=2, start=1, length=1))
    assert [st.mm[m].rss for m in (1, 2)] == [2, 1]
    assert not scheme.page_over_rsslimit(st, st.pte[1].folio)
    assert scheme.page_over_rsslimit(st, st.pte[2].folio)


def test_without_a_limit_no_page_is_over_it():
    machine = Run(Rmap15, Scope(mms=2, pages=1))
    machine.apply(Mmap(mm=1, start=0, length=1))
    machine.apply(Write(mm=1, address=0))
    assert not machine.st.scheme.page_over_rsslimit(machine.st, 1)
