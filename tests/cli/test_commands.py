"""The command line: exit codes, JSON, --quiet, and what each command prints and writes."""

import json
from pathlib import Path

import pytest

from rmapcheck.cli import app
from rmapcheck.cli import explore as exploring
from rmapcheck.plugins import catalogue
from rmapcheck.verdict import Exit
from rmapcheck.verify.climb import Climber
from rmapcheck.verify.expectation import Shown, exit_code, expected_bug
from rmapcheck.verify.ladder import FILES, LADDER

CASE = next(Path(__file__).parents[2].glob("counterexamples/B29-*.json"))
B29_SCOPE = ["--mms", "1", "--pages", "3", "--ops", "mmap,fault,mremap"]
SMALL = ["--mms", "1", "--pages", "1"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# Exit codes.


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["explore", "avc-7.0", *SMALL], Exit.EXPECTED),
        (["explore", "B28"], Exit.EXPECTED),
        (["explore", "avc-7.0", *SMALL, "--max-depth", "2"], Exit.EXPECTED),
        (["explore", "avc-7.0", "--max-states", "9"], Exit.INCONCLUSIVE),
        (["explore", "B28", *SMALL], Exit.UNEXPECTED),
        (["explore", "B28", "--max-states", "2"], Exit.INCONCLUSIVE),
        (["fuzz", "avc-7.0", "--walk-steps", "50", "--examples", "2"], Exit.INCONCLUSIVE),
        (["fuzz", "B28", "--engine", "walk"], Exit.EXPECTED),
        (["fuzz", "B28", "--engine", "hypothesis"], Exit.EXPECTED),
        (["replay", CASE], Exit.EXPECTED),
        (["replay", CASE, CASE], Exit.EXPECTED),
        (["replay", CASE, "--scheme", "avc-7.0"], Exit.EXPECTED),
        (["replay", CASE, "--holds"], Exit.UNEXPECTED),
        (["replay", CASE, "--scheme", "avc-7.0", "--holds"], Exit.EXPECTED),
        (["minimize", CASE, "--save", "here"], Exit.EXPECTED),
        (["diff", CASE, "--schemes", "B29,avc-7.0"], Exit.EXPECTED),
        (["diff", CASE, "--schemes", "B29", "--schemes", "avc-7.0", "--pictures"], Exit.EXPECTED),
        (["show", CASE], Exit.EXPECTED),
        (["show", CASE, "--format", "svg", "-o", "case.svg"], Exit.EXPECTED),
        (["export", CASE, "--format", "itf"], Exit.EXPECTED),
        (["schemes"], Exit.EXPECTED),
        (["bugs"], Exit.EXPECTED),
        (["invariants"], Exit.EXPECTED),
        (["doctor"], Exit.EXPECTED),
        (["--help"], Exit.EXPECTED),
        (["explore", "--help"], Exit.EXPECTED),
        (["--version"], Exit.EXPECTED),
        ([], Exit.USAGE),
        (["verify", "avc-7.0", "--budget", "nan"], Exit.USAGE),
        (["verify", "avc-7.0", "--budget", "inf"], Exit.USAGE),
        (["explore", "avc-7.0", "--max-depth", "-1"], Exit.USAGE),
        (["explore", "avc-7.0", "--max-depth", "0"], Exit.USAGE),
        (["verify", "--all", "B29"], Exit.USAGE),
        (["sweep", "run", "--all", "B29"], Exit.USAGE),
        (["prove", "--all", "avc-7.0"], Exit.USAGE),
        (["verify", "avc-7.0", "--quick", "--budget", "5"], Exit.USAGE),
        (["replay", CASE, "--holds", "--refine", "own"], Exit.USAGE),
        (["minimize", CASE, "--in-place", "--save", "here"], Exit.USAGE),
        (["explore", "avc-7.0", "--max-states", "0"], Exit.USAGE),
        (["explore", "avc-7.0", "--max-seconds", "nan"], Exit.USAGE),
        (["fuzz", "avc-7.0", "--max-seconds", "-3"], Exit.USAGE),
        (["minimize", CASE, "--max-seconds", "inf"], Exit.USAGE),
        (["frobnicate"], Exit.USAGE),
        (["verify"], Exit.USAGE),
        (["verify", "avc-7.0", "--budget", "0"], Exit.USAGE),
        (["explore", "avc-7.0", "--mms", "99"], Exit.USAGE),
        (["explore", "avc-7.0", "--mms", "many"], Exit.USAGE),
        (["explore", "avc-7.0", "--ops", "mmap,flat"], Exit.USAGE),
        (["explore", "avc-7.0", "--ops", ","], Exit.USAGE),
        (["explore", "avc-7.0", "--target", "nothing"], Exit.USAGE),
        (["explore", "E01", "--target", "no_leak"], Exit.EXPECTED),
        (["explore", "avc-7.0", "--bogus"], Exit.USAGE),
        (["fuzz", "avc-7.0", "--engine", "none"], Exit.USAGE),
        (["replay", "no.json"], Exit.USAGE),
        (["replay"], Exit.USAGE),
        (["diff", CASE, "--schemes", "B29"], Exit.USAGE),
        (["show", CASE, "--format", "poem"], Exit.USAGE),
        (["show", CASE, "-o", "no/such/folder/x"], Exit.USAGE),
        (["export", CASE, "--format", "poem"], Exit.USAGE),
        (["new", "two words"], Exit.USAGE),
        (["new", "class"], Exit.USAGE),
        (["new", "random"], Exit.USAGE),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_exit_code(args, code, rmapcheck):
    found, out, err = rmapcheck(*args)
    assert found == code, out + err
    assert "Traceback" not in out + err
    if code == Exit.USAGE and args:
        assert err.startswith("rmapcheck: ")
        assert err.count("\n") == 1


