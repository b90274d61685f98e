"""No rmap: what swap_out() unmaps, that it visits every entry, and faults that prevent this."""

import pytest

from rmapcheck.explore import explore
from rmapcheck.invariants.completeness import mappers_of
from rmapcheck.invariants.registry import INVARIANTS, applicable
from rmapcheck.invariants.scan import on_mmlist
from rmapcheck.model.bugs.early import SwapMmLeftBehind
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.mm import virtual_scan as vmscan
from rmapcheck.model.operations import (
    Exec,
    Exit,
    FolioReferenced,
    Fork,
    Mmap,
    MmapFile,
    Read,
    Reclaim,
    SwapOut,
    SwapScan,
    Write,
)
from rmapcheck.model.schemes.pte_chain import PteChainArray
from rmapcheck.model.schemes.virtual_scan import VirtualScan, VirtualScanObjrmap
from rmapcheck.run import NotPossible, Run
from tests.pins import scope_of

TWO_PAGES = scope_of("two pages, scanned")
THREE = scope_of("three processes")
AGED = scope_of("referenced, scanned")


def test_a_scheme_without_rmap_is_checked_for_its_scan_and_not_for_a_walk():
    names = [inv.name for inv in applicable(VirtualScan)]
    assert "walk_complete" not in names
    assert names[-1] == "scan_visits_all"
    others = [inv.name for inv in applicable(PteChainArray)]
    assert "walk_complete" in others
    assert not {"mmlist", "scan_visits_all"} & set(others)
    assert INVARIANTS["scan_visits_all"].universal


# Faults.


class JoinsLate(VirtualScan):
    """Fork adds the child to mmlist after copying its entries: swapoff may miss them."""

    name = "joins-late"
    breaks = "lock_discipline"

    def joins_mmlist_first(self, st):
        return False


class BreaksTheRing(VirtualScan):
    """A process that gets a page becomes a ring of one, so the scan never finds the others."""

    name = "breaks-the-ring"
    breaks = "scan_visits_all"

    def folio_add_new_anon_rmap(self, st, folio, vma, address, ptep):
        st.mm[st.vma[vma].vm_mm].mmlist = st.vma[vma].vm_mm


class TwoCursors(VirtualScan):
    name = "two-cursors"
    breaks = "mmlist"

    def folio_add_new_anon_rmap(self, st, folio, vma, address, ptep):
        st.mm[st.vma[vma].vm_mm].swap_mm = 1


@pytest.mark.parametrize("engine", ["python", "native"])
@pytest.mark.parametrize("mutant", [JoinsLate, BreaksTheRing, TwoCursors, SwapMmLeftBehind])
def test_the_fault_is_caught(mutant, engine):
    target = mutant.bug.violates if mutant.bug else mutant.breaks
    found = explore(mutant, THREE, target=target, engine=engine)
    assert target in [v.invariant for v in found.verdict.violations]


def test_the_next_scan_uses_a_swap_mm_that_has_exited():
    machine = Run(SwapMmLeftBehind, THREE)
    machine.apply(Fork(mm=1, child=2))
    assert [v.invariant for v in machine.apply(Exit(mm=1))] == ["mmlist", "null_dereference"]


def counts_what_stays(st, vma, ptep, scan):
    """Replace try_to_swap_out(): a page that got no swap slot counts as freed."""
    kept = st.pte[ptep].folio
    return swapped(st, vma, ptep, scan) or int(st.pte[ptep].folio == kept)


swapped = vmscan.try_to_swap_out


def test_a_scan_that_stops_at_a_page_that_stays_never_gets_past_it(monkeypatch):
    monkeypatch.setattr(vmscan, "try_to_swap_out", counts_what_stays)
    found = explore(VirtualScan, TWO_PAGES, engine="python")
    assert [v.invariant for v in found.verdict.violations] == ["scan_visits_all"]


def stays_at_young(st, mm, vma, count, scan):
    """Replace swap_out_vma(): a young entry ends the scan, and the cursor stays there."""
    address = max(st.mm[mm].swap_address, st.vma[vma].vm_start)
    ptep = vmscan.pte_offset(st, mm, address)
    if st.pte[ptep].folio and st.pte[ptep].flags & vmscan.PTE_YOUNG:
        scan.visited.append(ptep)
        return 0
    return scanned(st, mm, vma, count, scan)


scanned = vmscan.swap_out_vma


def test_a_scan_that_is_stopped_by_a_page_in_use_never_gets_past_it(monkeypatch):
    monkeypatch.setattr(vmscan, "swap_out_vma", stays_at_young)
    found = explore(VirtualScan, AGED, engine="python")
    assert [v.invariant for v in found.verdict.violations] == ["scan_visits_all"]


def test_the_check_that_runs_further_changes_nothing():
    machine = Run(VirtualScan, TWO_PAGES)
    events = []
    machine.st.observer = lambda *event: events.append(event[1])
    machine.apply(Write(mm=1, address=0))
    before = machine.st.layout.encode_raw(machine.st)
    assert not machine.apply(Write(mm=1, address=1))
    assert machine.st.swap.live == 0
    assert machine.st.layout.encode_raw(machine.st) != before
    assert "unmap" not in events


# What a scan does.


def shared(mms, pages, **scope):
    machine = Run(VirtualScan, Scope(mms=mms, pages=pages, **{"folios": 8, "swaps": 4} | scope))
    machine.apply(Mmap(mm=1, start=0, length=pages))
    for address in range(pages):
        machine.apply(Write(mm=1, address=address))
    for child in range(2, mms + 1):
        machine.apply(Fork(mm=1, child=child))
    return machine


