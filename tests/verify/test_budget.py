"""What a budget counts: CPU time, so that a busy machine delays an answer and no more."""

import shutil
import time

import pytest

from rmapcheck.explore import explore
from rmapcheck.host import compile as build
from rmapcheck.model.schemes.anon_vma_reuse import AvcPublish
from rmapcheck.search.question import Limits
from rmapcheck.verdict import Status
from rmapcheck.verify.climb import GRACE, Climber
from rmapcheck.verify.ladder import LADDER, REQUIRED, required

needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="there is no C compiler")
TOO_LARGE = LADDER[-1]


class Busy:
    """A machine that has no time for the search: it waits whenever the search reports."""

    def progress(self, _figures):
        time.sleep(1)


@pytest.fixture
def wall_clock(monkeypatch):
    """The planted fault: budgets that count the time on the wall."""
    monkeypatch.setattr(Limits, "clock", staticmethod(time.monotonic))


def on_a_busy_machine():
    """Search 770 states, which takes half a second, and wait three times."""
    done = explore(AvcPublish, LADDER[4], max_seconds=2, engine="python", reporter=Busy())
    assert done.seconds > 2, "what is printed is the time on the wall"
    return done.verdict.status


def test_a_busy_machine_does_not_end_a_search():
    assert on_a_busy_machine() is Status.HOLDS


@pytest.mark.usefixtures("wall_clock")
def test_with_a_clock_on_the_wall_it_would():
    assert on_a_busy_machine() is Status.UNKNOWN


@pytest.mark.parametrize("engine", ["python", pytest.param("native", marks=needs_compiler)])
def test_an_endless_search_ends_with_its_budget(engine):
    began = time.process_time()
    done = explore(AvcPublish, TOO_LARGE, max_seconds=0.5, engine=engine)
    assert done.verdict.status is Status.UNKNOWN
    assert done.verdict.why.startswith("0.5 s used")
    assert 0.5 <= time.process_time() - began < 3


# Without a compiler.


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setattr(build, "COMPILERS", ("no-such-compiler",))


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_the_verdict_says_what_to_install_and_comes_soon():
    climber = Climber(AvcPublish, budget=1)
    report = climber.climb()
    assert report.verdict.status is Status.UNKNOWN
    assert report.verdict.why.startswith("the budget of 1 s ended before mms=")
    assert report.verdict.why.endswith(
        "was exhausted, since the search was interpreted; "
        "there is no C compiler (no-such-compiler): install gcc or clang"
    )
    assert climber.used < GRACE


@needs_compiler
def test_a_compiler_that_fails_is_named_too(monkeypatch, tmp_path):
    gcc = tmp_path / "gcc"
    gcc.write_text("#!/bin/sh\necho 'cc1: error: sorry' >&2\nexit 1\n")
    gcc.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    report = Climber(AvcPublish, budget=1).climb()
    assert report.verdict.why.endswith("the C compiler failed: cc1: error: sorry")


# With one.


@pytest.fixture
def only_required(monkeypatch):
    monkeypatch.setattr("rmapcheck.verify.climb.where_relatives_failed", lambda _: ())
    monkeypatch.setattr("rmapcheck.verify.climb.LADDER", LADDER[:REQUIRED])


@needs_compiler
@pytest.mark.usefixtures("only_required")
@pytest.mark.parametrize("delay", [0, 4])
def test_the_answers_do_not_depend_on_when_the_compiler_ends(delay, monkeypatch, tmp_path):
    gcc, real = tmp_path / "gcc", shutil.which("gcc")
    gcc.write_text(f'#!/bin/sh\n[ "$1" = --version ] || sleep {delay}\nexec {real} "$@"\n')
    gcc.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    meanwhile = []

    def begin(what):
        if climber.general and not climber.general.building.ready():
            meanwhile.append(what)

    climber = Climber(AvcPublish, budget=1, begin=begin)
    found = {r.verdict.scope: r for r in climber.climb().rungs if r.name == "exhaustive"}
    assert tuple(found)[: len(required(AvcPublish))] == required(AvcPublish)
    assert found[LADDER[5]].answer.engine == "native"
    assert [found[scope].states for scope in LADDER[4:6]] == [770, 7131]
    assert not delay or f"exhaustive {LADDER[0]}" in meanwhile


@needs_compiler
@pytest.mark.usefixtures("only_required")
def test_what_holds_demands_is_searched_by_one_library(monkeypatch):
    built = []
    compile_ = build._compile
    monkeypatch.setattr(build, "_compile", lambda *a: (built.append(a[0]), compile_(*a)))
    fresh = type("Fresh", (AvcPublish,), {"name": "fresh"})
    report = Climber(fresh, budget=1).climb()
    assert report.verdict.status is Status.HOLDS
    assert set(required(fresh)) <= set(report.exhausted)
    assert len(built) <= 1
    assert {r.answer.engine for r in report.rungs if r.name == "exhaustive"} <= {
        "python",
        "native",
    }


@needs_compiler
def test_a_scope_is_searched_once():
    report = Climber(AvcPublish, budget=8).climb()
    held = [
        rung.verdict.scope
        for rung in report.rungs
        if rung.name == "exhaustive" and rung.verdict.status is Status.HOLDS
    ]
    assert len(held) == len(set(held))
