"""anonmm, 2003 … 2004: three versions hold, invariants can fail, the structures are as drawn."""

import pytest

from rmapcheck.explore import explore
from rmapcheck.invariants.isolation import projection
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.structs import RmapWalkControl
from rmapcheck.model.operations import (
    Exec,
    Exit,
    FolioReferenced,
    Fork,
    Mmap,
    Mremap,
    Read,
    SwapOut,
    Write,
)
from rmapcheck.model.schemes.anonmm import AnonmmCopies, AnonmmSwapIn
from rmapcheck.model.schemes.anonmm_chains import AnonmmChains
from rmapcheck.plugins.catalogue import bugs
from rmapcheck.run import Run
from rmapcheck.verdict import Status

VERSIONS = (AnonmmChains, AnonmmSwapIn, AnonmmCopies)
ONE_PAGE = {"mms": 2, "pages": 1, "alloc_fail": True}


@pytest.mark.nightly
@pytest.mark.parametrize("scheme", VERSIONS)
@pytest.mark.parametrize(
    "scope",
    [
        Scope(mms=3, pages=2, premapped=2, folios=2, ops=("fault", "fork", "exit", "mremap")),
        Scope(mms=2, pages=3, premapped=1, protections=1, ops=("fault", "fork", "mremap", "swap")),
        Scope(mms=2, pages=2, ops=("mmap", "fault", "fork", "exec", "mremap", "munmap")),
    ],
    ids=["three processes", "three pages", "exec"],
)
def test_holds_in_wider_scopes(scheme, scope):
    found = explore(scheme, scope)
    assert found.verdict.status is Status.HOLDS, found.verdict
    assert not found.vacuous


# Each invariant finds the fault that was planted for it.


class MovesShared(AnonmmCopies):
    """mremap moves pages that other processes map too, as in the first half of 2004-03."""

    name = "moves-shared"
    breaks = "address_known"

    def mremap_must_copy(self, st, folio, entry, *, writable):
        return False


class ForgetsSwap(AnonmmSwapIn):
    name = "forgets-swap"
    breaks = "address_known"

    def mremap_must_copy(self, st, folio, entry, *, writable):
        return folio != 0 and st.folio[folio].mapcount > 1


class MapsTwice(AnonmmChains):
    """A page fault maps its new page at the next address too."""

    name = "maps-twice"
    breaks = "once_in_a_process"

    def folio_add_new_anon_rmap(self, st, folio, vma, address, ptep):
        super().folio_add_new_anon_rmap(st, folio, vma, address, ptep)
        st.pte[ptep % 2 + 1].folio = folio


class PageUncounted(AnonmmCopies):
    name = "page-uncounted"
    breaks = "anonmm_counts"

    def set_page_anon(self, st, folio, mm):
        st.folio[folio].mapping = st.mm[mm].anonmm


class ChildUnlisted(AnonmmCopies):
    name = "child-unlisted"
    breaks = "anonmm_family"

    def list_add_tail(self, st, anonmm, head):
        st.anonmm[anonmm].list = anonmm


class KeepsHead(AnonmmCopies):
    name = "keeps-head"
    breaks = "anonmm_lifetime"

    def head_count(self, st, head):
        return 0


class AddsTwice(AnonmmChains):
    name = "adds-twice"
    breaks = "addresses_chained"

    def move_rmap(self, st, folio, vma, new_vma, old_ptep, new_ptep):
        self.add_rmap_address(st, folio, (new_ptep - 1) % st.pages)


class LinksUnlocked(AnonmmCopies):
    name = "links-unlocked"
    breaks = "lock_discipline"

    def dup_rmap(self, st, mm, oldmm):
        head = st.anonmm[st.mm[oldmm].anonmm].head
        error = super().dup_rmap(st, mm, oldmm)
        self.list_del(st, st.mm[mm].anonmm)
        self.list_add_tail(st, st.mm[mm].anonmm, head)
        return error


MUTANTS = (
    MovesShared,
    ForgetsSwap,
    MapsTwice,
    PageUncounted,
    ChildUnlisted,
    KeepsHead,
    AddsTwice,
    LinksUnlocked,
)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_mutant_is_found(mutant):
    scope = Scope(
        mms=2, pages=2, premapped=1, ops=("fault", "fork", "exit", "exec", "mremap", "swap")
    )
    found = explore(mutant, scope, target=mutant.breaks, engine="python", max_states=5_000)
    assert found.verdict.status is Status.VIOLATED, mutant.breaks
    assert mutant.breaks in [v.invariant for v in found.verdict.violations]


def test_every_fork_with_a_failing_allocation_is_undone():
    found = explore(bugs()["E32"].__mro__[1], Scope(**ONE_PAGE | {"ops": ("fork", "exit")}))
    assert found.verdict.status is Status.HOLDS


# The structures.


def family(scheme, scope, *ops):
    machine = Run(scheme, scope)
    for op in ops:
        assert machine.apply(op) == []
    return machine.st


def walked(st, folio):
    rwc = RmapWalkControl()
    st.scheme.rmap_walk(st, folio, rwc)
    return rwc.visited


WRITTEN = (Mmap(mm=1, start=0, length=1), Write(mm=1, address=0))
THREE = Scope(mms=3, pages=2)


