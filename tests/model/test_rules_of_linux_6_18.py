"""Rules that were learnt from a running Linux 6.18; the newest eras of the model keep them.

A prototype of this model was compared with that kernel, and the numbers are those of that study.
Rules 14 (files), 16 (MADV_FREE) and 17 (huge pages) are about things that it did not have, and 18
is about versions.
"""

import pytest

from rmapcheck.model.machine.errors import EFAULT, EINVAL, ENOMEM
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.machine.state import pte_offset
from rmapcheck.model.machine.structs import (
    PTE_WRITE,
    PTE_ZERO,
    VM_ACCOUNT,
    VM_DONTCOPY,
    VM_WIPEONFORK,
)
from rmapcheck.model.operations import (
    Exit,
    Fork,
    Madvise,
    Mmap,
    Mprotect,
    Mremap,
    Munmap,
    Read,
    SwapOut,
    Write,
)
from rmapcheck.plugins.catalogue import schemes
from rmapcheck.run import Run

SCOPE = Scope(mms=6, pages=6, vmas=30, folios=20, swaps=4, objects=120, protections=4)
NEWEST = ("avc-6.16", "avc-7.0")


@pytest.fixture(params=NEWEST)
def machine(request):
    return Machine(request.param)


class Machine(Run):
    """A run that must not violate anything, with short names for what tests read."""

    def __init__(self, name="avc-6.16"):
        super().__init__(schemes()[name], SCOPE)

    def do(self, *ops):
        for op in ops:
            assert self.apply(op) == [], op
        return self.outcome.error

    def pte(self, mm, address):
        return self.st.pte[pte_offset(self.st, mm, address)]

    def vmas(self, mm):
        """Return (start, end, pgoff) of each VMA."""
        return [(vma.start, vma.end, vma.pgoff) for vma in self.maps(mm)]

    def first(self, mm):
        return self.st.vma[self.st.mm[mm].mmap]

    def objects(self):
        st = self.st
        return {"vma": st.vma.live, "avc": st.anon_vma_chain.live, "av": st.anon_vma.live}

    def change(self, *ops):
        """Return how many objects of each kind `ops` leave more (or less) than before."""
        before = self.objects()
        self.do(*ops)
        return {k: v - before[k] for k, v in self.objects().items()}


def mapped(length, mm=1, start=0):
    return Mmap(mm=mm, start=start, length=length)


def write(address, mm=1):
    return Write(mm=mm, address=address)


def test_1_fork_copies_entries_only_of_vmas_with_an_anon_vma(machine):
    machine.do(mapped(2), Read(mm=1, address=0), Fork(mm=1, child=2))
    assert machine.pte(2, 0).flags == 0
    machine.do(write(1), Fork(mm=1, child=3))
    assert machine.pte(3, 0).flags & PTE_ZERO


def test_2_a_read_maps_the_zero_page_and_only_a_write_brings_an_anon_vma(machine):
    machine.do(mapped(1), Read(mm=1, address=0))
    assert machine.pte(1, 0).flags & PTE_ZERO
    assert machine.first(1).anon_vma == 0
    machine.do(write(0))
    assert machine.first(1).anon_vma != 0


def test_3_mprotect_charges_writable_memory_and_uncharges_never_faulted_one(machine):
    machine.do(Mmap(mm=1, start=0, length=1, prot="r"))
    assert not machine.first(1).vm_flags & VM_ACCOUNT
    machine.do(Mprotect(mm=1, start=0, length=1, prot="rw"))
    assert machine.first(1).vm_flags & VM_ACCOUNT
    machine.do(Mprotect(mm=1, start=0, length=1, prot="r"))
    assert not machine.first(1).vm_flags & VM_ACCOUNT


def test_3_a_charge_keeps_two_read_only_vmas_apart(machine):
    machine.do(mapped(1), write(0), Mprotect(mm=1, start=0, length=1, prot="r"))
    machine.do(Mmap(mm=1, start=1, length=1, prot="r"))
    assert machine.vmas(1) == [(0, 1, 0), (1, 2, 1)]


def test_4_mremap_keeps_the_pgoff_of_a_faulted_vma_only(machine):
    machine.do(mapped(1), Mremap(mm=1, start=0, length=1, new_length=1, to=3))
    assert machine.vmas(1) == [(3, 4, 3)]
    machine.do(write(3), Mremap(mm=1, start=3, length=1, new_length=1, to=5))
    assert machine.vmas(1) == [(5, 6, 3)]


