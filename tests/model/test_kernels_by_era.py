"""What kernels did, by era: each test is one behaviour, with the function that shows it.

Where kernels differ, the test names one scheme on each side of the change.
"""

import attrs
import pytest

from rmapcheck.model.machine.errors import EINVAL, ENOMEM
from rmapcheck.model.machine.scope import EXTRAS, GROUPS, Scope
from rmapcheck.model.machine.state import pte_offset
from rmapcheck.model.machine.structs import PTE_WRITE, VM_ACCOUNT, VM_LOCKED
from rmapcheck.model.mm.vma import vma_lookup
from rmapcheck.model.operations import (
    PROTECTIONS,
    Brk,
    Exec,
    Exit,
    Fork,
    Madvise,
    Mlock,
    Mmap,
    Mprotect,
    Mremap,
    Munmap,
    Read,
    SwapOut,
    Unuse,
    Write,
)
from rmapcheck.plugins.catalogue import schemes
from rmapcheck.run import Run

SCOPE = Scope(
    mms=3,
    pages=6,
    vmas=16,
    folios=16,
    swaps=4,
    objects=60,
    protections=4,
    ops=(*GROUPS[: GROUPS.index("file")], *EXTRAS),
)
NEWEST = "avc-7.0"
EVERYWHERE = ("virtual_scan-2.4", "pte_chain-2.6.0", "anon_vma-2.6.18", "avc-3.19", NEWEST)


class Machine(Run):
    """A run that must not violate anything, with short names for what tests look at."""

    def __init__(self, name, scope=SCOPE):
        super().__init__(schemes()[name], scope)

    def do(self, *ops):
        """Apply operations; return the result of the last one."""
        for op in ops:
            assert self.apply(op) == [], op
        return self.outcome.error

    def vma(self, address, mm=1):
        return self.st.vma[vma_lookup(self.st, mm, address)]

    def pte(self, address, mm=1):
        return self.st.pte[pte_offset(self.st, mm, address)]

    def vmas(self, mm=1):
        """Return (start, end, protection) of each VMA."""
        return [(vma.start, vma.end, PROTECTIONS[vma.prot]) for vma in self.maps(mm)]


def mapped(start, length=1, mm=1, prot="rw"):
    return Mmap(mm=mm, start=start, length=length, prot=prot)


def write(address, mm=1):
    return Write(mm=mm, address=address)


def moved(start, length, to, **kwargs):
    return Mremap(mm=1, start=start, length=length, to=to, **{"new_length": length, **kwargs})


def failing(machine, op):
    """Yield `op` once for each of its allocations, with that allocation failing."""
    again = Run(machine.scheme, machine.st.scope)
    for step in machine.steps:
        again.apply(step)
    again.apply(op)
    return [attrs.evolve(op, fail=n) for n in range(1, again.outcome.allocations + 1)]


# mremap: unmap_source_vma(), mm/mremap.c; the result of do_munmap() in move_vma() before v6.17.


@pytest.mark.parametrize("name", EVERYWHERE)
def test_mremap_succeeds_if_it_cannot_unmap_its_source(name):
    start = (mapped(0, 3), write(1))
    move = moved(1, 1, 5)
    machine = Machine(name)
    machine.do(*start)
    results = []
    for op in failing(machine, move):
        machine = Machine(name)
        machine.do(*start)
        if machine.do(op) == 0:
            results.append(machine)
    # The split at the start of the range fails, or the one at its end, each by its first object.
    assert len(results) >= 2
    for machine in results:
        assert machine.pte(5).folio
        assert not machine.pte(1).folio
        assert machine.vmas()[-1] == (5, 6, 3)
        assert all(not machine.vma(page).vm_flags & VM_ACCOUNT for page in range(3))
        assert machine.vma(5).vm_flags & VM_ACCOUNT
    assert [machine.vmas()[:-1] for machine in results if len(machine.vmas()) == 2] != []


