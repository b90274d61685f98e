"""Checks of a plug-in scheme while it runs.

Some faults show only when a scheme runs. Each is reported as a SchemeError of one sentence:

a hook reads page tables, against which its answers are checked              `guarded`
a hook returns something that its caller cannot use                          `guarded`
a hook keeps something outside the state, or is not repeatable               `check_behaviour`
a hook raises an exception                                                   `scheme_errors`
a hook, or a walk over the lists that it built, never ends                   `watchdog`

The first three cost time, so `check_behaviour` looks for them once, before the engines start. The
other two cost nothing as long as nothing is wrong, so every engine runs inside them.
"""

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import isfunction
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from rmapcheck import invariants, model
from rmapcheck.invariants.registry import INVARIANTS
from rmapcheck.model.i_mmap.list import IMmap
from rmapcheck.model.machine.errors import ENOMEM, KernelOops, ModelError, SchemeError
from rmapcheck.model.scheme import Scheme
from rmapcheck.run import NotPossible, Run
from rmapcheck.search.question import CannotCompileError, EngineError

if TYPE_CHECKING:
    from rmapcheck.model.kernel import Kernel
    from rmapcheck.model.machine.scope import Scope

HOOKS: tuple[str, ...] = tuple(
    name for name, value in vars(Scheme).items() if isfunction(value) and name[0] != "_"
)
"""Names of all hooks."""

LOOP_SECONDS = 3.0
"""An operation that takes longer is reported as endless. Most take well under a millisecond."""

_ENGINES = str(Path(__file__).parents[1])
_OURS = tuple(str(Path(str(p.__file__)).parent) for p in (model, invariants))


class EndlessLoop(BaseException):
    """Raised by the watchdog. No Exception, so that neither Hypothesis nor a hook catches it."""


def is_plugin(scheme: type[Scheme]) -> bool:
    """Tell whether the scheme is a user's own, not one that comes with rmapcheck."""
    return _not_ours(scheme)


def _not_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] != "rmapcheck"


def own_files(scheme: type[Scheme]) -> set[str]:
    """Return the paths of the files in which the user wrote the scheme and its container."""
    container = [c for c in type(scheme.i_mmap).__mro__ if issubclass(c, IMmap) and _not_ours(c)]
    classes = [*own_classes(scheme), *container]
    codes = [v.__code__ for c in classes for v in vars(c).values() if isfunction(v)]
    return {code.co_filename for code in codes}


def own_classes(scheme: type[Scheme]) -> list[type[Scheme]]:
    """Return the scheme and its bases, without those that come with rmapcheck."""
    return [c for c in scheme.__mro__ if issubclass(c, Scheme) and is_plugin(c)]


# Page tables.


class ForbiddenPageTables:
    """Replaces `st.pte` while a hook runs: every use of it raises SchemeError."""

    _hook: str
    _scheme: str

    def __init__(self, hook: str, scheme: str) -> None:
        self.__dict__.update(_hook=hook, _scheme=scheme)

    def _refuse(self, *_: object) -> NoReturn:
        raise SchemeError(
            f"hook {self._hook} of scheme {self._scheme!r} reads page tables (st.pte), but its "
            "answers are checked against them: keep what it needs in structs of the scheme"
        )

    __getitem__ = __setitem__ = __iter__ = __len__ = __getattr__ = __setattr__ = _refuse


def guarded(scheme: type[Scheme]) -> type[Scheme]:
    """Return a subclass of the scheme in which every hook is checked.

    Its hooks raise SchemeError when they read page tables, return a value that the caller cannot
    use, or set an attribute of the scheme.
    """
    body: dict[str, Any] = {n: _guard_hook(n, getattr(scheme, n)) for n in HOOKS}
    body |= {"__module__": scheme.__module__, "__setattr__": _refuse_attribute}
    return type(scheme.__name__, (scheme,), body)


def _refuse_attribute(self: Scheme, name: str, _value: object) -> NoReturn:
    raise SchemeError(
        f"scheme {self.name!r} keeps something in self.{name}, which is not part of the state "
        "that is saved and restored: declare a struct, or a field in `extra_fields`"
    )


