"""Broken plug-ins: each gets a one-sentence error that says what is wrong with it."""

import sys
import textwrap
from pathlib import Path

import pytest

from rmapcheck.cli import engines, run
from rmapcheck.model.machine.errors import SchemeError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.plugins import catalogue, guard
from rmapcheck.plugins.catalogue import without_bug
from rmapcheck.plugins.find import find_scheme
from rmapcheck.plugins.guard import HOOKS, check_behaviour, guarded
from rmapcheck.verdict import Exit

HEAD = """\
import attrs
from rmapcheck.model.machine.heap import num, ref
from rmapcheck.model.scheme import Scheme
from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish

"""


def plain(body, base="AvcPublish", name='name = "mine"\n'):
    return f"{HEAD}class Mine({base}):\n" + textwrap.indent(name + textwrap.dedent(body), "    ")


BROKEN = {
    "syntax error": ("class Mine(\n", ["mine.py, line 1", "not Python"]),
    "not UTF-8": (b"name = '\xff'\n", ["mine.py", "not Python"]),
    "a null byte": (b"x = 1\x00\n", ["mine.py", "null byte"]),
    "an import of an earlier version": (
        "from model.schemes.anon_vma_reuse import AvcPublish\n",
        ["mine.py, line 1: `model.schemes.anon_vma_reuse` is", "`rmapcheck.model.schemes.anon_"],
    ),
    "an import of a module that moved": (
        "import attrs\nfrom rmapcheck.catalogue import schemes\n",
        ["mine.py, line 2", "is now called `rmapcheck.plugins.catalogue`: import that instead"],
    ),
    "an import of a module with another name": (
        "from model.i_mmap_prio_tree import IMmapPrioTree\n",
        ["mine.py, line 1", "is now called `rmapcheck.model.i_mmap.prio_tree`"],
    ),
    "a fact of the era in the class": (
        plain("mremap_many = True\n"),
        [
            "Mine.mremap_many is a fact of the scheme's era",
            "write `era = attrs.evolve(AvcPublish.era, mremap_many=True)`",
        ],
    ),
    "no era": (plain("era = None\n"), ["`era` must be an object of class Era (model/era.py)"]),
    "a class for a container": (
        f"from rmapcheck.model.i_mmap.list import IMmapList\n{plain('i_mmap = IMmapList')}",
        ["`i_mmap` must be an object of class IMmap (model/i_mmap)"],
    ),
    "a method of the container in the class": (
        plain("def i_mmap_foreach(self, st, mapping, first, last, rwc):\n    return []\n"),
        [
            "Mine.i_mmap_foreach belongs to the container",
            "subclass of IMmapIntervalTree with foreach",
        ],
    ),
    "import raises": (
        "import attrs\nx = undefined\n",
        ["mine.py, line 2", "importing it raised NameError", "'undefined'"],
    ),
    "import exits": ("import sys\nsys.exit(0)\n", ["mine.py, line 2", "SystemExit"]),
    "import does not end": ("while True:\n    pass\n", ["mine.py, line", "does not end"]),
    "no scheme": ("class Mine:\n    name = 'mine'\n", ["no subclass of Scheme", "(Scheme)"]),
    "several schemes": (
        plain("") + "\n\nclass Other(Scheme):\n    name = 'other'\n",
        ["several schemes (Mine, Other)", "mine.py:Other"],
    ),
    "no name": (plain("title = 'x'", name=""), ["class Mine has no name", 'name = "…"']),
    "name of a built-in": (
        plain("", name='name = "avc-7.0"\n'),
        ["has the name of the built-in 'avc-7.0'", "choose another"],
    ),
    "wrong signature": (
        plain("def anon_vma_prepare(self, st):\n    return 0\n"),
        ["mine.py, line 8", "hook anon_vma_prepare must take (self, st, vma), not (self, st)"],
    ),
    "wrong signature of a decision": (
        plain("def may_reuse(self, st, anon_vma):\n    return False\n"),
        ["mine.py, line 8", "may_reuse must take (self, st, anon_vma, own)", "of AvcCounters"],
    ),
    "static hook": (
        plain("@staticmethod\ndef anon_vma_prepare(st, vma):\n    return 0\n"),
        ["hook anon_vma_prepare must be a plain method, without @staticmethod"],
    ),
    "hook that is no function": (
        plain("anon_vma_prepare = 0\n"),
        ["`anon_vma_prepare` is the name of a hook, so it must be a method, not 0"],
    ),
    "misspelt hook": (
        plain("def anon_vma_prepair(self, st, vma):\n    return 0\n"),
        ["mine.py, line 8", "anon_vma_prepair is not a hook", "did you mean anon_vma_prepare?"],
    ),
    "misspelt decision": (
        plain("def may_reuze(self, st, anon_vma, own):\n    return True\n"),
        ["may_reuze is not a hook, and nothing uses it", "did you mean may_reuse?"],
    ),
    "misspelt attribute": (
        plain("invariant = ('coverage',)\n"),
        ["Mine.invariant is not a hook", "did you mean invariants?"],
    ),
    "unknown invariant": (
        plain("invariants = ('covrage',)\n"),
        ["names the invariant 'covrage', which does not exist", "did you mean coverage?"],
    ),
    "unknown goal": (
        plain("goals = ('chain of threes',)\n"),
        ["names the goal 'chain of threes'", "did you mean chain of three?"],
    ),
    "invariants as one string": (
        plain("invariants = 'coverage'\n"),
        ["`invariants` must be a tuple, as in ('coverage',), not 'coverage'"],
    ),
    "unknown pool": (
        plain("fields = {'vmas': ('anon_vma',)}\n"),
        ["`fields` names the pool 'vmas', which does not exist", "did you mean vma?"],
    ),
    "unknown field": (
        plain("fields = {'vma': ('anon_vmas',)}\n"),
        ["`fields` names the field 'anon_vmas' of vma", "did you mean anon_vma"],
    ),
    "fields as a string": (
        plain("fields = {'vma': 'anon_vma'}\n"),
        ["`fields['vma']` must be a tuple of field names, not 'anon_vma'"],
    ),
    "struct that is no attrs class": (
        plain("class Box:\n    vma = 0\nstructs = (Box,)\n", base="Scheme"),
        ["Box in `structs` is not an attrs class", "@attrs.define"],
    ),
    "undeclared field": (
        plain("@attrs.define\nclass Box:\n    vma: int = 0\nstructs = (Box,)\n", base="Scheme"),
        ["field 'vma' of struct Box must be declared with num(…), ref(…)"],
    ),
    "reference to no struct": (
        plain(
            "@attrs.define\nclass Box:\n    lid: int = ref('lid')\nstructs = (Box,)\n",
            base="Scheme",
        ),
        ["field 'lid' refers to 'lid', a struct that the scheme does not list"],
    ),
    "cannot be made": (
        plain("def __init__(self, size):\n    self.size = size\n"),
        ["Mine() cannot be made", "'size'"],
    ),
    "reads page tables": (
        plain("""
            def folio_mapped(self, st, folio):
                return any(st.pte[i].folio == folio for i in st.pte.indices())
            """),
        ["mine.py, line 10", "folio_mapped of scheme 'mine' reads page tables (st.pte)"],
    ),
    "returns None": (
        plain("def anon_vma_prepare(self, st, vma):\n    pass\n"),
        ["mine.py, line 8", "anon_vma_prepare of scheme 'mine' returned None instead of a whole"],
    ),
    "returns a positive number": (
        plain("def anon_vma_prepare(self, st, vma):\n    return 1\n"),
        ["anon_vma_prepare of scheme 'mine' returned 1 instead of 0 or -ENOMEM (-12)"],
    ),
    "returns a string": (
        plain("def folio_mapped(self, st, folio):\n    return 'yes'\n"),
        ["folio_mapped of scheme 'mine' returned 'yes' instead of True or False"],
    ),
    "returns where it must not": (
        plain("def folio_free(self, st, folio):\n    return folio\n"),
        ["folio_free of scheme 'mine' returned 1, but it must return nothing"],
    ),
    "yields": (
        plain("def rmap_walk(self, st, folio, rwc):\n    yield folio\n"),
        ["rmap_walk of scheme 'mine' contains `yield`"],
    ),
    "raises": (
        plain("def anon_vma_prepare(self, st, vma):\n    return st.vma[99].anon_vma\n"),
        ["mine.py, line 9", "hook anon_vma_prepare of scheme 'mine' raised IndexError"],
    ),
    "raises in a helper": (
        plain("""
            def anon_vma_prepare(self, st, vma):
                return self.helper(vma)

            def helper(self, vma):
                return 1 // 0
            """),
        ["mine.py, line 13", "hook anon_vma_prepare of scheme 'mine' raised ZeroDivisionError"],
    ),
    "recurses": (
        plain("def folio_free(self, st, folio):\n    self.folio_free(st, folio)\n"),
        ["hook folio_free of scheme 'mine' raised RecursionError"],
    ),
    "uses a struct that is not declared": (
        plain("def folio_free(self, st, folio):\n    st.box[1].lid = 0\n"),
        ["mine.py, line 9", "no 'box'", "`structs`"],
    ),
    "does not end": (
        plain("def anon_vma_prepare(self, st, vma):\n    while True:\n        pass\n"),
        ["mine.py, line", "hook anon_vma_prepare of scheme 'mine' does not end"],
    ),
    "list in a circle": (
        plain("""
            def insert(self, st, anon_vma, avc):
                st.anon_vma[anon_vma].head = avc
                st.anon_vma_chain[avc].same_anon_vma = avc
            """),
        ["does not end on what scheme 'mine' has built", "one of its lists is a circle"],
    ),
    "remembers in self": (
        plain("def folio_free(self, st, folio):\n    self.last = folio\n"),
        ["mine.py, line 9", "scheme 'mine' keeps something in self.last", "extra_fields"],
    ),
    "remembers in a list": (
        plain("""
            seen = ([],)

            def folio_add_new_anon_rmap(self, st, folio, vma, address, ptep):
                super().folio_add_new_anon_rmap(st, folio, vma, address, ptep)
                self.seen[0].append(folio)
                st.folio[folio].index = len(self.seen[0]) % 2
            """),
        ["scheme 'mine' does not do the same thing twice"],
    ),
    "exits": (
        plain("def anon_vma_prepare(self, st, vma):\n    raise SystemExit(0)\n"),
        ["mine.py, line 9", "hook anon_vma_prepare of scheme 'mine' raised SystemExit"],
    ),
    "exits when it is made": (
        plain("def __init__(self):\n    raise SystemExit(0)\n"),
        ["mine.py", "SystemExit"],
    ),
    "writes a field that is not declared": (
        plain("def folio_free(self, st, folio):\n    st.folio[folio].direct = 1\n"),
        ["mine.py, line 9", "folio.direct is no field of this scheme's state"],
    ),
}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    elsewhere = [p for p in sys.path if not (Path(p) / "model").is_dir()]
    monkeypatch.setattr(sys, "path", elsewhere)  # else `import model` finds the checkout's folder
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.setattr(guard, "LOOP_SECONDS", 0.5)


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


@pytest.mark.parametrize("name", catalogue.schemes())
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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "B04@pte_chain-2.6.0",
            "B04 changes a decision of avc-2.6.34, and pte_chain-2.6.0 is not derived from that",
        ),
        ("B23@avc-3.19", "B23 changes a decision of avc-6.0, and avc-3.19 is not derived from"),
        ("B99@avc-6.0", "no scheme is called 'B99@avc-6.0'"),
        ("B04@B23", "no scheme is called 'B04@B23'"),
    ],
)
def test_a_bug_does_not_fit_every_scheme(name, message):
    with pytest.raises(SchemeError, match=message):
        find_scheme(name)
