"""Ranges of files, truncation and the page cache: the model against the running kernel."""

import pytest

from rmapcheck.model.branches import FILES
from rmapcheck.model.operations import (
    Fork,
    Madvise,
    MmapFile,
    Mprotect,
    Mremap,
    PunchHole,
    Read,
    SwapOut,
    Truncate,
    Write,
)
from rmapcheck.oracle.comparison import Step
from rmapcheck.oracle.episode import Episode, scope_for
from rmapcheck.oracle.eras import running
from rmapcheck.oracle.oracle import Oracle, Settings
from rmapcheck.oracle.puppets import files
from rmapcheck.oracle.rules import RULES
from rmapcheck.oracle.steps.generate import reclaim_all
from tests.oracle.file_mutants import FILE_MUTANTS
from tests.oracle.planting import run_with_mutant


def private(mm=1, start=0, length=3, pgoff=0, **more):
    return MmapFile(mm=mm, start=start, length=length, file=1, pgoff=pgoff, shared=False, **more)


def shared(mm=1, start=4, length=3, pgoff=0, **more):
    return MmapFile(mm=mm, start=start, length=length, file=1, pgoff=pgoff, shared=True, **more)


RECLAIM = "reclaim"
RUNS = {
    "truncation takes copies, a hole does not": (
        [
            private(),
            shared(),
            Write(mm=1, address=4),
            Write(mm=1, address=0),
            Write(mm=1, address=1),
            Fork(mm=1, child=2),
            PunchHole(file=1, index=0, length=2),
            Read(mm=2, address=4),
            Truncate(file=1, size=1),
            Read(mm=1, address=1),
            Truncate(file=1, size=6),
            Read(mm=1, address=1),
        ],
        {
            "a hole leaves a private copy",
            "a hole unmaps a page",
            "truncation takes a private copy",
            "fault beyond the end of a file",
            "a file grows",
        },
    ),
    "a read maps what is in the page cache": (
        [
            shared(),
            Write(mm=1, address=4),
            Write(mm=1, address=6),
            private(mm=1),
            Read(mm=1, address=0),
            Write(mm=1, address=2),
            Read(mm=1, address=1),
        ],
        {"fault-around", "copy on write of a page of a file", "a read fault finds its page"},
    ),
    "fork copies the entries of a private range that has copies": (
        [
            private(),
            Read(mm=1, address=0),
            Write(mm=1, address=1),
            shared(),
            Write(mm=1, address=5),
            Fork(mm=1, child=2),
            Write(mm=2, address=1),
        ],
        {"fork shares a page of a file", "fork leaves a range of a file to faults"},
    ),
    "pages of files and copies come back from swap": (
        [
            private(),
            shared(),
            Write(mm=1, address=4),
            Write(mm=1, address=1),
            Fork(mm=1, child=2),
            RECLAIM,
            Read(mm=2, address=4),
            Read(mm=1, address=1),
            Read(mm=2, address=0),
            RECLAIM,
            Truncate(file=1, size=0),
            Read(mm=2, address=1),
        ],
        {
            "a mapped page of a file is reclaimed",
            "truncation takes a private copy from swap",
        },
    ),
    "a range of a file keeps its charge and its offset": (
        [
            private(length=1),
            Mprotect(mm=1, start=0, length=1, prot="r"),
            private(start=1, length=1, pgoff=1, prot="r"),
            Mremap(mm=1, start=0, length=1, new_length=1, to=8),
            Madvise(mm=1, start=8, length=1, advice="wipeonfork"),
        ],
        {
            "mprotect leaves a range of a file charged",
            "mremap moves a never-faulted range of a file",
            "madvise refuses to wipe a range of a file",
            "no merge: vm_flags",
        },
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_on_a_file_shows_no_difference(live, name):
    ops, wanted = RUNS[name]
    on = live()
    if "files" not in on.tiers:
        pytest.skip(on.skipped["files"])
    if RECLAIM in ops and "swap" not in on.tiers:
        pytest.skip(on.skipped["swap"])
    episode = Episode(on, running(), scope_for(6, 10, files=True))
    for op in ops:
        step = reclaim_all(episode.st) if op == RECLAIM else Step((op,))
        assert [str(d) for d in episode.run_step(step).differences] == [], step
    assert not [d for result in episode.end() for d in result.differences]
    assert wanted <= {rule for result in episode.results for rule in result.rules}


QUICK = (
    "truncation leaves private copies",
    "truncation misses shared ranges",
    "a read fault of a range of a file gets an anon_vma",
    "a copy of a page of a file does not count as anonymous",
    "a hole takes private copies",
)


@pytest.mark.parametrize("name", QUICK)
def test_a_wrong_rule_about_files_is_noticed(live, name):
    on = live()
    if "files" not in on.tiers or "L1" not in on.tiers:
        pytest.skip(str(on.skipped))
    mutant = next(m for m in FILE_MUTANTS if m.name == name)
    assert run_with_mutant(on, running(), mutant, Settings(operations=20_000, seed=2)).failed


def refuse(*_):
    raise OSError(1, "Operation not permitted")


def without_memfds(monkeypatch):
    monkeypatch.setattr(files.os, "memfd_create", refuse)
    return "Operation not permitted"


def without_mincore(monkeypatch):
    monkeypatch.setattr(files.Files, "cached", lambda _: frozenset({(1, 5)}))
    return "mincore"


def without_fault_around(monkeypatch):
    monkeypatch.setattr("rmapcheck.oracle.calibrate.Read", Write)  # a write maps one page
    return "maps 1 of 2 cached pages"


@pytest.mark.parametrize("lacks", [without_memfds, without_mincore, without_fault_around])
def test_files_are_skipped_on_a_machine_without_support(live, monkeypatch, lacks):
    why = lacks(monkeypatch)
    on = live()
    assert why in on.skipped["files"]
    assert "files" not in on.tiers
    done = Oracle(on, running(), Settings(operations=600, seed=3)).run()
    assert not done.failed
    assert not any(done.coverage[rule] for rule in FILES)
    assert len(done.coverage.wanted) < len(RULES)


def test_the_stage_has_no_files_if_they_are_not_wanted(live):
    on = live(files=False)
    assert on.skipped["files"] == "not requested"
    episode = Episode(on, running(), scope_for(6, 10))
    assert not episode.run_step(Step((Fork(mm=1, child=2),))).differences
    assert SwapOut not in [type(op) for result in episode.end() for op in result.step.ops]
