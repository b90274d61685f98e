"""Proofs: correct specs are proved; faults fail where a kernel developer would look for them.

A fault is planted in a spec by overriding one decision (faults.py). `CELLS` lists operations and
lemmas at which the proof then fails. Everything else must still be proved.
"""

import pytest

from rmapcheck.prove.proving import prove
from rmapcheck.prove.registry import bugs, specs
from rmapcheck.prove.results import Options
from rmapcheck.prove.solver.memory import Proofs
from rmapcheck.specs.avc_reuse import AvcCounters, AvcMerge
from tests.prove.faults import CELLS

PROOFS = Proofs()
FAST = Options(small=False)
LITTLE_TIME = Options(small=False, deep_timeout=0.05)
"""For proofs that fail anyway: little time for deep lemmas."""


def failing(cls, only=None, options=FAST):
    """Return the cells (operation, lemma) that fail; nothing may be unknown or vacuous."""
    report = prove(cls(), options, PROOFS, only=only)
    assert report.undecided == []
    assert report.vacuous == []
    return {(r.operation, r.goal.name) for r in report.failures}


EARLY = ["virtual-scan", "pte_chain", "partial-objrmap", "anonmm-2003-03", "anonmm-2004-03"]


@pytest.mark.parametrize("name", EARLY)
def test_early_schemes_are_proved(name):
    report = prove(specs()[name](), FAST, PROOFS)
    assert report.verdict == "PROVED"


def test_todays_anon_vma_chain_is_proved_within_a_small_budget():
    report = prove(specs()["avc-7.0"](), FAST, PROOFS)
    assert report.verdict == "PROVED"
    assert len(report.results) > 1000
    assert all(r.goal.epr for r in report.results if r.answers)
    assert set(report.deep) == {"no_leak", "root_exists"}


@pytest.mark.parametrize("name", ["E01", "B21", "B23", "B28", "B29", "E32"])
def test_seeded_bugs_fail_where_they_should(name):
    spec = bugs()[name]
    assert failing(spec) == {cell for cells in spec.flaws.values() for cell in cells}


@pytest.mark.nightly
@pytest.mark.parametrize("name", [*specs(), *bugs()])
def test_every_spec_fails_where_it_should_and_nowhere_else(name):
    spec = (specs() | bugs())[name]
    assert failing(spec) == {cell for cells in spec.flaws.values() for cell in cells}


@pytest.mark.parametrize("cls", CELLS, ids=lambda cls: cls.__name__)
def test_a_planted_fault_fails_at_its_operation_and_lemma(cls):
    operations = {operation for operation, _ in CELLS[cls]}
    cls.flaws = {**cls.flaws, "planted": tuple(CELLS[cls])}
    assert failing(cls, operations, LITTLE_TIME) >= CELLS[cls]


class NeverReuse(AvcCounters):
    def may_reuse(self, st, a, own):
        return st.num_active_vmas.is_zero(a) & st.num_children.is_zero(a)


class ActiveOnly(AvcCounters):
    def may_reuse(self, st, a, own):
        return st.num_active_vmas.is_zero(a)


class MergesLess(AvcMerge):
    def may_take_over(self, st, v, w):
        return ~st.faulted(v) & ~st.faulted(w)


@pytest.mark.parametrize("cls", [NeverReuse, ActiveOnly, MergesLess])
def test_harmless_variants_prove(cls):
    assert failing(cls, {"fork_reuse", "merge", "mremap_merge"}) == set()
