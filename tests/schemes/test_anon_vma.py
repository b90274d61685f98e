"""The schemes of 2002 … 2010: each of their invariants can fail."""

from random import Random

import pytest

from rmapcheck.explore import explore
from rmapcheck.model.bugs.early import (
    AdoptUnlocked,
    MergeWithUnfaulted,
    MprotectForgets,
    ZapBeforeRemove,
)
from rmapcheck.model.machine.heap import kmem_cache_alloc
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Brk, Exit, Fork, Mmap, Write
from rmapcheck.model.schemes.anon_vma import (
    AnonVma268,
    AnonVma269,
)
from rmapcheck.model.schemes.anon_vma_eras import (
    AnonVma2614,
    AnonVma2618,
    AnonVma2628,
)
from rmapcheck.model.schemes.pte_chain import NRPTE, PteChainArray, PteChainList
from rmapcheck.plugins.catalogue import machines, schemes
from rmapcheck.run import Run
from rmapcheck.verdict import Status


@pytest.mark.nightly
@pytest.mark.parametrize("scheme", [PteChainList, PteChainArray, AnonVma268, AnonVma2618])
@pytest.mark.parametrize(
    "ops",
    [("mmap", "munmap", "mprotect", "fault", "fork"), ("mmap", "fault", "fork", "mremap", "swap")],
)
def test_holds_on_two_pages(scheme, ops):
    found = explore(scheme, Scope(mms=2, pages=2, ops=ops))
    assert found.verdict.status is Status.HOLDS, found.verdict
    assert not found.vacuous


@pytest.mark.parametrize(
    "scheme",
    [ZapBeforeRemove, MprotectForgets, MergeWithUnfaulted, AdoptUnlocked],
)
def test_bug_is_caught_by_the_invariant_it_names(scheme):
    bug = scheme.bug
    found = explore(scheme, Scope(**bug.scope | {"ops": tuple(bug.scope["ops"])}))
    assert found.verdict.status is Status.VIOLATED
    assert bug.violates in [v.invariant for v in found.verdict.violations]
    assert len(found.verdict.trace) == bug.steps


@pytest.mark.parametrize("scheme", [AnonVma268, AnonVma269, AnonVma2614, AnonVma2618])
def test_every_era_has_the_hole_of_mremap(scheme):
    scope = Scope(mms=1, pages=3, ops=("mmap", "fault", "mremap"))
    found = explore(scheme, scope, target="faulted_has_anon_vma")
    assert found.verdict.status is Status.VIOLATED
    assert len(found.verdict.trace) == MergeWithUnfaulted.bug.steps


# Mutants: each invariant of these schemes finds the fault that was planted for it.


class KeepsDirect(PteChainList):
    name = "keeps-direct"
    breaks = "direct_alone"

    def chain_add(self, st, folio, ptep):
        direct = st.folio[folio].direct
        super().chain_add(st, folio, ptep)
        st.folio[folio].direct = direct or st.folio[folio].direct


class NeverDirectAgain(PteChainList):
    name = "never-direct-again"
    breaks = "chain_not_single"

    def make_direct(self, st, folio):
        """Do not replace the last node by PG_direct."""


class LeavesHole(PteChainArray):
    name = "leaves-hole"
    breaks = "chain_packed"

    def fill_hole(self, st, folio, chunk, i):
        st.pte_chain[chunk].ptes[i] = 0
        st.pte_chain[chunk].idx += 1


class KeepsEmptyChunk(PteChainArray):
    name = "keeps-empty-chunk"
    breaks = "chain_head_used"
    scope = Scope(mms=3, pages=1, protections=1)

    def fill_hole(self, st, folio, chunk, i):
        if st.pte_chain[st.folio[folio].pte_chain].idx < NRPTE - 1:
            super().fill_hole(st, folio, chunk, i)
        else:
            st.pte_chain[chunk].ptes[i] = 0
            st.pte_chain[chunk].idx = NRPTE


class ForgetsMove(PteChainArray):
    name = "forgets-move"
    breaks = "chain_equals_ptes"

    def move_rmap(self, st, folio, vma, new_vma, old_ptep, new_ptep):
        """Do not change the chain."""


class ForkUnlinked(AnonVma268):
    name = "fork-unlinked"
    breaks = "anon_vma_list"

    def anon_vma_fork(self, st, vma, pvma):
        return 0


