"""The pytest plug-in: cases are tests, schemes are parameters, other projects are not affected."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rmapcheck.plugins import catalogue

catalogue.schemes()
catalogue.bugs()
"""pytester removes the modules that its runs import; those imported here stay."""

ROOT = Path(__file__).parents[2]
B01 = ROOT / "counterexamples" / "B01-copy-from-importer.json"

MINE = """
from rmapcheck.model.schemes.anon_vma_chain_list import AvcList

class Mine(AvcList):
    name = "mine"
"""

WITH_FIXTURE = """
def test_it(rmap_scheme):
    print("scheme is", rmap_scheme.name)
"""


@pytest.fixture
def folder(pytester):
    made = pytester.path / "counterexamples"
    made.mkdir()
    shutil.copy(B01, made / "b01.json")
    return made


def changed(path, **changes):
    value = json.loads(B01.read_text())
    path.write_text(json.dumps({**value, **changes}))


def run(pytester, *args):
    return pytester.runpytest("-p", "no:cacheprovider", *args)


# Cases.


def test_a_case_is_a_test(pytester, folder):
    result = run(pytester, "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*b01.json::replay PASSED*"])


def test_a_case_with_another_verdict_is_explained(pytester, folder):
    changed(folder / "b01.json", scheme="avc-2.6.34")
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*_ case b01 _*",
            "avc-2.6.34: HOLDS in every step, but the case expects VIOLATED(active_in_chain*",
            "*Mprotect(mm=1, start=0, length=2,*",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    assert ".py:" not in result.stdout.str().partition("short test summary")[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "*counterexamples/damaged.json: *"),
        ("[]", "*counterexamples/damaged.json: *"),
        ('{"format": 99}', "*counterexamples/damaged.json: *format*"),
    ],
)
def test_a_damaged_case_fails_with_one_sentence(pytester, folder, content, says):
    (folder / "damaged.json").write_text(content)
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([says])
    assert "Traceback" not in result.stdout.str()


def test_an_unknown_operation_fails_with_one_sentence(pytester, folder):
    changed(folder / "b01.json", steps=[{"op": "explode", "mm": 1}])
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*b01.json: *explode*"])


def test_the_schema_is_not_a_case(pytester, folder):
    shutil.copy(ROOT / "counterexamples" / "schema.json", folder)
    run(pytester).assert_outcomes(passed=1)


def test_a_case_is_known_by_its_keys_anywhere(pytester):
    shutil.copy(B01, pytester.path / "elsewhere.json")
    run(pytester).assert_outcomes(passed=1)


def test_other_projects_are_not_affected(pytester):
    pytester.makefile(".json", package='{"name": "x", "scheme": 1}', broken="{")
    made = pytester.path / "counterexamples"
    made.mkdir()
    (made / "of_somebody_else.json").write_text('{"x": 1}')
    pytester.makepyfile("def test_one(): pass")
    run(pytester).assert_outcomes(passed=1)


REMAINS = [b"", b" \n", b"\0" * 4096, b"{", b'{\n  "exp', B01.read_bytes()[:25]]


@pytest.mark.parametrize("remains", REMAINS)
@pytest.mark.parametrize("folder", ["counterexamples", "counterexamples-alone", "saved"])
def test_what_is_left_of_a_case_fails(pytester, folder, remains):
    name, _, alone = folder.partition("-")
    made = pytester.path / name
    made.mkdir()
    if not alone:
        shutil.copy(B01, made / "b01.json")
    (made / "damaged.json").write_bytes(remains)
    result = run(pytester)
    result.assert_outcomes(passed=0 if alone else 1, failed=1)
    result.stdout.fnmatch_lines([f"*{name}/damaged.json: *"])


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.9])
def test_a_case_that_is_cut_off_fails_wherever_it_is(pytester, share):
    data = B01.read_bytes()
    (pytester.path / "cut.json").write_bytes(data[: int(share * len(data))])
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["cut.json: line * is not JSON (*); correct it there."])


def test_a_case_in_another_encoding_fails(pytester):
    (pytester.path / "wide.json").write_bytes(B01.read_text().encode("utf-16"))
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["wide.json: byte 0 is not UTF-8*"])


def test_a_folder_with_nothing_but_the_schema_is_one_of_cases(pytester):
    made = pytester.path / "counterexamples"
    made.mkdir()
    shutil.copy(ROOT / "counterexamples" / "schema.json", made)
    (made / "odd.json").write_text("[1, 2]")
    run(pytester).assert_outcomes(failed=1)


def test_files_beside_a_case_that_are_none_are_left_alone(pytester):
    shutil.copy(B01, pytester.path / "b01.json")
    (pytester.path / "tsconfig.json").write_text("{ // a comment\n}")
    (pytester.path / "package.json").write_text('{"name": "x"}')
    os.mkfifo(pytester.path / "pipe.json")
    run(pytester).assert_outcomes(passed=1)


def test_a_case_about_a_plug_in_runs_its_code_only_on_request(pytester, folder):
    pytester.makepyfile(mine=MINE)
    case = {"invariant": "", "step": 0, "verdict": "HOLDS"}
    changed(folder / "b01.json", scheme="mine.py:Mine", expect=case)
    result = run(pytester, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*use --rmap-scheme mine.py:Mine*"])
    run(pytester, "--rmap-scheme", "mine.py:Mine").assert_outcomes(passed=1)


def test_a_case_about_a_plug_in_passes_once_it_is_fixed(pytester, folder):
    wrong = (
        "from rmapcheck.plugins.catalogue import bugs\n\n"
        "class Mine(bugs()['B01']):\n    name = 'mine'\n"
    )
    pytester.makepyfile(mine=MINE, wrong=wrong)
    changed(folder / "b01.json", scheme="mine.py:Mine")
    run(pytester, "--rmap-scheme", "mine.py:Mine").assert_outcomes(passed=1)
    result = run(pytester, "--rmap-scheme", "wrong.py:Mine")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["mine: VIOLATED(*active_in_chain*step*).", "*Mprotect(mm=1*"])


def test_the_option_leaves_out_cases_of_other_schemes(pytester, folder):
    run(pytester, "--rmap-scheme", "B01").assert_outcomes(passed=1)
    result = run(pytester, "--rmap-scheme", "B02", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*the case is about B01, not B02*"])


# Schemes.


def test_rmap_scheme_is_each_scheme_in_turn(pytester):
    pytester.makepyfile(WITH_FIXTURE)
    result = run(pytester, "-v")
    assert result.parseoutcomes()["passed"] > 5
    result.stdout.fnmatch_lines(["*test_it?avc-7.0? PASSED*"])
    assert "B01" not in result.stdout.str()


@pytest.mark.parametrize(
    ("option", "name"), [("B23", "B23"), ("mine.py", "mine"), ("mine:Mine", "mine")]
)
def test_rmap_scheme_is_the_one_named(pytester, option, name):
    pytester.makepyfile(mine=MINE, test_asks=WITH_FIXTURE)
    pytester.syspathinsert()
    result = run(pytester, "-s", "--rmap-scheme", option)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"*scheme is {name}"])


def test_a_scheme_that_does_not_exist_is_a_usage_error(pytester):
    pytester.makepyfile(WITH_FIXTURE)
    result = run(pytester, "--rmap-scheme", "avc-7.00")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --rmap-scheme: *did you mean avc-7.0?*"])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


def test_a_test_may_choose_its_schemes_itself(pytester):
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("rmap_scheme", [1, 2])
        def test_it(rmap_scheme):
            assert rmap_scheme in (1, 2)
        """
    )
    run(pytester).assert_outcomes(passed=2)


# Cost.


def test_loading_the_plug_in_imports_almost_nothing():
    program = """
import sys, pytest
before = set(sys.modules)
import rmapcheck.pytest_plugin
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["rmapcheck"]


def test_replaying_a_case_needs_neither_z3_nor_hypothesis(pytester, folder):
    pytester.makeconftest(
        """
        import sys

        def pytest_sessionfinish():
            print("heavy:", *sorted({"z3", "rmapcheck.sampling.fuzz"} & set(sys.modules)), "none")
        """
    )
    result = pytester.runpytest_subprocess("-s", "-p", "no:hypothesispytest")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*heavy: none"])
