"""Every invariant can fail: for each there is a fault that it catches.

Historical faults are in model/bugs. Those here never happened, and each is one line.
"""

import attrs
import pytest

from rmapcheck.cases.case import OOPSES
from rmapcheck.explore import explore
from rmapcheck.invariants.registry import INVARIANTS
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.state import pte_offset
from rmapcheck.model.machine.structs import PTE_WRITE, VM_DONTCOPY
from rmapcheck.model.schemes.anon_vma_chain_list import AvcList
from rmapcheck.model.schemes.anon_vma_graph import anon_vma_chain_assign
from rmapcheck.model.schemes.anon_vma_reuse import AvcCounters, AvcMerge, AvcPublish
from rmapcheck.model.schemes.anon_vma_root import AvcRoot, AvcTree
from rmapcheck.plugins.catalogue import bugs
from rmapcheck.verdict import Status

MUTANTS = {}
SCOPE = Scope(
    mms=2,
    pages=2,
    premapped=2,
    folios=2,
    objects=16,
    alloc_fail=True,
    ops=("mprotect", "munmap", "fault", "fork", "exit", "swap", "mremap"),
)


def catches(invariant):
    """Register a mutant that `invariant` must catch."""

    def register(mutant):
        MUTANTS[invariant] = mutant
        mutant.name = f"{invariant} mutant"
        return mutant

    return register


@catches("refcount")
class ForkTakesTwoReferences(AvcCounters):
    def folio_dup_anon_rmap(self, st, folio, vma, pvma, address, ptep):
        super().folio_dup_anon_rmap(st, folio, vma, pvma, address, ptep)
        st.folio[folio].refcount += 1


@catches("mapcount")
class UnmappingIsNotCounted(AvcCounters):
    def folio_remove_rmap(self, st, folio, vma, address, ptep):
        pass


@catches("swap_counts")
class RemovingDropsASwapEntry(AvcCounters):
    def folio_remove_rmap(self, st, folio, vma, address, ptep):
        super().folio_remove_rmap(st, folio, vma, address, ptep)
        if st.folio[folio].swap:
            st.swap[st.folio[folio].swap].count += 1


@catches("anon_vma_refcount")
class FamilyDoesNotHoldItsRoot(AvcRoot):
    def join_family(self, st, vma, pvma, anon_vma):
        st.anon_vma[anon_vma].root = st.anon_vma[st.vma[pvma].anon_vma].root
        st.vma[vma].anon_vma = anon_vma


@catches("cow_isolation")
class ForkLeavesItWritable(AvcRoot):
    def folio_dup_anon_rmap(self, st, folio, vma, pvma, address, ptep):
        super().folio_dup_anon_rmap(st, folio, vma, pvma, address, ptep)
        mm = st.vma[pvma].vm_mm
        st.pte[pte_offset(st, mm, address)].flags |= PTE_WRITE


@catches("exclusive_once")
class ForkLeavesItExclusive(AvcCounters):
    def folio_dup_anon_rmap(self, st, folio, vma, pvma, address, ptep):
        super().folio_dup_anon_rmap(st, folio, vma, pvma, address, ptep)
        st.folio[folio].exclusive = 1


@catches("failure_atomicity")
class FailedForkMarksTheParent(AvcCounters):
    def anon_vma_fork(self, st, vma, pvma):
        error = super().anon_vma_fork(st, vma, pvma)
        if error:
            st.vma[pvma].vm_flags |= VM_DONTCOPY
        return error


@catches("use_after_free")
class ReadsTheAvcItHasFreed(AvcCounters):
    def unlink_anon_vmas(self, st, vma):
        avc = st.vma[vma].anon_vma_chain
        super().unlink_anon_vmas(st, vma)
        if avc:
            st.anon_vma_chain[avc].same_vma = 0


@catches("no_dangling")
class FreedAvcStaysInTheTree(AvcCounters):
    def remove(self, st, avc):
        pass


@catches("walk_sound")
class WalksTwice(AvcCounters):
    def rmap_walk(self, st, folio, rwc):
        super().rmap_walk(st, folio, rwc)
        super().rmap_walk(st, folio, rwc)


@catches("no_leak")
class ForgetsTheFreshAnonVma(AvcCounters):
    def put_anon_vma(self, st, anon_vma):
        st.anon_vma[anon_vma].refcount = 0


@catches("mapping_alive")
class MremapMergesAndForgets(AvcMerge):
    era = attrs.evolve(AvcMerge.era, inherits_copied_from=False)


@catches("anon_vma_lifetime")
class EmptyAnonVmaStays(AvcCounters):
    def unlink_anon_vmas(self, st, vma):
        own = st.vma[vma].anon_vma
        if own:
            st.anon_vma[own].refcount += 1
        super().unlink_anon_vmas(st, vma)


@catches("vma_sane")
class CompletionCutsThePage(AvcCounters):
    def vma_complete(self, st, vma, adjust):
        super().vma_complete(st, vma, adjust)
        st.vma[vma].vm_end = st.vma[vma].vm_start


@catches("chain_symmetry")
class CloneIsNotInTheTree(AvcCounters):
    def anon_vma_chain_link(self, st, vma, avc, anon_vma):
        anon_vma_chain_assign(st, vma, avc, anon_vma)


