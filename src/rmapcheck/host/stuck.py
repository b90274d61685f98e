"""Ends this process if its code does not return to Python, such as an endless loop in C.

Python cannot interrupt such code, but faulthandler has a thread of its own that can end the
process. It writes a traceback, from which the supervisor of the process reads the line:
cli/supervise.py. Without a supervisor nothing is ended.
"""

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 30.0
"""Seconds. The watchdog of a plug-in, which runs in Python, calls `not_yet` every three."""

_reports: list[int] = []


def report_to(file: int) -> None:
    """Write tracebacks of the end of this process to this file descriptor."""
    _reports[:] = [file]
    faulthandler.enable(file)


def not_yet() -> None:
    """End the process in PATIENCE seconds, unless this is called again before."""
    for file in _reports:
        faulthandler.dump_traceback_later(PATIENCE, exit=True, file=file)


@contextmanager
def ended_if_stuck() -> Iterator[None]:
    """End the process if code in this block is stuck. Something must call `not_yet` in time."""
    not_yet()
    try:
        yield
    finally:
        if _reports:
            faulthandler.cancel_dump_traceback_later()
