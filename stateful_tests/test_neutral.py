"""Schemes that differ from the kernel, but are also right, must pass: there is no false alarm."""

import pytest

from rmapcheck.explore import explore
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.schemes.anon_vma_reuse import AvcCounters, AvcPublish
from rmapcheck.sampling.fuzz import Hypothesis
from rmapcheck.sampling.walk import Walker
from rmapcheck.search.question import Limits, Question
from rmapcheck.verdict import Status

SMALL = [
    Scope(mms=1, pages=2, folios=2, swaps=0, ops=("mmap", "mprotect", "fault", "mremap")),
    Scope(
        mms=2, pages=1, folios=2, protections=1, ops=("mmap", "munmap", "fault", "fork", "swap")
    ),
]
WIDE = Scope(mms=3, pages=3, vmas=9, folios=6, objects=60, alloc_fail=True)


class EqualsInFront(AvcPublish):
    """Among VMAs with the same vm_pgoff the newest comes first: the tree may order them freely."""

    name = "equals-in-front"

    def insert(self, st, anon_vma, avc):
        pgoff = st.vma[st.anon_vma_chain[avc].vma].vm_pgoff
        prev = 0
        at = st.anon_vma[anon_vma].head
        while at and st.vma[st.anon_vma_chain[at].vma].vm_pgoff < pgoff:
            prev = at
            at = st.anon_vma_chain[at].same_anon_vma
        st.anon_vma_chain[avc].same_anon_vma = at
        if prev:
            st.anon_vma_chain[prev].same_anon_vma = avc
        else:
            st.anon_vma[anon_vma].head = avc


class NoMerge(AvcPublish):
    """VMAs never merge: this costs memory, but is not wrong."""

    name = "no-merge"

    def is_mergeable_anon_vma(self, st, tgt, anon_vma, middle, copied_from):
        return False

    def are_anon_vmas_compatible(self, st, prev, next_):
        return False


class NoAdoption(AvcCounters):
    """A VMA never adopts its neighbour's anon_vma: the two cannot merge, but nothing is wrong."""

    name = "no-adoption"

    def find_mergeable_anon_vma(self, st, vma):
        return 0


NEUTRAL = [EqualsInFront, NoMerge, NoAdoption]


@pytest.mark.parametrize("scope", SMALL, ids=str)
@pytest.mark.parametrize("scheme", NEUTRAL, ids=lambda cls: cls.name)
def test_search_finds_nothing(scheme, scope):
    verdict = explore(scheme, scope).verdict
    assert (verdict.status, verdict.how) == (Status.HOLDS, "exhaustive"), verdict.violations


@pytest.mark.parametrize("scheme", NEUTRAL, ids=lambda cls: cls.name)
def test_random_runs_find_nothing(scheme):
    verdict = Walker(seed=0).answer(Question(scheme, WIDE), Limits(steps=5_000)).verdict
    assert verdict.status is Status.SAMPLED, [*verdict.violations, *verdict.trace]
    verdict = Hypothesis(seed=0).answer(Question(scheme, WIDE), Limits(runs=20)).verdict
    assert verdict.status is Status.SAMPLED, [*verdict.violations, *verdict.trace]