@pytest.mark.parametrize("name", EVERYWHERE)
def test_what_remains_of_the_source_of_mremap_stays_charged(name):
    machine = Machine(name)
    assert machine.do(mapped(0, 3), write(1), moved(1, 1, 5)) == 0
    assert machine.vmas() == [(0, 1, 3), (2, 3, 3), (5, 6, 3)]
    assert all(machine.vma(page).vm_flags & VM_ACCOUNT for page in (0, 2, 5))


def test_mremap_of_several_vmas_goes_on_when_one_source_stays():
    start = (mapped(0, 2), mapped(2, prot="r"), write(1))
    machine = Machine(NEWEST)
    machine.do(*start)
    stays = []
    for op in failing(machine, moved(1, 2, 4)):
        machine = Machine(NEWEST)
        machine.do(*start)
        if machine.do(op) == 0 and machine.vmas()[0] == (0, 2, 3):
            stays.append(machine.vmas())
    assert stays
    assert all(vmas == [(0, 2, 3), (4, 5, 3), (5, 6, 1)] for vmas in stays)


def test_mremap_that_shrinks_unmaps_its_target_before_it_cuts_its_source():
    start = (mapped(0, 3), mapped(4, 2, prot="r"))
    machine = Machine(NEWEST)
    machine.do(*start)
    cut = moved(0, 2, 4, new_length=1)
    first = Machine(NEWEST)
    first.do(*start, attrs.evolve(cut, fail=1))  # the split of the target
    assert first.vmas() == [(0, 3, 3), (4, 6, 1)]
    second = Machine(NEWEST)
    second.do(*start, attrs.evolve(cut, fail=2))  # the split of the source
    assert second.vmas() == [(0, 3, 3), (5, 6, 1)]
    assert second.do(Munmap(mm=1, start=0, length=3)) == 0


# mremap in place: vma_adjust() until v6.0, vma_merge_extend() since v6.1 (ca3d76b0aa80).


@pytest.mark.parametrize(
    ("name", "vmas"),
    [
        ("pte_chain-2.6.0", [(0, 2, 3), (2, 3, 3)]),
        ("anon_vma-2.6.32", [(0, 2, 3), (2, 3, 3)]),
        ("avc-2.6.34", [(0, 2, 3), (2, 3, 3)]),
        ("avc-3.19", [(0, 2, 3), (2, 3, 3)]),
        ("avc-6.0", [(0, 2, 3), (2, 3, 3)]),
        ("avc-6.1", [(0, 3, 3)]),
        (NEWEST, [(0, 3, 3)]),
    ],
)
def test_growth_in_place_joins_the_vma_behind_since_v6_1(name, vmas):
    machine = Machine(name)
    grown = Mremap(mm=1, start=0, length=1, new_length=2)
    assert machine.do(mapped(0), mapped(2), grown) == 0
    assert machine.vmas() == vmas
    assert machine.vma(0).vm_pgoff == 0
    if len(vmas) == 2:
        assert machine.vma(2).vm_pgoff == 2


# brk: vma_merge() until v6.0, do_brk_flags() that only expands since v6.1 (2e7ce7d354f2).


@pytest.mark.parametrize(
    ("name", "vmas"),
    [
        ("virtual_scan-2.4", [(0, 3, 3)]),
        ("avc-3.19", [(0, 3, 3)]),
        ("avc-6.0", [(0, 3, 3)]),
        ("avc-6.1", [(0, 2, 3), (2, 3, 3)]),
        (NEWEST, [(0, 2, 3), (2, 3, 3)]),
    ],
)
def test_brk_joins_the_vma_behind_until_v6_0(name, vmas):
    machine = Machine(name)
    assert machine.do(mapped(0), mapped(2), Brk(mm=1, start=1, length=1)) == 0
    assert machine.vmas() == vmas


# mmap: the VMA below is asked for the anon_vma of the VMA above, v6.1 … v6.11.


