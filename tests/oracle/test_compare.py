"""The oracle: the model against the running kernel, as far as this machine allows.

A test that needs root, a compiler or the like is skipped with the reason that the stage gives.
"""

import json
import os

import pytest

from rmapcheck.cases.case import load_case
from rmapcheck.cli import run
from rmapcheck.host.errors import OracleError
from rmapcheck.model.operations import Fork, Mmap, Write
from rmapcheck.oracle import stage
from rmapcheck.oracle.comparison import Step
from rmapcheck.oracle.episode import Episode, scope_for
from rmapcheck.oracle.eras import running
from rmapcheck.oracle.minimize import minimize_steps
from rmapcheck.oracle.oracle import Oracle, Settings
from rmapcheck.oracle.stage import TIERS
from rmapcheck.plugins.catalogue import bugs
from tests.oracle.mutants import MUTANTS
from tests.oracle.planting import planted, run_with_mutant

# The kernel.


SHARED = (Mmap(mm=1, start=0, length=2), Write(mm=1, address=0), Fork(mm=1, child=2))

QUICK = (
    "one count for children and VMAs (CVE-2022-42703)",
    "both sides join although they do not agree",
    "a write copies a page that is no longer shared",
    "DONTUNMAP of a whole VMA leaves its anon_vma",
    "fork leaves PageAnonExclusive",
)


@pytest.mark.parametrize("name", QUICK)
def test_a_wrong_rule_is_noticed(live, name):
    on = live()
    if "L1" not in on.tiers:
        pytest.skip(on.skipped["L1"])
    mutant = next(m for m in MUTANTS if m.name == name)
    assert run_with_mutant(on, running(), mutant, Settings(operations=12_000, seed=2)).failed


def test_a_difference_is_made_shorter_and_replays(live):
    on = live()
    mutant = next(m for m in MUTANTS if m.name.startswith("mremap fits"))
    with planted(mutant):
        oracle = Oracle(on, running(), Settings(operations=2_000, seed=1))
        failed = oracle.run().failed
        short = minimize_steps(on, oracle.scheme, oracle.scope, failed)
    assert 1 < len(short) <= len(failed)
    assert short[-1].differences
    episode = Episode(on, oracle.scheme, oracle.scope)
    assert not any(episode.run_step(result.step).differences for result in short)


def test_pages_that_reclaim_leaves_mapped_are_a_difference(live, monkeypatch):
    on = live()
    if "swap" not in on.tiers:
        pytest.skip(on.skipped["swap"])
    monkeypatch.setattr(stage, "TRIES", 1)
    monkeypatch.setattr(on.performer, "reclaim", lambda: None)
    episode = Episode(on, running(), scope_for(6, 10))
    for op in SHARED:
        assert not episode.run_step(Step((op,))).differences
    assert "entry" in [d.what for d in episode.end()[-1].differences]


def test_what_a_page_holds_is_compared(live):
    on = live()
    episode = Episode(on, running(), scope_for(6, 10))
    for op in SHARED:
        episode.run_step(Step((op,)))
    episode.predictor.content = dict.fromkeys(episode.predictor.content, 4711)
    assert episode.end()[0].differences[0].what == "content"


# The command.


@pytest.fixture
def command(live, capsys):
    """Return a function that runs the command line where there can be a run."""
    live(swap=False, allocations=False).stack.close()

    def call(*words):
        code = run(["kernel", *words])
        return code, capsys.readouterr().out

    return call


def test_the_command_reports_what_was_compared(command):
    code, text = command("--operations", "400", "--json")
    said = json.loads(text)
    assert code == 0
    assert said["operations"] >= 400
    assert said["kernel"] == os.uname().release
    assert "L0" in said["tiers"]
    assert set(said["tiers"]) | set(said["skipped"]) == set(TIERS)
    assert sum(said["rules"].values())


def test_the_command_explains_and_saves_a_difference(command, tmp_path):
    mutant = next(m for m in MUTANTS if m.name == "fork leaves PageAnonExclusive")
    with planted(mutant):
        code, text = command("--operations", "5000", "--save", str(tmp_path))
    assert code == 1
    assert "DIFFERENCE in step" in text
    assert "the kernel has False, the model True" in text
    [path] = tmp_path.glob("*.json")
    assert load_case(path).found.engine == "kernel"


def test_a_run_that_breaks_off_is_inconclusive(command, monkeypatch, capsys):
    def dies(*_):
        raise OracleError("the puppet of process 3 has died")

    monkeypatch.setattr("rmapcheck.oracle.stage.Stage.begin", dies)
    assert run(["kernel"]) == 3
    assert "process 3 has died, after 0 operations" in capsys.readouterr().err


def test_a_seeded_bug_may_predict(command, tmp_path):
    assert "B23" in bugs()
    code, text = command("--scheme", "B23", "--operations", "20000", "--save", str(tmp_path))
    assert code == 1
    assert "DIFFERENCE" in text
    assert command("--scheme", "B99")[0] == 3


@pytest.mark.parametrize(
    "words", [("--processes", "9"), ("--pages", "0"), ("--tier", "L9"), ("--directed", "2")]
)
def test_limits_out_of_range_get_one_sentence(words, capsys):
    assert run(["kernel", *words]) == 2
    assert words[0] in capsys.readouterr().err


# Everything, at night.


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [31, 32, 33])
def test_every_mutant_is_noticed_whatever_the_seed(live, seed):
    on = live(structure=True)
    if on.skipped:
        pytest.skip(str(on.skipped))
    missed = [
        mutant.name
        for mutant in MUTANTS
        if not run_with_mutant(
            on, running(), mutant, Settings(operations=30_000, seed=seed)
        ).failed
    ]
    assert missed == []


@pytest.mark.nightly
def test_many_operations_meet_every_rule(live):
    on = live(structure=True)
    tallies = Oracle(on, running(), Settings(operations=50_000, seed=2)).run()
    assert [str(d) for p in tallies.failed[-1:] for d in p.differences] == []
    assert tallies.coverage.missing() == ()