def _guard_hook(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def hook(self: Scheme, st: "Kernel", *args: Any, **named: Any) -> Any:  # noqa: ANN401
        pte = st.pte
        if not isinstance(pte, ForbiddenPageTables):  # as it is where one hook calls another
            st.pte = ForbiddenPageTables(name, self.name)  # type: ignore[assignment]
        try:
            answer = original(self, st, *args, **named)
        finally:
            st.pte = pte
        wrong = _wrong_answer(name, answer)
        if wrong:
            raise SchemeError(f"{place_of(original)}hook {name} of scheme {self.name!r} {wrong}")
        return answer

    return hook


def _wrong_answer(name: str, answer: object) -> str:
    """Return what is wrong with a hook's answer and what it should be; "" if it is right."""
    expected = getattr(Scheme, name).__annotations__["return"]
    if hasattr(answer, "send"):
        return "contains `yield` (or is async), so its body never runs: use plain statements"
    if expected is None:
        return "" if answer is None else f"returned {answer!r}, but it must return nothing"
    if expected is bool:
        fine = answer is True or answer is False or answer == 0 or answer == 1
        return "" if fine else f"returned {answer!r} instead of True or False"
    if type(answer) is not int:
        return f"returned {answer!r} instead of a whole number"
    if name.endswith("_lock"):
        return "" if answer >= 0 else f"returned {answer}, but a lock is a number of 0 or more"
    fine = answer in (0, -ENOMEM)
    return "" if fine else f"returned {answer} instead of 0 or -ENOMEM ({-ENOMEM})"


def check_behaviour(
    scheme: type[Scheme], scope: "Scope", *, seed: int = 0, steps: int = 4000, seconds: float = 3.0
) -> int:
    """Run the guarded scheme in short random runs of at most 30 operations.

    End after `steps` operations or after `seconds`, and return the number of operations. Raise
    SchemeError for the first fault. A violation only ends its run: the engines report those.
    """
    rng = random.Random(seed)
    stop = time.monotonic() + seconds
    done = 0
    with scheme_errors(scheme), watchdog(scheme):
        strict = guarded(scheme)
        while done < steps and time.monotonic() < stop:
            done += _random_run(strict, scope, rng)
    return done


def _random_run(strict: type[Scheme], scope: "Scope", rng: random.Random) -> int:
    run = Run(strict, scope)
    for _ in range(30):
        choices = run.possible()
        if not choices:
            break
        op = rng.choice(choices)
        if rng.random() < 0.2:
            op = attrs.evolve(op, fail=rng.randint(1, 3))
        if run.apply(op):
            break
    _check_repeatable(strict, run)
    return len(run.steps) + 1


def _check_repeatable(strict: type[Scheme], run: Run) -> None:
    """Repeat a run; raise SchemeError if it ends in another state."""
    again = Run(strict, run.st.scope)
    why = "the same operations lead to another state"
    try:
        for op in run.steps:
            again.apply(op)
    except NotPossible as error:
        why = str(error)
    else:
        layout = run.st.layout
        if layout.encode_raw(again.st) == layout.encode_raw(run.st):
            return
    raise SchemeError(_not_repeatable(strict, why))


def _not_repeatable(scheme: type[Scheme], why: str) -> str:
    return (
        f"scheme {scheme.name!r} does not do the same thing twice ({why}): does it keep "
        "something outside the structs of the state, or use random numbers?"
    )


# Exceptions.


@contextmanager
def scheme_errors(scheme: type[Scheme]) -> Iterator[None]:
    """Turn any exception that a plug-in scheme raises into a SchemeError of one sentence.

    Exceptions that rmapcheck itself raises are not changed, except that a SchemeError gets the
    line of the plug-in.
    """
    try:
        yield
    except (NotPossible, KernelOops):
        raise
    except SchemeError as error:
        raise _with_line(scheme, error) from error
    except ModelError:
        raise
    except EngineError as error:
        if not is_plugin(scheme) or isinstance(error, CannotCompileError):
            raise
        raise SchemeError(_not_repeatable(scheme, str(error))) from error
    except (Exception, SystemExit) as error:
        if not is_plugin(scheme) or not _arose_in_model(scheme, error.__traceback__):
            raise
        raise _describe(scheme, error) from error


def _frames(trace: TracebackType | None) -> list[tuple[FrameType, int]]:
    found = []
    while trace is not None:
        found.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return found


def _arose_in_model(scheme: type[Scheme], trace: TracebackType | None) -> bool:
    return any(_is_model_frame(scheme, frame) for frame, _ in _frames(trace))


def _is_model_frame(scheme: type[Scheme], frame: FrameType) -> bool:
    """Tell whether a frame belongs to the model, an invariant or the scheme, not to an engine."""
    name = frame.f_code.co_filename
    return name.startswith((*_OURS, "<layout of")) or name in own_files(scheme)


def _with_line(scheme: type[Scheme], error: SchemeError) -> SchemeError:
    """Return the error with the line of the plug-in that led to it, if there is one."""
    own = [f for f in _frames(error.__traceback__) if f[0].f_code.co_filename in own_files(scheme)]
    if not own:
        return error
    frame, line = own[-1]
    return SchemeError(f"{_place(frame.f_code.co_filename, line)}{error}")


def _describe(scheme: type[Scheme], error: BaseException) -> SchemeError:
    """Return a SchemeError that says which hook failed, or which field or list it left wrong."""
    frames = _frames(error.__traceback__)
    own = [f for f in frames if f[0].f_code.co_filename in own_files(scheme)]
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    if own:
        frame, line = own[-1]
        where = _place(frame.f_code.co_filename, line)
        return SchemeError(
            f"{where}{_hook_name(f for f, _ in own)} of scheme {scheme.name!r} raised {what}"
        )
    frame, line = frames[-1]
    if frame.f_code.co_filename.startswith("<layout of"):
        return SchemeError(
            f"scheme {scheme.name!r} wrote a number into a field that cannot hold it ({what}); "
            "declare its range with num(…)"
        )
    return SchemeError(
        f"scheme {scheme.name!r} left a state on which {frame.f_code.co_name} "
        f"({Path(frame.f_code.co_filename).name}, line {line}) fails with {what}"
    )


def _hook_name(frames: Iterator[FrameType]) -> str:
    """Return the name of the innermost hook among the frames, else of the innermost function."""
    names = [frame.f_code.co_name for frame in frames]
    hooks = [name for name in names if name in HOOKS]
    return f"hook {hooks[-1]}" if hooks else f"method {names[-1]}"


def _place(file: str, line: int) -> str:
    path = Path(file)
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"{path}, line {line}: "


def place_of(function: object) -> str:
    """Return "FILE, line N: " for a function, to begin a sentence; "" for anything else."""
    code = getattr(function, "__code__", None)
    return _place(code.co_filename, code.co_firstlineno) if code else ""


# Endless loops.


@contextmanager
def watchdog(scheme: type[Scheme], seconds: float | None = None) -> Iterator[None]:
    """Raise SchemeError when one operation of a plug-in scheme takes longer than `seconds`.

    A timer goes off every `seconds` (LOOP_SECONDS if None). If the same call into the model is
    still running as when it last went off, that call is taken to be endless. Only the main thread
    gets signals; in other threads, nothing is watched.
    """
    if not is_plugin(scheme) or threading.current_thread() is not threading.main_thread():
        yield
        return
    last: list[FrameType | None] = [None]

    def tick(_signal: int, frame: FrameType | None) -> None:
        stack = _stack(scheme, frame)
        if stack and stack[0] is last[0]:
            raise EndlessLoop(_endless(scheme, stack))
        last[0] = stack[0] if stack else None

    try:
        with _timer(tick, LOOP_SECONDS if seconds is None else seconds):
            yield
    except EndlessLoop as loops:
        raise SchemeError(str(loops)) from None


@contextmanager
def watch_import(file: str) -> Iterator[None]:
    """Raise EndlessLoop, with the line, when the module `file` takes too long to import."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def tick(_signal: int, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code.co_filename != file:
            frame = frame.f_back
        raise EndlessLoop(str(frame.f_lineno if frame else 0))

    with _timer(tick, LOOP_SECONDS):
        yield


@contextmanager
def _timer(tick: Callable[[int, FrameType | None], None], period: float) -> Iterator[None]:
    """Call `tick` every `period` seconds; afterwards start the outer timer again, if any."""
    previous = signal.signal(signal.SIGALRM, tick)
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
    while frame is not None and not (found and _is_engine_frame(frame)):
        if _is_model_frame(scheme, frame):
            found.append(frame)
        frame = frame.f_back
    return found[::-1] if frame is not None else []


def _is_engine_frame(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    return name.startswith(_ENGINES) and not name.startswith(_OURS)


def _endless(scheme: type[Scheme], stack: list[FrameType]) -> str:
    own = [f for f in stack if f.f_code.co_filename in own_files(scheme)]
    if own and own[-1] is stack[-1]:
        where = _place(own[-1].f_code.co_filename, own[-1].f_lineno)
        return f"{where}{_hook_name(iter(own))} of scheme {scheme.name!r} does not end"
    names = [f.f_code.co_name for f in stack]
    inside = [n for n in names if n in INVARIANTS or n in HOOKS] or names
    return (
        f"{inside[-1]} does not end on what scheme {scheme.name!r} has built: "
        "probably one of its lists is a circle"
    )