def test_operations_that_a_scope_never_allows_are_named(rmapcheck):
    ops = ["--ops", "mprotect,fork"]
    assert "never possible in this scope: mprotect\n" in rmapcheck("explore", "avc-7.0", *ops)[1]
    assert "never possible" not in rmapcheck("explore", "avc-7.0", "--ops", "mmap,fork")[1]


def test_a_bug_expects_its_own_violation():
    bug = catalogue.bugs()["B28"]
    assert expected_bug(bug).violates == "merge_symmetric"
    inherits = type("Inherits", (bug,), {"name": "inherits"})
    assert expected_bug(inherits) is None
    found = Climber(bug, budget=5).climb()
    assert found.exit == Exit.EXPECTED
    assert exit_code(inherits, found.verdict) == Exit.UNEXPECTED


def test_a_flaw_that_the_kernels_had_is_expected(rmapcheck):
    code, out, _err = rmapcheck("explore", "avc-2.6.34", *B29_SCOPE, "--quiet")
    assert code == Exit.EXPECTED
    assert out == "avc-2.6.34: VIOLATED(coverage, step 5), as expected: these kernels had E04\n"
    Path("mine.py").write_text(
        "from rmapcheck.model.schemes.anon_vma_chain_list import AvcList\n\n"
        "class Mine(AvcList):\n    name = 'mine'\n"
    )
    assert rmapcheck("explore", "mine.py", *B29_SCOPE)[0] == Exit.UNEXPECTED


def test_a_fault_of_rmapcheck_itself(rmapcheck, monkeypatch):
    def fail(_text):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(exploring, "find_scheme", fail)
    code, _out, err = rmapcheck("explore", "avc-7.0")
    assert code == Exit.CRASH
    assert err.count("\n") == 1
    assert "this is a fault of rmapcheck" in err
    assert "--debug" in err
    code, _out, err = rmapcheck("explore", "avc-7.0", "--debug")
    assert code == Exit.CRASH
    assert "Traceback" in err


def test_a_fault_of_rmapcheck_itself_in_json(rmapcheck, monkeypatch):
    monkeypatch.setattr(exploring, "find_scheme", None)
    code, out, _err = rmapcheck("explore", "avc-7.0", "--json")
    assert json.loads(out)["exit"] == code == Exit.CRASH


def test_the_bare_name_prints_the_help(rmapcheck):
    code, out, _err = rmapcheck()
    assert code == Exit.USAGE
    assert "Commands:" in out
    assert rmapcheck("--version")[1].startswith("rmapcheck ")


# Output.


@pytest.mark.parametrize(
    "args",
    [
        ["explore", "B28"],
        ["explore", "avc-7.0", *SMALL],
        ["fuzz", "B28", "--engine", "walk"],
        ["replay", CASE],
        ["minimize", CASE, "--save", "here"],
        ["diff", CASE, "--schemes", "B29,avc-7.0"],
        ["show", CASE],
        ["export", CASE],
        ["schemes"],
        ["bugs"],
        ["invariants"],
        ["new", "mine"],
        ["demo"],
        ["doctor"],
        ["explore", "nothing"],
    ],
    ids=lambda args: args[0],
)
def test_json_is_json_and_nothing_else(args, rmapcheck):
    code, out, _err = rmapcheck(*args, "--json")
    value = json.loads(out)
    assert value
    if isinstance(value, dict) and "exit" in value:
        assert value["exit"] == code


