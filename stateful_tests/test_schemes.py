"""Hypothesis and the walker find nothing in any scheme, in scopes that hide its known flaws.

`--rmap-scheme NAME_OR_FILE` runs these tests on that scheme only.
"""

import attrs
import pytest

from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.schemes.anon_vma_root import AvcTree
from rmapcheck.sampling.fuzz import Hypothesis
from rmapcheck.sampling.walk import Walker
from rmapcheck.search.question import Limits, Question
from rmapcheck.verdict import Status

NARROW = Scope(mms=3, pages=2, folios=4, objects=40, alloc_fail=True)
WIDE = Scope(mms=3, pages=4, vmas=12, folios=8, swaps=2, objects=60, alloc_fail=True, young=True)

PAGES = {"E33": 1, "B23": 1, "E02": 2, "E04": 2, "E05": 1}
"""For some known flaws, how many pages an address space may have so that the flaw is hidden."""
OUT_OF_MEMORY = {"E06"}
"""Flaws that show only if an allocation fails."""


def within(scope, scheme):
    """Return the scope, reduced so that the known flaws of the scheme are hidden."""
    pages = min([scope.pages, *(PAGES.get(f, scope.pages) for f in scheme.era.flaws)])
    return attrs.evolve(
        scope,
        pages=pages,
        alloc_fail=scope.alloc_fail and not OUT_OF_MEMORY & set(scheme.era.flaws),
    )


def test_hypothesis_finds_nothing(rmap_scheme, budget):
    scope = within(NARROW, rmap_scheme)
    verdict = (
        Hypothesis(length=budget.steps, seed=budget.seed)
        .answer(Question(rmap_scheme, scope), Limits(runs=budget.examples // 4))
        .verdict
    )
    assert verdict.status is Status.SAMPLED, explanation(verdict)


@pytest.mark.parametrize("scope", [NARROW, WIDE], ids=["narrow", "wide"])
def test_walker_finds_nothing(rmap_scheme, budget, scope):
    scope = within(scope, rmap_scheme)
    verdict = (
        Walker(seed=budget.seed).answer(Question(rmap_scheme, scope), Limits(steps=6_000)).verdict
    )
    assert verdict.status is Status.SAMPLED, explanation(verdict)


def test_walker_reaches_every_goal():
    result = Walker(seed=0).answer(Question(AvcTree, NARROW), Limits(steps=20_000))
    assert len(result.goals) >= 10
    assert not result.vacuous


@pytest.mark.nightly
@pytest.mark.parametrize("scope", [NARROW, WIDE], ids=["narrow", "wide"])
def test_a_whole_night_finds_nothing(rmap_scheme, budget, scope):
    scope = within(scope, rmap_scheme)
    result = Walker(seed=budget.seed).answer(
        Question(rmap_scheme, scope), Limits(steps=10**9, seconds=budget.seconds)
    )
    assert result.verdict.status is Status.SAMPLED, explanation(result.verdict)
    verdict = (
        Hypothesis(length=budget.steps, seed=budget.seed)
        .answer(Question(rmap_scheme, scope), Limits(runs=budget.examples))
        .verdict
    )
    assert verdict.status is Status.SAMPLED, explanation(verdict)


def explanation(verdict):
    lines = [f"{verdict} with seed {verdict.seed}", *map(str, verdict.violations)]
    return "\n".join([*lines, *map(str, verdict.trace)])
