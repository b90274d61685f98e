"""All features at once in the smallest scope, and pairs of features in larger scopes.

Two features that are right alone may be wrong together. The smallest scope is for every scheme,
with all features that its kernels had; the pairs are for one scheme of each design.
"""

import itertools
import random

import pytest

from rmapcheck.explore import explore
from rmapcheck.host.compile import compiler
from rmapcheck.model.machine.scope import EXTRAS, GROUPS, Scope
from rmapcheck.plugins.catalogue import bugs, machines, schemes
from rmapcheck.verdict import Status
from tests.designs import DESIGNS, sweep

pytestmark = [
    pytest.mark.skipif(compiler() is None, reason="takes an hour without a C compiler"),
    pytest.mark.usefixtures("optimized"),
]

EVERYTHING = Scope(
    mms=2, pages=1, folios=2, files=1, objects=16, young=True, ops=(*GROUPS, *EXTRAS)
)
EXPENSIVE = tuple(name for name in machines() if name.startswith("avc-"))
"""Schemes with up to 2.5 million states, a minute each."""

FEATURES = {
    "mprotect": {"protections": 2},
    "munmap": {},
    "mremap": {},
    "exit": {},
    "exec": {},
    "madvise": {},
    "brk": {},
    "swap": {"swaps": 1},
    "swapoff": {"swaps": 1},
    "mlock": {"swaps": 1},
    "referenced": {"young": True},
    "file": {"files": 1},
    "truncate": {"files": 1},
    "reclaim": {"files": 1},
    "remap": {"files": 1, "file_pages": 2, "mms": 1},
    "no memory": {"alloc_fail": True},
    "a cache that recycles": {"recycle": True},
}
NEEDS = {
    "swapoff": "swap",
    "mlock": "swap",
    "truncate": "file",
    "reclaim": "file",
    "remap": "file",
}
"""The group that a feature cannot do without."""
PAIRS = list(itertools.combinations(FEATURES, 2))

LONG = 1_000_000
"""If a pair has more states, it is searched only to DEPTH."""
DEPTH = 7


def of_two(first, second):
    """Return a scope of two processes with two pages (one, with remap) for a pair of features."""
    ops = ["fault", "fork"]
    for feature in (first, second):
        ops += [NEEDS[feature]] if feature in NEEDS else []
        ops += [feature] if feature in (*GROUPS, *EXTRAS) else []
    sizes = {"mms": 2, "pages": 2, "vmas": 6, "folios": 2, "objects": 16, "premapped": 2}
    limits = {"swaps": 0, "protections": 1, **FEATURES[first], **FEATURES[second]}
    return Scope(**{**sizes, **limits}, ops=tuple(dict.fromkeys(ops)))


def holds(scheme, where):
    """Assert that a scheme holds, in all states or where these are too many to a depth."""
    found = explore(scheme, where, max_states=LONG)
    if found.verdict.status is Status.UNKNOWN:
        found = explore(scheme, where, max_depth=DEPTH)
    assert found.verdict.status is Status.HOLDS, f"{scheme.name}: {found.verdict}; {where}"
    assert found.vacuous == (), where


def held(name):
    found = explore(schemes()[name], EVERYTHING)
    assert found.verdict.status is Status.HOLDS, f"{name}: {found.verdict}"
    assert found.verdict.how == "exhaustive"
    assert found.vacuous == ()
    return found


@pytest.mark.parametrize("name", sweep(name for name in machines() if name not in EXPENSIVE))
def test_all_features_at_once_in_the_smallest_scope(name):
    assert held(name).distinct > 10_000


@pytest.mark.nightly
@pytest.mark.parametrize("name", EXPENSIVE)
def test_all_features_at_once_in_the_smallest_scope_of_expensive_schemes(name):
    assert held(name).distinct > 100_000


@pytest.mark.nightly
@pytest.mark.parametrize("name", DESIGNS)
def test_features_two_by_two_in_larger_scopes(name, amount):
    """Each night other pairs, because all pairs take hours."""
    for pair in random.SystemRandom().sample(PAIRS, amount(12, len(PAIRS))):
        holds(schemes()[name], of_two(*pair))


@pytest.mark.parametrize("pair", [("munmap", "mremap"), ("munmap", "exit")])
def test_a_seeded_bug_does_not_hold_in_the_scope_of_a_pair(pair):
    with pytest.raises(AssertionError, match="E01: VIOLATED"):
        holds(bugs()["E01"], of_two(*pair))
