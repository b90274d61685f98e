"""What the code of a plug-in may not do to the machine: start processes, or take all memory.

Python tells an audit hook of each call that starts a process or a thread, and the hook looks at
the stack: if a plug-in's code is on it, the call raises Stopped. The code that runs a compiler for
us is called by an engine, so there the search of the stack ends first.

Memory is limited for as long as a plug-in runs: a limit on the address space makes an allocation
fail that would otherwise end the process, or another one of this machine.
"""

import _posixsubprocess
import _thread
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import attrs

from rmapcheck.plugins.own import HOOKS, is_engine_frame, place
from rmapcheck.search import memory

PROCESS, THREAD, OTHER = "starts a process", "starts a thread", "ends or stops a process"
FORBIDDEN = {
    "os.fork": PROCESS,
    "os.forkpty": PROCESS,
    "os.exec": PROCESS,
    "os.posix_spawn": PROCESS,
    "os.spawn": PROCESS,
    "os.system": PROCESS,
    "pty.spawn": PROCESS,
    "subprocess.Popen": PROCESS,
    "_thread.start_new_thread": THREAD,
    "_thread.start_joinable_thread": THREAD,
    "os.kill": OTHER,
    "os.killpg": OTHER,
    "signal.pthread_kill": OTHER,
}
"""Audit events of Python, and what the code does that raises them."""
SYMBOLS = ("fork", "vfork", "clone", "daemon", "system", "popen", "posix_spawn", "pthread_create")
"""Functions of C that ctypes does not look up for a plug-in."""
FEW = 1 << 30
"""Bytes that a few operations may allocate."""
SHARE = 0.9
"""Proportion of the available memory that the process may take while a plug-in runs."""


class Stopped(BaseException):
    """Ends a plug-in's code. No Exception, so that neither Hypothesis nor a hook catches it."""


@attrs.define
class _Watched:
    """The files of plug-ins whose code is running."""

    files: dict[str, int] = attrs.Factory(dict)
    """For each, how many blocks watch it."""
    caught: str = ""
    """The sentence of a Stopped that was raised, in case the plug-in catches it."""


WATCHED = _Watched()


@contextmanager
def no_processes(files: set[str]) -> Iterator[None]:
    """Raise Stopped if code of one of the files starts a process or a thread in this block.

    A name that ends with "/" stands for all files in that folder.
    If that code catches it, it is raised at the end of the block.
    """
    _add_audit_hook()
    for file in files:
        WATCHED.files[file] = WATCHED.files.get(file, 0) + 1
    try:
        yield
        if WATCHED.caught:
            raise Stopped(WATCHED.caught)
    finally:
        WATCHED.caught = ""
        for file in files:
            WATCHED.files[file] -= 1
            if not WATCHED.files[file]:
                del WATCHED.files[file]


@cache
def _add_audit_hook() -> None:
    """Add the hook, which can never be removed, once."""
    sys.addaudithook(_audit)
    _watch(_posixsubprocess, "fork_exec", PROCESS, "multiprocessing")
    if sys.version_info < (3, 12):
        _watch(threading, "_start_new_thread", THREAD, "threading")
        _watch(_thread, "start_new_thread", THREAD, "_thread")


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not WATCHED.files:
        return
    if event in FORBIDDEN:
        _stop(FORBIDDEN[event], event)
    elif event == "ctypes.dlsym" and args[1] in SYMBOLS:
        _stop(PROCESS, f"{args[1]}() of the C library")


def _watch(module: ModuleType, name: str, what: str, how: str) -> None:
    """Watch a function of Python that raises no audit event."""
    function: Callable[..., Any] = getattr(module, name)

    def watched(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - passed on
        if WATCHED.files:
            _stop(what, how)
        return function(*args, **named)

    setattr(module, name, watched)


def _stop(what: str, how: str) -> None:
    """Raise Stopped if a plug-in's code is on the stack, above the code of an engine."""
    own = []
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the stack is what this is about
    while frame is not None and (not is_engine_frame(frame) or _is_this_file(frame)):
        if _is_watched(frame.f_code.co_filename):
            own.append(frame)
        frame = frame.f_back
    if own:
        WATCHED.caught = WATCHED.caught or _sentence(own, what, how)
        raise Stopped(WATCHED.caught)


def _is_watched(file: str) -> bool:
    return any(file == f or (f[-1:] == "/" and file.startswith(f)) for f in WATCHED.files)


def _is_this_file(frame: FrameType) -> bool:
    return frame.f_code.co_filename == __file__


def _sentence(own: list[FrameType], what: str, how: str) -> str:
    where = place(own[0].f_code.co_filename, own[0].f_lineno)
    names = [frame.f_code.co_name for frame in own]
    hooks = [name for name in names if name in HOOKS]
    who = "importing it" if "<module>" in names else f"method {names[0]}"
    who = f"hook {hooks[0]}" if hooks else who
    return f"{where}{who} {what} ({how}), which a scheme must not do"


@contextmanager
def memory_limit(most: int | None = None) -> Iterator[None]:
    """Let allocations fail in this block before the machine has no memory left.

    `most`: bytes that may be allocated, if that is less.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    left = int(memory.available() * SHARE)
    limit = _address_space() + (left if most is None else min(left, most))
    if soft != resource.RLIM_INFINITY and soft < limit:
        yield
        return
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int:
    """Return the size of this process's address space in bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()