def test_json_of_a_search_has_everything(rmapcheck):
    _code, out, _err = rmapcheck("explore", "B28", "--json")
    value = json.loads(out)
    assert value["verdict"] == "VIOLATED"
    assert "merge_symmetric" in [v["invariant"] for v in value["violations"]]
    assert len(value["trace"]) == 3
    assert value["scope"]["pages"] == 2
    assert value["distinct"] > 0


def test_quiet_prints_only_the_verdict(rmapcheck):
    _code, out, _err = rmapcheck("explore", "B28", "--quiet")
    assert out == "B28: VIOLATED(merge_symmetric, step 3), as expected\n"
    _code, out, _err = rmapcheck("bugs", "--quiet")
    assert out.split()[0] == "B01"


def test_demo_keeps_the_case_in_the_folder_that_is_named(rmapcheck, tmp_path):
    code, out, _err = rmapcheck("demo", "kept")
    assert code == Exit.EXPECTED
    (path,) = (tmp_path / "kept").glob("*.json")
    assert f"saved      kept/{path.name}" in out
    assert "corrected  avc-6.16: HOLDS in every step" in out
    assert rmapcheck("replay", path)[0] == Exit.EXPECTED


def test_demo_leaves_nothing_behind(rmapcheck, tmp_path):
    rmapcheck("demo")
    assert not list(tmp_path.iterdir())


def test_new_writes_a_scheme_that_passes_and_can_fail(rmapcheck, tmp_path):
    code, out, _err = rmapcheck("new", "lazy_clone")
    assert code == Exit.EXPECTED
    assert "rmapcheck verify lazy_clone.py" in out
    assert {p.name for p in tmp_path.glob("*.*")} == {"lazy_clone.py", "test_lazy_clone.py"}
    scope = ["--premapped", "2", "--swaps", "0", "--folios", "2", "--ops", "mprotect,fault,fork"]
    assert rmapcheck("explore", "lazy_clone.py", *scope)[0] == Exit.EXPECTED
    file = tmp_path / "lazy_clone.py"
    text = file.read_text()
    assert "return chain_is_singular(st, neighbour)" in text
    file.write_text(text.replace("return chain_is_singular(st, neighbour)", "return True"))
    code, out, _err = rmapcheck("explore", "lazy_clone.py", *scope)
    assert code == Exit.UNEXPECTED
    (case,) = (tmp_path / "counterexamples").glob("*.json")
    assert f"rmapcheck replay counterexamples/{case.name} --scheme lazy_clone.py" in out
    assert rmapcheck("replay", case, "--scheme", "lazy_clone.py")[0] == Exit.EXPECTED
    assert rmapcheck("replay", case)[0] == Exit.USAGE
    file.write_text(text)
    assert rmapcheck("replay", case, "--scheme", "lazy_clone.py")[0] == Exit.UNEXPECTED
    assert rmapcheck("replay", case, "--scheme", "lazy_clone.py", "--holds")[0] == Exit.EXPECTED


def test_new_overwrites_nothing(rmapcheck, tmp_path):
    rmapcheck("new", "mine")
    (tmp_path / "mine.py").write_text("precious")
    code, _out, err = rmapcheck("new", "mine")
    assert code == Exit.USAGE
    assert "mine.py exists already" in err
    assert (tmp_path / "mine.py").read_text() == "precious"


def test_a_bug_is_searched_in_its_own_scope(rmapcheck):
    _code, out, _err = rmapcheck("explore", "B29")
    assert "scope  mms=1 pages=3" in out
    _code, out, _err = rmapcheck("explore", "B29", "--folios", "2")
    assert "scope  mms=1 pages=3 vmas=6 folios=2" in out


def test_symmetry_can_be_switched_off(rmapcheck):
    args = ["explore", "avc-7.0", "--json", "--mms", "2", "--pages", "1", "--ops", "mmap,fork"]
    with_it = json.loads(rmapcheck(*args)[1])
    without = json.loads(rmapcheck(*args, "--no-symmetry")[1])
    assert with_it["verdict"] == without["verdict"] == "HOLDS"
    assert with_it["distinct"] < without["distinct"]


