"""Several workers give the results of one, in any interleaving, and a race is noticed."""

import pytest

from rmapcheck.explore import explore
from rmapcheck.host import compile as build
from rmapcheck.model.machine.scope import Scope
from rmapcheck.plugins.catalogue import bugs, schemes
from rmapcheck.search.native.explore import Native
from rmapcheck.search.question import Limits, Question
from rmapcheck.verdict import Status
from tests.counts import counts
from tests.designs import sweep_of_bugs

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler")

TINY = Scope(mms=2, pages=1, folios=2, swaps=1, objects=6, ops=("mmap", "fault", "fork", "swap"))
FAILING = Scope(mms=2, pages=2, folios=2, swaps=1, objects=8, premapped=1, alloc_fail=True)
EAGER = ("CHUNK=1", "JITTER")
"""Workers take states one by one and sometimes yield: many interleavings with little work."""


def results(scheme, scope, *, workers=1, defines=(), target="", **limits):
    engine = Native(workers=workers, defines=defines)
    done = engine.answer(Question(scheme, scope, target=target), Limits(**limits))
    return counts(done)


def same_for_all(scheme, scope, *, times=2, **options):
    """Search repeatedly with 1, 2, 3 and 4 workers; return the result, which must be the same."""
    one = results(scheme, scope, **options)
    for workers in (2, 3, 4):
        for _ in range(times):
            several = results(scheme, scope, workers=workers, defines=EAGER, **options)
            assert several == one, workers
    return one


@pytest.mark.parametrize("name", ["pte_chain-2.6.0", "anon_vma-2.6.18", "avc-3.0", "avc-7.0"])
def test_counts_do_not_depend_on_workers(name):
    found = same_for_all(schemes()[name], TINY)
    assert found["verdict"].how == "exhaustive"
    assert found == results(schemes()[name], TINY, workers=4)


@pytest.mark.parametrize("name", sweep_of_bugs(["B29", "B02", "B03", "B21", "B28", "E02", "E05"]))
def test_the_trace_does_not_depend_on_workers(name):
    bug = bugs()[name].bug
    scope = Scope(**bug.scope | {"ops": tuple(bug.scope["ops"])})
    found = same_for_all(bugs()[name], scope, times=3)
    assert found["verdict"].trace


@pytest.mark.parametrize("states", [1, 2, 77, 300])
def test_a_limit_of_states_cuts_at_the_same_place(states):
    found = same_for_all(schemes()["avc-6.0"], FAILING, states=states)
    assert found["verdict"].status is Status.UNKNOWN
    python = explore(schemes()["avc-6.0"], FAILING, engine="python", max_states=states)
    assert found == counts(python)


@pytest.mark.parametrize("depth", [0, 3])
def test_a_limit_of_depth_cuts_at_the_same_place(depth):
    found = same_for_all(schemes()["avc-6.0"], FAILING, depth=depth)
    assert found["verdict"].how == f"bounded, depth {depth}"


def test_a_target_passes_over_other_violations():
    scope = Scope(mms=1, pages=2, ops=("mmap", "mprotect", "fault"))
    for target in ("active_in_chain", "walk_complete", "use_after_free"):
        same_for_all(bugs()["B01"], scope, target=target, states=300)


def test_slices_of_time_change_nothing():
    one = results(schemes()["avc-6.0"], TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rmapcheck.search.native.explore.SLICE", 0.0)
        for workers in (1, 3):
            assert results(schemes()["avc-6.0"], TINY, workers=workers, defines=EAGER) == one


def test_more_workers_than_states_and_than_there_may_be():
    one = results(schemes()["avc-6.0"], TINY)
    assert results(schemes()["avc-6.0"], TINY, workers=200) == one


@pytest.mark.parametrize("fault", ["FAULT_RACE", "FAULT_FIRST_COME"])
def test_a_planted_race_is_noticed(fault):
    """With one worker there is no race."""
    scheme, faulty = schemes()["avc-6.0"], (*EAGER, fault)
    one = results(scheme, TINY)
    assert results(scheme, TINY, defines=faulty) == one
    tries = (results(scheme, TINY, workers=4, defines=faulty) != one for _ in range(20))
    assert any(tries)


def test_the_interpreted_search_says_that_it_has_one_worker():
    done = explore(schemes()["avc-6.0"], TINY, engine="python", workers=4, fingerprint=True)
    assert done.verdict.how == "exhaustive"
    assert done.notes == (
        "the interpreted search runs with one worker",
        "the interpreted search stores its states exactly, not as fingerprints",
    )
