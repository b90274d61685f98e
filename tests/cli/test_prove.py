"""The command line of proofs: exit codes, output, and specs that make no sense."""

import json
from pathlib import Path

import pytest

from rmapcheck.cli import run
from rmapcheck.prove.proving import prove as prove_spec
from rmapcheck.prove.registry import find_spec
from rmapcheck.prove.results import Options
from rmapcheck.prove.suggest import suggest
from rmapcheck.prove.table import table
from rmapcheck.specs.avc_reuse import AvcCounters

EXAMPLE = Path(__file__).parents[2] / "docs" / "how-to" / "my_rmap_spec.py"


def prove(capsys, *args):
    code = run(["prove", *map(str, args)])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_example_of_the_docs_is_proved(capsys):
    code, out, _ = prove(capsys, EXAMPLE)
    assert code == 0
    assert "my-rmap: PROVED(inductive" in out
    assert "fork    p  p  p  p" in out
    assert "4 of 4 operations are possible" in out


def test_the_table_is_as_wide_as_the_terminal():
    report = prove_spec(find_spec("avc-7.0"), only={"mmap", "fork_new"})
    lines = list(table(report, 60))
    assert max(map(len, lines)) <= 60
    rows = [line for line in lines if line.startswith("fork_new ")]
    assert len(rows) == 3
    cells = [cell for row in rows for cell in row.split()[1:]]
    assert len(cells) == len({r.goal.name for r in report.results if r.operation == "fork_new"})
    assert {"p", "d", "·"} == set(cells)
    heads = [int(n) for line in lines if line.startswith("         ") for n in line.split()]
    assert heads == list(range(1, len({r.goal.name for r in report.results}) + 1))


@pytest.mark.parametrize(
    ("name", "spec"), [("pte_chain-2.6.0", "pte_chain"), ("avc-7.0", "avc-7.0")]
)
def test_a_scheme_may_be_named_in_place_of_its_spec(name, spec):
    assert find_spec(name).name == spec


def test_a_scheme_without_a_spec_gives_an_error(capsys):
    code, _, err = prove(capsys, "anon_vma-sles9")
    assert code == 2
    assert "there is no spec for anon_vma-sles9" in err


def test_the_interesting_state_is_described_by_the_docstring_of_the_spec(capsys, tmp_path):
    code, out, _ = prove(capsys, EXAMPLE)
    assert code == 0
    assert "A page is mapped twice." in out
    text = EXAMPLE.read_text()
    start = text.index("    def interesting")
    path = tmp_path / "silent.py"
    path.write_text(text[:start])
    code, out, _ = prove(capsys, path)
    assert code == 0
    assert "any state: the spec does not say what is interesting" in out


def test_progress_is_reported_for_each_operation():
    begun = []
    prove_spec(find_spec("E01"), begin=lambda operation, done: begun.append((operation, done)))
    assert begun[:2] == [("init", 0), ("mmap", 1)]
    assert len(begun) == len(find_spec("E01").transitions) + 1


def changed(tmp_path, old, new):
    text = EXAMPLE.read_text()
    assert old in text
    path = tmp_path / "changed.py"
    path.write_text(text.replace(old, new))
    return path


def test_a_counterexample_is_exit_code_1_and_shown(capsys, tmp_path):
    path = changed(tmp_path, "If(w == c, st.member(v, a) | (a == n)", "If(w == c, a == n")
    code, out, _ = prove(capsys, path)
    assert code == 1
    assert "CTI fork × coverage" in out
    assert "coverage fails for v =" in out
    assert "fork × members" in out


def test_what_a_spec_itself_lets_the_walk_miss_is_listed_as_assumed(capsys, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from rmapcheck.specs.anonmm_eras import AnonMmChains\n\n\n"
        "class Mine(AnonMmChains):\n"
        "    name = 'mine'\n\n"
        "    def may_miss(self, st, v, x, p):\n"
        "        return ~st.virtual(p, x)\n",
        encoding="utf-8",
    )
    _, out, _ = prove(capsys, path)
    assert "assumed      Mine.may_miss: the spec itself decides what a walk may miss" in out
    assert "assumed" not in prove(capsys, "anonmm-2003-03")[1], "that is its whole description"


def test_a_vacuous_operation_is_exit_code_3(capsys, tmp_path):
    path = changed(
        tmp_path,
        "st.require(st.vma(v) & ~st.vma(c)",
        "st.require(st.vma(v) & (v == c) & ~st.vma(c)",
    )
    code, out, _ = prove(capsys, path)
    assert code == 3
    assert "VACUOUS(fork: can never happen)" in out