def test_5_a_never_faulted_side_takes_the_chain_of_the_other(machine):
    machine.do(mapped(1), Mmap(mm=1, start=1, length=1, prot="rwx"), write(1))
    change = machine.change(Mprotect(mm=1, start=1, length=1, prot="rw"))
    assert machine.vmas(1) == [(0, 2, 0)]
    assert change == {"vma": -1, "avc": 0, "av": 0}


def test_5_a_fork_child_does_not_merge_with_a_never_faulted_vma(machine):
    machine.do(mapped(1), write(0), Fork(mm=1, child=2), mapped(1, mm=2, start=1))
    assert machine.vmas(2) == [(0, 1, 0), (1, 2, 1)]


def test_5_a_merge_on_both_sides_needs_both_to_agree(machine):
    machine.do(mapped(1), write(0), mapped(1, start=2), write(2), mapped(1, start=1))
    assert machine.vmas(1) == [(0, 2, 0), (2, 3, 2)]


def test_6_halves_split_before_a_fork_never_merge_in_the_child(machine):
    machine.do(mapped(2), write(0), Mprotect(mm=1, start=1, length=1, prot="r"))
    machine.do(Fork(mm=1, child=2), Mprotect(mm=2, start=1, length=1, prot="rw"))
    assert machine.vmas(2) == [(0, 1, 0), (1, 2, 1)]
    machine.do(Mprotect(mm=1, start=1, length=1, prot="rw"))
    assert machine.vmas(1) == [(0, 2, 0)]


def test_7_fork_reuses_an_idle_ancestor():
    machine = Machine("avc-6.16")
    machine.do(mapped(1), write(0), Fork(mm=1, child=2), Fork(mm=2, child=3))
    machine.do(Munmap(mm=2, start=0, length=1))
    assert machine.change(Fork(mm=3, child=4)) == {"vma": 1, "avc": 3, "av": 0}
    machine.do(Exit(mm=3))
    assert machine.change(Fork(mm=4, child=5))["av"] == 0
    assert machine.change(Fork(mm=4, child=6)) == {"vma": 1, "avc": 4, "av": 1}


def test_8_a_split_copies_the_chain_and_a_merge_drops_it(machine):
    machine.do(mapped(3), write(0))
    middle = Mprotect(mm=1, start=1, length=1, prot="r")
    assert machine.change(middle) == {"vma": 2, "avc": 2, "av": 0}
    back = Mprotect(mm=1, start=1, length=1, prot="rw")
    assert machine.change(back) == {"vma": -2, "avc": -2, "av": 0}


def test_9_a_write_copies_a_shared_page_and_reuses_one_no_longer_shared(machine):
    machine.do(mapped(1), write(0), Fork(mm=1, child=2))
    shared = machine.pte(1, 0).folio
    machine.do(write(0, mm=2))
    assert machine.pte(2, 0).folio != shared
    machine.do(write(0))
    assert machine.pte(1, 0).folio == shared
    assert machine.pte(1, 0).flags & PTE_WRITE
    assert machine.st.folio[shared].exclusive


def test_9_the_reused_page_moves_to_the_writers_anon_vma(machine):
    machine.do(mapped(1), write(0), Fork(mm=1, child=2), Exit(mm=1), write(0, mm=2))
    folio = machine.pte(2, 0).folio
    assert machine.st.folio[folio].mapping == machine.first(2).anon_vma


@pytest.mark.parametrize(("length", "left"), [(2, 0), (1, 1)])
def test_10_dontunmap_unlinks_the_old_vma_only_if_it_moved_whole(machine, length, left):
    machine.do(mapped(2), write(0))
    machine.do(Mremap(mm=1, start=0, length=length, new_length=length, to=4, dontunmap=True))
    assert (machine.first(1).anon_vma != 0) == bool(left)
    assert machine.pte(1, 0).folio == 0
    assert machine.pte(1, 4).folio != 0


def test_11_mremap_moves_several_vmas_and_the_hole_between_them(machine):
    machine.do(mapped(3), write(0), write(2), Munmap(mm=1, start=1, length=1))
    assert machine.do(Mremap(mm=1, start=0, length=3, new_length=3, to=3)) == 0
    assert machine.vmas(1) == [(3, 4, 0), (5, 6, 2)]


def test_11_older_kernels_refuse_and_leave_the_destination_mapped():
    machine = Machine("avc-6.0")
    machine.do(mapped(3), Munmap(mm=1, start=1, length=1), mapped(3, start=3))
    before = machine.vmas(1)
    assert machine.do(Mremap(mm=1, start=0, length=3, new_length=3, to=3)) == -EFAULT
    assert machine.vmas(1) == before


