"""Scenarios: each makes the model meet the rule that it is meant for, wherever it starts."""

import pytest

from rmapcheck.model.kernel import Kernel
from rmapcheck.model.operations import boot
from rmapcheck.oracle.comparison import Step
from rmapcheck.oracle.episode import scope_for
from rmapcheck.oracle.eras import predictor_of
from rmapcheck.oracle.predict import Predictor
from rmapcheck.oracle.rules import choices, rules_met
from rmapcheck.oracle.steps.scenarios import ON_FILES, PAGES, SCENARIOS

WANTED = {
    "two_neighbours_offer": "both neighbours offer their anon_vma",
    "mprotect_between_two_anon_vmas": "a middle joins one side only: anon_vmas differ",
    "mmap_between_two_anon_vmas": "a new range joins one side only: anon_vmas differ",
    "merge_takes_chain_of_next": "case 6 imports a chain",
    "fork_with_two_idle_anon_vmas": "two idle anon_vmas in a chain that is forked",
    "mremap_fork_child_back": "no merge: the range is copied from a fork child",
    "mprotect_fork_child": "no merge: the range is of a fork child",
    "fork_partly_copied_file": "fork shares a page of a file",
    "mmap_beside_charged_range": "mprotect leaves a range of a file charged",
    "write_after_read": "a write fault makes a shared entry writable",
}


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize("scenario", [*SCENARIOS, *ON_FILES], ids=lambda o: o.__name__)
def test_a_scenario_meets_its_rule(scenario, at):
    st = Kernel(scope_for(4, PAGES + 2, files=True), predictor_of((6, 18, 44))())
    boot(st)
    predictor = Predictor(st)
    met = set()
    for op in scenario(at):
        assert op.enabled(st), op
        met |= choices(st, op)
        for outcome in predictor.run(Step((op,))):
            assert not outcome.error
            assert not outcome.exhausted
        met |= rules_met(st)
    assert WANTED[scenario.__name__] in met
