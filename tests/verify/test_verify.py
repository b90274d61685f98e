"""The command verify: what it must catch, also if something else goes wrong, and what it says."""

import json
import textwrap

import pytest

from rmapcheck.cli import run
from rmapcheck.explore import explore
from rmapcheck.host import compile as build
from rmapcheck.model.machine.errors import ModelError, SchemeError
from rmapcheck.model.scheme import VMA_OP_REMAP
from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish
from rmapcheck.plugins import catalogue
from rmapcheck.plugins.find import find_scheme
from rmapcheck.plugins.guard import scheme_errors
from rmapcheck.search.question import CannotCompileError
from rmapcheck.verdict import Exit, Status
from rmapcheck.verify.climb import Climber
from rmapcheck.verify.ladder import DEPTHS, LADDER, LONG_FORKS, REQUIRED, bug_scope, required

AnonVma2632 = catalogue.schemes()["anon_vma-2.6.32"]

HEAD = (
    "from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish\n\n\nclass Mine(AvcPublish):\n"
)

NEGATIVE = """\
def count_active(self, st, anon_vma, by):
    st.anon_vma[anon_vma].num_active_vmas -= by
"""
BY_DEGREE = """\
def may_reuse(self, st, anon_vma, own):
    a = st.anon_vma[anon_vma]
    degree = a.num_children + a.num_active_vmas
    return anon_vma != own and degree < 2
"""
IGNORES_ACTIVE = """\
def may_reuse(self, st, anon_vma, own):
    return st.anon_vma[anon_vma].num_children < 2
"""


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RMAPCHECK_ENGINE", raising=False)


