"""The conformance kit: five lines test a scheme, and a wrong one fails with a clear message."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import RMAPCHECK

ROOT = Path(__file__).parents[2]

RIGHT = """
from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish

class Mine(AvcPublish):
    name = "mine"
"""

WRONG = """
from rmapcheck.plugins.catalogue import bugs

class Mine(bugs()["B01"]):
    name = "mine"
"""

KIT = """
from mine import Mine
from rmapcheck.testing import SchemeConformance

class TestMine(SchemeConformance):
    scheme = Mine
"""

QUICK = KIT + "    walk_steps = 2_000\n    examples = 5\n"


@pytest.fixture
def kit(pytester, monkeypatch):
    monkeypatch.delitem(sys.modules, "mine", raising=False)  # another test's
    pytester.syspathinsert()

    def run(scheme, test=QUICK, *args, how=pytester.runpytest_inprocess):
        pytester.makepyfile(mine=scheme, test_mine=test)
        return how("-p", "no:cacheprovider", "-p", "no:randomly", *args)

    return run


def test_five_lines_are_enough(kit, pytester):
    result = kit(RIGHT, KIT, "-v", how=pytester.runpytest_subprocess)
    result.assert_outcomes(passed=5)
    for name in ("interface", "small_scopes", "walk", "hypothesis", "cases"):
        result.stdout.fnmatch_lines([f"*TestMine::test_{name} PASSED*"])
    assert not (pytester.path / ".hypothesis").exists()


def test_the_base_class_is_not_a_test(kit):
    result = kit(
        RIGHT, "from rmapcheck.testing import SchemeConformance\n", "-o", "python_classes=*"
    )
    result.assert_outcomes()


def test_a_wrong_scheme_fails_with_its_shortest_run(kit):
    wrong = RIGHT + "\n    def folio_dup_anon_rmap(self, st, folio, vma, pvma, address, ptep):\n"
    result = kit(wrong + "        pass\n")
    outcomes = result.parseoutcomes()
    assert outcomes["failed"] >= 2
    result.stdout.fnmatch_lines(
        [
            "mine: VIOLATED(mapcount, step 3)",
            "3  Fork(mm=1, child=2)*",
            "*Then its mapcount must be 2.",
        ]
    )
    assert "Traceback" not in result.stdout.str()


def test_a_violation_is_saved_with_the_command_that_repeats_it(kit, pytester):
    result = kit(WRONG, QUICK, "-k", "walk", "test_mine.py")
    result.assert_outcomes(failed=1, deselected=4)
    (again,) = {line for line in result.outlines if line.startswith("again  ")}
    (case,) = (pytester.path / "counterexamples").iterdir()
    assert again == (f"again  rmapcheck replay counterexamples/{case.name} --scheme mine.py:Mine")
    words = again.split()[2:]
    done = subprocess.run([*RMAPCHECK, *words], capture_output=True, text=True, check=False)
    assert done.stdout == f"{case.relative_to(pytester.path)}: mine: {done.stdout.split(': ')[2]}"
    assert "as expected" in done.stdout
    result = kit(WRONG, QUICK, "-k", "test_cases", "test_mine.py")
    result.assert_outcomes(failed=1, deselected=4)
    asked = "-k", "test_cases", "test_mine.py"
    kit(RIGHT, QUICK, *asked).assert_outcomes(passed=1, deselected=4)


def test_a_violation_that_cannot_be_saved_is_shown_all_the_same(kit, pytester):
    (pytester.path / "counterexamples").write_text("a file")
    result = kit(WRONG, QUICK, "-k", "walk")
    result.assert_outcomes(failed=1, deselected=4)
    result.stdout.fnmatch_lines(["mine: VIOLATED(*", "not saved  *cannot be written there*"])


@pytest.mark.parametrize("remains", ["", "{}", '{"name": "x"}'])
def test_in_the_folder_of_cases_every_file_must_be_one(kit, pytester, remains):
    folder = pytester.path / "saved"
    folder.mkdir()
    (folder / "mine.json").write_text(remains)
    asked = QUICK + "    cases = 'saved'\n", "-k", "test_cases", "test_mine.py"
    result = kit(RIGHT, *asked)
    result.assert_outcomes(failed=1, deselected=4)
    result.stdout.fnmatch_lines(["*saved/mine.json: *"])


def test_a_folder_of_cases_that_is_named_must_exist(kit):
    result = kit(RIGHT, QUICK + "    cases = 'svaed'\n", "-k", "test_cases", "test_mine.py")
    result.assert_outcomes(failed=1, deselected=4)
    result.stdout.fnmatch_lines(["`cases` is *svaed, which is not a folder; correct it"])


@pytest.mark.parametrize(
    ("addition", "says"),
    [
        ("    def anon_vma_fork(self, st, vma):\n        return 0\n", "*anon_vma_fork*"),
        ("    def anon_vma_forc(self, st, vma, pvma):\n        return 0\n", "*anon_vma_fork*"),
        ("    invariants = ('mapcuont',)\n", "*did you mean mapcount?*"),
        ("    fields = {'vma': ('anon_vna',)}\n", "*anon_vma*"),
        (
            "    def anon_vma_prepare(self, st, vma):\n        return st.pte[1].folio\n",
            "*anon_vma_prepare*page tables*",
        ),
        ("    def anon_vma_prepare(self, st, vma):\n        return 'no'\n", "*'no'*"),
    ],
)
def test_an_unsound_interface_is_one_sentence(kit, addition, says):
    result = kit(RIGHT + addition, QUICK, "-k", "interface")
    result.assert_outcomes(failed=1, deselected=4)
    result.stdout.fnmatch_lines([says])
    assert "Traceback" not in result.stdout.str()


def test_an_endless_hook_fails_and_does_not_hang(kit):
    endless = RIGHT + "    def anon_vma_prepare(self, st, vma):\n        while True:\n"
    result = kit(endless + "            pass\n", QUICK, "-k", "interface")
    result.assert_outcomes(failed=1, deselected=4)
    result.stdout.fnmatch_lines(["*anon_vma_prepare*does not end*"])


def test_a_goal_that_is_not_reached_fails(kit):
    idle = RIGHT + "    goals = (*AvcPublish.goals, 'a merge hands its anon_vma on')\n"
    result = kit(idle, QUICK, "-k", "small_scopes")
    result.assert_outcomes(failed=1, deselected=4)
    result.stdout.fnmatch_lines(["No state of mine reaches a merge hands its anon_vma on*"])
    allowed = QUICK + "    unreached = ('a merge hands its anon_vma on',)\n"
    kit(idle, allowed, "-k", "small_scopes").assert_outcomes(passed=1, deselected=4)


def test_a_search_that_does_not_end_fails(kit):
    result = kit(RIGHT, QUICK + "    seconds = 0.0\n", "-k", "small_scopes")
    result.assert_outcomes(failed=1, deselected=4)
    result.stdout.fnmatch_lines(["mine: UNKNOWN(*"])


def test_saved_cases_of_the_scheme_must_hold(kit, pytester):
    folder = pytester.path / "saved"
    folder.mkdir()
    case = (ROOT / "counterexamples" / "B01-copy-from-importer.json").read_text()
    (folder / "mine.json").write_text(case.replace('"B01"', '"mine"'))
    (folder / "other.json").write_text(case)
    shutil.copy(ROOT / "counterexamples" / "schema.json", folder)
    asked = QUICK + "    cases = 'saved'\n", "-k", "test_cases", "test_mine.py"
    kit(RIGHT, *asked).assert_outcomes(passed=1, deselected=4)
    result = kit(WRONG, *asked)
    result.assert_outcomes(failed=1, deselected=4)
    result.stdout.fnmatch_lines(["mine.json: mine: VIOLATED(*active_in_chain*"])
    assert "as expected" not in result.stdout.str()
