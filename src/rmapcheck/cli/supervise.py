"""Runs a command that loads a plug-in in a process of its own, and watches that process.

A plug-in is Python in the process of the command. Most of what it must not do is stopped in there:
rmapcheck/plugins/guard.py. What cannot be stopped from within ends with the process::

    supervisor ─── command, with the plug-in ─── compilers, and what the plug-in has started
        │               │
        │  report: the exit code, or a traceback
        └──── kills what is left

- a loop in C ends the process, which reports its traceback: rmapcheck/host/stuck.py;
- a process that ends without an exit code was ended by the plug-in: by os._exit(), a fault in C;
- processes that are left at the end are killed: orphans become children of the supervisor.

This file imports little, since the supervisor starts before anything else does.
"""

import ctypes
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from rmapcheck.host import stuck

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
SENT_BY_A_PROCESS = (0, -1, -6)
"""si_code of signals that kill(), sigqueue() and tgkill() send. Those of a terminal reach the
supervised process, too."""
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
USAGE, INCONCLUSIVE, CRASH = 2, 3, 70
"""Of `rmapcheck.verdict.Exit`, which is not imported yet."""
GRACE = 2.0
"""Seconds that other processes may take to end after the command has ended."""
FRAME = re.compile(r'^  File "(.+)", line (\d+) in (\S+)$', re.MULTILINE)
"""A line of faulthandler's traceback, innermost first."""


def may_load_code(words: list[str]) -> bool:
    """Return whether a word of the command may name a plug-in; not with --debug."""
    if "--debug" in words:
        return False
    return any(".py" in word or ":" in word for word in words) or bool(_entry_points(words))


def _entry_points(words: list[str]) -> set[str]:
    from importlib.metadata import entry_points

    names = {point.name for point in entry_points(group="rmapcheck.schemes")}
    return names if "doctor" in words else names & set(words)


def supervised(words: list[str], work: Callable[[list[str]], int]) -> int:
    """Run `work(words)` in a process of its own; return its exit code."""
    report = os.memfd_create("rmapcheck")
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, *PASSED_ON})
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(USAGE)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _work(words, work, report)
    status = _watch(child)
    left = kill_children()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return _exit_code(words, os.pread(report, 1 << 16, 0).decode(errors="replace"), status, left)


def prctl(option: int, value: int) -> None:
    """Call prctl(2), whose failure changes nothing that is needed in most cases."""
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _work(words: list[str], work: Callable[[list[str]], int], report: int) -> None:
    """Do the work of the process, and end it without any code that a plug-in left for that."""
    stuck.report_to(report)
    try:
        code = work(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else CRASH
    except BaseException:  # noqa: BLE001 - the end of this process
        traceback.print_exc()
        code = CRASH
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os.pwrite(report, f"{code}\n".encode(), 0)
    os._exit(code)


def _watch(child: int) -> int:
    """Wait for the end of the process, and pass signals on to it; return its status."""
    while True:
        found = signal.sigwaitinfo({signal.SIGCHLD, *PASSED_ON})
        status = _reaped(child)
        if status is not None:
            return status
        if found.si_signo in PASSED_ON and found.si_code in SENT_BY_A_PROCESS:
            os.kill(child, found.si_signo)


def _reaped(child: int) -> int | None:
    """Reap all children that have ended; return the status of `child` if it is among them."""
    result = None
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                result = status
    return result


def kill_children() -> int:
    """Kill all children and, as they become orphans, their children; return how many.

    Helpers of Python's own, such as the resource tracker of multiprocessing, end by themselves.
    """
    killed = 0
    end = time.monotonic() + GRACE
    while any(children()) and time.monotonic() < end:
        signal.sigtimedwait({signal.SIGCHLD}, 0.05)
        _reaped(0)
    while True:
        found = list(children())
        if not found:
            _reaped(0)  # those that have ended
            return killed
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        for pid in found:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def children() -> Iterator[int]:
    """Yield the children of this process, without those that have ended."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
            if int(parent) == os.getpid() and state not in "ZX":
                yield int(path.parent.name)


def _exit_code(words: list[str], report: str, status: int, left: int) -> int:
    """Return the exit code of the command; print a sentence if a plug-in has ended it."""
    names = " ".join(word for word in words if ".py" in word or ":" in word) or "the plug-in"
    code = re.match(r"\d+$", report, re.MULTILINE)
    if code is None:
        return _ended(words, names, report, status)
    if left and int(code[0]) < signal.SIGINT + 128:
        return _complain(words, f"{names} has left {left} processes, which were killed", USAGE)
    return int(code[0])


def _ended(words: list[str], names: str, report: str, status: int) -> int:
    """Say what has ended a process that has no exit code of its own."""
    who = _innermost(report) or names
    if not os.WIFSIGNALED(status):
        why = f"has ended the process of the command, with exit code {os.WEXITSTATUS(status)}"
        if report:
            why = "runs code that does not end, and that Python cannot interrupt"
        return _complain(words, f"{who} {why}", USAGE)
    number = os.WTERMSIG(status)
    if number in PASSED_ON:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    why = f"was ended by {signal.Signals(number).name}"
    if number == signal.SIGKILL:
        return _complain(words, f"{who} {why}; did the machine run out of memory?", INCONCLUSIVE)
    return _complain(words, f"{who} {why}; does it call code that is not Python?", USAGE)


def _innermost(report: str) -> str:
    """Return place and name of the innermost function of a traceback; not of Python's library."""
    library = str(Path(os.__file__).parent)
    for file, line, name in FRAME.findall(report):
        if not file.startswith(library):
            return f"{os.path.relpath(file)}, line {line}: {name}"
    return ""


def _complain(words: list[str], sentence: str, code: int) -> int:
    from rmapcheck.cli.common import Out
    from rmapcheck.verdict import Exit

    return Out(as_json="--json" in words).error(sentence, Exit(code))