def plugin(tmp_path, body, file="mine.py"):
    path = tmp_path / file
    body = 'name = "mine"\n' + body
    path.write_text(HEAD + textwrap.indent(body, "    "), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", ["B21", "B01", "B29", "E01"])
def test_a_seeded_bug_is_violated_as_expected(name, capsys):
    assert run(["verify", name, "--budget", "6", "--quiet"]) == Exit.EXPECTED
    assert capsys.readouterr().out.endswith("as expected\n")


def test_a_counter_that_wraps_is_a_violation_with_a_case(tmp_path, capsys):
    path = plugin(tmp_path, NEGATIVE)
    assert run(["verify", path, "--budget", "10", "--json"]) == Exit.UNEXPECTED
    said = json.loads(capsys.readouterr().out)
    assert said["verdict"] == "VIOLATED"
    assert said["replayed"] is True
    run(["replay", said["case"], "--scheme", path, "--quiet"])
    assert "VIOLATED(out_of_range, step 1)" in capsys.readouterr().out


@pytest.mark.parametrize("engine", ["python", "native"])
def test_every_engine_says_out_of_range(engine, tmp_path):
    cls = find_scheme(plugin(tmp_path, NEGATIVE))
    done = explore(cls, LADDER[0], target="out_of_range", engine=engine)
    assert done.verdict.status is Status.VIOLATED
    assert [v.invariant for v in done.verdict.violations] == ["out_of_range"]


@pytest.mark.parametrize("engine", ["python", "auto"])
def test_a_wrapped_counter_does_not_stop_a_search_for_something_else(engine, tmp_path):
    cls = find_scheme(plugin(tmp_path, NEGATIVE))
    done = explore(cls, LADDER[0], target="one_root", engine=engine)
    assert done.verdict.status is Status.HOLDS


@pytest.mark.parametrize("body", [BY_DEGREE, IGNORES_ACTIVE])
def test_a_wrong_rule_of_reuse_is_found_in_a_required_scope(body, tmp_path):
    cls = find_scheme(plugin(tmp_path, body))
    forks = [s for s in LADDER[:REQUIRED] if s.mms == 3 and s.objects >= 20]
    assert any(explore(cls, s).verdict.status is Status.VIOLATED for s in forks)


def test_a_bounded_rung_is_not_called_exhausted():
    assert LONG_FORKS in LADDER[REQUIRED:]
    assert DEPTHS[LONG_FORKS] < 11  # B23's own violation takes more
    assert bug_scope(find_scheme("B23")).ops == LONG_FORKS.ops
    climber = Climber(AvcPublish, budget=30)
    DEPTHS[LONG_FORKS], depth = 3, DEPTHS[LONG_FORKS]
    try:
        climber.rungs = [climber._search(LONG_FORKS, 10)]
    finally:
        DEPTHS[LONG_FORKS] = depth
    assert climber.rungs[0].verdict.how == "bounded, depth 3"
    assert climber.report().exhausted == ()


def test_other_schemes_are_verified_if_one_breaks_the_interface(tmp_path, capsys):
    bad = plugin(tmp_path, "def anon_vma_prepare(self, st, vma):\n    return 7 // 0\n")
    assert run(["verify", bad, "nobody", "B28", "--budget", "3", "--quiet"]) == Exit.USAGE
    lines = capsys.readouterr().out.splitlines()
    assert "ZeroDivisionError" in lines[0]
    assert lines[1].startswith("nobody: error: ")
    assert lines[-1].endswith("as expected")


def test_jobs_give_the_same_output_in_the_requested_order(tmp_path, capfd):
    bad = plugin(tmp_path, "def anon_vma_prepare(self, st, vma):\n    return 7 // 0\n")
    names = ["B28", bad, "E01", "nobody"]
    more = ["--budget", "5", "--jobs", "2"]
    assert run(["verify", *names, *more, "--quiet"]) == Exit.USAGE
    lines = capfd.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["B28", bad, "E01", "nobody"]
    assert lines[0].endswith("as expected")
    assert "ZeroDivisionError" in lines[1]
    assert run(["verify", "B28", "E01", *more, "--json"]) == Exit.EXPECTED
    found = json.loads(capfd.readouterr().out)
    assert [r["scheme"] for r in found] == ["B28", "E01"]
    assert {r["verdict"] for r in found} == {"VIOLATED"}


def test_dropped_steps_are_reported(capsys):
    assert run(["verify", "avc-7.0", "--budget", "2"]) in (Exit.EXPECTED, Exit.INCONCLUSIVE)
    assert "dropped, because the scope had no room: " in capsys.readouterr().out


@pytest.mark.parametrize("value", ["[]", "{}", "set()", "bytearray(3)"])
def test_a_class_may_keep_nothing_outside_the_state(value, tmp_path):
    path = plugin(tmp_path, f"seen = {value}\n")
    with pytest.raises(SchemeError, match=r"Mine\.seen is a .*outside the state"):
        find_scheme(path)


def test_a_failed_compilation_is_reported_as_the_reason(tmp_path, monkeypatch):
    cls = find_scheme(plugin(tmp_path, "def vma_merged(self, st):\n    return [i for i in st]\n"))

    def fails(*_args, **_named):
        raise build.BuildError("the C compiler failed: x.c:1: error: no")

    monkeypatch.setattr(build, "build", fails)
    why = "cannot be compiled: the C compiler failed"
    with pytest.raises(CannotCompileError, match=why), scheme_errors(cls):
        explore(cls, LADDER[0], engine="native")
    assert not issubclass(CannotCompileError, ModelError)


class LosesLongMoves(AvcPublish):
    """mremap() enters the copy of a VMA into the rmap only if one of the two has one page."""

    name = "loses-long-moves"

    def anon_vma_clone(self, st, dst, src, operation):
        to, of = st.vma[dst], st.vma[src]
        if operation == VMA_OP_REMAP and to.vm_end - to.vm_start > 1:
            if of.vm_end - of.vm_start > 1:
                return 0
        return super().anon_vma_clone(st, dst, src, operation)


def test_a_range_of_two_pages_moves_in_a_required_scope():
    caught = [s for s in required(LosesLongMoves) if violated(LosesLongMoves, s)]
    assert {(s.mms, s.pages) for s in caught} == {(1, 4)}


def violated(scheme, scope):
    return explore(scheme, scope).verdict.status is Status.VIOLATED


class ForgetsABit(type(AnonVma2632.i_mmap)):
    """A prio_tree that has one bit too few once it is high."""

    def prio_tree_expand(self, st, mapping, node):
        super().prio_tree_expand(st, mapping, node)
        if st.address_space[mapping].index_bits > 3:
            st.address_space[mapping].index_bits -= 1


class Low(AnonVma2632):
    """Has that container."""

    name = "low"
    i_mmap = ForgetsABit()


def test_a_tree_is_filled_with_vmas_at_offsets_far_apart():
    climber = Climber(Low, budget=40)
    assert climber._trees().verdict.status is Status.VIOLATED
    assert "trees" in {rung.name for rung in climber.climb().rungs}
    assert Climber(AnonVma2632, budget=10)._trees().verdict.status is Status.SAMPLED


def test_random_runs_have_files_if_the_scheme_maps_them():
    assert Climber(AvcPublish).wide.files == Climber(AvcPublish).narrow.files == 1
    assert Climber(catalogue.schemes()["rmap15"]).wide.files == int(
        catalogue.schemes()["rmap15"].maps_files
    )
