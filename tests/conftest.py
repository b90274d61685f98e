"""What tests share: the command line, and the running kernel, one at a time."""

import fcntl
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from rmapcheck.cli import run
from rmapcheck.host.errors import OracleError, Unavailable
from rmapcheck.oracle.calibrate import calibrated
from rmapcheck.oracle.stage import Wishes

WAIT = 300.0
"""Seconds to wait for another test's run: there is one at a time on a machine."""


@pytest.fixture
def rmapcheck(capsys):
    """Return a function that runs the command line; it returns exit code, output and errors."""

    def call(*args):
        code = run([str(arg) for arg in args])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def turn():
    """Let one test at a time have the kernel, whichever worker it runs in."""
    path = Path(tempfile.gettempdir()) / f"rmapcheck-tests-{os.getuid()}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def live(turn):
    """Return a function that makes a stage, or skips the test where there is none."""
    with ExitStack() as stack:

        def make(**wishes):
            try:
                return stack.enter_context(calibrated(Wishes(wait=WAIT, **wishes)))
            except OracleError as error:
                if isinstance(error, Unavailable) or "--shared-swap" in str(error):
                    pytest.skip(str(error))
                raise

        yield make
