"""Kernels with a fix reverted: the edits, the recipe, and what such kernels do."""

import os
import shutil
from pathlib import Path

import pytest

from rmapcheck.cases.case import load_case
from rmapcheck.cases.replay import replay_case
from rmapcheck.host.errors import Unavailable
from rmapcheck.host.kernels.edits import REVERTED_FIXES, Edit, RevertedFix, Source
from rmapcheck.host.kernels.recipe import Recipe, check_tools
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.plugins.catalogue import without_bug
from rmapcheck.plugins.find import find_scheme
from rmapcheck.reproduce.prediction import predict
from rmapcheck.reproduce.run import reproduce
from rmapcheck.verdict import Exit, Status

FOLDER = Path(__file__).parents[2] / "counterexamples"


# Reverted fixes.


def test_an_edit_fits_once_or_not_at_all():
    edit = Edit("a.c", "if (a && b(&c->d))", "if (a)")
    assert edit.applied("x;\n\tif (a &&\n\t    b(&c->d))\n\t\ty;", "k") == "x;\n\tif (a)\n\t\ty;"
    for text, count in (("if (a)", 0), ("if (a && b(&c->d)) if (a && b(&c->d))", 2)):
        with pytest.raises(ModelError, match=rf"k/a\.c has {count} places"):
            edit.applied(text, "k")


def test_a_source_is_as_it_was_and_edits_are_all_or_none(tmp_path):
    file = tmp_path / "a.c"
    file.write_text("one; two;\n")
    source = Source(tmp_path)
    fits, misses = Edit("a.c", "one;", "1;"), Edit("a.c", "three;", "3;")
    whole = {"bug": "B23", "fixed": "", "case": ""}
    with pytest.raises(ModelError, match="0 places"):
        source.revert(RevertedFix(edits=(fits, misses), **whole))
    assert file.read_text() == "one; two;\n"
    with pytest.raises(ModelError, match=r"there is no .*/b\.c"):
        source.revert(RevertedFix(edits=(fits, Edit("b.c", "one;", "1;")), **whole))
    source.revert(RevertedFix(edits=(fits, Edit("a.c", "two;", "2;")), **whole))
    assert file.read_text() == "1; 2;\n"
    source.restore()
    assert file.read_text() == "one; two;\n"


@pytest.mark.parametrize("bug", REVERTED_FIXES)
def test_a_reverted_fix_is_a_bug_that_the_model_has(bug):
    """Its case loses a page by that bug alone."""
    fix = REVERTED_FIXES[bug]
    scheme = find_scheme(fix.bug)
    assert scheme.bug.fixed == fix.fixed
    case = load_case(FOLDER / f"{fix.case}.json")
    assert case.scheme == fix.bug
    assert replay_case(case).as_expected
    assert replay_case(case, without_bug(scheme)).status is Status.HOLDS
    assert predict(case).stays
    assert not predict(case, without_bug(scheme)).stays


def test_a_recipe_says_what_is_missing(tmp_path, monkeypatch):
    recipe = Recipe(tmp_path, "0.1", print)
    monkeypatch.setattr("rmapcheck.host.kernels.recipe.check_tools", lambda: None)
    with pytest.raises(Unavailable, match=r"apt-get install linux-source-0\.1"):
        recipe.make_all(["B23"])
    with pytest.raises(ModelError, match="no fix of 'B99' can be reverted; choose among B23"):
        recipe.make_all(["B99"])
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match=r"apt-get install .*\bflex\b"):
        check_tools()


def test_what_has_been_built_is_not_built_again(tmp_path):
    recipe = Recipe(tmp_path, "6.1", print)
    for bug in ("", "B23"):
        recipe.kernel(bug).write_text("")
    assert recipe.make_all(["B23"]) == [tmp_path / "linux-6.1", tmp_path / "linux-6.1-B23"]


@pytest.mark.nightly
@pytest.mark.parametrize(
    "name", ["B23-lost-page", "B02-in-v6", "B04-in-v6", "B29-unfaulted-mremap-merge"]
)
def test_a_user_mode_kernel_has_no_such_bug(name):
    kernel = os.environ.get("RMAPCHECK_UML") or shutil.which("linux.uml")
    if not kernel:
        pytest.skip("RMAPCHECK_UML names no user-mode Linux, and there is no linux.uml")
    case = load_case(FOLDER / f"{name}.json")
    done = reproduce(case, without_bug(find_scheme(case.scheme)), kernel=Path(kernel))
    assert done.exit is Exit.EXPECTED, done.log.text


@pytest.mark.nightly
@pytest.mark.parametrize("bug", REVERTED_FIXES)
def test_a_kernel_without_the_fix_loses_just_the_page_of_the_model(bug):
    folder = os.environ.get("RMAPCHECK_KERNELS")
    if not folder:
        pytest.skip("RMAPCHECK_KERNELS names no folder of `rmapcheck kernel build`")
    fix = REVERTED_FIXES[bug]
    case = load_case(FOLDER / f"{fix.case}.json")
    done = reproduce(case, kernel=Recipe(Path(folder), "6.1", print).kernel(bug))
    assert done.verdict == "BUG"
    assert done.stayed == {(p.mm, p.address) for p in predict(case).stays}
    assert done.exit is Exit.EXPECTED