@catches("chain_order")
class ClonesForward(AvcList):
    def clone_nth(self, length, i):
        return i


@catches("one_root")
class ForkFoundsAFamily(AvcCounters):
    def join_family(self, st, vma, pvma, anon_vma):
        super().join_family(st, vma, pvma, anon_vma)
        st.anon_vma[anon_vma].root = anon_vma


@catches("chain_ancestors")
class ReuseIgnoresTheFamily(AvcCounters):
    def clone_nth(self, length, i):
        return length - 1


@catches("interval_tree_keys")
class KeysAreNotRefreshed(AvcTree):
    def remove_all(self, st, vma):
        pass

    def insert_all(self, st, vma):
        pass


@catches("same_anon_vma_same_chain")
class ReusesWhatIsInUse(AvcCounters):
    def may_reuse(self, st, anon_vma, own):
        return anon_vma != own


@catches("active_in_one_process")
class TakesOneThatIsActive(AvcCounters):
    def may_reuse(self, st, anon_vma, own):
        return anon_vma != own and st.anon_vma[anon_vma].num_children < 2


class WalksUnlocked(AvcCounters):
    name = "walk without lock"

    def rmap_lock(self, st, folio):
        return 0

    def rmap_unlock(self, st, lock):
        pass


class PublishesUnlocked(AvcPublish):
    name = "publish without lock"

    def publish(self, st, dst, src, operation):
        avc = st.vma[dst].anon_vma_chain
        while avc:
            self.insert(st, st.anon_vma_chain[avc].anon_vma, avc)
            avc = st.anon_vma_chain[avc].same_vma
        if st.vma[dst].anon_vma:
            self.count_active(st, st.vma[dst].anon_vma, 1)


class AdjustsUnlocked(AvcPublish):
    name = "vma_prepare without lock"

    def vma_prepare(self, st, vma, adjust):
        self.remove_all(st, vma)
        if adjust:
            self.remove_all(st, adjust)

    def vma_complete(self, st, vma, adjust):
        self.insert_all(st, vma)
        if adjust:
            self.insert_all(st, adjust)


@pytest.mark.parametrize("mutant", [WalksUnlocked, PublishesUnlocked, AdjustsUnlocked])
def test_each_missing_lock_is_found(mutant):
    found = explore(mutant, SCOPE, max_seconds=30)
    assert "lock_discipline" in {v.invariant for v in found.verdict.violations}, found.verdict


@catches("lock_discipline")
class SplitsWithoutTheLock(AvcCounters):
    def adjust_lock(self, st, vma, adjust):
        return 0


WIDER = {
    "active_in_one_process": {
        "mms": 3,
        "pages": 1,
        "premapped": 1,
        "alloc_fail": False,
        "ops": ("fault", "fork", "exit"),
    },
    "mapping_alive": {"mms": 1, "pages": 3, "premapped": 0, "ops": ("mmap", "fault", "mremap")},
    "interval_tree_keys": {"pages": 3, "premapped": 3, "mms": 1},
    "same_anon_vma_same_chain": {
        "mms": 3,
        "premapped": 2,
        "objects": 30,
        "alloc_fail": False,
        "ops": ("mprotect", "fault", "fork", "exit"),
    },
    "chain_order": {"mms": 3, "pages": 1, "premapped": 1},
    "chain_ancestors": {"mms": 3, "pages": 1, "premapped": 1},
}


def scope_of(invariant):
    return attrs.evolve(SCOPE, **WIDER.get(invariant, {}))


@pytest.mark.parametrize("invariant", MUTANTS)
def test_the_invariant_catches_its_mutant(invariant):
    found = explore(MUTANTS[invariant], scope_of(invariant), target=invariant, max_seconds=60)
    assert found.verdict.status is Status.VIOLATED, found.verdict
    assert invariant in {v.invariant for v in found.verdict.violations}


EARLY = {
    "address_known",
    "addresses_chained",
    "anon_vma_list",
    "anonmm_counts",
    "anonmm_family",
    "anonmm_lifetime",
    "chain_head_used",
    "chain_not_single",
    "chain_packed",
    "direct_alone",
    "faulted_has_anon_vma",
    "file_page_linear",
    "i_mmap_members",
    "i_mmap_query",
    "interval_tree_order",
    "merge_same_anon_vma",
    "object_has_mapping",
    "object_mapcount",
    "once_in_a_process",
    "page_cache_agrees",
    "prio_tree_bits",
    "prio_tree_heap",
    "prio_tree_sides",
    "prio_tree_unique",
    "rss_counts",
    "rsslimit",
    "scan_visits_all",
    "swap_relatives_agree",
    "vm_set_linked",
    "word_by_flag",
}
"""Invariants whose mutants are elsewhere: in tests/schemes, or files and i_mmap in tests/model."""


def test_every_invariant_has_a_fault_that_it_catches():
    caught = set(MUTANTS) | {cls.bug.violates for cls in bugs().values()}
    assert set(INVARIANTS) == (caught | EARLY) - (set(OOPSES) - set(INVARIANTS))
