"""Plausible mistakes in patches. An earlier version of `verify` said HOLDS for each of them."""

import pytest

from rmapcheck.explore import explore
from rmapcheck.model.i_mmap.interval_tree import IMmapIntervalTree
from rmapcheck.model.machine.heap import kmem_cache_free
from rmapcheck.model.machine.locks import CHAIN_LOCK, acquire, release
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.state import ptep_to_mm
from rmapcheck.model.machine.structs import RmapWalkControl
from rmapcheck.model.schemes.anon_vma_eras import AnonVma2614
from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish
from rmapcheck.model.schemes.anonmm import AnonmmSwapIn
from rmapcheck.model.schemes.pte_chain import PteChainArray
from rmapcheck.model.schemes.rmap15 import Rmap15
from rmapcheck.plugins.catalogue import bugs
from rmapcheck.verdict import Status
from rmapcheck.verify.climb import BUDGET, QUICK, Climber
from rmapcheck.verify.ladder import (
    CHUNKS,
    FILES,
    LADDER,
    LIMITED,
    bug_scope,
    required,
    where_relatives_failed,
)


class UnkeyedTree(IMmapIntervalTree):
    keyed = False


class Unkeyed(AvcPublish):
    """vma_prepare() leaves a file's VMA in the interval tree while its range changes."""

    name = "unkeyed"
    i_mmap = UnkeyedTree()


class FirstOnlyTree(IMmapIntervalTree):
    def foreach(self, st, mapping, first, last, rwc):
        return super().foreach(st, mapping, first, first, rwc)


class FirstOnly(AvcPublish):
    """A query for a range finds only VMAs with its first page, so truncation misses the others."""

    name = "first-only"
    i_mmap = FirstOnlyTree()


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
    """In a chunk after the first one, the hole is searched in the wrong place."""

    name = "second-chunk"

    def fill_hole(self, st, folio, chunk, i):
        start = st.folio[folio].pte_chain
        PteChainArray.fill_hole(self, st, folio, chunk, self.nrpte - 1 if chunk != start else i)


class Collapse(PteChainArray):
    """page_referenced() does not check whether there is a second chunk."""

    name = "collapse"

    def rmap_unlock(self, st, lock):
        chunk = st.folio[lock].pte_chain
        if chunk and self.first_used(st, chunk) == self.nrpte - 1:
            acquire(st, CHAIN_LOCK, lock)
            self.collapse(st, lock, chunk)
            release(st, CHAIN_LOCK, lock)


class OneMapper(Rmap15):
    """page_over_rsslimit() checks only the first process that maps the page."""

    name = "one-mapper"

    def page_over_rsslimit(self, st, folio):
        rwc = RmapWalkControl()
        self.rmap_walk(st, folio, rwc)
        return not any(self.under_rsslimit(st, ptep_to_mm(st, p)) for p in rwc.visited[:1])


class Cached(AnonmmSwapIn):
    """rmap_needs_broken_cow() of a swap entry ignores who maps the page in the swap cache."""

    name = "cached"

    def mremap_must_copy(self, st, folio, entry, *, writable):
        if folio:
            return AnonmmSwapIn.mremap_must_copy(self, st, folio, entry, writable=writable)
        return entry != 0 and st.swap[entry].count > 1


class ThirdChunk(PteChainArray):
    """A new chunk replaces the second one, which is lost."""

    name = "third-chunk"

    def push_chunk(self, st, folio, ptep):
        chunk = self.chain_node(st)
        c = st.pte_chain[chunk]
        c.ptes[self.nrpte - 1] = ptep
        old = st.folio[folio].pte_chain
        c.next = old
        if old and st.pte_chain[old].next:
            c.next = st.pte_chain[old].next
        st.folio[folio].pte_chain = chunk
        self.slot_used(st, chunk, self.nrpte - 1)


class Reader(bugs()["E44"]):
    """A seeded bug, written as a reader would write it who does not know the original."""

    name = "reader"
    bug = None


class Nonlinear(AnonVma2614):
    """fork copies no entries of a nonlinear VMA, so the child reads other pages of the file."""

    name = "nonlinear"

    def fork_copies(self, st, pvma):
        return st.vma[pvma].anon_vma != 0


CAUGHT_BY = {
    Unkeyed: "interval_tree_order",
    FirstOnly: "walk_complete",
    LeakPartial: "no_leak",
    SecondChunk: "walk_complete",
    Collapse: "no_leak",
    OneMapper: "rsslimit",
    Cached: "walk_complete",
    ThirdChunk: "no_leak",
    Reader: "nothing_beyond_the_end",
}


CAUGHT_IN = {
    Unkeyed: FILES[1],
    FirstOnly: FILES[1],
    LeakPartial: LADDER[7],
    OneMapper: LIMITED,
    Cached: bug_scope(bugs()["E33"]),
    ThirdChunk: CHUNKS,
    Reader: bug_scope(bugs()["E44"]),
}
"""For each mistake, the first scope of the ladder in which it is found."""
BY_RANDOM_RUNS = (SecondChunk, Collapse)
"""Mistakes that only random runs find. These start when the searches have used their time, so a
small budget finds them sooner."""
BY_DAY = (FirstOnly, SecondChunk)


@pytest.mark.parametrize("variant", CAUGHT_IN, ids=lambda cls: cls.name)
def test_a_scope_that_verify_searches_catches_it(variant):
    where = CAUGHT_IN[variant]
    assert where in (*required(variant), *where_relatives_failed(variant))
    found = explore(variant, where).verdict
    assert found.status is Status.VIOLATED
    assert CAUGHT_BY[variant] in [v.invariant for v in found.violations]


@pytest.mark.parametrize(
    "variant",
    [pytest.param(v, marks=() if v in BY_DAY else pytest.mark.nightly) for v in CAUGHT_BY],
    ids=lambda cls: cls.name,
)
def test_verify_catches_it(variant):
    budget = QUICK if variant in BY_RANDOM_RUNS else BUDGET
    verdict = Climber(variant, budget=budget).climb().verdict
    assert verdict.status is Status.VIOLATED
    assert CAUGHT_BY[variant] in [v.invariant for v in verdict.violations]


def test_a_child_that_would_read_other_pages_of_a_file_is_noticed():
    where = Scope(mms=2, pages=2, files=1, file_pages=2, ops=("file", "fault", "fork", "remap"))
    done = explore(Nonlinear, where, target="kernel_bug")
    assert "nonlinear" in str(done.verdict.violations[0])
