"""Variants that are only different, not wrong: no false alarm, and nothing vacuous."""

import pytest

from rmapcheck.explore import explore
from rmapcheck.invariants.goals import goals_anywhere, goals_of
from rmapcheck.invariants.registry import INVARIANTS
from rmapcheck.model.machine.errors import SchemeError
from rmapcheck.model.schemes.anon_vma_reuse import AvcCounters
from rmapcheck.model.schemes.anon_vma_root import AvcRoot
from rmapcheck.plugins.interface import check_interface
from rmapcheck.verdict import Status
from rmapcheck.verify.ladder import LADDER

FORKS = LADDER[1]


@pytest.mark.parametrize("base", [AvcRoot, AvcCounters])
def test_the_order_of_chains_is_free_once_the_root_says_who_is_oldest(base):
    class Forward(base):
        """Copies a chain from its head, and so reverses it."""

        name = "forward"

        def clone_nth(self, length, i):
            return i

    assert explore(Forward, FORKS).verdict.exhaustive


class Short(AvcCounters):
    """Has no chain of three: a design that limits chains."""

    name = "short"
    unreachable = ("chain of three",)


def test_a_goal_that_the_design_excludes_is_not_expected():
    base = {goal.name for goal in goals_anywhere(AvcCounters)}
    assert base - {goal.name for goal in goals_anywhere(Short)} == {"chain of three"}
    assert "chain of three" not in [goal.name for goal in goals_of(Short, FORKS)]
    assert explore(Short, FORKS).verdict.status is Status.HOLDS


def test_a_goal_that_does_not_exist_cannot_be_excluded():
    own = {"name": "wrong", "unreachable": ("chain of tree",), "__module__": "mine"}
    wrong = type("Wrong", (Short,), own)
    with pytest.raises(SchemeError, match="chain of three"):
        check_interface(wrong, "mine.py")


def test_an_invariant_names_what_relies_on_it():
    assert all(inv.relies for inv in INVARIANTS.values() if not inv.universal)
