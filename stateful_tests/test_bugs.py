"""Every seeded bug is caught by the invariant that it names; without the bug nothing is caught."""

import pytest

from rmapcheck.explore import explore
from rmapcheck.plugins.catalogue import bugs
from rmapcheck.sampling.fuzz import Hypothesis
from rmapcheck.sampling.walk import Walker
from rmapcheck.search.question import Limits, Question
from rmapcheck.verdict import Status
from rmapcheck.verify.ladder import bug_scope

SLOW = {
    "test_search_catches_it": ("B23",),
    "test_walker_catches_it": ("B03", "B04", "B23", "E33"),
}
"""Bugs for which a test may take minutes, so that it runs only at night."""

BY_HYPOTHESIS = ("B01", "B21", "B28", "E01")
"""Bugs that Hypothesis finds in a few seconds."""


def pytest_generate_tests(metafunc):
    if "buggy" not in metafunc.fixturenames:
        return
    slow = SLOW.get(metafunc.function.__name__, ())
    chosen = metafunc.config.getoption("--rmap-scheme")
    found = [
        pytest.param(cls, marks=pytest.mark.nightly if name in slow else ())
        for name, cls in bugs().items()
        if chosen in (None, name)
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
    steps = 10**6 if buggy.name in SLOW["test_walker_catches_it"] else 200_000
    scope = bug_scope(buggy)
    found = (
        Walker(seed=1, restart=40)
        .answer(Question(buggy, scope, target=buggy.bug.violates), Limits(steps=steps))
        .verdict
    )
    assert caught(found, buggy.bug), found


def test_without_the_bug_nothing_is_caught(buggy):
    fixed = buggy.__mro__[1]
    if buggy.bug.id in fixed.era.flaws:
        pytest.skip("every kernel with this scheme had the bug, so there is no scheme without it")
    verdict = Walker(seed=1).answer(Question(fixed, bug_scope(buggy)), Limits(steps=3_000)).verdict
    assert verdict.status is Status.SAMPLED, [verdict, *verdict.violations, *verdict.trace]


@pytest.mark.parametrize("name", BY_HYPOTHESIS)
def test_hypothesis_catches_it(name):
    buggy = bugs()[name]
    verdict = (
        Hypothesis(seed=1, shrinks=10)
        .answer(Question(buggy, bug_scope(buggy), target=buggy.bug.violates), Limits(runs=500))
        .verdict
    )
    assert caught(verdict, buggy.bug), verdict
