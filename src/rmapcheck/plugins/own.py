"""Which code is the user's: schemes, their files, and the frames of a stack that run them."""

from collections.abc import Iterable
from inspect import isfunction, unwrap
from pathlib import Path
from types import FrameType, FunctionType, TracebackType

from rmapcheck import invariants, model
from rmapcheck.invariants.registry import INVARIANTS
from rmapcheck.model.scheme import Scheme
from rmapcheck.search.native.translator.parts import is_part

HOOKS: tuple[str, ...] = tuple(
    name for name, value in vars(Scheme).items() if isfunction(value) and name[0] != "_"
)
"""Names of all hooks."""

_ENGINES = str(Path(__file__).parents[1])
_OURS = tuple(str(Path(str(p.__file__)).parent) for p in (model, invariants))


def is_plugin(scheme: type[Scheme]) -> bool:
    """Return whether the scheme is a user's own, not one that comes with rmapcheck."""
    return _not_ours(scheme)


def _not_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] != "rmapcheck"


def own_files(scheme: type[Scheme]) -> set[str]:
    """Return the files in which the user wrote the scheme, its parts and its invariants."""
    codes = [function.__code__ for function in own_methods(scheme)]
    checks = [INVARIANTS[name] for name in scheme.invariants if name in INVARIANTS]
    codes += [check.__code__ for i in checks for check in (i.state, i.step) if isfunction(check)]
    return {code.co_filename for code in codes if not code.co_filename.startswith(_OURS)}


def own_methods(scheme: type[Scheme]) -> list[FunctionType]:
    """Return the methods that the user wrote: of the scheme, and of parts such as its container.

    A method that a later class of the user overrides is one of them.
    """
    parts = [part for name in dir(scheme) if is_part(part := getattr(scheme, name))]
    owners = [cls for part in parts for cls in type(part).__mro__ if _not_ours(cls)]
    values = [v for cls in (*own_classes(scheme), *owners) for v in vars(cls).values()]
    functions = (unwrap(getattr(value, "__func__", value)) for value in values)
    return [function for function in functions if isfunction(function)]


def own_classes(scheme: type[Scheme]) -> list[type[Scheme]]:
    """Return the scheme and its bases, without those that come with rmapcheck."""
    return [c for c in scheme.__mro__ if issubclass(c, Scheme) and is_plugin(c)]


def frames_of(trace: TracebackType | None) -> list[tuple[FrameType, int]]:
    """Return the frames of a traceback, outermost first, each with the line where it was."""
    found = []
    while trace is not None:
        found.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return found


def is_model_frame(scheme: type[Scheme], frame: FrameType) -> bool:
    """Return whether a frame is of the model, an invariant or the scheme, not of an engine."""
    name = frame.f_code.co_filename
    return name.startswith((*_OURS, "<layout of")) or name in own_files(scheme)


def is_engine_frame(frame: FrameType) -> bool:
    """Return whether a frame belongs to rmapcheck, but not to the model or an invariant."""
    name = frame.f_code.co_filename
    return name.startswith(_ENGINES) and not name.startswith(_OURS)


def hook_name(frames: Iterable[FrameType]) -> str:
    """Return the name of the innermost hook among the frames, else of the innermost function."""
    names = [frame.f_code.co_name for frame in frames]
    hooks = [name for name in names if name in HOOKS]
    return f"hook {hooks[-1]}" if hooks else f"method {names[-1]}"


def place(file: str, line: int) -> str:
    """Return "FILE, line N: ", to begin a sentence."""
    path = Path(file)
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"{path}, line {line}: "


def place_of(function: object) -> str:
    """Return "FILE, line N: " for a function, to begin a sentence; "" for anything else."""
    code = getattr(function, "__code__", None)
    return place(code.co_filename, code.co_firstlineno) if code else ""
