"""Programs with brk, files and locked pages: their content, and what the running kernel does."""

import re

import attrs
import pytest

from rmapcheck.cases.case import Case, Expect, load_case
from rmapcheck.cli.kernel_run import sentence
from rmapcheck.host.boot import Log
from rmapcheck.model.machine.errors import ModelError
from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Brk, Fork, Mlock, Mmap, MmapFile, Read, SwapOut, Write
from rmapcheck.plugins.find import find_scheme
from rmapcheck.report import export
from rmapcheck.reproduce.prediction import predict
from rmapcheck.reproduce.program import NO_BUG, UNSEEN, to_c
from rmapcheck.reproduce.run import _run_here, read_log, reproduce
from rmapcheck.verdict import Exit
from tests.reproduce.test_program import FOLDER
from tests.reproduce.test_run import needs_gcc, planted, running_kernel

OPS = ("mmap", "brk", "fault", "fork", "file", "swap", "mlock")


def case_of(*steps, files=0):
    scope = Scope(mms=2, pages=4, vmas=20, objects=60, files=files, file_pages=2, ops=OPS)
    expect = Expect(verdict="HOLDS")
    return Case(title="t", scheme="avc-6.16", scope=scope, expect=expect, steps=steps)


def shared(**more):
    return MmapFile(mm=1, length=2, file=1, pgoff=0, **more)


CASES = {
    "brk": case_of(
        Mmap(mm=1, start=0, length=1),
        Write(mm=1, address=0),
        Brk(mm=1, start=1, length=2),
        Write(mm=1, address=2),
        Fork(mm=1, child=2),
        Write(mm=2, address=1),
        SwapOut(mm=1, address=0),
        Read(mm=2, address=0),
    ),
    "mlock": case_of(
        Mmap(mm=1, start=0, length=3),
        Write(mm=1, address=0),
        Mlock(mm=1, start=0, length=2),
        Write(mm=1, address=1),
        Write(mm=1, address=2),
        SwapOut(mm=1, address=2),
        Fork(mm=1, child=2),
        Mlock(mm=1, start=1, length=1, on=False),
        Write(mm=2, address=1),
    ),
    "mmap_file": case_of(
        shared(start=0, shared=True),
        shared(start=2, shared=False),
        Write(mm=1, address=0),
        Read(mm=1, address=2),
        Fork(mm=1, child=2),
        Write(mm=2, address=2),
        Write(mm=1, address=3),
        SwapOut(mm=1, address=3),
        Write(mm=2, address=0),
        files=1,
    ),
}


def test_what_the_table_holds():
    table = to_c(CASES["mmap_file"]) + to_c(CASES["mlock"]) + to_c(CASES["brk"])
    for row in (
        ".what = MMAP_FILE, .mm = 1, .start = 2, .length = 2, .arg = PROT_READ",
        ".arg = PROT_READ | PROT_WRITE | SHARED, .file = 1,",
        ".what = MLOCK, .mm = 1, .start = 0, .length = 2, .arg = 1,",
        ".what = MLOCK, .mm = 1, .start = 1, .length = 1,",
        ".what = BRK, .mm = 1, .start = 1, .length = 2,",
    ):
        assert row in table


def test_pages_of_a_file_are_predicted():
    pages = {(p.mm, p.address): p.holds for p in predict(CASES["mmap_file"]).pages}
    assert pages[2, 0] == "OF_FILE"
    assert pages[1, 0] == pages[2, 1] == "ANY"
    assert pages[2, 2] == pages[1, 3] == "ANON"
    assert not predict(CASES["mmap_file"]).stays


def test_brk_below_a_mapping_is_refused():
    steps = (Mmap(mm=1, start=0, length=1), Mmap(mm=1, start=3, length=1))
    predict(case_of(*steps, Brk(mm=1, start=1, length=1)))
    with pytest.raises(ModelError, match=r"step 3, Brk.*: brk leaves the page above .* page 3 of"):
        predict(case_of(*steps, Brk(mm=1, start=1, length=2)))


def test_the_locked_case_of_2002_can_be_exported():
    assert "MLOCK" in export(load_case(FOLDER / "E03-forgets-the-locked.json"), "c")


@pytest.mark.parametrize("name", ["E41-nonlinear-lost", "E42-mapcount-as-pointer"])
def test_nonlinear_mappings_are_refused_by_a_reason(name):
    with pytest.raises(ModelError, match=r"RemapFilePages\(.*\): kernels since v4.0 map another"):
        predict(load_case(FOLDER / f"{name}.json"))


@needs_gcc
@pytest.mark.parametrize("name", CASES)
def test_the_running_kernel_does_as_the_model(name):
    with running_kernel():
        done = reproduce(CASES[name], find_scheme("avc-6.16"), arenas=60)
    if done.verdict == "SKIP" and "returns" not in done.reason:
        pytest.skip(done.reason)
    assert done.exit is Exit.EXPECTED, done.log.text
    assert done.mapped


AGAIN = """(number == TOUCH) {
			for (int i = 0; i < arenas; i++)
				touch(address(i, 0), 0);
			reply((struct answer){ 0 });
		} else if (number == CONTENTS) {"""
PLANTED = {
    "brk": (
        "SKIP step 3 returns -12 here, and 0 in the model",
        ("SYS_brk, at + length)", "SYS_brk, at + LIMIT * BASE)"),
    ),
    "mlock": (
        "SKIP process 1 has page 0 in 40 of 40 arenas, in the model in none",
        ("[1][0] = { .holds = ANON, .value = 2 },", ""),
    ),
    "mmap_file": (
        "BUG 1 page stayed mapped, and not just those of the model",
        ("\treclaim_all();\n", "\treclaim_all();\n\task(2, TOUCH);\n"),
        ("UNLOCK = -4 }", "UNLOCK = -4, TOUCH = -5 }"),
        ("(number == CONTENTS) {", AGAIN),
    ),
}


@needs_gcc
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_noticed(name):
    says, *changes = PLANTED[name]
    program = planted(to_c(CASES[name]), *changes)
    with running_kernel():
        log = _run_here(program, ("-n", "40"), 60, shared_swap=False)
    if re.search("no memory cgroup|-1 here", log.text):
        pytest.skip("this cannot be done here")
    assert log.text.splitlines()[-1] == f"VERDICT: {says}", log.text


# Cases that are not about a bug.


def test_a_case_without_a_bug_does_not_speak_of_one():
    text = " ".join(to_c(CASES["brk"]).replace("\n *", " ").split())
    assert NO_BUG in text
    assert UNSEEN not in text
    b19 = load_case(FOLDER / "B19-endless-growth.json")
    text = " ".join(to_c(b19).replace("\n *", " ").split())
    assert UNSEEN in text
    assert NO_BUG not in text


def test_a_run_without_a_bug_that_agrees_is_as_expected():
    case, scheme = CASES["brk"], find_scheme("avc-6.16")
    log = Log(
        text="kernel: Linux 6.18\nmapped: process 1 page 0: 0 of 9\nVERDICT: OK\n", seconds=1
    )
    done = read_log(case, predict(case, scheme), log)
    assert done.exit is Exit.EXPECTED
    assert sentence(done) == "as expected, the kernel behaves like avc-6.16: OK."
    about_a_bug = attrs.evolve(
        case, expect=Expect(verdict="VIOLATED", invariant="no_leak", step=len(case.steps))
    )
    done = read_log(about_a_bug, predict(about_a_bug, scheme), log)
    assert done.exit is Exit.INCONCLUSIVE
    assert UNSEEN in sentence(done)
