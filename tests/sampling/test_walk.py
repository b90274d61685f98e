"""The seeded walker: it finds planted faults, reports only what it covered, and is repeatable."""

import os
import subprocess
import sys

import pytest

from rmapcheck.model.machine.errors import SchemeError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Fork, Mmap
from rmapcheck.model.schemes.anon_vma_chain_list import AvcList
from rmapcheck.plugins.catalogue import bugs, schemes
from rmapcheck.run import replay
from rmapcheck.sampling.walk import ALWAYS, Walk, Walker, drawn_weights
from rmapcheck.search.question import EngineError, Limits, Question
from rmapcheck.verdict import Status
from rmapcheck.verify.ladder import bug_scope

SCOPE = Scope(mms=3, pages=2, alloc_fail=True)


def walked(scheme, scope, *, seed=1, target="", **limits):
    return Walker(seed=seed).answer(Question(scheme, scope, target=target), Limits(**limits))


class ForgetsMapcount(AvcList):
    """A planted fault: fork does not count the second mapping."""

    name = "forgets-mapcount"

    def folio_dup_anon_rmap(self, st, folio, vma, pvma, address, ptep):
        pass


class FailsOnlyWithoutMemory(AvcList):
    """A planted fault: a clone that runs out of memory does not free what it has built."""

    name = "leaks-without-memory"

    def undo_clone(self, st, dst):
        st.vma[dst].anon_vma_chain = 0


def test_finds_a_planted_fault_and_the_trace_replays():
    verdict = walked(ForgetsMapcount, SCOPE, steps=5_000).verdict
    assert verdict.status is Status.VIOLATED
    assert "mapcount" in [v.invariant for v in verdict.violations]
    again = replay(ForgetsMapcount, SCOPE, verdict.trace)
    assert (again.violations, again.step) == (verdict.violations, len(verdict.trace))


def test_finds_a_fault_that_needs_a_failing_allocation():
    wide = Scope(mms=3, pages=2, folios=6, objects=30, alloc_fail=True)
    verdict = walked(FailsOnlyWithoutMemory, wide, steps=20_000).verdict
    assert verdict.trace[-1].fail
    calm = Scope(mms=3, pages=2, folios=6, objects=30)
    assert walked(FailsOnlyWithoutMemory, calm, steps=5_000).verdict.status is Status.SAMPLED


def test_target_ignores_other_violations():
    bug = bugs()["B01"]
    verdict = walked(bug, bug_scope(bug), steps=20_000, target="active_in_chain").verdict
    assert "active_in_chain" in [v.invariant for v in verdict.violations]
    verdict = walked(bug, bug_scope(bug), steps=2_000, target="mapcount").verdict
    assert verdict.status is Status.SAMPLED


def test_a_walk_says_how_far_it_went():
    result = walked(schemes()["avc-7.0"], SCOPE, steps=3_000)
    assert result.verdict.status is Status.SAMPLED
    assert result.verdict.how == f"{result.generated} steps in {result.runs} runs"
    assert result.generated + sum(result.cut.values()) == 3_000
    assert set(result.vacuous) == {name for name, runs in result.goals.items() if not runs}
    assert 0 < result.goals["a page is shared by two processes"] <= result.runs


def test_without_a_step_the_verdict_is_unknown():
    scope = Scope(mms=1, pages=1, ops=("fork",))
    verdict = walked(schemes()["avc-7.0"], scope, steps=100).verdict
    assert str(verdict) == "UNKNOWN(no step could be made)"


def test_steps_for_which_the_scope_is_too_small_are_counted_separately():
    scope = Scope(mms=1, pages=2, objects=1, ops=("mmap", "fault"), protections=1)
    result = walked(schemes()["avc-7.0"], scope, steps=500)
    assert result.cut["anon_vma_chain"] > 0
    assert result.generated + sum(result.cut.values()) == 500


def test_a_walk_without_an_end_is_refused():
    with pytest.raises(EngineError, match="needs a limit of steps or of seconds"):
        walked(schemes()["avc-7.0"], SCOPE)


def test_time_ends_a_walk():
    result = walked(schemes()["avc-7.0"], SCOPE, steps=10**9, seconds=0.2)
    assert result.verdict.status is Status.SAMPLED
    assert result.seconds < 5


def test_runs_use_different_groups_of_operations():
    walk = Walk(Question(schemes()["avc-7.0"], SCOPE), seed=1)
    drawn = [drawn_weights(SCOPE, walk.rng) for _ in range(50)]
    for weights in drawn:
        assert set(ALWAYS) <= {cls.group for cls in weights}
    assert len({tuple(weights) for weights in drawn}) > 40
    assert any(Mmap in w and Fork not in w for w in drawn)


def test_a_scheme_that_breaks_its_interface_is_an_error_and_not_a_violation():
    class Broken(AvcList):
        name = "broken"
        invariants = ("no_such_invariant",)

    with pytest.raises(SchemeError, match="no_such_invariant"):
        walked(Broken, SCOPE, steps=10)


PROGRAM = """
from rmapcheck.plugins.catalogue import bugs, schemes
from rmapcheck.verify.ladder import bug_scope
from rmapcheck.sampling.walk import Walker
from rmapcheck.search.question import Limits, Question
from rmapcheck.model.machine.scope import Scope
walker, wide = Walker(seed=5), Scope(mms=3, pages=3, alloc_fail=True)
result = walker.answer(Question(schemes()["avc-6.0"], wide), Limits(steps=1500))
print(result.verdict, result.goals, result.cut)
bug = bugs()["B01"]
result = walker.answer(Question(bug, bug_scope(bug)), Limits(steps=9000))
print(*result.verdict.trace, result.goals, sep="; ")
"""


def test_the_same_walk_under_every_hash_seed():
    said = set()
    for hash_seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        said.add(done.stdout)
    assert len(said) == 1
    assert "Mprotect(" in said.pop()


def test_other_seeds_give_other_walks():
    bug = bugs()["B28"]
    traces = {
        walked(bug, bug_scope(bug), steps=5_000, seed=seed).verdict.trace for seed in range(5)
    }
    assert len(traces) > 1
