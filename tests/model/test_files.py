"""Files: both engines search small scopes to the end, and each check has a fault that it finds."""

import attrs
import pytest

from rmapcheck.explore import explore
from rmapcheck.host.compile import compiler
from rmapcheck.model.i_mmap.interval_tree import IMmapIntervalTree
from rmapcheck.model.i_mmap.prio_tree import IMmapPrioTree
from rmapcheck.model.kernel import Kernel
from rmapcheck.model.machine.errors import ScopeError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.structs import PTE_WRITE
from rmapcheck.model.operations import (
    Exit,
    Fork,
    Mlock,
    MmapFile,
    Munmap,
    PunchHole,
    Read,
    Reclaim,
    SwapOut,
    Truncate,
    Unuse,
    Write,
)
from rmapcheck.model.scheme import Scheme
from rmapcheck.model.schemes.anon_vma_chain_list import AvcList
from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish
from rmapcheck.model.schemes.pte_chain import PteChainArray
from rmapcheck.plugins.catalogue import schemes
from rmapcheck.run import Run
from rmapcheck.verdict import Status
from rmapcheck.verify.expectation import known_flaw
from tests import pins
from tests.designs import sweep

PAIR = pins.scope_of("a file, truncated")
"""Two processes that map one page of a file, shared or private."""
ALONE = Scope(
    mms=1,
    pages=2,
    folios=2,
    objects=16,
    protections=1,
    files=1,
    file_pages=2,
    swaps=0,
    alloc_fail=True,
    ops=("munmap", "fault", "file", "reclaim", "truncate", "remap", "mremap"),
)

"""One process, two pages of a file in any order."""

FILED = [name for name, scheme in schemes().items() if scheme.maps_files]


@pytest.mark.parametrize("name", sweep(FILED))
def test_two_processes_and_a_file(name):
    found = explore(schemes()[name], PAIR)
    assert (found.verdict.status, found.verdict.how) == (Status.HOLDS, "exhaustive")
    assert found.vacuous == ()


@pytest.mark.parametrize("name", sweep(FILED))
def test_one_process_and_two_pages_of_a_file(name):
    scheme = schemes()[name]
    # E06: kernels that stop if a pte_chain cannot be allocated.
    scope = attrs.evolve(ALONE, alloc_fail="E06" not in scheme.era.flaws)
    found = explore(scheme, scope, max_states=900)
    violated = found.verdict.status is Status.VIOLATED
    assert not violated or known_flaw(scheme, found.verdict)


KEPT = Scope(
    mms=2,
    pages=1,
    premapped=1,
    folios=2,
    objects=16,
    protections=1,
    ops=("munmap", "fault", "fork", "exit", "swap", "swapoff", "mlock"),
)
"""Anonymous pages that are mlocked, or that swapoff reads back."""


@pytest.mark.parametrize("name", sweep(schemes()))
def test_locked_pages_and_swapoff(name):
    found = explore(schemes()[name], KEPT, engine="python")
    assert (found.verdict.status, found.verdict.how) == (Status.HOLDS, "exhaustive")
    assert found.vacuous == ()


@pytest.mark.pinned
@pins.each("a file, truncated")
@pytest.mark.parametrize("engine", ["python", "native"])
def test_states_and_transitions_are_as_pinned(pin, engine, pinned):
    if engine == "native" and compiler() is None:
        pytest.skip("there is no C compiler")
    found = explore(schemes()[pin.name], pin.scope, engine=engine)
    pinned.check(pin, pins.numbers_of(found))


# The state after a few operations.


def after(*ops, scheme=AvcPublish, scope=PAIR):
    machine = Run(scheme, scope)
    for op in ops:
        assert machine.apply(op) == []
        assert machine.outcome.error == 0
    return machine


def private(mm=1, **more):
    return MmapFile(mm=mm, start=0, length=1, file=1, pgoff=0, shared=False, **more)


SHARED = MmapFile(mm=1, start=0, length=1, file=1, pgoff=0, shared=True)


def test_a_private_write_copies_and_a_shared_one_does_not():
    st = after(private(), Read(mm=1, address=0), Write(mm=1, address=0)).st
    assert st.pte[1].folio != st.address_space[1].i_pages[0] != 0
    st = after(SHARED, Read(mm=1, address=0), Write(mm=1, address=0)).st
    assert st.pte[1].folio == st.address_space[1].i_pages[0]
    assert st.pte[1].flags & PTE_WRITE


def test_fork_leaves_a_shared_mapping_writable():
    st = after(SHARED, Write(mm=1, address=0), Fork(mm=1, child=2)).st
    assert st.pte[1].flags & PTE_WRITE


def test_truncation_takes_copies_and_a_hole_does_not():
    made = (private(), Write(mm=1, address=0))
    assert after(*made, Truncate(file=1, size=0)).st.pte[1].folio == 0
    st = after(*made, PunchHole(file=1, index=0)).st
    assert st.pte[1].folio
    assert st.address_space[1].i_pages[0] == 0


def test_no_page_beyond_the_end_can_be_mapped():
    machine = after(SHARED, Truncate(file=1, size=0))
    assert machine.possible() == [op for op in machine.possible() if op.name != "read"]
    machine.apply(Read(mm=1, address=0))
    assert machine.outcome.error == -14
    machine.apply(Truncate(file=1, size=1))
    machine.apply(Read(mm=1, address=0))
    assert machine.outcome.error == 0


