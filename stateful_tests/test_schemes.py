"""Every scheme that was right in its kernels survives Hypothesis and the walker.

`--rmap-scheme NAME_OR_FILE` runs these tests on that scheme alone.
"""

import pytest

from model.schemes.anon_vma_chain import AvcPublish
from model.scope import Scope
from rmapcheck.machine import fuzz
from rmapcheck.verdict import Status
from rmapcheck.walk import sample

NARROW = Scope(mms=3, pages=2, folios=4, objects=40, alloc_fail=True)
WIDE = Scope(mms=3, pages=4, vmas=12, folios=8, swaps=2, objects=60, alloc_fail=True, young=True)


def test_hypothesis_finds_nothing(rmap_scheme, budget):
    verdict = fuzz(
        rmap_scheme, NARROW, examples=budget.examples // 2, steps=budget.steps, seed=budget.seed
    )
    assert verdict.status is Status.SAMPLED, explanation(verdict)


@pytest.mark.parametrize("scope", [NARROW, WIDE], ids=["narrow", "wide"])
def test_walker_finds_nothing(rmap_scheme, budget, scope):
    result = sample(rmap_scheme, scope, steps=6_000, seed=budget.seed)
    assert result.verdict.status is Status.SAMPLED, explanation(result.verdict)


def test_walker_reaches_every_goal():
    result = sample(AvcPublish, NARROW, steps=20_000, seed=0)
    assert len(result.goals) >= 15
    assert not result.missed


@pytest.mark.nightly
@pytest.mark.parametrize("scope", [NARROW, WIDE], ids=["narrow", "wide"])
def test_a_whole_night_finds_nothing(rmap_scheme, budget, scope):
    result = sample(rmap_scheme, scope, steps=10**9, seed=budget.seed, max_seconds=60)
    assert result.verdict.status is Status.SAMPLED, explanation(result.verdict)
    verdict = fuzz(
        rmap_scheme, scope, examples=budget.examples, steps=budget.steps, seed=budget.seed
    )
    assert verdict.status is Status.SAMPLED, explanation(verdict)


def explanation(verdict):
    lines = [f"{verdict} with seed {verdict.seed}", *map(str, verdict.violations)]
    return "\n".join([*lines, *map(str, verdict.trace)])
