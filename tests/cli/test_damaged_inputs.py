"""2,000 damaged inputs: none shows a traceback, ends by a signal, or hangs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rmapcheck.host.compile import compiler
from rmapcheck.verdict import Exit
from tests import damaged

ROOT = Path(__file__).parents[2]
BY_DAY = {"case": 50, "checkpoint": 10, "library": 5, "plugin": 6}
BY_NIGHT = {"case": 1000, "checkpoint": 400, "library": 100, "plugin": 500}
BATCH = 100
"""Inputs that one process checks."""


def run_damaged(kind, first, last):
    """Check the inputs in a process of its own; return exit code and output."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.damaged", kind, str(first), str(last)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=damaged.PATIENCE * 10,
    )
    return done.returncode, done.stdout


def check(kind, first, last):
    if kind in ("checkpoint", "library") and compiler() is None:
        pytest.skip("there is no C compiler")
    code, out = run_damaged(kind, first, last)
    assert code == 0, f"python -m tests.{out.rpartition(chr(10) + kind)[2]}\n{out}"
    assert out.splitlines() == [f"{kind} {seed}" for seed in range(first, last)]


@pytest.mark.parametrize("kind", BY_DAY)
def test_some_damaged_inputs(kind):
    check(kind, 0, BY_DAY[kind])


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("kind", "first"),
    [(kind, first) for kind, number in BY_NIGHT.items() for first in range(0, number, BATCH)],
)
def test_all_damaged_inputs(kind, first):
    check(kind, first, first + BATCH)


def test_there_are_2000_by_night():
    assert sum(BY_NIGHT.values()) == 2000
    assert all(number % BATCH == 0 for number in BY_NIGHT.values())


# What this would notice.


def planted(monkeypatch, tmp_path, commands):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(damaged.KINDS, "case", lambda _rng: commands)
    damaged.check("case", 0)


def test_a_crash_is_noticed(monkeypatch, tmp_path):
    def fail(_path):
        raise ZeroDivisionError

    monkeypatch.setattr("rmapcheck.cli.cases.load_case", fail)
    with pytest.raises(AssertionError, match=f"exit code {Exit.CRASH}"):
        planted(monkeypatch, tmp_path, [["replay", "x.json"]])


def test_a_traceback_and_two_sentences_are_noticed(monkeypatch, tmp_path):
    for printed in ("Traceback (most recent call last)", "rmapcheck: one.\nrmapcheck: two.\n"):
        monkeypatch.setattr(damaged, "quiet", lambda _words, err=printed: (Exit.USAGE, "", err))
        with pytest.raises(AssertionError, match="exit code 2"):
            planted(monkeypatch, tmp_path, [["replay", "x.json"]])


@pytest.mark.parametrize(
    ("fault", "code"),
    [("os.kill(os.getpid(), 11)", -signal.SIGSEGV), ("sum(iter(int, 1))", 1)],
    ids=["a signal", "a hang"],
)
def test_a_signal_and_a_hang_are_noticed(fault, code):
    program = f"""
import os
from tests import damaged
damaged.PATIENCE = 1.0
damaged.KINDS["case"] = lambda rng: {fault}
damaged.main("case", 7, 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert done.stdout == "case 7\n"
