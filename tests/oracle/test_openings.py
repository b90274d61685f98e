"""Openings: each leads the model to the rules that it is for, wherever it is put."""

import pytest

from rmapcheck.model.kernel import Kernel
from rmapcheck.model.operations import boot
from rmapcheck.oracle.comparison import Step
from rmapcheck.oracle.eras import predictor_of
from rmapcheck.oracle.oracle import scope_for
from rmapcheck.oracle.predict import Predictor
from rmapcheck.oracle.rules import choices, taken
from rmapcheck.oracle.steps.openings import ON_FILES, OPENINGS, PAGES

WANTED = {
    "two_offers": "both neighbours offer their anon_vma",
    "middle_joins": "a middle joins one side only: anon_vmas differ",
    "new_range_joins": "a new range joins one side only: anon_vmas differ",
    "chain_from_next": "case 6 imports a chain",
    "two_idle": "two idle anon_vmas in a chain that is forked",
    "moved_home": "no merge: the range is copied from a fork child",
    "changed_child": "no merge: the range is of a fork child",
    "half_copied": "fork shares a page of a file",
    "stays_charged": "mprotect leaves a range of a file charged",
    "seen_first": "a write fault makes a shared entry writable",
}


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize("opening", [*OPENINGS, *ON_FILES], ids=lambda o: o.__name__)
def test_an_opening_leads_where_it_should(opening, at):
    st = Kernel(scope_for(4, PAGES + 2, files=True), predictor_of((6, 18, 44))())
    boot(st)
    predictor = Predictor(st)
    met = set()
    for op in opening(at):
        assert op.enabled(st), op
        met |= choices(st, op)
        for outcome in predictor.run(Step((op,))):
            assert not outcome.error
            assert not outcome.exhausted
        met |= taken(st)
    assert WANTED[opening.__name__] in met
