"""Broken plug-ins: each gets a one-sentence error that says what is wrong with it."""

import sys
from pathlib import Path

import pytest

from rmapcheck.cli import engines, run
from rmapcheck.explore import explore
from rmapcheck.invariants.registry import INVARIANTS
from rmapcheck.model.machine.errors import SchemeError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.plugins import catalogue, watchdog
from rmapcheck.plugins.catalogue import without_bug
from rmapcheck.plugins.find import find_scheme
from rmapcheck.plugins.guard import HOOKS, check_behaviour, guarded
from rmapcheck.verdict import Exit
from tests.designs import sweep
from tests.plugins.broken import BROKEN, plain


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    elsewhere = [p for p in sys.path if not (Path(p) / "model").is_dir()]
    monkeypatch.setattr(sys, "path", elsewhere)  # else `import model` finds the checkout's folder
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.setattr(watchdog, "LOOP_SECONDS", 0.5)


def write(source):
    data = source if isinstance(source, bytes) else source.encode()
    with open("mine.py", "wb") as file:  # noqa: PTH123 - short
        file.write(data)


def error_of(capsys, *args):
    code = run([*args])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return code, captured.err


@pytest.mark.parametrize("what", BROKEN)
def test_broken(what, capsys):
    source, fragments = BROKEN[what]
    write(source)
    code, text = error_of(capsys, "verify", "mine.py", "--budget", "6")
    assert code == Exit.USAGE, text
    assert text.startswith("rmapcheck: ")
    assert text.count("\n") == 1, "one line"
    assert text.rstrip().endswith((".", "?"))
    for fragment in fragments:
        assert fragment in text


NAMED = """
from rmapcheck.invariants.registry import Violation, invariant

@invariant("anon_vma_fork()")
def named_by_decorator(st):
    yield Violation({arguments})
"""


@pytest.mark.parametrize(
    "arguments",
    [
        '"named_by_decorator", "a", "b", "c"',
        '"named_by_decorator", "a", "b", "c", (("vma", 1),)',
        '"named_by_decorator", let="a", then="b", but="c"',
    ],
)
@pytest.mark.parametrize("engine", ["python", "native"])
def test_a_violation_of_an_earlier_version(arguments, engine, capsys, monkeypatch):
    monkeypatch.setitem(INVARIANTS, "named_by_decorator", None)  # and restore it after the test
    write(NAMED.format(arguments=arguments) + plain("invariants = ('named_by_decorator',)\n"))
    code, text = error_of(capsys, "explore", "mine.py", "--engine", engine)
    assert code == Exit.USAGE
    assert text.startswith("rmapcheck: mine.py, line 6: Violation no longer takes the name")
    assert "'named_by_decorator': write Violation(let, then, but, witness)" in text
    assert text.count("\n") == 1, "one line"


def test_an_old_import_of_a_module_is_found_in_the_file_that_has_it(capsys, tmp_path):
    (tmp_path / "helper_of_mine.py").write_text("from model.state import VM_READ\n")
    source = "from helper_of_mine import VM_READ\n"
    write(source)
    (tmp_path / "scheme_of_mine.py").write_text(source)  # sys.modules may have a module `mine`
    for name in ("mine.py", "scheme_of_mine:Mine"):
        code, text = error_of(capsys, "explore", name)
        assert code == Exit.USAGE
        assert text.startswith("rmapcheck: helper_of_mine.py, line 1: `VM_READ` is now in")


