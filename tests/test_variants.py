"""Mistakes that a patch might make, each of which `verify --quick` once called HOLDS."""

import pytest

from model.heap import kmem_cache_free
from model.locks import CHAIN_LOCK, acquire, release
from model.schemes.anon_vma_reuse import AvcPublish
from model.schemes.pte_chain import PteChainArray
from rmapcheck.verdict import Status
from rmapcheck.verify import QUICK, Climber


class Unkeyed(AvcPublish):
    """vma_prepare() leaves a file's VMA in the interval tree while its range changes."""

    name = "unkeyed"
    i_mmap_keyed = False


class FirstOnly(AvcPublish):
    """Of a range only VMAs with its first page are found; truncation misses the others."""

    name = "first-only"

    def i_mmap_foreach(self, st, mapping, first, last, rwc):
        return AvcPublish.i_mmap_foreach(self, st, mapping, first, first, rwc)


class LeakPartial(AvcPublish):
    """cleanup_partial_anon_vmas() frees the head alone."""

    name = "leak-partial"

    def cleanup_partial_anon_vmas(self, st, dst):
        avc = st.vma[dst].anon_vma_chain
        if avc:
            kmem_cache_free(st, st.anon_vma_chain, avc)
        st.vma[dst].anon_vma_chain = 0
        st.vma[dst].anon_vma = 0


class SecondChunk(PteChainArray):
    """In a chunk behind the first, the hole is looked for in the wrong place."""

    name = "second-chunk"

    def fill_hole(self, st, folio, chunk, i):
        start = st.folio[folio].pte_chain
        PteChainArray.fill_hole(self, st, folio, chunk, self.nrpte - 1 if chunk != start else i)


class Collapse(PteChainArray):
    """page_referenced() forgets that there is a second chunk."""

    name = "collapse"

    def rmap_unlock(self, st, lock):
        chunk = st.folio[lock].pte_chain
        if chunk and self.first_used(st, chunk) == self.nrpte - 1:
            acquire(st, CHAIN_LOCK, lock)
            self.collapse(st, lock, chunk)
            release(st, CHAIN_LOCK, lock)


CAUGHT_BY = {
    Unkeyed: "interval_tree_order",
    FirstOnly: "walk_complete",
    LeakPartial: "no_leak",
    SecondChunk: "walk_complete",
    Collapse: "no_leak",
}


@pytest.mark.parametrize("variant", CAUGHT_BY, ids=lambda cls: cls.name)
def test_verify_catches_it(variant):
    verdict = Climber(variant, budget=QUICK).climb().verdict
    assert verdict.status is Status.VIOLATED
    assert CAUGHT_BY[variant] in [v.invariant for v in verdict.violations]
