"""What a case expects of its steps besides the verdict: errno and VMAs, in model and kernel."""

import json

import attrs
import pytest

from rmapcheck.cases.case import Case, CaseError, Expect, case_text, load_case, parse_case
from rmapcheck.cases.minimize import minimize_case
from rmapcheck.cases.replay import case_on, replay_case
from rmapcheck.cases.results import Maps, Result, Vma, recorded
from rmapcheck.cli import run
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.maps import Mapping
from rmapcheck.model.operations import Fork, Mmap, MmapFile, Mprotect, Mremap, Write
from rmapcheck.plugins.find import find_scheme
from rmapcheck.reproduce.run import reproduce
from rmapcheck.run import Run
from rmapcheck.verdict import Exit, Status
from tests.reproduce.test_program import FOLDER, compiled, needs_gcc
from tests.reproduce.test_run import running_kernel

STEPS = (
    Mmap(mm=1, start=0, length=2),
    Write(mm=1, address=0),
    Mprotect(mm=1, start=0, length=1, prot="r"),
    Write(mm=1, address=1),
    Mremap(mm=1, start=2, length=1, new_length=1, to=4),
    Mmap(mm=1, start=3, length=1),
)
AT_END = Maps(
    mm=1,
    vmas=(
        Vma(start=0, end=1, prot="r", pgoff=0, anon_vma="a"),
        Vma(start=1, end=2, prot="rw", pgoff=1, anon_vma="a"),
        Vma(start=3, end=4, anon_vma=""),
    ),
)
CASE = Case(
    title="results",
    scheme="avc-7.0",
    scope=Scope(mms=2, pages=5, protections=2),
    expect=Expect(verdict="HOLDS"),
    steps=STEPS,
    results=(
        Result(step=2, errno=""),
        Result(step=5, errno="EFAULT"),
        Result(step=6, maps=(AT_END,)),
    ),
)


def expecting(*results):
    return attrs.evolve(CASE, results=results)


def at_end(**changes):
    """Return the case with one expectation of its second VMA changed."""
    second = attrs.evolve(AT_END.vmas[1], **changes)
    vmas = (AT_END.vmas[0], second, AT_END.vmas[2])
    return expecting(Result(step=6, maps=(Maps(mm=1, vmas=vmas),)))


def test_results_that_are_as_expected():
    assert replay_case(CASE).as_expected
    assert parse_case(case_text(CASE).encode()) == CASE


@pytest.mark.parametrize(
    ("result", "step", "says"),
    [
        (Result(step=5, errno=""), 5, "it is EFAULT"),
        (Result(step=2, errno="ENOMEM"), 2, "r must be ENOMEM, as the case expects"),
    ],
)
def test_a_wrong_errno_is_a_violation(result, step, says):
    done = replay_case(expecting(result))
    assert str(done) == (
        f"avc-7.0: VIOLATED(expected_result, step {step}), but the case expects HOLDS."
    )
    assert says in str(done.replayed.violations[0])