@pytest.mark.parametrize(
    ("name", "fragments"),
    [
        ("no.py", ["there is no file no.py", "rmapcheck new"]),
        (".py", ["there is no file .py"]),
        ("mine.py:Mien", ["mine.py has no class 'Mien'", "did you mean Mine?"]),
        ("mine.py:attrs", ["attrs in mine.py is not a scheme", "derive it from Scheme"]),
        ("no_such_module:Mine", ["there is no module no_such_module"]),
        ("mine:Nine", ["module mine has no class 'Nine'", "did you mean Mine?"]),
        ("avc-7", ["no scheme is called 'avc-7'", "did you mean avc-7.0?"]),
        ("b29", ["did you mean B29?"]),
        ("no scheme at all", ["`rmapcheck schemes` lists"]),
        ("folder.py", ["folder.py is a folder"]),
        ("", ["no scheme is called ''"]),
        (":", ["no scheme is called ':'"]),
    ],
)
def test_not_found(name, fragments, capsys, tmp_path):
    write(plain(""))
    (tmp_path / "folder.py").mkdir()
    code, text = error_of(capsys, "explore", name)
    assert code == Exit.USAGE
    for fragment in fragments:
        assert fragment in text


def test_links_in_a_circle_and_lines_without_a_number(capsys, tmp_path):
    (tmp_path / "loop.py").symlink_to("loop.py")
    code, text = error_of(capsys, "explore", "loop.py")
    assert code == Exit.USAGE
    assert "loop.py" in text
    assert text.count("\n") == 1
    write(BROKEN["not UTF-8"][0])
    assert "line None" not in error_of(capsys, "explore", "mine.py")[1]


@pytest.mark.parametrize("name", ["mine.py", "mine.py:Mine", "mine:Mine"])
def test_found(name):
    write(plain("def helper(self):\n    return self.anon_vma_prepared\nanon_vma_prepared = 1\n"))
    assert find_scheme(name).name == "mine"


def test_a_file_is_read_again_each_time():
    write(plain("title = 'one'\n"))
    assert find_scheme("mine.py").title == "one"
    write(plain("title = 'two'\n"))
    assert find_scheme("mine.py").title == "two"


@pytest.mark.parametrize("name", sweep(catalogue.schemes()))
def test_what_comes_with_rmapcheck_keeps_to_the_interface(name):
    scheme = find_scheme(name)
    scope = Scope(mms=3, pages=3, vmas=9, folios=6, objects=60, alloc_fail=True, young=True)
    assert check_behaviour(scheme, scope, steps=600, seconds=60) >= 600


def test_the_guard_gives_page_tables_back():
    strict = guarded(catalogue.schemes()["avc-7.0"])
    from rmapcheck.run import Run

    machine = Run(strict, Scope())
    pte = machine.st.pte
    machine.apply(machine.possible()[0])
    assert machine.st.pte is pte


def test_every_hook_is_guarded():
    strict = guarded(catalogue.schemes()["avc-7.0"])
    assert set(HOOKS) <= set(vars(strict))
    assert "rmap_walk" in HOOKS
    assert "visit" not in HOOKS


def test_a_subclass_of_a_bug_is_expected_to_hold(capsys):
    write(
        "import attrs\nfrom rmapcheck.model.bugs.avc import UnfaultedMremapMerge\n\n"
        "class Mine(UnfaultedMremapMerge):\n    name = 'mine'\n"
        "    era = attrs.evolve(UnfaultedMremapMerge.era, inherits_copied_from=True)\n"
    )
    code = run(["explore", "mine.py", "--quiet", "--mms", "1", "--ops", "mmap,fault"])
    assert code == Exit.EXPECTED
    assert "mine: HOLDS(exhaustive" in capsys.readouterr().out


def test_scheme_errors_name_the_scheme():
    write(plain("def anon_vma_prepare(self, st, vma):\n    return 1\n"))
    with pytest.raises(SchemeError, match="'mine'"):
        check_behaviour(find_scheme("mine.py"), Scope())


AT_RUN_TIME = [
    "raises",
    "exits",
    "recurses",
    "uses a struct that is not declared",
    "does not end",
    "list in a circle",
    "remembers in a list",
]


