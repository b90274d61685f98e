"""Every seeded bug is caught, by the invariant that it names.

Here a bug means a class in model/bugs, or a scheme that was released with one.
"""

import pytest

from model.scheme import Scheme
from rmapcheck.catalogue import bugs, schemes
from rmapcheck.explore import explore
from rmapcheck.machine import fuzz
from rmapcheck.verdict import Status
from rmapcheck.verify import bug_scope
from rmapcheck.walk import sample

SLOW = {"B23": "the search takes minutes"}
"""Bugs left to the nightly run, and why."""

BY_HYPOTHESIS = ("B01", "B21", "B28", "E01")
"""Bugs that Hypothesis finds in a few seconds."""


def pytest_generate_tests(metafunc):
    if "buggy" not in metafunc.fixturenames:
        return
    chosen = metafunc.config.getoption("--rmap-scheme")
    found = [
        pytest.param(cls, marks=pytest.mark.nightly if name in SLOW else ())
        for name, cls in (schemes() | bugs()).items()
        if cls.bug is not None and chosen in (None, name)
    ]
    metafunc.parametrize("buggy", found, ids=lambda cls: cls.name)


def caught(verdict, bug):
    names = [v.invariant for v in verdict.violations]
    return verdict.status is Status.VIOLATED and bug.violates in names


def test_search_catches_it(buggy):
    verdict = explore(buggy, bug_scope(buggy), target=buggy.bug.violates).verdict
    assert caught(verdict, buggy.bug), verdict
    assert len(verdict.trace) == buggy.bug.steps


def test_walker_catches_it(buggy):
    result = sample(
        buggy, bug_scope(buggy), steps=400_000, seed=1, restart=40, target=buggy.bug.violates
    )
    assert caught(result.verdict, buggy.bug), result.verdict


def test_without_the_bug_nothing_is_caught(buggy):
    mended = buggy.__mro__[1]
    if mended is Scheme:
        pytest.skip("the scheme was released with the bug; its successor is another class")
    verdict = sample(mended, bug_scope(buggy), steps=3_000, seed=1).verdict
    assert verdict.status is Status.SAMPLED, [verdict, *verdict.violations, *verdict.trace]


@pytest.mark.parametrize("name", BY_HYPOTHESIS)
def test_hypothesis_catches_it(name):
    buggy = bugs()[name]
    verdict = fuzz(
        buggy, bug_scope(buggy), examples=500, seed=1, shrinks=10, target=buggy.bug.violates
    )
    assert caught(verdict, buggy.bug), verdict
