"""What tests share: the command line, pinned numbers, and the running kernel, one at a time."""

import fcntl
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from rmapcheck.cli import run
from rmapcheck.host.errors import OracleError, Unavailable
from rmapcheck.oracle.calibrate import calibrated_stage
from rmapcheck.oracle.stage import StageOptions
from tests.pins import Pins

WAIT = 300.0
"""Seconds to wait for another test's run: there is one at a time on a machine."""


def pytest_addoption(parser):
    parser.addoption(
        "--regenerate-pins",
        action="store_true",
        help="write what tests of pinned numbers find to tests/pinned.toml; see `make pins`",
    )


def pytest_configure(config):
    if config.getoption("--regenerate-pins") and "CI" in os.environ:
        raise pytest.UsageError("CI compares pinned numbers; it never regenerates them")


@pytest.fixture(scope="session")
def pinned(pytestconfig):
    """Return what compares a search with its pin, and writes the pins that are regenerated."""
    pins = Pins(regenerate=pytestconfig.getoption("--regenerate-pins"))
    yield pins
    pins.write()


@pytest.fixture(scope="session")
def amount():
    """Return a function that chooses how much is done: for `make nightly`, or for `make soak`."""
    return lambda nightly, soak: soak if settings.get_current_profile_name() == "soak" else nightly


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

        def make(**options):
            try:
                return stack.enter_context(calibrated_stage(StageOptions(wait=WAIT, **options)))
            except OracleError as error:
                if isinstance(error, Unavailable) or "--shared-swap" in str(error):
                    pytest.skip(str(error))
                raise

        yield make