def test_a_page_is_freed_only_after_the_scan_has_visited_all_its_entries():
    machine = shared(3, 1)
    st = machine.st
    assert not machine.apply(SwapScan(mm=1))
    assert [st.pte[p].folio for p in (1, 2, 3)] == [0, 0, 0]
    assert st.folio[1].refcount == 1
    assert st.swap[st.folio[1].swap].count == 3
    assert st.nr_entries == 3
    assert not machine.apply(SwapOut(mm=1, address=0))
    assert st.folio.live == 0


def test_the_scan_also_unmaps_everything_on_its_way():
    """For one page of M processes with P shared pages, the scan takes (M - 1) P + 1 entries."""
    machine = shared(4, 3, swaps=3)
    machine.apply(SwapScan(mm=1))
    left = sum(machine.st.pte[p].folio != 0 for p in range(1, 13))
    assert left == 12 - (3 * 3 + 1)


def test_a_used_page_is_spared_once():
    machine = shared(1, 1, young=True)
    machine.apply(SwapScan(mm=1))
    assert machine.st.pte[1].folio == 0, "the second round of the same scan took it"
    assert machine.st.nr_entries == 2


def test_the_scan_continues_where_it_stopped_except_in_the_last_vma():
    machine = shared(1, 4)
    machine.apply(SwapScan(mm=1))
    assert machine.st.mm[1].swap_address == 4, "the kernel treats this as the end"
    machine = shared(1, 3)
    machine.apply(Mmap(mm=1, start=2, length=1, prot="r"))
    machine.apply(SwapScan(mm=1))
    assert machine.st.mm[1].swap_address == 1


def test_without_swap_space_the_entry_stays():
    machine = shared(2, 1, swaps=0)
    machine.apply(SwapScan(mm=1))
    assert [machine.st.pte[p].folio for p in (1, 2)] == [1, 1]


def mapped(scheme, mms, pages):
    """Let `mms` processes map one file of `pages` pages, shared, and touch all of it."""
    scope = Scope(mms=mms, pages=pages, vmas=mms + 2, folios=pages, files=1, file_pages=pages)
    machine = Run(scheme, scope)
    machine.apply(MmapFile(mm=1, start=0, length=pages, file=1, pgoff=0, shared=True))
    for address in range(pages):
        machine.apply(Read(mm=1, address=address))
    for child in range(2, mms + 1):
        machine.apply(Fork(mm=1, child=child))
    return machine


@pytest.mark.parametrize("mms", [2, 4, 8])
@pytest.mark.parametrize("pages", [1, 4])
def test_only_with_i_mmap_does_one_page_cost_its_own_entries(mms, pages):
    """M processes map P pages of a file: for one page, (M - 1) P + 1 or M entries are unmapped."""
    gone = {}
    for scheme in (VirtualScan, VirtualScanObjrmap):
        machine = mapped(scheme, mms, pages)
        st = machine.st
        assert not machine.apply(SwapScan(mm=1))
        gone[scheme] = sum(st.pte[p].folio == 0 for p in range(1, mms * pages + 1))
        free = [f for f in st.folio.indices() if st.folio[f].refcount == 1]
        assert len(free) == 1
        assert not machine.apply(Reclaim(file=1, index=st.folio[free[0]].index))
    assert gone == {VirtualScan: (mms - 1) * pages + 1, VirtualScanObjrmap: mms}


def takes_any_entry(st, folio, scan):
    """Replace unmap_everywhere(): do not check whether the entry maps that page."""
    for vma in st.vma.indices():
        ptep = vmscan.pte_offset(st, st.vma[vma].vm_mm, 0)
        if st.pte[ptep].folio:
            scan.visited.append(ptep)
            st.pte[ptep].folio = st.pte[ptep].flags = 0
            vmscan.folio_put(st, folio)


def test_the_walk_of_i_mmap_must_check_the_entry(monkeypatch):
    machine = mapped(VirtualScanObjrmap, 3, 2)
    assert not machine.apply(MmapFile(mm=3, start=0, length=1, file=1, pgoff=1, shared=True))
    assert not machine.outcome.exhausted
    assert not machine.apply(Read(mm=3, address=0))
    raw = machine.st.layout.encode_raw(machine.st)
    assert not machine.apply(SwapScan(mm=1))
    machine.st.layout.load_raw(machine.st, raw)
    monkeypatch.setattr(vmscan, "unmap_everywhere", takes_any_entry)
    assert "use_after_free" in [v.invariant for v in machine.apply(SwapScan(mm=1))]


def test_swap_mm_steps_over_exec_and_exit():
    machine = shared(3, 1)
    assert on_mmlist(machine.st) == [1, 3, 2], "a child is behind its parent"
    machine.apply(Exec(mm=1))
    assert on_mmlist(machine.st) == [3, 2, 1]
    machine.apply(Exit(mm=3))
    assert on_mmlist(machine.st) == [2, 1]


@pytest.mark.parametrize("young", [False, True])
def test_swap_out_scans_until_no_process_maps_the_page(young):
    machine = shared(3, 1, young=young)
    folio = machine.st.pte[1].folio
    assert len(mappers_of(machine.st, folio)) == 3
    assert SwapOut not in {type(op) for op in SwapOut.possible(machine.st)}
    assert not machine.apply(SwapOut(mm=2, address=0))
    assert not any(p.folio for p in machine.st.pte[1:4])
    assert not machine.st.folio.is_live(folio)


def test_an_operation_that_the_era_lacks_gets_an_error():
    machine = shared(1, 1, young=True)
    with pytest.raises(NotPossible, match="has no page_referenced"):
        machine.apply(FolioReferenced(mm=1, address=0))
    later = Run(PteChainArray, Scope(mms=1, pages=1, premapped=1))
    with pytest.raises(NotPossible, match="has no swap_out"):
        later.apply(SwapScan(mm=1))
    assert not later.apply(Read(mm=1, address=0))