def test_reclaim_drops_a_page_that_two_processes_map():
    st = after(
        SHARED,
        Read(mm=1, address=0),
        Fork(mm=1, child=2),
        Read(mm=2, address=0),
        Reclaim(file=1, index=0),
    ).st
    assert st.folio.live == 0


def test_a_locked_page_is_not_reclaimed():
    scope = attrs.evolve(PAIR, ops=(*PAIR.ops, "mlock"))
    made = (private(), Read(mm=1, address=0), Mlock(mm=1, start=0, length=1))
    st = after(*made, Reclaim(file=1, index=0), scope=scope).st
    assert st.pte[1].folio
    off = Mlock(mm=1, start=0, length=1, on=False)
    assert after(*made, off, Reclaim(file=1, index=0), scope=scope).st.pte[1].folio == 0


def test_swapoff_brings_a_page_back_and_frees_the_slot():
    ops = [Write(mm=1, address=0), SwapOut(mm=1, address=0), Unuse(mm=1, address=0)]
    st = after(*ops, scope=KEPT).st
    assert (st.pte[1].swap, st.swap.live) == (0, 0)
    assert st.pte[1].folio


def test_a_file_outlives_its_mappings():
    machine = after(SHARED, Read(mm=1, address=0), Munmap(mm=1, start=0, length=1))
    assert machine.st.address_space[1].i_pages[0]
    assert machine.st.address_space[1].i_mmap == [0, 0]


def test_a_scope_without_files_has_no_fields_of_files():
    st = Kernel(Scope(), AvcPublish())
    names = {f.name for struct in st.layout.structs.values() for f in struct.fields}
    assert not names & {"vm_file", "vm_nonlinear", "pgoff", "anon", "address_space", "shared"}
    assert "address_space" not in st.layout.structs


def test_a_scheme_without_files_gets_an_error():
    class Fileless(Scheme):
        name = "fileless"

    with pytest.raises(ScopeError, match="'fileless' does not model files"):
        Run(Fileless, PAIR)


# Every check of files can fail.


class ForgetsChildTree(IMmapIntervalTree):
    def insert(self, st, mapping, vma, beside):
        if not beside:
            super().insert(st, mapping, vma, beside)


class ForgetsChild(AvcPublish):
    breaks = "i_mmap_members"
    i_mmap = ForgetsChildTree()


class FindsNothing(IMmapPrioTree):
    def foreach(self, st, mapping, first, last, rwc):
        return []


class MissesTheLastPage(AvcList):
    breaks = "nothing_beyond_the_end"
    i_mmap = FindsNothing()


class ShiftsTheVma(AvcPublish):
    breaks = "file_page_linear"

    def folio_dup_file_rmap(self, st, folio, vma, pvma, address, ptep):
        super().folio_dup_file_rmap(st, folio, vma, pvma, address, ptep)
        st.vma[vma].vm_pgoff = 1


class WrongIndex(AvcPublish):
    breaks = "page_cache_agrees"

    def folio_add_file_rmap(self, st, folio, vma, address, ptep):
        super().folio_add_file_rmap(st, folio, vma, address, ptep)
        st.folio[folio].index = 1


class ForkIsNotCounted(PteChainArray):
    breaks = "chain_equals_ptes"

    def folio_dup_file_rmap(self, st, folio, vma, pvma, address, ptep):
        """Do not count the entry."""


class CountsTwice(AvcPublish):
    breaks = "mapcount"

    def folio_add_file_rmap(self, st, folio, vma, address, ptep):
        st.folio[folio].mapcount += 2


class TakesTwoReferences(AvcPublish):
    breaks = "refcount"

    def folio_add_file_rmap(self, st, folio, vma, address, ptep):
        super().folio_add_file_rmap(st, folio, vma, address, ptep)
        st.folio[folio].refcount += 1


class WalksNothing(AvcPublish):
    breaks = "walk_complete"

    def rmap_walk_file(self, st, folio, rwc):
        """Visit no VMA."""


class WalksTwice(AvcPublish):
    breaks = "walk_sound"

    def rmap_walk_file(self, st, folio, rwc):
        super().rmap_walk_file(st, folio, rwc)
        super().rmap_walk_file(st, folio, rwc)


class WritesToTheFile(AvcPublish):
    breaks = "cow_isolation"

    def folio_add_file_rmap(self, st, folio, vma, address, ptep):
        super().folio_add_file_rmap(st, folio, vma, address, ptep)
        st.pte[ptep].flags |= PTE_WRITE


class AdjustsUnlocked(AvcPublish):
    """split_vma() changes a listed VMA without i_shared_sem, as before 069e01553a (2003-10-21)."""

    breaks = "lock_discipline"
    scope = ALONE
    era = attrs.evolve(AvcPublish.era, locks_i_mmap_to_adjust=False)


MUTANTS = [v for v in vars().values() if isinstance(v, type) and hasattr(v, "breaks")]
for mutant in MUTANTS:
    mutant.name = f"mutant {mutant.__name__}"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_each_check_of_files_catches_its_fault(mutant):
    scope = getattr(mutant, "scope", PAIR)
    found = explore(mutant, scope, target=mutant.breaks, engine="python")
    assert found.verdict.status is Status.VIOLATED
    assert [v.invariant for v in found.verdict.violations].count(mutant.breaks) == 1


def test_an_exit_of_both_leaves_nothing_but_the_cache():
    st = after(SHARED, Write(mm=1, address=0), Fork(mm=1, child=2), Exit(mm=1)).st
    assert (st.folio.live, st.vma.live) == (1, 1)
