"""Each goal is reached in its own scope, so that "vacuous" never depends on chance."""

import pytest

from rmapcheck.explore import explore
from rmapcheck.invariants.goals import GOALS, goals_anywhere, goals_of
from rmapcheck.plugins.catalogue import machines, schemes

QUICK = ("virtual_scan-2.4.23aa2", "anonmm-2.6.7-rc1", "avc-7.0")


def unreached(name):
    """Return the goals of a scheme that a complete search of the goal's scope does not reach."""
    scheme = schemes()[name]
    offered = goals_anywhere(scheme)
    assert offered
    found = {goal.name: explore(scheme, goal.scope, target="-") for goal in offered}
    return [name for name, search in found.items() if name not in search.reached]


@pytest.mark.parametrize("name", QUICK)
def test_every_goal_is_reached_in_the_scope_it_names(name):
    assert unreached(name) == []


@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name in machines() if name not in QUICK])
def test_every_goal_of_the_other_schemes_is_reached(name):
    assert unreached(name) == []


def test_a_scope_that_maps_files_alone_offers_their_goals():
    goal = GOALS["a page of a file is copied"]
    assert goal in goals_of(schemes()["avc-7.0"], goal.scope)