def test_no_effort_is_exit_code_3(capsys):
    code, out, _ = prove(capsys, EXAMPLE, "--timeout", "0.000001")
    assert code == 3
    assert "UNKNOWN(" in out


def test_json_says_everything(capsys):
    code, out, _ = prove(capsys, EXAMPLE, "--json", "--why", "--seed", "7")
    data = json.loads(out)
    assert code == 0
    assert data["verdict"] == "PROVED"
    assert data["seed"] == 7
    assert data["solver"].startswith("z3 ")
    asked = [o for o in data["obligations"] if o["answers"]]
    assert asked
    assert all(o["seconds"] >= 0 and o["epr"] for o in asked)
    coverage = next(o for o in asked if (o["operation"], o["lemma"]) == ("fault", "coverage"))
    assert "own_is_member" in coverage["needs"]


def test_expected_failures_are_exit_code_0(capsys):
    code, out, _ = prove(capsys, "E01")
    assert code == 0
    assert "E01: CTI(zap × chain_equals_ptes), as expected of E01" in out


def test_a_missing_lemma_is_suggested(capsys, tmp_path):
    text = EXAMPLE.read_text()
    start = text.index("    @invariant\n    def own_is_member")
    end = text.index("    @invariant\n    def nothing_dangles")
    path = tmp_path / "less.py"
    path.write_text(text[:start] + text[end:])
    code, out, _ = prove(capsys, path, "--suggest")
    assert code == 1
    assert "own(v) = a → member(v, a)" in out
    assert "nothing fails" in out


@pytest.mark.nightly
def test_a_lemma_that_anon_vma_chain_lacks_is_suggested():
    class Less(AvcCounters):
        name = "less"
        chain_only_if_faulted = None

    report = prove_spec(Less(), Options(small=False), only={"merge", "prepare_new", "fork_new"})
    assert ("merge", "one_root") in {(r.operation, r.goal.name) for r in report.failures}
    lemmas, enough = suggest(report)
    assert [str(x) for x in lemmas] == ["∀ a v. avc(v, a) → faulted(v)"]
    assert enough


def test_export_writes_what_z3_reads_again(capsys, tmp_path):
    import z3

    code, out, _ = prove(capsys, EXAMPLE, "--export", tmp_path / "out")
    assert code == 0
    files = sorted((tmp_path / "out" / "my-rmap").glob("*.smt2"))
    assert len(files) == 14
    solver = z3.Solver()
    solver.from_file(str(files[0]))
    assert solver.check() == z3.unsat
    assert "wrote 14 obligations" in out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("class Page(Sort)", "class Page(Sort", "line 22: not Python"),
        ("relation(Vma, AnonVma)", "relation(Vma, int)", "names <class 'int'>, not a sort"),
        ("st.pte[v, p] = True", "st.pte[v] = p", "cannot become"),
        ("st.pte[v, p] = True", "st.pte[p, v] = True", "needs the sort Vma, not p (sort Page)"),
        ("st.pte[v, p] = True", "st.ptes[v, p] = True", "declares no 'ptes'"),
        ("v: Vma, p: Page", "v: Vma, p: Paige", "NameError"),
        ("v: Vma, p: Page", "v: Vma, p", "parameter 'p' needs a sort"),
        ("st.vma(v) & forall", "st.vma(v) and forall", "no truth value"),
        ("st.pte[v, p] = True", "while True:\n            pass", "does not end"),
        ("st.pte[v, p] = True", "return 1 / 0", "ZeroDivisionError"),
        ("class MyRmap(Spec)", "class MyRmap", "defines no subclass of Spec"),
        ("mapping = function(Page, AnonVma)", "mapping = function(AnonVma)", "mapping"),
        ('alive="alive"', 'alive="living"', "no relation of AnonVma is called 'living'"),
        ("lambda st, v, a: st.member(v, a), per", "lambda st, v, a: st.pte(v, a), per", "members"),
        ("def fork(self", "def pte(self", "'pte'"),
        ("class AnonVma(Sort)", "class Vma(Sort)", "NameError"),
    ],
)
def test_nonsense_gets_one_sentence_and_exit_code_2(capsys, tmp_path, old, new, said):
    code, out, err = prove(capsys, changed(tmp_path, old, new))
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert said in err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "name a spec, or use --all"),
        (("avc-6.17",), "did you mean avc-6.16?"),
        (("nothing.py",), "there is no file nothing.py"),
        (("avc-7.0", "--solver", "yices"), "--solver must be z3, cvc5 or both"),
        (("avc-7.0", "--timeout", "-1"), "--timeout must be"),
    ],
)
def test_wrong_use(capsys, args, said):
    code, _, err = prove(capsys, *args)
    assert code == 2
    assert said in err