@pytest.mark.parametrize(
    "changes",
    [
        {"start": 0},
        {"end": 3},
        {"prot": "r"},
        {"pgoff": 0},
        {"file": 1},
        {"shared": True},
        {"anon_vma": "b"},
        {"anon_vma": ""},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_wrong_vma_is_a_violation(changes):
    assert replay_case(at_end()).as_expected
    done = replay_case(at_end(**changes))
    assert not done.as_expected
    assert done.replayed.step == 6
    assert "0-1 r pgoff 0 anon_vma a, 1-2 rw pgoff 1 anon_vma a" in done.replayed.violations[0].but


@pytest.mark.parametrize("vmas", [(), AT_END.vmas[:2], (*AT_END.vmas, Vma(start=4, end=5))])
def test_all_vmas_of_the_process_count(vmas):
    result = Result(step=6, maps=(Maps(mm=1, vmas=vmas),))
    assert not replay_case(expecting(result)).as_expected


def test_letters_are_the_same_in_all_processes():
    steps = (Mmap(mm=1, start=0, length=1), Write(mm=1, address=0), Fork(mm=1, child=2))
    one = Maps(mm=1, vmas=(Vma(start=0, end=1, anon_vma="a"),))

    def child(letter):
        two = Maps(mm=2, vmas=(Vma(start=0, end=1, anon_vma=letter),))
        return attrs.evolve(CASE, steps=steps, results=(Result(step=3, maps=(one, two)),))

    assert replay_case(child("b")).as_expected
    assert not replay_case(child("a")).as_expected, "fork gives the child an anon_vma of its own"


def test_a_variant_that_returns_an_error_where_the_kernel_succeeds(tmp_path):
    base = find_scheme("avc-7.0")

    class Refuses(base):
        """Refuses the first write, which violates no invariant."""

        name = "refuses"

        def anon_vma_prepare(self, st, vma):
            return -12

    case = expecting(Result(step=2, errno=""))
    assert replay_case(attrs.evolve(case, results=()), Refuses).status is Status.HOLDS
    assert replay_case(case, Refuses).status is Status.VIOLATED


def test_what_is_recorded_is_as_expected():
    results = recorded(find_scheme("avc-7.0"), CASE.scope, STEPS)
    assert [r.errno for r in results] == ["", "", "", "", "EFAULT", ""]
    assert [(v.start, v.end, v.anon_vma) for v in results[-1].maps[0].vmas] == [
        (0, 1, "a"),
        (1, 2, "a"),
        (3, 4, ""),
    ]
    assert replay_case(expecting(*results)).as_expected


def test_the_command_line_records_and_checks(tmp_path, capsys):
    path = tmp_path / "case.json"
    path.write_text(case_text(expecting()), encoding="utf-8")
    assert run(["replay", str(path), "--record"]) == Exit.EXPECTED
    case = load_case(path)
    assert case.results == recorded(find_scheme("avc-7.0"), CASE.scope, STEPS)
    wrong = attrs.evolve(case, results=(Result(step=1, errno="EINVAL"),))
    path.write_text(case_text(wrong), encoding="utf-8")
    assert run(["replay", str(path), "--holds"]) == Exit.UNEXPECTED
    assert "expected_result, step 1" in capsys.readouterr().out
    assert run(["replay", str(path), "--record", "--scheme", "avc-6.16"]) == Exit.USAGE


@pytest.mark.parametrize(
    ("results", "says"),
    [
        ([{"step": 7}], r"results\[0\].step is 7, but the case has 6 steps"),
        ([{"step": 0}], r"results\[0\].step must be 1 or more"),
        ([{"step": 1, "errno": "EBADF"}], r"results\[0\].errno must be one of"),
        ([{"errno": ""}], r"results\[0\] lacks 'step'"),
        ([{"step": 1, "maps": [{"mm": 1}]}], r"results\[0\].maps\[0\] lacks 'vmas'"),
    ],
)
def test_bad_results_get_one_sentence(results, says):
    value = json.loads(case_text(CASE))
    value["results"] = results
    with pytest.raises(CaseError, match=says):
        parse_case(json.dumps(value).encode())


def test_steps_that_change_leave_their_results_behind():
    lost = load_case(FOLDER / "B01-copy-from-importer.json")
    results = recorded(find_scheme("B01"), lost.scope, lost.steps)
    assert minimize_case(attrs.evolve(lost, results=results)).results == ()
    assert case_on(CASE, find_scheme("avc-6.16"), "avc-6.16").results == ()


def test_maps_are_public():
    machine = Run(find_scheme("pte_chain-2.6.0"), Scope(mms=2, pages=4, files=1, file_pages=2))
    assert machine.maps(1) == ()
    machine.apply(MmapFile(mm=1, start=1, length=1, file=1, pgoff=1, shared=True))
    assert machine.maps(1) == (
        Mapping(start=1, end=2, prot="rw", pgoff=1, file=1, shared=True, anon_vma=0),
    )
    assert machine.maps(2) == ()


@needs_gcc
@pytest.mark.parametrize(
    ("case", "says"),
    [
        (CASE, "OK"),
        (at_end(end=3), "process 1 has other VMAs than the case expects"),
        (
            expecting(Result(step=5, errno="EINVAL")),
            "step 5 returns -14, and the case expects",
        ),
        (expecting(Result(step=6, maps=(Maps(mm=1, vmas=()),))), "process 1 has other VMAs"),
    ],
    ids=["right", "vmas", "errno", "none"],
)
def test_the_running_kernel_is_asked(case, says):
    with running_kernel():
        done = reproduce(case, find_scheme("avc-7.0"), arenas=20)
    assert done.verdict == ("OK" if says == "OK" else "BUG")
    assert says in (done.verdict, done.reason) or done.reason.startswith(says)


@needs_gcc
def test_a_selftest_with_results_compiles(tmp_path):
    from rmapcheck.reproduce.program import to_kselftest

    compiled(to_kselftest(CASE), tmp_path)
