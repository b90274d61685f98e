"""Programs that tests start: signals reach them, and none outlives its test."""

import signal
import subprocess
import sys
from contextlib import contextmanager

RMAPCHECK = [sys.executable, "-c", "from rmapcheck.cli import main; main()"]
"""The command line as a process; its words follow."""
ENDS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)


@contextmanager
def default_signals():
    """Let programs that are started here have the default action of each signal that ends one.

    A shell starts `make test &` with SIGINT ignored, `nohup` ignores SIGHUP, and what is ignored
    stays so across exec(). What has a handler does not: there the default comes back. So a handler
    that does nothing stands here for SIG_IGN, as long as it takes to start the program.
    """
    ignored = [number for number in ENDS if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def started(command, **options):
    """Start a program that signals can end; if it runs after the block, it is killed."""
    with default_signals():
        process = subprocess.Popen(command, **options)
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