@pytest.mark.parametrize(("name", "vmas"), [("avc-6.0", 1), ("avc-6.1", 2), ("avc-6.12", 1)])
def test_mmap_asks_the_vma_below_for_the_anon_vma_above_in_v6_1(name, vmas):
    machine = Machine(name)
    assert machine.do(mapped(0), mapped(2), write(2), mapped(1)) == 0
    assert len(machine.vmas()) == vmas


# Swap-in: do_swap_page(), mm/memory.c.


def swapped_out(name, *ops):
    machine = Machine(name)
    machine.do(mapped(0), write(0), *ops, SwapOut(mm=1, address=0))
    assert machine.pte(0).swap
    return machine


@pytest.mark.parametrize(
    ("name", "writable"),
    [("avc-3.19", False), ("avc-6.1", False), ("avc-6.12", True), (NEWEST, True)],
)
def test_swap_in_by_a_read_is_writable_since_v6_11(name, writable):
    """Of a page that only this process has; c18160dba5ff."""
    machine = swapped_out(name)
    machine.do(Read(mm=1, address=0))
    assert machine.pte(0).folio
    assert (machine.pte(0).flags & PTE_WRITE != 0) is writable


def test_swap_in_by_a_read_is_read_only_if_the_page_is_shared_or_the_vma_is():
    shared = swapped_out(NEWEST, Fork(mm=1, child=2))
    shared.do(Read(mm=1, address=0))
    assert not shared.pte(0).flags & PTE_WRITE
    read_only = swapped_out(NEWEST, Mprotect(mm=1, start=0, length=1, prot="r"))
    read_only.do(Read(mm=1, address=0))
    assert not read_only.pte(0).flags & PTE_WRITE


def test_swapoff_maps_a_page_read_only():
    """unuse_pte(), mm/swapfile.c."""
    machine = swapped_out(NEWEST)
    machine.do(Unuse(mm=1, address=0))
    assert machine.pte(0).folio
    assert not machine.pte(0).flags & PTE_WRITE


@pytest.mark.parametrize(
    ("name", "frees"),
    [("pte_chain-2.6.0", False), ("anon_vma-2.6.23", False), ("anon_vma-2.6.28", True)]
    + [(name, True) for name in ("avc-2.6.34", "avc-3.19", "avc-6.0", NEWEST)],
)
def test_swap_in_into_a_locked_vma_frees_the_slot_since_v2_6_28(name, frees):
    machine = swapped_out(name)
    machine.do(Mlock(mm=1, start=0, length=1), Read(mm=1, address=0))
    folio = machine.st.folio[machine.pte(0).folio]
    assert (folio.swap == 0) is frees
    assert machine.st.swap.live == (0 if frees else 1)


def test_a_locked_vma_keeps_a_slot_that_another_process_names():
    machine = swapped_out(NEWEST, Fork(mm=1, child=2))
    machine.do(Mlock(mm=1, start=0, length=1), Read(mm=1, address=0))
    assert machine.st.folio[machine.pte(0).folio].swap
    assert not machine.st.folio[machine.pte(0).folio].exclusive


@pytest.mark.parametrize(("name", "exclusive"), [("avc-6.0", 1), (NEWEST, 1)])
def test_a_locked_vma_takes_over_a_page_whose_other_user_is_gone(name, exclusive):
    machine = swapped_out(name, Fork(mm=1, child=2))
    machine.do(Exit(mm=2), Mlock(mm=1, start=0, length=1), Read(mm=1, address=0))
    assert machine.st.folio[machine.pte(0).folio].exclusive == exclusive


# MREMAP_DONTUNMAP: dontunmap_complete(), mm/mremap.c; move_vma() since v5.7.


def test_dontunmap_unlocks_the_vma_that_it_keeps():
    machine = Machine(NEWEST)
    machine.do(mapped(0), mapped(1, 2), write(1), Mlock(mm=1, start=1, length=2))
    assert machine.vmas() == [(0, 1, 3), (1, 3, 3)]
    machine.do(moved(1, 1, 5, dontunmap=True))
    assert machine.vma(5).vm_flags & VM_LOCKED
    assert not machine.vma(1).vm_flags & VM_LOCKED, "nor is the rest, which was not moved"
    assert machine.do(Mmap(mm=1, start=3, length=1)) == 0
    assert machine.vmas() == [(0, 1, 3), (1, 4, 3), (5, 6, 3)]