class ForkOwn(AnonVma268):
    """The child gets its own anon_vma, as with anon_vma_chain, and not its parent's."""

    name = "fork-own"
    breaks = "swap_relatives_agree"

    def anon_vma_fork(self, st, vma, pvma):
        if st.vma[vma].anon_vma:
            self.assign(st, vma, kmem_cache_alloc(st, st.anon_vma))
        return 0


class MergesAll(AnonVma268):
    name = "merges-all"
    breaks = "merge_same_anon_vma"

    def is_mergeable_anon_vma(self, st, tgt, anon_vma, middle, copied_from):
        return True


class AdjustsUnlocked(AnonVma268):
    name = "adjusts-unlocked"
    breaks = "lock_discipline"

    def vma_prepare(self, st, vma, adjust):
        """Take no lock."""


class LeavesEmpty(AnonVma268):
    name = "leaves-empty"
    breaks = "anon_vma_lifetime"

    def unlink_anon_vmas(self, st, vma):
        if st.vma[vma].anon_vma:
            self.list_del(st, st.vma[vma].anon_vma, vma)


@pytest.mark.parametrize(
    "mutant",
    [
        KeepsDirect,
        NeverDirectAgain,
        LeavesHole,
        KeepsEmptyChunk,
        ForgetsMove,
        ForkUnlinked,
        ForkOwn,
        MergesAll,
        AdjustsUnlocked,
        LeavesEmpty,
        MprotectForgets,
    ],
)
def test_mutant_is_found(mutant):
    target = getattr(mutant, "breaks", "faulted_has_anon_vma")
    scope = getattr(mutant, "scope", Scope(mms=2, pages=3, protections=2, folios=3))
    found = explore(mutant, scope, target=target, max_states=20_000)
    assert found.verdict.status is Status.VIOLATED, target


# The shape of a chain.


def shared_by(scheme, mms):
    machine = Run(scheme, Scope(mms=mms, pages=1))
    for op in (Mmap(mm=1, start=0, length=1), Write(mm=1, address=0)):
        assert not machine.apply(op)
    for child in range(2, mms + 1):
        assert not machine.apply(Fork(mm=1, child=child))
    return machine


def test_chain_of_nodes_has_the_newest_in_front():
    st = shared_by(PteChainList, 3).st
    first = st.folio[1].pte_chain
    second = st.pte_chain[first].next
    third = st.pte_chain[second].next
    assert [st.pte_chain[n].ptep for n in (first, second, third)] == [3, 2, 1]
    assert st.folio[1].direct == st.pte_chain[third].next == 0


def test_chunks_fill_from_the_high_end():
    st = shared_by(PteChainArray, 4).st
    first = st.folio[1].pte_chain
    second = st.pte_chain[first].next
    assert st.pte_chain[first].ptes == [0, 0, 4]
    assert st.pte_chain[second].ptes == [3, 2, 1]
    assert (st.pte_chain[first].idx, st.pte_chain[second].idx) == (2, 0)


def test_only_the_list_returns_to_direct_at_once():
    for scheme, direct in ((PteChainList, True), (PteChainArray, False)):
        machine = shared_by(scheme, 2)
        assert not machine.apply(Exit(mm=2))
        assert (machine.st.folio[1].direct != 0) is direct


@pytest.mark.parametrize("scheme", [PteChainList, PteChainArray, AnonVma268, AnonVma2618])
def test_random_runs_keep_every_field_in_range(scheme):
    chance = Random(2002)
    for _ in range(20):
        machine = Run(scheme, Scope(mms=3, pages=2, folios=8, objects=40, young=True))
        for _ in range(40):
            assert machine.apply(chance.choice(machine.possible())) == []


def test_eras_with_equal_behaviour_are_one_machine():
    names = set(schemes()) - set(machines())
    assert names >= {"anon_vma-2.6.15", "anon_vma-2.6.16", "anon_vma-2.6.21", "anon_vma-2.6.23"}
    assert all("design" in vars(schemes()[name]) for name in names), "only a row can be equal"
    assert list(schemes()["anon_vma-2.6.23"].era.lacks) == ["wipeonfork", "dontunmap"]


def test_only_v2_6_32_grows_a_vma_without_its_lock():
    taken = []
    for scheme in (AnonVma2628, schemes()["anon_vma-2.6.32"]):
        machine = Run(scheme, Scope(mms=1, pages=2))
        for op in (Mmap(mm=1, start=0, length=1), Write(mm=1, address=0)):
            assert not machine.apply(op)
        assert not machine.apply(Brk(mm=1, start=1, length=1))
        taken.append(machine.st.nr_locks)
    assert taken[0] == taken[1] + 1