def test_11_source_and_target_must_not_overlap(machine):
    machine.do(mapped(3))
    assert machine.do(Mremap(mm=1, start=0, length=2, new_length=2, to=1)) == -EINVAL


def test_12_wipeonfork_gives_the_child_an_empty_vma_and_dontfork_none(machine):
    machine.do(mapped(2), write(0), write(1))
    machine.do(
        Madvise(mm=1, start=0, length=1, advice="wipeonfork"),
        Madvise(mm=1, start=1, length=1, advice="dontfork"),
        Fork(mm=1, child=2),
    )
    assert machine.vmas(2) == [(0, 1, 0)]
    assert machine.first(2).anon_vma == 0
    assert machine.pte(2, 0).folio == 0


@pytest.mark.parametrize(
    ("advice", "flag"), [("wipeonfork", VM_WIPEONFORK), ("dontfork", VM_DONTCOPY)]
)
def test_12_the_flags_prevent_merging_and_survive_splits(machine, advice, flag):
    machine.do(mapped(2), Madvise(mm=1, start=0, length=2, advice=advice), mapped(1, start=2))
    assert machine.vmas(1) == [(0, 2, 0), (2, 3, 2)]
    machine.do(Munmap(mm=1, start=0, length=1))
    assert machine.first(1).vm_flags & flag


def test_13_dontneed_zaps_around_holes_and_then_says_enomem(machine):
    machine.do(mapped(3), write(0), write(2), Munmap(mm=1, start=1, length=1))
    assert machine.do(Madvise(mm=1, start=0, length=3, advice="dontneed")) == -ENOMEM
    assert machine.pte(1, 0).folio == 0
    assert machine.pte(1, 2).folio == 0


def test_13_mprotect_works_up_to_the_hole(machine):
    machine.do(mapped(3), Munmap(mm=1, start=1, length=1))
    assert machine.do(Mprotect(mm=1, start=0, length=3, prot="r")) == -ENOMEM
    prots = [machine.st.vma[v].vm_flags & 7 for v in machine.st.vma.indices()]
    assert sorted(prots) == [1, 3]


def test_madvise_sets_flags_behind_a_hole_too_and_then_says_enomem(machine):
    machine.do(mapped(3), Munmap(mm=1, start=1, length=1))
    assert machine.do(Madvise(mm=1, start=0, length=3, advice="dontfork")) == -ENOMEM
    flags = [machine.st.vma[v].vm_flags & VM_DONTCOPY for v in machine.st.vma.indices()]
    assert all(flags)
    assert len(flags) == 2


def test_mremap_to_the_same_size_does_nothing_even_where_a_vma_ends(machine):
    machine.do(mapped(2), write(0), Mprotect(mm=1, start=1, length=1, prot="r"))
    before = machine.vmas(1)
    for length in (1, 2, 4):
        assert machine.do(Mremap(mm=1, start=0, length=length, new_length=length)) == 0
    assert machine.vmas(1) == before


def test_mremap_grows_no_range_that_is_more_than_its_vma(machine):
    machine.do(mapped(2), Mprotect(mm=1, start=1, length=1, prot="r"))
    assert machine.do(Mremap(mm=1, start=0, length=2, new_length=3)) == -EFAULT
    assert machine.do(Mremap(mm=1, start=0, length=1, new_length=2)) == -ENOMEM


def test_15_a_shared_swap_entry_comes_back_not_exclusive_and_a_write_copies_it(machine):
    machine.do(mapped(1), write(0), Fork(mm=1, child=2), SwapOut(mm=1, address=0))
    machine.do(Read(mm=1, address=0))
    folio = machine.pte(1, 0).folio
    assert machine.st.folio[folio].swap
    assert not machine.st.folio[folio].exclusive
    machine.do(write(0))
    assert machine.pte(1, 0).folio != folio


def test_15_the_last_user_takes_the_page_out_of_the_swap_cache(machine):
    machine.do(mapped(1), write(0), Fork(mm=1, child=2), SwapOut(mm=1, address=0))
    machine.do(Read(mm=1, address=0), write(0), Read(mm=2, address=0), write(0, mm=2))
    folio = machine.pte(2, 0).folio
    assert machine.st.folio[folio].swap == 0
    assert machine.st.folio[folio].exclusive
    assert machine.st.swap.live == 0


def test_15_an_exclusive_page_stays_exclusive_through_swap(machine):
    machine.do(mapped(1), write(0), SwapOut(mm=1, address=0), Read(mm=1, address=0))
    assert machine.st.folio[machine.pte(1, 0).folio].exclusive