# MADV_DONTNEED: can_madv_lru_vma(), mm/madvise.c, v5.4; madvise_dontneed() since v2.4.


@pytest.mark.parametrize("name", EVERYWHERE)
def test_dontneed_stops_at_a_locked_vma(name):
    machine = Machine(name)
    machine.do(mapped(0, 3), write(0), write(1), write(2), Mlock(mm=1, start=1, length=1))
    assert machine.do(Madvise(mm=1, start=0, length=3, advice="dontneed")) == -EINVAL
    assert [bool(machine.pte(page).folio) for page in range(3)] == [False, True, True]
    machine.do(Mlock(mm=1, start=1, length=1, on=False))
    assert machine.do(Madvise(mm=1, start=0, length=3, advice="dontneed")) == 0
    assert not machine.pte(1).folio


# exec: VM_STACK_FLAGS, fs/exec.c.


@pytest.mark.parametrize("name", EVERYWHERE)
def test_nothing_merges_with_the_stack_of_a_new_image(name):
    machine = Machine(name)
    machine.do(Exec(mm=1), Mmap(mm=1, start=4, length=1), write(4))
    assert machine.vmas() == [(4, 5, 3), (5, 6, 3)]
    assert machine.vma(5).vm_growsdown


@pytest.mark.parametrize("name", ["anon_vma-2.6.18", NEWEST])
def test_a_stack_shares_no_anon_vma_with_its_neighbour(name):
    """find_mergeable_anon_vma(), mm/mmap.c: their vm_flags differ in more than the access."""
    machine = Machine(name)
    machine.do(Exec(mm=1), Mmap(mm=1, start=4, length=1), write(4))
    assert machine.vma(4).anon_vma != machine.vma(5).anon_vma


def test_a_stack_stays_one_when_it_is_moved_forked_and_protected():
    machine = Machine(NEWEST)
    machine.do(Exec(mm=1), Fork(mm=1, child=2), moved(5, 1, 2))
    machine.do(
        Mprotect(mm=1, start=2, length=1, prot="r"), Mmap(mm=1, start=3, length=1, prot="r")
    )
    assert machine.vmas() == [(2, 3, 1), (3, 4, 1)]
    assert machine.vma(2).vm_growsdown
    assert machine.vma(5, mm=2).vm_growsdown
    assert not machine.vma(3).vm_growsdown


# fork of a VMA with VM_WIPEONFORK: dup_mmap(), kernel/fork.c.


@pytest.mark.parametrize(
    ("name", "prepared"), [("avc-3.19", False), ("avc-4.14", True), ("avc-6.0", False)]
)
def test_fork_gives_a_wiped_vma_an_anon_vma_of_the_parent_in_v4_14(name, prepared):
    machine = Machine(name)
    machine.do(mapped(0), mapped(1, prot="rwx"), write(0))
    machine.do(Madvise(mm=1, start=0, length=2, advice="wipeonfork"), Fork(mm=1, child=2))
    adopted = machine.vma(1, mm=2).anon_vma
    assert (adopted == machine.vma(0).anon_vma) is prepared
    assert bool(machine.vma(0, mm=2).anon_vma) is prepared
    assert machine.vma(1).anon_vma == 0


def test_a_wiped_vma_that_finds_no_memory_for_its_anon_vma_ends_the_fork():
    machine = Machine("avc-4.14")
    machine.do(mapped(0), Madvise(mm=1, start=0, length=1, advice="wipeonfork"))
    results = []
    for op in failing(machine, Fork(mm=1, child=2)):
        again = Machine("avc-4.14")
        again.do(*machine.steps)
        results.append(again.do(op))
    assert results == [-ENOMEM] * 3  # the VMA, its AVC, its anon_vma
