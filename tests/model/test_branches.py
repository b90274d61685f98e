"""Each branch is declared once, and taken in the model; each goal and rule names a branch."""

import ast
from pathlib import Path

import pytest

from rmapcheck.explore import explore
from rmapcheck.invariants.goals import GOALS, _goal
from rmapcheck.model.branches import BRANCHES, TODAY, passed
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Fork, Mmap, Write
from rmapcheck.model.schemes.anon_vma_root import AvcRoot
from rmapcheck.oracle.rules import CHOICES, RULES
from rmapcheck.plugins.catalogue import schemes
from rmapcheck.run import Run
from rmapcheck.search.native.translate import translate
from rmapcheck.search.native.translator.source import Untranslatable

MODEL = Path(__file__).parents[2] / "model"
OF_NO_KERNEL_TODAY = ("anon_vma.py", "pte_chain.py", "virtual_scan.py", "fremap.py", "anonmm.py")


def names(node):
    """Return the branches that an argument of passed() may be: a string, or one of two strings."""
    if isinstance(node, ast.IfExp):
        return names(node.body) | names(node.orelse)
    assert isinstance(node, ast.Constant), ast.unparse(node)
    return {node.value}


def named_in(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {
        name
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "passed"
        for name in names(call.args[1])
    }


NAMED = {path: named_in(path) for path in sorted(MODEL.rglob("*.py"))}


def test_the_branches_are_those_that_the_model_passes():
    for path, found in NAMED.items():
        assert found <= BRANCHES, path
    assert set().union(*NAMED.values()) == BRANCHES


def test_a_branch_is_declared_once():
    declared = [branch for group in TODAY.values() for branch in group]
    assert len(declared) == len(set(declared))


def test_rules_are_branches_that_kernels_of_today_can_take():
    assert set(RULES) == {b for group in TODAY.values() for b in group} | set(CHOICES)
    today = (found for path, found in NAMED.items() if path.name not in OF_NO_KERNEL_TODAY)
    assert set(RULES) - set(CHOICES) <= set().union(*today)


def test_a_goal_with_an_unknown_branch_is_refused():
    assert all(goal.predicate or goal.name in BRANCHES for goal in GOALS.values())
    with pytest.raises(ValueError, match="no branch is called 'splitt'"):
        _goal("splitt", "munmap")


def test_an_outcome_lists_the_branches_that_were_passed():
    run = Run(schemes()["avc-7.0"], Scope(mms=2, pages=1))
    for op in (Mmap(mm=1, start=0, length=1), Write(mm=1, address=0), Fork(mm=1, child=2)):
        run.apply(op)
    assert "fork shares a page" in run.outcome.passed
    assert "first write" not in run.outcome.passed, "that was another operation"


def test_c_notes_goals_and_leaves_other_branches_out():
    where = Scope(mms=1, pages=3, premapped=3, ops=("munmap",))
    source = translate(schemes()["avc-7.0"], where)
    assert "split" in source.texts
    assert "munmap keeps the lower end of a VMA" not in source.texts
    assert "split" in explore(schemes()["avc-7.0"], where).reached


def test_the_name_of_a_branch_must_be_a_literal_for_c():
    with pytest.raises(Untranslatable, match="the name of a branch as a string literal"):
        translate(Variable, Scope())


class Variable(AvcRoot):
    """Passes a branch whose name is a variable."""

    def anon_vma_prepare(self, st, vma):
        passed(st, vma)
        return super().anon_vma_prepare(st, vma)
