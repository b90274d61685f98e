"""Stops a plug-in scheme that does not end, starts processes, or takes all memory."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rmapcheck.host import stuck
from rmapcheck.invariants.registry import INVARIANTS
from rmapcheck.model.machine.errors import SchemeError
from rmapcheck.model.scheme import Scheme
from rmapcheck.plugins.limits import Stopped, memory_limit, no_processes
from rmapcheck.plugins.own import (
    HOOKS,
    hook_name,
    is_engine_frame,
    is_model_frame,
    is_plugin,
    own_files,
    place,
)

LOOP_SECONDS = 3.0
"""An operation that takes longer is reported as endless. Most take well under a millisecond."""


class EndlessLoop(Stopped):
    """Raised by the watchdog."""


@contextmanager
def watchdog(scheme: type[Scheme], seconds: float | None = None) -> Iterator[None]:
    """Stop a plug-in scheme that does not end, starts processes, or takes all memory.

    An operation that takes longer than `seconds` (LOOP_SECONDS if None) is stopped: a timer goes
    off every `seconds`, and if the same call into the model is still running as when it last went
    off, that call is taken to be endless. Only the main thread gets signals; in other threads,
    time is not watched. Raise SchemeError for a scheme that was stopped.
    """
    if not is_plugin(scheme):
        yield
        return
    last: list[FrameType | None] = [None]

    def tick(frame: FrameType | None) -> None:
        stack = _stack(scheme, frame)
        if stack and stack[0] is last[0]:
            raise EndlessLoop(_endless(scheme, stack))
        last[0] = stack[0] if stack else None

    try:
        with _stopping(own_files(scheme), tick, LOOP_SECONDS if seconds is None else seconds):
            yield
    except Stopped as stopped:
        raise SchemeError(str(stopped)) from None


@contextmanager
def watch_import(file: str, what: str = "importing it") -> Iterator[None]:
    """Stop the import of a module, as `watchdog` does. Raise SchemeError if it must.

    `file`: the module's file, or the folder of its package, with "/" at the end.
    """

    def tick(frame: FrameType | None) -> None:
        while frame is not None and not _is_in(frame.f_code.co_filename, file):
            frame = frame.f_back
        where = place(frame.f_code.co_filename, frame.f_lineno) if frame else f"{file}: "
        raise EndlessLoop(f"{where}{what} does not end")

    try:
        with _stopping({file}, tick, LOOP_SECONDS):
            yield
    except Stopped as stopped:
        raise SchemeError(str(stopped)) from None


def _is_in(name: str, file: str) -> bool:
    return name == file or (file.endswith("/") and name.startswith(file))


@contextmanager
def _stopping(
    files: set[str], tick: Callable[[FrameType | None], None], period: float
) -> Iterator[None]:
    """Watch the plug-in code in `files`: its processes, its memory, and, with `tick`, its time."""
    with no_processes(files), memory_limit():
        if threading.current_thread() is threading.main_thread():
            with _timer(tick, period), stuck.ended_if_stuck():
                yield
        else:
            yield


@contextmanager
def _timer(tick: Callable[[FrameType | None], None], period: float) -> Iterator[None]:
    """Call `tick` every `period` seconds; afterwards start the outer timer again, if any."""

    def alarm(_signal: int, frame: FrameType | None) -> None:
        tick(frame)
        stuck.not_yet()  # not if the tick has stopped the code, which may catch that

    previous = signal.signal(signal.SIGALRM, alarm)
    around = signal.setitimer(signal.ITIMER_REAL, period, period)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        signal.setitimer(signal.ITIMER_REAL, *around)


def _stack(scheme: type[Scheme], frame: FrameType | None) -> list[FrameType]:
    """Return the frames of the call into the model that is running, outermost first.

    The search ends at the first frame of an engine, because the code that called the engine may be
    in the plug-in's own file, too.
    """
    found: list[FrameType] = []
    while frame is not None and not (found and is_engine_frame(frame)):
        if is_model_frame(scheme, frame):
            found.append(frame)
        frame = frame.f_back
    return found[::-1] if frame is not None else []


def _endless(scheme: type[Scheme], stack: list[FrameType]) -> str:
    own = [f for f in stack if f.f_code.co_filename in own_files(scheme)]
    if own and own[-1] is stack[-1]:
        where = place(own[-1].f_code.co_filename, own[-1].f_lineno)
        return f"{where}{hook_name(iter(own))} of scheme {scheme.name!r} does not end"
    names = [f.f_code.co_name for f in stack]
    inside = [n for n in names if n in INVARIANTS or n in HOOKS] or names
    return (
        f"{inside[-1]} does not end on what scheme {scheme.name!r} has built: "
        "probably one of its lists is a circle"
    )