def test_the_same_seed_gives_the_same_run(rmapcheck):
    args = ["fuzz", "B02", "--engine", "walk", "--seed", "7", "--json"]
    one, two = (json.loads(rmapcheck(*args)[1]) for _ in range(2))
    assert one["trace"] == two["trace"]


def test_every_command_has_help(rmapcheck):
    for command in app.registered_commands:
        code, out, _err = rmapcheck(str(command.name), "--help")
        assert code == Exit.EXPECTED
        assert "--json" in out


# The ladder.


def test_verify_a_correct_scheme():
    report = Climber(catalogue.schemes()["avc-7.0"], budget=8).climb()
    assert report.exit == Exit.EXPECTED, report.verdict
    assert set(LADDER[:7]) <= set(report.exhausted)
    assert report.missed == ()
    assert {r.name for r in report.rungs} == {"goals", "trees", "exhaustive", "walk", "fuzz"}


def test_too_small_a_budget_is_inconclusive():
    report = Climber(catalogue.schemes()["avc-7.0"], budget=0.02).climb()
    assert report.exit == Exit.INCONCLUSIVE
    assert "the budget of 0.02 s ended before" in report.verdict.why


def test_a_goal_that_is_never_reached_makes_it_vacuous():
    base = catalogue.schemes()["avc-7.0"]
    never = {"is_mergeable_anon_vma": lambda *_: False, "name": "never"}
    climber = Climber(type("Never", (base,), never), budget=1)
    climber.rungs = Climber(base, budget=1).rungs
    climber.climb()
    shown = Shown((*LADDER, *FILES), climber.report().missed, not_run=(), flaws=())
    verdict = climber._verdict(shown)
    assert verdict.status.value == "UNKNOWN"
    assert "vacuous: no run reached" in verdict.why
    assert "merge" in verdict.why


def test_verify_several(rmapcheck):
    code, out, _err = rmapcheck("verify", "B28", "B29", "--budget", "9", "--quiet")
    assert code == Exit.EXPECTED
    assert out.count("as expected") == 2


def test_replay_of_a_whole_folder_passes_over_the_schema(rmapcheck):
    files = sorted(CASE.parent.glob("*.json"))
    assert "schema.json" in [file.name for file in files]
    assert rmapcheck("replay", *files, "--quiet")[0] == Exit.EXPECTED


def edited(path, **changes):
    path.write_text(json.dumps({**json.loads(CASE.read_text()), **changes}))


def test_replay_reports_a_damaged_case_and_continues(rmapcheck, tmp_path):
    (tmp_path / "damaged.json").write_text("{")
    edited(tmp_path / "unknown.json", scheme="avc-7.00")
    args = ["replay", "damaged.json", CASE, "unknown.json"]
    code, out, err = rmapcheck(*args)
    assert code == Exit.USAGE
    assert "as expected" in out
    assert err.splitlines()[0].startswith("rmapcheck: damaged.json: ")
    assert err.splitlines()[1].startswith("rmapcheck: unknown.json: no scheme or bug is called")
    results = json.loads(rmapcheck(*args, "--json")[1])
    assert [result["exit"] for result in results] == [2, 0, 2]


def test_a_case_of_an_unknown_invariant(rmapcheck, tmp_path):
    edited(tmp_path / "x.json", expect={"invariant": "coverag", "step": 1, "verdict": "VIOLATED"})
    code, _out, err = rmapcheck("replay", "x.json")
    assert code == Exit.USAGE
    assert err.startswith("rmapcheck: x.json: expect.invariant: no invariant is called ")
    assert err.endswith("did you mean coverage?\n")


@pytest.mark.parametrize("command", ["export", "show"])
def test_the_case_that_is_read_is_not_overwritten(command, rmapcheck, tmp_path):
    path = tmp_path / "case.json"
    path.write_bytes(CASE.read_bytes())
    (tmp_path / "link.json").symlink_to(path)
    for name in ("case.json", "link.json"):
        code, _out, err = rmapcheck(command, path, "--output", name)
        assert code == Exit.USAGE
        assert err == f"rmapcheck: {name} is the case itself; name another --output.\n"
        assert path.read_bytes() == CASE.read_bytes()
    assert rmapcheck(command, path, "--output", "other")[0] == Exit.EXPECTED


def test_a_minimal_case_is_left_alone(rmapcheck, tmp_path):
    (tmp_path / "x.json").write_bytes(CASE.read_bytes())
    code, out, _err = rmapcheck("minimize", "x.json")
    assert code == Exit.EXPECTED
    assert out.startswith("x.json: already minimal")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
