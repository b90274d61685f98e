"""Minimizing: the same violation with no step too many and the simplest arguments."""

import random
from pathlib import Path

import attrs
import pytest

from rmapcheck.cases.case import CaseError, Expect, load_case
from rmapcheck.cases.minimize import fit_scope, minimize, minimize_case
from rmapcheck.cases.replay import replay_case
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Exit, Fork, Mmap, Mprotect, Mremap, Write
from rmapcheck.plugins.catalogue import bugs, schemes
from rmapcheck.run import NotPossible, Run, replay

FOLDER = Path(__file__).parents[2] / "counterexamples"
SAVED = sorted(path for path in FOLDER.glob("*.json") if path.name != "schema.json")

B29 = bugs()["B29"]

LONG = (
    Mmap(mm=1, start=2, length=1),
    Fork(mm=1, child=3),
    Exit(mm=1),
    Fork(mm=3, child=2),
    Write(mm=3, address=2),
    Mremap(mm=3, start=2, length=1, new_length=1, to=7),
    Write(mm=2, address=2),
    Mmap(mm=3, start=0, length=6),
    Mprotect(mm=3, start=5, length=1, prot="none"),
    Exit(mm=2),
    Mremap(mm=3, start=7, length=1, new_length=1, to=2),
)
"""A run that violates B29's invariant, with many operations that it does not need."""


def walk(scheme, scope, invariant, seed):
    """Return a random run that violates the invariant."""
    rng = random.Random(seed)
    while True:
        machine = Run(scheme, scope)
        for _ in range(60):
            ops = machine.possible()
            found = machine.apply(rng.choice(ops)) if ops else []
            if found:
                if invariant in [v.invariant for v in found]:
                    return tuple(machine.steps)
                break


def test_a_long_trace_becomes_the_short_one():
    scope = Scope(mms=3, pages=9, vmas=20, objects=40)
    steps = minimize(B29, scope, LONG, "coverage")
    assert [op.name for op in steps] == ["mmap", "write", "mremap", "mmap", "mremap"]
    assert {op.mm for op in steps} == {1}
    assert fit_scope(B29, scope, steps, "coverage").mms == 1
    assert fit_scope(B29, scope, steps, "coverage").pages == 3


@pytest.mark.parametrize("seed", range(4))
def test_no_step_of_a_minimised_random_run_can_be_left_out(seed):
    cls, name = bugs()["B28"], "merge_symmetric"
    scope = Scope(mms=2, pages=3, vmas=12, ops=("mmap", "mprotect", "fault", "fork"))
    steps = minimize(cls, scope, walk(cls, scope, name, seed), name)
    assert name in [v.invariant for v in replay(cls, scope, steps, target=name).violations]
    assert len(steps) <= 5
    for i in range(len(steps)):
        try:
            assert not replay(cls, scope, steps[:i] + steps[i + 1 :], target=name).violations
        except NotPossible:
            continue


def test_steps_that_violate_nothing_are_refused():
    with pytest.raises(CaseError, match=r"do not violate coverage on avc-6\.16"):
        minimize(
            schemes()["avc-6.16"], Scope(mms=3, pages=9, vmas=20, objects=40), LONG, "coverage"
        )


def test_without_time_the_steps_are_returned_as_they_are():
    scope = Scope(mms=3, pages=9, vmas=20, objects=40)
    assert minimize(B29, scope, LONG, "coverage", max_seconds=0) == LONG


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_a_saved_case_is_already_minimal(path):
    case = load_case(path)
    if case.expect.invariant and case.found.minimized:
        assert minimize_case(case) == case


def test_a_case_that_holds_has_nothing_to_minimise():
    case = attrs.evolve(load_case(SAVED[0]), expect=Expect(verdict="HOLDS"))
    with pytest.raises(CaseError, match="expects no violation"):
        minimize_case(case)


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_a_minimised_case_replays(path):
    assert replay_case(load_case(path)).as_expected
