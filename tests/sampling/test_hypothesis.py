"""Hypothesis: it finds planted faults, writes no files, and gives the same result each time."""

import os
import subprocess
import sys
import time
import unittest

import pytest
from hypothesis import settings

from rmapcheck.model.machine.scope import Scope
from rmapcheck.model.operations import Fork, Mmap, Write
from rmapcheck.model.schemes.anon_vma_chain_list import AvcList
from rmapcheck.plugins.catalogue import bugs, schemes
from rmapcheck.plugins.guard import watchdog
from rmapcheck.run import Run, replay
from rmapcheck.sampling.fuzz import (
    Hypothesis,
    InvariantViolated,
    RmapMachine,
    machine_for,
    program,
    rarities,
)
from rmapcheck.search.question import Limits, Question
from rmapcheck.verdict import Status
from rmapcheck.verify.ladder import bug_scope

SCOPE = Scope(mms=2, pages=2)
B01 = bugs()["B01"]
FORK_ONLY = Scope(mms=2, pages=1, protections=1, ops=("mmap", "fault", "fork"))


def fuzzed(scheme, scope, *, seed=0, length=50, shrinks=30, target="", **limits):
    engine = Hypothesis(seed=seed, length=length, shrinks=shrinks)
    return engine.answer(Question(scheme, scope, target=target), Limits(**limits)).verdict


class ForgetsMapcount(AvcList):
    """A planted fault: fork does not count the second mapping."""

    name = "forgets-mapcount"

    def folio_dup_anon_rmap(self, st, folio, vma, pvma, address, ptep):
        pass


class RaisesAtFork(AvcList):
    """Raises an exception in the first fork of a faulted VMA."""

    name = "raises-at-fork"

    def anon_vma_fork(self, st, vma, pvma):
        raise ZeroDivisionError


class LoopsAtFork(AvcList):
    """Never returns from fork."""

    name = "loops-at-fork"

    def anon_vma_fork(self, st, vma, pvma):
        while True:
            pass


def test_finds_a_planted_fault_and_shrinks_it():
    verdict = fuzzed(ForgetsMapcount, FORK_ONLY, runs=100, seed=1)
    assert verdict.status is Status.VIOLATED
    assert "mapcount" in [v.invariant for v in verdict.violations]
    assert replay(ForgetsMapcount, FORK_ONLY, verdict.trace).step == len(verdict.trace)
    assert len(verdict.trace) <= 8


def test_finds_a_real_bug_under_the_invariant_asked_for():
    verdict = fuzzed(B01, bug_scope(B01), runs=200, seed=1, shrinks=5, target="active_in_chain")
    assert "active_in_chain" in [v.invariant for v in verdict.violations]


def test_says_how_many_steps_it_took():
    verdict = fuzzed(schemes()["avc-7.0"], SCOPE, runs=5, length=20, seed=1)
    assert verdict.status is Status.SAMPLED
    steps, words = verdict.how.split(" ", 1)
    assert words == "steps by Hypothesis"
    assert 50 < int(steps) <= 120


def test_without_a_step_the_verdict_is_unknown():
    verdict = fuzzed(schemes()["avc-7.0"], Scope(mms=1, pages=1, ops=("fork",)), runs=2)
    assert str(verdict) == "UNKNOWN(no step could be made)"


def test_time_ends_a_run():
    start = time.monotonic()
    verdict = fuzzed(schemes()["avc-7.0"], SCOPE, runs=10**6, seed=1, seconds=0.5)
    assert verdict.status is Status.SAMPLED
    assert time.monotonic() - start < 10


def test_an_exception_of_the_scheme_ends_the_run_at_once():
    with pytest.raises(ZeroDivisionError):
        fuzzed(RaisesAtFork, FORK_ONLY, runs=50, seed=1)


def test_an_endless_loop_is_reported_as_such_and_not_as_flaky():
    with pytest.raises(Exception, match="does not end"), watchdog(LoopsAtFork, 0.3):
        fuzzed(LoopsAtFork, FORK_ONLY, runs=50, seed=1)


def test_nothing_is_written_or_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fuzzed(ForgetsMapcount, FORK_ONLY, runs=50, seed=1)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_a_machine_as_a_test_case_explains_the_shortest_run():
    machine = machine_for(ForgetsMapcount, FORK_ONLY)
    machine.TestCase.settings = settings(machine.TestCase.settings, derandomize=True)
    result = unittest.TestResult()
    machine.TestCase("runTest").run(result)
    text = (result.errors + result.failures)[0][1]
    assert "Let f be folio 1, mapped by 2 entries" in text
    assert "at step 3" in text
    assert text.count("Fork(mm=1, child=2),") == 1


def test_a_machine_has_the_name_of_its_scheme_and_its_own_state():
    first, second = machine_for(B01, SCOPE), machine_for(schemes()["avc-7.0"], SCOPE)
    assert first.__name__ == "CopyFromImporterMachine"
    assert (first.question.scheme, second.question.scheme) == (B01, schemes()["avc-7.0"])
    fuzzed(schemes()["avc-7.0"], SCOPE, runs=2, length=5)
    assert (RmapMachine.taken, RmapMachine.best, second.taken) == (0, None, 0)


def test_the_program_of_a_run_repeats_it(tmp_path):
    trace = fuzzed(B01, bug_scope(B01), runs=200, seed=1, shrinks=20).trace
    violations = replay(B01, bug_scope(B01), trace).violations
    text = program(B01, bug_scope(B01), trace)
    assert text in str(InvariantViolated(B01, bug_scope(B01), trace, violations))
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == f"{' '.join(map(str, violations))}\n"


def test_rarer_states_score_higher():
    run = Run(schemes()["avc-7.0"], FORK_ONLY)
    scores = [rarities(run.st)]
    for op in (Mmap(mm=1, start=0, length=1), Write(mm=1, address=0), Fork(mm=1, child=2)):
        run.apply(op)
        scores.append(rarities(run.st))
    assert scores[0] == {"rmap objects of one kind": 0, "mappings of one page": 0}
    assert scores == sorted(scores, key=lambda score: list(score.values()))
    assert scores[-1]["mappings of one page"] == 2


PROGRAM = """
from rmapcheck.model.machine.scope import Scope
from rmapcheck.plugins.catalogue import bugs, schemes
from rmapcheck.sampling.fuzz import Hypothesis
from rmapcheck.search.question import Limits, Question
from rmapcheck.verify.ladder import bug_scope
engine, wide = Hypothesis(seed=5), Scope(mms=3, pages=2, alloc_fail=True)
print(engine.answer(Question(schemes()["avc-6.0"], wide), Limits(runs=10)).verdict)
bug = bugs()["B28"]
found = engine.answer(Question(bug, bug_scope(bug)), Limits(runs=100)).verdict
print(*found.trace, sep="; ")
"""


def test_the_same_run_under_every_hash_seed():
    said = set()
    for hash_seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        said.add(done.stdout)
    assert len(said) == 1
    assert "Mprotect(" in said.pop()