def test_fork_allocates_one_anonmm_however_much_it_copies():
    ops = [*WRITTEN, Mmap(mm=1, start=1, length=1, prot="r"), Read(mm=1, address=1)]
    st = family(AnonmmCopies, THREE, *ops, Fork(mm=1, child=2), Fork(mm=2, child=3))
    assert st.anonmm.live == 3
    head = st.mm[1].anonmm
    assert [st.anonmm[st.mm[m].anonmm].head for m in (1, 2, 3)] == [head] * 3
    assert st.anonmm[head].count == 1 + 1 + 2 + 1
    assert [st.anonmm[st.mm[m].anonmm].count for m in (2, 3)] == [1, 1]


def test_the_walk_begins_with_the_process_of_the_page():
    st = family(AnonmmCopies, THREE, *WRITTEN, Fork(mm=1, child=2), Fork(mm=1, child=3))
    assert walked(st, 1) == [1, 3, 5]
    st = family(
        AnonmmCopies,
        THREE,
        *WRITTEN,
        Fork(mm=1, child=2),
        Fork(mm=1, child=3),
        SwapOut(mm=1, address=0),
        Read(mm=2, address=0),
    )
    assert st.mm[1].rss == 0
    assert walked(st, st.pte[3].folio) == [3]
    again = family(
        AnonmmCopies,
        THREE,
        *WRITTEN,
        Fork(mm=1, child=2),
        SwapOut(mm=1, address=0),
        Read(mm=2, address=0),
        Read(mm=1, address=0),
    )
    assert walked(again, again.pte[1].folio) == [3, 1]


def test_the_head_is_freed_last():
    ops = [*WRITTEN, Fork(mm=1, child=2), Exit(mm=1)]
    st = family(AnonmmCopies, THREE, *ops)
    assert st.anonmm.live == 2
    assert st.folio[st.pte[3].folio].mapping == st.anonmm[st.mm[2].anonmm].head


@pytest.mark.parametrize("scheme", VERSIONS)
def test_exec_without_memory_for_its_anonmm_leaves_the_old_image(scheme):
    scope = Scope(mms=2, pages=2, alloc_fail=True)
    machine = Run(scheme, scope)
    for op in (*WRITTEN, Fork(mm=1, child=2)):
        assert machine.apply(op) == []
    st = machine.st
    before = projection(st), machine.canonical()
    assert machine.apply(Exec(mm=2, fail=1)) == []
    assert (projection(st), machine.canonical()) == before
    assert st.anonmm.live == 2
    old = st.mm[2].anonmm
    assert machine.apply(Exec(mm=2)) == []
    assert st.anonmm.live == 2
    assert st.mm[2].anonmm != old
    assert st.anonmm[st.mm[2].anonmm].head == st.mm[2].anonmm


LOST = [  # E33 in process 1; process 2, whose anonmm the page names, forks 3 and then exits.
    *WRITTEN,
    Fork(mm=1, child=2),
    SwapOut(mm=1, address=0),
    Read(mm=2, address=0),
    Mremap(mm=1, start=0, length=1, new_length=1, to=1),
    Fork(mm=2, child=3),
    Exit(mm=2),
]


@pytest.mark.parametrize("lost", [True, False])
def test_a_page_leaves_an_extinct_process_only_if_all_its_entries_were_found(lost):
    machine = Run(AnonmmCopies, Scope(mms=3, pages=2, young=True, alloc_fail=True))
    for op in LOST:
        assert machine.apply(op) == []
    if lost:
        machine.apply(Read(mm=1, address=1, fail=1))
    machine.apply(FolioReferenced(mm=3, address=0))
    st = machine.st
    page = st.pte[5].folio
    assert (st.pte[2].folio == page) is lost
    assert (st.anonmm[st.folio[page].mapping].mm == 0) is lost
    assert (st.folio[page].mapping == st.mm[3].anonmm) is not lost


def test_mremap_of_a_shared_page():
    ops = [*WRITTEN, Fork(mm=1, child=2), Mremap(mm=2, start=0, length=1, new_length=1, to=1)]
    chained = family(AnonmmChains, THREE, *ops)
    assert chained.pte[1].folio == chained.pte[4].folio
    assert walked(chained, chained.pte[1].folio) == [1, 2, 3, 4]
    copied = family(AnonmmCopies, THREE, *ops)
    assert copied.pte[1].folio != copied.pte[4].folio
    assert copied.folio[copied.pte[4].folio].index == 1


def test_a_moved_page_in_swap_is_copied_at_once_or_later_or_never():
    swapped = [*WRITTEN, Fork(mm=1, child=2), SwapOut(mm=1, address=0)]
    moved = [*swapped, Mremap(mm=2, start=0, length=1, new_length=1, to=1)]
    assert family(AnonmmSwapIn, THREE, *moved).pte[4].folio
    for scheme, shared in ((AnonmmChains, True), (AnonmmCopies, False)):
        st = family(scheme, THREE, *moved)
        assert st.pte[4].swap
        st = family(scheme, THREE, *moved, Read(mm=1, address=0), Read(mm=2, address=1))
        assert (st.pte[1].folio == st.pte[4].folio) is shared
