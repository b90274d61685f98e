"""Partial objrmap: the right variants hold with all features, and each check can fail."""

import attrs
import pytest

from rmapcheck.explore import explore
from rmapcheck.model.machine.structs import RmapWalkControl
from rmapcheck.model.operations import Fork, MmapFile, Read, RemapFilePages
from rmapcheck.model.schemes.objrmap import Objrmap5a
from rmapcheck.model.schemes.objrmap_nonlinear import (
    Objrmap5c,
    Objrmap5cAgain,
    Objrmap5d,
    Objrmap5e,
)
from rmapcheck.model.schemes.pte_chain import PteChainSupplied
from rmapcheck.plugins.catalogue import bugs
from rmapcheck.run import Run
from rmapcheck.verdict import Status
from rmapcheck.verify.expectation import known_flaw
from rmapcheck.verify.ladder import bug_scope
from tests.pins import scope_of

OWN = scope_of("two pages of a file, remapped")
"""Two processes with one page each, and a file with two pages."""

RIGHT = (Objrmap5c, Objrmap5cAgain, Objrmap5d, Objrmap5e)


def test_the_merged_variant_holds_with_truncation_too():
    scope = attrs.evolve(OWN, folios=2, swaps=0, ops=(*OWN.ops, "truncate"))
    found = explore(Objrmap5e, scope)
    assert (found.verdict.status, found.verdict.how) == (Status.HOLDS, "exhaustive")
    assert found.vacuous == ()


@pytest.mark.nightly
@pytest.mark.parametrize("scheme", RIGHT, ids=lambda s: s.name)
def test_the_right_variants_hold_with_two_pages(scheme):
    scope = attrs.evolve(
        OWN, pages=2, folios=2, swaps=0, ops=("fault", "fork", "file", "reclaim", "remap")
    )
    assert explore(scheme, scope).verdict.how == "exhaustive"


@pytest.mark.parametrize("name", ["E41", "E42", "E43", "E44"])
def test_each_historical_bug_is_a_known_flaw_of_its_schemes(name):
    bug = bugs()[name]
    for base in (b for b in RIGHT if name in b.era.flaws):
        verdict = explore(base, bug_scope(bug), target=bug.bug.violates).verdict
        assert known_flaw(base, verdict) == name


# The structures.


def mapped(scheme, *, twice):
    """Return a machine in which one or two processes map page 0 of the file linearly."""
    machine = Run(scheme, attrs.evolve(OWN, pages=2))
    steps = [
        MmapFile(mm=1, start=0, length=2, file=1, pgoff=0, shared=True),
        Read(mm=1, address=0),
        *([Fork(mm=1, child=2)] if twice else []),
    ]
    for op in steps:
        assert machine.apply(op) == []
    return machine


REMAP = RemapFilePages(mm=1, start=1, length=1, pgoff=0)


@pytest.mark.parametrize("scheme", [Objrmap5c, Objrmap5cAgain, Objrmap5d], ids=lambda s: s.name)
def test_a_converted_page_has_all_its_entries_in_a_chain(scheme):
    machine = mapped(scheme, twice=True)
    folio = machine.st.address_space[1].i_pages[0]
    assert machine.st.folio[folio].mapcount == 2
    assert machine.apply(REMAP) == []
    f = machine.st.folio[folio]
    assert (f.pg_anon, f.mapcount) == (1, 0)
    assert sorted(machine.st.pte_chain[f.pte_chain].ptes) == [1, 2, 3]


def test_fork_of_a_file_allocates_no_chain():
    def allocations(scheme):
        machine = mapped(scheme, twice=False)
        machine.apply(Fork(mm=1, child=2))
        return machine.st.pte_chain.live

    assert (allocations(Objrmap5a), allocations(PteChainSupplied)) == (0, 1)


def test_a_walk_checks_every_vma_of_the_file():
    machine = mapped(Objrmap5a, twice=True)
    rwc = RmapWalkControl()
    folio = machine.st.address_space[1].i_pages[0]
    machine.st.scheme.rmap_walk_file(machine.st, folio, rwc)
    assert (rwc.visited, rwc.nodes) == ([1, 3], 2)


# Every check can fail.


class CountsAndMarks(Objrmap5c):
    breaks = "word_by_flag"

    def folio_dup_file_rmap(self, st, folio, vma, pvma, address, ptep):
        super().folio_dup_file_rmap(st, folio, vma, pvma, address, ptep)
        st.folio[folio].pg_anon = 1


class ForkIsNotCounted(Objrmap5e):
    breaks = "object_mapcount"

    def folio_dup_file_rmap(self, st, folio, vma, pvma, address, ptep):
        if vma == pvma:
            super().folio_dup_file_rmap(st, folio, vma, pvma, address, ptep)


class MissesNonlinear(Objrmap5e):
    """Truncation misses nonlinear VMAs, as in 5a. walk_complete finds it in an earlier step."""

    breaks = "object_has_mapping"
    scope = attrs.evolve(OWN, mms=1, ops=("file", "fault", "remap", "truncate"))
    era = attrs.evolve(Objrmap5e.era, truncates_nonlinear=False)


class ConvertsNothing(Objrmap5cAgain):
    breaks = "chain_equals_ptes"
    scope = attrs.evolve(OWN, pages=2, mms=1, ops=("file", "fault", "remap"))

    def convert_all(self, st, folio, mapping):
        return 0


class CollectsLess(Objrmap5c):
    breaks = "kernel_bug"
    scope = ConvertsNothing.scope

    def find_pte(self, st, vma, folio):
        return 0


MUTANTS = [CountsAndMarks, ForkIsNotCounted, MissesNonlinear, ConvertsNothing, CollectsLess]
for mutant in MUTANTS:
    mutant.name = f"mutant {mutant.__name__}"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_mutant_is_found(mutant):
    scope = getattr(mutant, "scope", OWN)
    found = explore(mutant, scope, target=mutant.breaks, engine="python", max_states=20_000)
    assert found.verdict.status is Status.VIOLATED
    assert mutant.breaks in [v.invariant for v in found.verdict.violations]