@pytest.mark.parametrize("engine", ["auto", "python"])
@pytest.mark.parametrize("what", AT_RUN_TIME)
def test_broken_and_searched_without_the_guard(what, engine, capsys, monkeypatch):
    monkeypatch.setattr(engines, "check_behaviour", lambda *_args, **_named: 0)
    source, _fragments = BROKEN[what]
    write(source)
    scope = ["--mms", "2", "--pages", "2", "--alloc-fail", "--max-states", "2000"]
    code, text = error_of(capsys, "explore", "mine.py", "--engine", engine, *scope)
    assert code in (Exit.USAGE, Exit.UNEXPECTED), text
    if code == Exit.USAGE:
        assert text.count("\n") == 1
        assert "scheme 'mine'" in text or "mine.py, line" in text


def test_hypothesis_blames_a_hook_that_exits(capsys, monkeypatch):
    monkeypatch.setattr(engines, "check_behaviour", lambda *_args, **_named: 0)
    write(BROKEN["exits"][0])
    code, text = error_of(capsys, "fuzz", "mine.py", "--engine", "hypothesis")
    assert code == Exit.USAGE
    assert "hook anon_vma_prepare of scheme 'mine' raised SystemExit" in text


def test_a_hook_that_hangs_only_after_the_interface_rung_is_reported(capsys):
    """The watchdog of that rung must not switch off the one around it, that of the climb."""
    write(
        "import time\nUNTIL = []\n"
        + plain("""
            def anon_vma_prepare(self, st, vma):
                if type(self) is Mine:
                    UNTIL.append(time.monotonic() + 15)
                    while time.monotonic() < UNTIL[0]:
                        pass
                return super().anon_vma_prepare(st, vma)
            """)
    )
    code, text = error_of(capsys, "verify", "mine.py", "--budget", "6")
    assert code == Exit.USAGE
    assert text.startswith("rmapcheck: mine.py, line ")
    assert "hook anon_vma_prepare of scheme 'mine' does not end" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize("command", ["explore", "fuzz"])
def test_every_engine_looks_at_the_interface_first(command, capsys):
    write(BROKEN["reads page tables"][0])
    code, text = error_of(capsys, command, "mine.py")
    assert code == Exit.USAGE
    assert "reads page tables" in text


def test_a_bug_can_be_seeded_into_a_later_scheme():
    scheme = find_scheme("B04@avc-6.0")
    assert scheme is find_scheme("B04@avc-6.0")
    assert scheme.name == "B04@avc-6.0"
    assert without_bug(scheme) is catalogue.schemes()["avc-6.0"]
    assert scheme.reusable_anon_vma is catalogue.bugs()["B04"].reusable_anon_vma
    assert scheme.may_reuse is catalogue.schemes()["avc-6.0"].may_reuse


def test_a_bug_fits_the_sisters_of_its_scheme_if_they_share_the_decision():
    sister = find_scheme("E31@anonmm-2003-03")
    assert without_bug(sister) is catalogue.schemes()["anonmm-2003-03"]
    assert sister.samples_under_lock is catalogue.bugs()["E31"].samples_under_lock


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "B04@pte_chain-2.6.0",
            "B04 changes a decision of avc-2.6.34, and pte_chain-2.6.0 is not derived from that",
        ),
        ("B23@avc-3.19", "B23 changes a decision of avc-6.0, and avc-3.19 is not derived from"),
        ("E33@anonmm-2003-03", "and anonmm-2003-03 is not derived from that"),
        ("B99@avc-6.0", "no scheme is called 'B99@avc-6.0'"),
        ("B04@B23", "no scheme is called 'B04@B23'"),
    ],
)
def test_a_bug_does_not_fit_every_scheme(name, message):
    with pytest.raises(SchemeError, match=message):
        find_scheme(name)


def test_an_oops_of_the_first_process_is_one_sentence():
    base = catalogue.schemes()["anonmm-2004-03"]

    def exec_mmap(self, st, mm):
        st.anonmm[0].count += 1

    own = {"name": "mine", "exec_mmap": exec_mmap, "__module__": "mine"}
    with pytest.raises(SchemeError, match="'mine' fails for the first process: null_dereference"):
        explore(type("Mine", (base,), own), Scope(mms=1, pages=1))
